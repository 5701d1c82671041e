"""``raw.read_chunked()``: one item for each DATA frame, as hyper had it, and what surrounds it."""

from __future__ import annotations

import gzip
import importlib
import itertools
import random
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3
from hyperframe.frame import RstStreamFrame, WindowUpdateFrame
from urllib3.exceptions import DecodeError, ProtocolError, ReadTimeoutError, ResponseNotChunked

from tests.support.exchanges import in_one_write, start
from tests.support.peer import (
    Http1Connection,
    PeerConnection,
    StartPeer,
    hold,
)
from tests.support.threads import PROMPT, WAIT, background, until

MIB = 2**20
CANCEL = 8
GZIP = {"content-encoding": "gzip"}
#: Of a page: text that compresses well.
TEXT = b"".join(b"line %d of a page\n" % number for number in range(20_000))
#: Once: gzip writes the time into it.
COMPRESSED = gzip.compress(TEXT)


def frames(*sizes_or_frames: bytes, headers: dict[str, str] | None = None) -> Callable[[Any], None]:
    """A script that sends these DATA frames, all of them before END_STREAM."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, headers or {})
        for frame in sizes_or_frames:
            conn.send_data(request, frame)
        conn.send_data(request, end_stream=True)

    return script


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def get(session: requests.Session, url: str, **options: Any) -> Any:
    """A streamed response's ``raw``."""
    return session.get(url, stream=True, timeout=WAIT, **options).raw


def without_the_last_frame(items: list[bytes]) -> list[bytes]:
    """The scripts here end with an empty frame, which comes through."""
    assert items[-1] == b""
    return items[:-1]


# -- frames ------------------------------------------------------------------------------------


def test_each_item_is_a_frame(session: requests.Session, peer: StartPeer) -> None:
    sent = [b"a", b"bb", bytes(16_384), b"", b"", b"c" * 100, bytes(16_384), b"d"]
    raw = get(session, peer(frames(*sent)).url)
    assert without_the_last_frame(list(raw.read_chunked())) == sent
    assert raw.tell() == sum(map(len, sent))
    assert raw.closed
    assert list(raw.read_chunked()) == []


def test_frames_of_one_tls_record(session: requests.Session, peer: StartPeer) -> None:
    """A small response that came whole: nothing more is to come for it."""
    sent = [b"one", b"", b"two", bytes(5000), b"three"]

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        with in_one_write(conn):
            conn.send_headers(request)
            for frame in sent:
                conn.send_data(request, frame)
            conn.send_data(request, end_stream=True)

    raw = get(session, peer(script).url)
    assert list(raw.read_chunked()) == [*sent, b""]


def test_end_stream_on_the_last_frame(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"first")
        conn.send_data(request, b"last", end_stream=True)

    assert list(get(session, peer(script).url).read_chunked()) == [b"first", b"last"]


def test_padding_is_no_content(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"padded", padding=200)
        conn.send_data(request, b"", padding=10)
        conn.send_data(request, b"plain", end_stream=True)

    assert list(get(session, peer(script).url).read_chunked()) == [b"padded", b"", b"plain"]


def test_frames_come_as_they_are_sent(session: requests.Session, peer: StartPeer) -> None:
    """Empty ones too: each is seen before the next one is sent."""
    started = peer(hold)
    future = start(session, started, "/", stream_id=1, stream=True)
    conn: PeerConnection = started.connection()
    conn.send_headers(1)
    raw = future.result(WAIT).raw
    items, pump = raw.read_chunked(), raw.reader.connection._pump
    for frame in (b"a", b"", b"bc", b"", b""):
        item = background(lambda: next(items))
        until(lambda: pump._pumper != 0)  # it waits
        conn.send_data(1, frame)
        assert item.result(WAIT) == frame
    conn.send_headers(1, None, {"x-sum": "1"}, end_stream=True)
    assert list(items) == []


def test_a_body_longer_than_its_window(session: requests.Session, peer: StartPeer) -> None:
    """What is read by frames earns credit like what is read in other ways."""
    sizes = [random.Random(5).randrange(16_385) for _ in range(400)]

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for size in sizes:
            while conn.window_of(1) < size:
                conn.read_frame()
            conn.send_data(request, bytes(size))
        conn.send_data(request, end_stream=True)

    assert sum(sizes) > 3 * MIB
    started = peer(script)
    items = list(get(session, started.url).read_chunked())
    assert list(map(len, without_the_last_frame(items))) == sizes
    assert started.connection().received(WindowUpdateFrame, stream_id=1)


@pytest.mark.parametrize("status", [204, 304])
def test_responses_without_a_body(session: requests.Session, peer: StartPeer, status: int) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), status)
        conn.respond(conn.next_request(), 200, {"content-length": "5"})

    started = peer(script)
    assert list(get(session, started.url).read_chunked()) == []
    head = session.head(started.url, stream=True, timeout=WAIT)
    assert list(head.raw.read_chunked()) == []


def test_frames_as_an_upload_goes_on(session: requests.Session, peer: StartPeer) -> None:
    """Reading drives the rest of the request, and an empty frame is no reason to wait for it."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request)
        assert conn.read_body(request) == bytes(300_000)
        conn.send_data(request, b"all", end_stream=True)

    body = (bytes(100_000) for _ in range(3))
    response = session.post(peer(script).url, data=body, stream=True, timeout=WAIT)
    assert list(response.raw.read_chunked()) == [b"", b"all"]


# -- decoding ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "text"), [(1, TEXT[:20_000]), (1000, TEXT), (16_384, TEXT)], ids=["1", "1000", "16384"]
)
def test_decoding_is_on_by_default(
    session: requests.Session, peer: StartPeer, size: int, text: bytes
) -> None:
    """An item is what the decoder makes of a frame, which may be nothing."""
    sent = pieces_of(gzip.compress(text), size)
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    expected = [decoder.decompress(frame) for frame in sent]
    items = list(get(session, peer(frames(*sent, headers=GZIP)).url).read_chunked())
    assert without_the_last_frame(items) == expected
    assert b"".join(items) == text
    if size == 1:
        assert b"" in expected


def test_frames_as_they_were_sent(session: requests.Session, peer: StartPeer) -> None:
    sent = pieces_of(COMPRESSED, 700)
    raw = get(session, peer(frames(*sent, headers=GZIP)).url)
    assert without_the_last_frame(list(raw.read_chunked(decode_content=False))) == sent


def test_what_the_decoder_kept_comes_last(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more item, unless it is empty. zlib keeps nothing back; others may."""
    monkeypatch.setattr(urllib3.response.DeflateDecoder, "flush", lambda self: b"flushed")
    started = peer(frames(zlib.compress(b"text"), headers={"content-encoding": "deflate"}))
    items = list(get(session, started.url).read_chunked())
    assert items == [b"text", b"", b"flushed"]


@pytest.mark.parametrize(
    ("coding", "module"),
    [
        pytest.param("br", "brotli", marks=pytest.mark.extra("brotli")),
        pytest.param("zstd", "zstandard", marks=pytest.mark.extra("zstd")),
    ],
)
def test_other_codings(
    session: requests.Session, peer: StartPeer, coding: str, module: str
) -> None:
    data = importlib.import_module(module).compress(TEXT)
    sent = pieces_of(data, 100)
    raw = get(session, peer(frames(*sent, headers={"content-encoding": coding})).url)
    items = list(raw.read_chunked())
    assert b"".join(items) == TEXT
    assert len(items) >= len(sent)


# -- amt ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("amt", [1, 7, 1000, 20_000])
@pytest.mark.parametrize("decode_content", [None, False])
def test_amt_limits_an_item(
    session: requests.Session, peer: StartPeer, amt: int, decode_content: bool | None
) -> None:
    sent = [b"abcdefgh", b"", b"x" * 5000, b"yz"]
    raw = get(session, peer(frames(*sent)).url)
    expected = [piece for frame in sent for piece in pieces_of(frame, amt) or [b""]]
    items = list(raw.read_chunked(amt, decode_content))
    assert without_the_last_frame(items) == expected


@pytest.mark.parametrize("amt", [1, 1000])
def test_amt_limits_what_is_decoded(session: requests.Session, peer: StartPeer, amt: int) -> None:
    text = TEXT[:20_000]
    sent = pieces_of(gzip.compress(text), 300)
    items = list(get(session, peer(frames(*sent, headers=GZIP)).url).read_chunked(amt))
    assert b"".join(items) == text
    assert max(map(len, items)) == amt


def test_odd_amounts(session: requests.Session, peer: StartPeer) -> None:
    """As in urllib3: 0 gives nothing and takes nothing, below 0 stands for no limit."""
    raw = get(session, peer(frames(b"abc", b"d")).url)
    assert list(raw.read_chunked(0)) == []
    assert list(raw.read_chunked(-1)) == [b"abc", b"d", b""]


# -- together with the other ways to read ------------------------------------------------------


@pytest.mark.parametrize("small", [True, False])
def test_the_rest_of_a_frame_comes_first(
    session: requests.Session, peer: StartPeer, small: bool
) -> None:
    sent = [b"0123456789", b"", b"abc", b"de" * (10 if small else 50_000)]
    if not small:
        sent[3:] = pieces_of(sent[3], 16_384)
    raw = get(session, peer(frames(*sent)).url)
    assert raw.read(4) == b"0123"
    items = raw.read_chunked()
    assert next(items) == b"456789"
    assert next(items) == b""
    assert raw.read(1) == b"a"
    assert next(items) == b"bc"
    assert raw.read() == b"".join(sent[3:])
    assert list(items) == []


@pytest.mark.parametrize("compressed", [False, True])
def test_any_mixture_gives_every_octet_once(
    session: requests.Session, peer: StartPeer, compressed: bool
) -> None:
    chance = random.Random(7)
    data = chance.randbytes(200_000) + TEXT
    coded = gzip.compress(data) if compressed else data
    at, sent = 0, []
    while at < len(coded):
        size = chance.choice([0, 1, 10, 1000, 16_384])
        sent.append(coded[at : at + size])
        at += size
    raw = get(session, peer(frames(*sent, headers=GZIP if compressed else {})).url)
    ways: list[Callable[[], bytes]] = [
        lambda: raw.read(chance.randrange(1, 5000), decode_content=True),
        lambda: raw.read1(chance.randrange(1, 5000), decode_content=True),
        lambda: next(raw.stream(100, decode_content=True), b""),
        lambda: b"".join(itertools.islice(raw.read_chunked(), 3)),
        lambda: b"".join(itertools.islice(raw.read_chunked(50), 3)),
    ]
    got = b""
    while len(got) < len(data):
        got += chance.choice(ways)()
    assert got == data
    assert list(filter(None, raw.read_chunked())) == []


def test_reading_goes_on_after_a_break(session: requests.Session, peer: StartPeer) -> None:
    response = session.get(peer(frames(b"a", b"b", b"c")).url, stream=True, timeout=WAIT)
    for item in response.raw.read_chunked():
        assert item == b"a"
        break
    assert response.content == b"bc"


def test_undecoded_after_decoded_is_refused(session: requests.Session, peer: StartPeer) -> None:
    """As by urllib3's other methods: the decoder has part of a frame."""
    sent = pieces_of(COMPRESSED, 1000)
    raw = get(session, peer(frames(*sent, headers=GZIP)).url)
    next(raw.read_chunked())
    with pytest.raises(RuntimeError, match="decode_content=False"):
        next(raw.read_chunked(decode_content=False))


# -- errors ------------------------------------------------------------------------------------


def broken(conn: PeerConnection, how: Callable[[PeerConnection], None], **headers: str) -> None:
    request = conn.next_request()
    conn.send_headers(request, 200, {name.replace("_", "-"): headers[name] for name in headers})
    conn.send_data(request, b"good")
    how(conn)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (lambda conn: conn.reset(1, CANCEL), r"CANCEL \(0x8\)"),
        (lambda conn: conn.cut(), "connection"),
        (lambda conn: conn.send_data(1, end_stream=True), "IncompleteRead|malformed"),
        (lambda conn: conn.send_data(1, b"too much", end_stream=True), "Content-Length|malformed"),
    ],
    ids=["reset", "cut", "short", "long"],
)
def test_a_failure_comes_after_the_good_frames(
    session: requests.Session, peer: StartPeer, how: Any, text: str
) -> None:
    raw = get(session, peer(lambda conn: broken(conn, how, content_length="10")).url)
    items = raw.read_chunked()
    assert next(items) == b"good"
    with pytest.raises(ProtocolError, match=text):
        list(items)
    assert raw.closed


def test_a_read_timeout(session: requests.Session, peer: StartPeer) -> None:
    started = peer(lambda conn: broken(conn, lambda conn: None))
    raw = session.get(started.url, stream=True, timeout=0.2).raw
    items = raw.read_chunked()
    assert next(items) == b"good"
    with pytest.raises(ReadTimeoutError):
        next(items)
    started.connection().wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)


def test_a_decoding_error(session: requests.Session, peer: StartPeer) -> None:
    raw = get(session, peer(frames(b"no gzip", headers=GZIP)).url)
    with pytest.raises(DecodeError):
        list(raw.read_chunked())


def test_what_an_upload_raises(session: requests.Session, peer: StartPeer) -> None:
    """The rest of a body is driven by reading, whichever way."""
    started = peer(hold)
    error = OSError("of the body")

    def body() -> Iterator[bytes]:
        yield b"begin"
        conn = started.connection()
        assert conn.send_headers(1) is None
        conn.channel.wait_until_delivered()
        yield b"more"
        raise error

    response = session.post(started.url, data=body(), stream=True, timeout=WAIT)
    with pytest.raises(OSError, match="of the body") as caught:
        list(response.raw.read_chunked())
    assert caught.value is error


def test_closing_in_the_middle(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"a")
        conn.send_data(request, b"b")

    started = peer(script)
    raw = get(session, started.url)
    items = raw.read_chunked()
    assert next(items) == b"a"
    raw.close()
    assert list(items) == []
    started.connection().wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)


# -- floods ------------------------------------------------------------------------------------


def test_a_flood_of_tiny_frames_is_bounded(session: requests.Session, peer: StartPeer) -> None:
    """Beyond 65,536 unread ones they are no more told apart; nothing of the content is lost."""
    count = 100_000

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        tiny = b"\x00\x00\x01\x00\x00\x00\x00\x00\x01x"
        for _ in range(count // 1000):
            conn.send_raw(tiny * 1000)
        conn.send_data(request, b"end", end_stream=True)
        conn.respond(conn.next_request(), 204)

    started = peer(script)
    raw = get(session, started.url)
    session.get(started.url, timeout=WAIT)  # reads for both
    items = list(raw.read_chunked())
    assert b"".join(items) == b"x" * count + b"end"
    assert len(items) == 65_536
    assert set(items[:-1]) == {b"x"}


# -- over HTTP/1.1 -----------------------------------------------------------------------------


def chunked(conn: Http1Connection) -> None:
    request = conn.next_request()
    conn.respond(
        request,
        200,
        {"Transfer-Encoding": "chunked", "Content-Encoding": "gzip"},
        b"".join(
            b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in [*pieces_of(COMPRESSED, 5000), b""]
        ),
    )


@pytest.mark.parametrize("decode_content", [True, False])
def test_http1_gives_the_chunks(
    session: requests.Session, peer: StartPeer, decode_content: bool
) -> None:
    raw = get(session, peer(chunked, alpn=["http/1.1"]).url)
    items = list(raw.read_chunked(decode_content=decode_content))
    if decode_content:
        assert b"".join(items) == TEXT
    else:
        assert items == pieces_of(COMPRESSED, 5000)


def test_http1_without_chunks(session: requests.Session, peer: StartPeer) -> None:
    started = peer(lambda conn: conn.respond(conn.next_request()), alpn=["http/1.1"])
    with pytest.raises(ResponseNotChunked):
        list(get(session, started.url).read_chunked())


# -- iter_content(None) ------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"content-length": "6"}, GZIP])
def test_iter_content_without_a_size(
    session: requests.Session, peer: StartPeer, headers: dict[str, str]
) -> None:
    """Data as it arrives: each piece is here before the next one is sent."""
    coder = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    pieces = [b"a", b"bb", b"ccc"]
    started = peer(hold)
    future = start(session, started, "/", stream_id=1, stream=True)
    conn: PeerConnection = started.connection()
    conn.send_headers(1, 200, headers)
    items = future.result(WAIT).iter_content(chunk_size=None)
    for piece in pieces:
        item = background(lambda: next(items))
        if headers is GZIP:
            conn.send_data(1, coder.compress(piece) + coder.flush(zlib.Z_SYNC_FLUSH))
        else:
            conn.send_data(1, piece)
        began = time.monotonic()
        assert item.result(WAIT) == piece
        assert time.monotonic() - began < PROMPT
    conn.send_data(1, coder.flush() if headers is GZIP else b"", end_stream=True)
    assert list(items) == []
