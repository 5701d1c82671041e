"""Fault table, rows 60-67: bodies, their length, their encoding, and reading them."""

from __future__ import annotations

import gc
import gzip
import io
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame, WindowUpdateFrame

from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, serve
from tests.support.threads import PROMPT, WAIT, background

PROTOCOL_ERROR, CANCEL = 1, 8
MIB = 2**20
BODY = bytes(range(256)) * 64

Misbehave = Callable[[PeerConnection, Request], None]


def once(status: int = 200, headers: Any = (), body: bytes = b"") -> Callable[[Any], None]:
    """Answer each request with exactly this, Content-Length only when it is among the headers."""

    def script(conn: PeerConnection) -> None:
        while True:
            conn.respond(conn.next_request(), status, headers, body)

    return script


@pytest.fixture
def amid_siblings(session: requests.Session, peer: StartPeer) -> Callable[..., Any]:
    """``amid_siblings(answer, act)``: ``act(url)`` while another response is half-way, and then
    one more request; both on the same connection, and both must succeed.
    """

    def run(answer: Misbehave, act: Callable[[str], Any]) -> Any:
        done = threading.Event()

        def script(conn: PeerConnection) -> None:
            sibling, request = conn.next_request(), conn.next_request()
            conn.send_headers(sibling, 200, {"content-length": "7"})
            conn.send_data(sibling, b"sib")
            answer(conn, request)
            assert done.wait(WAIT)
            conn.send_data(sibling, b"ling", end_stream=True)
            conn.respond(conn.next_request(), 200, (), b"next")

        started = peer(script)
        sibling = background(lambda: session.get(started.url, timeout=WAIT).content)
        started.connection().wait_for(HeadersFrame, stream_id=1)
        begin = time.monotonic()
        outcome = act(started.url)
        assert time.monotonic() - begin < PROMPT
        done.set()
        assert sibling.result(WAIT) == b"sibling"
        assert session.get(started.url, timeout=WAIT).content == b"next"
        assert started.accepted == 1
        assert len(started.requests) == 3
        resets = started.connection().received(RstStreamFrame)
        assert {frame.stream_id for frame in resets} <= {3}
        assert len(resets) <= 1
        return outcome

    return run


# -- row 60 -------------------------------------------------------------------------------


def short(at: str) -> Misbehave:
    def answer(conn: PeerConnection, request: Request) -> None:
        conn.send_headers(request, 200, {"content-length": "10"}, end_stream=at == "headers")
        if at != "headers":
            conn.send_data(request, b"12345", end_stream=at == "data")
        if at == "empty data":
            conn.send_data(request, end_stream=True)
        if at == "trailers":
            conn.send_trailers(request, {"x": "y"})

    return answer


ENDS = ["headers", "data", "empty data", "trailers"]


@pytest.mark.parametrize("at", ENDS)
def test_060_fewer_bytes_than_content_length(
    session: requests.Session, amid_siblings: Any, engine: str, at: str
) -> None:
    """nghttp2 counts by itself: an empty response with a Content-Length is none at all then."""
    error: type[Exception] = requests.exceptions.ChunkedEncodingError
    text = "IncompleteRead"
    if engine == "nghttp2":
        error = requests.ConnectionError if at == "headers" else error
        text = "malformed.*PROTOCOL_ERROR"

    def act(url: str) -> None:
        with pytest.raises(error, match=text):
            session.get(url, timeout=WAIT)

    amid_siblings(short(at), act)


@pytest.mark.parametrize("at", ENDS)
@pytest.mark.parametrize("way", ["iter_content", "iter_lines", "read", "read1", "stream"])
def test_060_no_way_of_reading_hides_it(
    session: requests.Session, peer: StartPeer, engine: str, at: str, way: str
) -> None:
    def script(conn: PeerConnection) -> None:
        while True:
            short(at)(conn, conn.next_request())

    url = peer(script).url
    if engine == "nghttp2" and at == "headers":
        with pytest.raises(requests.ConnectionError):
            session.get(url, stream=True, timeout=WAIT)
        return
    response = session.get(url, stream=True, timeout=WAIT)
    assert response.headers["content-length"] == "10"
    parts: list[bytes] = []
    with pytest.raises(
        (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.ProtocolError)
    ):
        read_all(response, way, parts)
    # nghttp2 drops the frame that ends a response too early.
    dropped = at == "headers" or (at == "data" and engine == "nghttp2")
    assert b"".join(parts) == (b"" if dropped or way in ("read", "iter_lines") else b"12345")


def read_all(response: requests.Response, way: str, parts: list[bytes]) -> None:
    """Read to the end in some way, the pieces into ``parts``."""
    if way == "iter_content":
        parts.extend(response.iter_content(5))
    elif way == "iter_lines":
        parts.extend(response.iter_lines())
    elif way == "stream":
        parts.extend(response.raw.stream(5))
    elif way == "read":
        parts.append(response.raw.read())
    else:
        while part := response.raw.read1(100):
            parts.append(part)


@pytest.mark.parametrize("ends", [True, False])
def test_060_more_bytes_than_content_length(
    session: requests.Session, amid_siblings: Any, engine: str, ends: bool
) -> None:
    text = "Content-Length" if engine == "h2" else "nghttp2 calls the response malformed"

    def answer(conn: PeerConnection, request: Request) -> None:
        conn.send_headers(request, 200, {"content-length": "3"})
        conn.send_data(request, b"12345", end_stream=ends)

    def act(url: str) -> None:
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match=text):
            session.get(url, timeout=WAIT)

    amid_siblings(answer, act)


def test_060_as_many_bytes_as_content_length(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"content-length": "10"})
        conn.send_data(request, b"12345", padding=100)
        conn.send_data(request, b"67890")
        conn.send_data(request, end_stream=True)
        conn.respond(conn.next_request(), 200, {"content-length": "0"})

    started = peer(script)
    assert session.get(started.url, timeout=WAIT).content == b"1234567890"
    assert session.get(started.url, timeout=WAIT).content == b""
    assert started.connection().received(RstStreamFrame) == []


# -- rows 62 and 63: responses that have no body -------------------------------------------


@pytest.mark.parametrize("length", [None, "0", "1000"])
@pytest.mark.parametrize("ends_in_headers", [True, False])
@pytest.mark.parametrize("stream", [False, True])
def test_062_head(
    session: requests.Session,
    amid_siblings: Any,
    length: str | None,
    ends_in_headers: bool,
    stream: bool,
) -> None:
    headers = {"content-encoding": "gzip"} | ({} if length is None else {"content-length": length})

    def answer(conn: PeerConnection, request: Request) -> None:
        conn.send_headers(request, 200, headers, end_stream=ends_in_headers)
        if not ends_in_headers:
            conn.send_data(request, end_stream=True)

    def act(url: str) -> None:
        response = session.head(url, stream=stream, timeout=WAIT)
        assert (response.status_code, response.content) == (200, b"")
        assert dict(response.headers) == headers

    amid_siblings(answer, act)


def test_062_head_without_an_end(session: requests.Session, amid_siblings: Any) -> None:
    """There is nothing to wait for."""

    def answer(conn: PeerConnection, request: Request) -> None:
        conn.send_headers(request, 200, {"content-length": "1000"})

    def act(url: str) -> None:
        response = session.head(url, timeout=WAIT)
        assert (response.content, response.headers["content-length"]) == (b"", "1000")

    amid_siblings(answer, act)


def illegal_body(status: int, ends: bool, size: int) -> Misbehave:
    def answer(conn: PeerConnection, request: Request) -> None:
        conn.send_headers(request, status, {"x-a": "b"})
        conn.send_data(request, bytes(size), end_stream=ends)

    return answer


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("ends", [True, False])
def test_062_illegal_bytes_are_discarded(
    session: requests.Session, amid_siblings: Any, status: int, ends: bool
) -> None:
    def act(url: str) -> None:
        response = session.head(url, timeout=WAIT)
        assert (response.status_code, response.content) == (status, b"")
        assert response.headers["x-a"] == "b"

    amid_siblings(illegal_body(status, ends, 1000), act)


@pytest.mark.parametrize(("method", "status"), [("GET", 204), ("GET", 304), ("DELETE", 204)])
@pytest.mark.parametrize("ends", [True, False])
def test_063_illegal_bytes_are_discarded(
    session: requests.Session, amid_siblings: Any, method: str, status: int, ends: bool
) -> None:
    def act(url: str) -> None:
        response = session.request(method, url, timeout=WAIT)
        assert (response.status_code, response.content) == (status, b"")
        assert response.headers["x-a"] == "b"

    amid_siblings(illegal_body(status, ends, 1000), act)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204)])
def test_063_discarded_bytes_are_credited(
    session: requests.Session,
    peer: StartPeer,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    status: int,
) -> None:
    """A gibibyte of window leaks slowly: here it is a small one."""
    monkeypatch.setattr("requests_h2.credit.CONNECTION_WINDOW", 100_000)

    def script(conn: PeerConnection) -> None:
        for _ in range(20):
            illegal_body(status, False, 16_000)(conn, conn.next_request())

    started = peer(script)
    for _ in range(20):
        assert session.request(method, started.url, timeout=WAIT).content == b""
    conn = started.connection()
    first = conn.wait_for(WindowUpdateFrame, stream_id=0).window_increment
    conn.wait_for(RstStreamFrame, stream_id=39)
    credited = sum(frame.window_increment for frame in conn.received(WindowUpdateFrame)) - first
    assert credited >= 20 * 16_000 - 100_000
    assert started.accepted == 1


@pytest.mark.parametrize(("method", "status"), [("GET", 204), ("GET", 304), ("DELETE", 204)])
@pytest.mark.parametrize("length", [None, "0", "1000"])
@pytest.mark.parametrize("ends_in_headers", [True, False])
def test_063_no_content(
    session: requests.Session,
    amid_siblings: Any,
    engine: str,
    method: str,
    status: int,
    length: str | None,
    ends_in_headers: bool,
) -> None:
    """RFC 9110 section 8.6 forbids Content-Length with 204: nghttp2 hides 0, and refuses more."""
    headers = {} if length is None else {"content-length": length}
    strict = engine == "nghttp2" and status == 204

    def answer(conn: PeerConnection, request: Request) -> None:
        conn.send_headers(request, status, headers, end_stream=ends_in_headers)
        if not ends_in_headers:
            conn.send_data(request, end_stream=True)

    def act(url: str) -> None:
        if strict and length == "1000":
            with pytest.raises(requests.ConnectionError, match=r"PROTOCOL_ERROR \(0x1\)"):
                session.request(method, url, timeout=WAIT)
            return
        response = session.request(method, url, timeout=WAIT)
        assert (response.status_code, response.content) == (status, b"")
        assert dict(response.headers) == ({} if strict else headers)

    amid_siblings(answer, act)


# -- row 64 -------------------------------------------------------------------------------

WAYS = ["iter_content", "iter_lines", "read", "read1", "stream"]


def truncated_frame(conn: PeerConnection) -> None:
    conn.send_raw(DataFrame(1, b"0123456789").serialize()[:-5])
    conn.channel.wait_until_delivered()
    conn.close()


ENDINGS: dict[str, Callable[[PeerConnection], None]] = {
    "close": lambda conn: conn.close(),
    "cut": lambda conn: conn.cut(),
    "abort": lambda conn: conn.abort(),
    "truncated frame": truncated_frame,
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_064_lost_in_the_body(
    session: requests.Session, peer: StartPeer, end: Callable[[PeerConnection], None]
) -> None:
    ended: list[float] = []

    def script(conn: PeerConnection) -> None:
        conn.send_headers(conn.next_request())
        conn.send_data(1, b"partial")
        conn.channel.wait_until_delivered()
        ended.append(time.monotonic())
        end(conn)

    started = peer(script)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(started.url, timeout=WAIT)
    assert time.monotonic() - ended[0] < PROMPT
    assert started.accepted == 1
    assert len(started.requests) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["cut", "abort"])
def test_064_no_way_of_reading_hides_it(
    session: requests.Session, peer: StartPeer, way: str, end: str
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.send_headers(conn.next_request())
        conn.send_data(1, b"partial\nbody")
        conn.channel.wait_until_delivered()
        getattr(conn, end)()

    response = session.get(peer(script).url, stream=True, timeout=WAIT)
    raw = way in ("read", "read1", "stream")
    expected: Any = (
        urllib3.exceptions.ProtocolError if raw else requests.exceptions.ChunkedEncodingError
    )
    parts: list[bytes] = []
    with pytest.raises(expected):
        read_all(response, way, parts)
    assert b"".join(parts) in (b"", b"partial", b"partial\nbody")


@pytest.mark.parametrize("way", ["close", "cut", "abort"])
@pytest.mark.parametrize("length", [True, False])
def test_064_lost_after_the_end(
    session: requests.Session, peer: StartPeer, way: str, length: bool
) -> None:
    delivered = threading.Event()

    def script(conn: PeerConnection) -> None:
        headers = {"content-length": "5"} if length else {}
        conn.respond(conn.next_request(), 200, headers, b"whole")
        conn.channel.wait_until_delivered()
        getattr(conn, way)()
        delivered.set()

    response = session.get(peer(script).url, stream=True, timeout=WAIT)
    assert delivered.wait(WAIT)
    assert response.content == b"whole"


def test_064_an_answer_that_came_before_a_broken_write(
    session: requests.Session, peer: StartPeer
) -> None:
    """Nobody has read it when the next piece of the upload finds the connection reset."""
    asked, gone = threading.Event(), threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        assert asked.wait(WAIT)
        conn.ping()
        conn.send_headers(request, 200, {"x-a": "b"})
        for piece in (b"wh", b"ol"):
            conn.send_data(request, piece)
        conn.send_data(request, b"e", end_stream=True)
        conn.channel.wait_until_delivered()
        conn.abort()
        gone.set()

    def body() -> Iterator[bytes]:
        asked.set()
        assert gone.wait(WAIT)
        yield b"piece"
        yield b"piece"

    response = session.post(peer(script).url, data=body(), timeout=WAIT)
    assert (response.content, response.headers["x-a"]) == (b"whole", "b")


# -- row 66 -------------------------------------------------------------------------------


def deflate(data: bytes) -> bytes:
    return zlib.compress(data)


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def br(data: bytes) -> bytes:
    import brotli

    compressed: bytes = brotli.compress(data)
    return compressed


def zstd(data: bytes) -> bytes:
    """One frame with one raw block (RFC 8878): legal, and no package is needed to make it."""
    size = len(data)
    descriptor, block = b"\x60", (size << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd" + descriptor + (size - 256).to_bytes(2, "little") + block + data


ENCODINGS = [
    ("gzip", gzip.compress),
    ("deflate", deflate),
    ("deflate", raw_deflate),
    pytest.param("br", br, marks=pytest.mark.extra("brotli")),
    pytest.param("zstd", zstd, marks=pytest.mark.extra("zstd")),
    ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
]


@pytest.mark.parametrize(("name", "compress"), ENCODINGS)
def test_066_content_encoding(
    session: requests.Session, peer: StartPeer, name: str, compress: Callable[[bytes], bytes]
) -> None:
    data = compress(BODY)
    headers = {"content-encoding": name, "content-length": str(len(data))}
    started = peer(once(200, headers, data))
    assert session.get(started.url).content == BODY
    with session.get(started.url, stream=True) as response:
        assert b"".join(response.iter_content(1000)) == BODY
    with session.get(started.url, stream=True) as response:
        assert response.raw.read(decode_content=False) == data
    for each in name.split(", "):
        assert each in started.requests[0].headers["accept-encoding"]


@pytest.mark.parametrize("given", ["gzip;q=0.5", "identity", ""])
def test_066_accept_encoding_of_the_user(
    session: requests.Session, peer: StartPeer, given: str
) -> None:
    """It is sent as it is, and what comes is decoded all the same."""
    data = gzip.compress(BODY)
    started = peer(once(200, {"content-encoding": "gzip"}, data))
    response = session.get(started.url, headers={"Accept-Encoding": given}, timeout=WAIT)
    assert response.content == BODY
    assert started.request.headers["accept-encoding"] == given


CORRUPT = {
    "no gzip": ("gzip", b"this is not gzip"),
    "no deflate": ("deflate", b"this is not deflate"),
    "gzip with a bad middle": ("gzip", gzip.compress(BODY)[:40] + b"\xff" * 40),
    "gzip cut short": ("gzip", gzip.compress(BODY)[:-20]),
    "gzip with more behind it": ("gzip", gzip.compress(BODY) + b"garbage"),
    "empty": ("gzip", b""),
    "unknown": ("nonsense", BODY),
}


@pytest.mark.parametrize(("name", "data"), CORRUPT.values(), ids=CORRUPT)
@pytest.mark.parametrize("stream", [False, True])
def test_066_the_same_result_as_over_http1(
    make_session: MakeSession, peer: StartPeer, name: str, data: bytes, stream: bool
) -> None:
    started = peer(serve(lambda request: (200, {"content-encoding": name}, data)))
    outcomes: list[Any] = []
    for http2 in (True, False):
        session = make_session(http2=http2)
        try:
            response = session.get(started.url, stream=stream, timeout=WAIT)
            outcomes.append(b"".join(response.iter_content(1000)))
        except requests.RequestException as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]
    if name in ("gzip", "deflate") and data.startswith(b"this"):
        assert outcomes[0] is requests.exceptions.ContentDecodingError


def test_066_corrupt_bytes_can_be_had(session: requests.Session, peer: StartPeer) -> None:
    started = peer([once(200, {"content-encoding": "gzip"}, b"this is not gzip")])
    with pytest.raises(requests.exceptions.ContentDecodingError):
        session.get(started.url)
    with session.get(started.url, stream=True) as response:
        assert response.raw.read(decode_content=False) == b"this is not gzip"
    assert started.accepted == 1


@pytest.mark.parametrize("stream", [False, True])
def test_066_corrupt_with_body_left(
    session: requests.Session, amid_siblings: Any, stream: bool
) -> None:
    reset = threading.Event()

    def answer(conn: PeerConnection, request: Request) -> None:
        conn.send_headers(request, 200, {"content-encoding": "gzip"})
        conn.send_data(request, b"this is not gzip")
        conn.wait_for(RstStreamFrame, stream_id=3, error_code=CANCEL)
        reset.set()

    def act(url: str) -> None:
        with pytest.raises(requests.exceptions.ContentDecodingError):
            # With stream=True the error comes from the reader's own call.
            _ = session.get(url, stream=stream, timeout=WAIT).content
        gc.collect()
        assert reset.wait(WAIT)

    amid_siblings(answer, act)


# -- row 67 -------------------------------------------------------------------------------


@pytest.fixture
def raw(session: requests.Session, peer: StartPeer) -> Any:
    headers = {"content-length": str(len(BODY))}
    return session.get(peer(once(200, headers, BODY)).url, stream=True).raw


def test_067_send_returns_with_the_headers(session: requests.Session, peer: StartPeer) -> None:
    returned = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"x": "y"})
        assert returned.wait(WAIT)
        conn.send_data(request, b"later", end_stream=True)

    response = session.get(peer(script).url, stream=True, timeout=WAIT)
    assert response.headers["x"] == "y"
    returned.set()
    assert response.content == b"later"


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("size", [1, 7, 1000, 16_384, 100_000])
def test_067_iter_content_honours_sizes(
    session: requests.Session, peer: StartPeer, size: int, length: bool
) -> None:
    headers = {"content-length": str(len(BODY))} if length else {}
    response = session.get(peer(once(200, headers, BODY)).url, stream=True)
    chunks = list(response.iter_content(size))
    assert b"".join(chunks) == BODY
    assert max(map(len, chunks)) <= size
    if length:
        assert {len(chunk) for chunk in chunks[:-1]} <= {size}
    with pytest.raises(requests.exceptions.StreamConsumedError):
        response.iter_content(size)


def test_067_iter_lines(session: requests.Session, peer: StartPeer) -> None:
    lines = [b"line %d" % number for number in range(1000)]
    response = session.get(peer(once(200, (), b"\n".join(lines))).url, stream=True)
    assert list(response.iter_lines(chunk_size=100)) == lines


def test_067_raw_is_urllib3s(raw: Any) -> None:
    assert isinstance(raw, urllib3.response.HTTPResponse)
    assert (raw.version, raw.version_string, raw.status) == (20, "HTTP/2", 200)
    assert raw.read() == BODY


def test_067_raw_read_sizes(raw: Any) -> None:
    assert raw.read(0) == b""
    assert raw.read(1) == BODY[:1]
    assert raw.read(1000) == BODY[1:1001]
    assert raw.tell() == 1001
    assert raw.read() == BODY[1001:]
    assert raw.read() == raw.read(5) == raw.read(0) == raw.read1() == raw.read1(5) == b""


def test_067_raw_read1(raw: Any) -> None:
    assert raw.read1(0) == b""
    parts = []
    while part := raw.read1(3000):
        assert len(part) <= 3000
        parts.append(part)
    assert b"".join(parts) == BODY
    assert raw.read1(3000) == raw.read(3000) == b""


def test_067_raw_read1_takes_what_is_there(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.send_headers(conn.next_request())
        conn.send_data(1, b"some")
        conn.linger()

    with session.get(peer(script).url, stream=True, timeout=WAIT) as response:
        assert response.raw.read1(3000) == b"some"


def test_067_raw_readinto(raw: Any) -> None:
    buffer = bytearray(100)
    assert raw.readinto(buffer) == 100
    assert buffer == BODY[:100]
    assert raw.readinto(bytearray(0)) == 0


def test_067_raw_as_a_file(session: requests.Session, peer: StartPeer) -> None:
    url = peer(once(200, (), BODY)).url
    target = io.BytesIO()
    shutil.copyfileobj(session.get(url, stream=True).raw, target)
    assert target.getvalue() == BODY
    assert io.BufferedReader(session.get(url, stream=True).raw).read() == BODY
    assert b"".join(session.get(url, stream=True).raw.stream(777)) == BODY
    assert b"".join(session.get(url, stream=True).raw) == BODY


def test_067_raw_drain_and_release(session: requests.Session, peer: StartPeer) -> None:
    started = peer(once(200, {"content-length": str(len(BODY))}, BODY))
    response = session.get(started.url, stream=True)
    response.raw.read(10)
    response.raw.drain_conn()
    response.raw.release_conn()
    response = session.get(started.url, stream=True)
    response.raw.release_conn()
    assert session.get(started.url).content == BODY
    assert started.accepted == 1


@pytest.mark.parametrize("read_before", [0, 10, len(BODY)])
def test_067_after_close(raw: Any, read_before: int) -> None:
    assert raw.read(read_before) == BODY[:read_before]
    raw.close()
    raw.close()
    assert raw.closed
    # read(5) of less than Content-Length raises IncompleteRead here, as over HTTP/1.1.
    assert raw.read() == raw.read1() == raw.read(0) == b""
    raw.release_conn()
    raw.close()


def test_067_close_resets_once(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.send_headers(conn.next_request())
        conn.send_data(1, b"some")
        conn.wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    response = session.get(started.url, stream=True, timeout=WAIT)
    assert response.raw.read(2) == b"so"
    for _ in range(3):
        response.close()
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert len(started.connection().received(RstStreamFrame)) == 1
    assert started.accepted == 1


def test_067_iter_content_and_content_agree(session: requests.Session, peer: StartPeer) -> None:
    response = session.get(peer(once(200, (), BODY)).url, stream=True)
    assert response.content == BODY
    assert b"".join(response.iter_content(100)) == BODY
    assert response.raw.read() == b""


@pytest.mark.parametrize("way", ["content", "iter_content", "read"])
def test_067_one_byte_frames(session: requests.Session, peer: StartPeer, way: str) -> None:
    """Quadratic behaviour would need minutes, not the seconds of the time limit."""
    count = 40_000

    def script(conn: PeerConnection) -> None:
        conn.send_headers(conn.next_request())
        conn.send_raw(DataFrame(1, b"x").serialize() * count)
        conn.send_data(1, end_stream=True)
        conn.linger()

    response = session.get(peer(script).url, stream=True, timeout=WAIT)
    if way == "content":
        assert response.content == b"x" * count
    elif way == "iter_content":
        assert b"".join(response.iter_content(1000)) == b"x" * count
    else:
        assert b"".join(iter(lambda: response.raw.read(10), b"")) == b"x" * count


@pytest.mark.parametrize("size", [1, 10 * MIB])
def test_067_any_chunk_size_is_linear(
    session: requests.Session, peer: StartPeer, size: int
) -> None:
    """Quadratic behaviour would need hours for the smallest, not the seconds of the time limit."""
    total = 200_000 if size == 1 else 32 * MIB
    response = session.get(peer(serve(lambda request: (200, {}, bytes(total)))).url, stream=True)
    assert sum(map(len, response.iter_content(size))) == total
