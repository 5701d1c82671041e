"""Floods and limits: rows 98, 99, 100, 102 and 103 of the fault table."""

from __future__ import annotations

import ssl
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
import requests
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.peer import Closed, MakeSession, PeerConnection, Request, StartPeer, serve
from tests.support.threads import PROMPT, WAIT, background, together

PROTOCOL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 1, 6, 9, 11
MIB = 1 << 20

Attack = Callable[[PeerConnection, Request], None]


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or request.path.encode()


ordinary = serve(answer)


def frame_header(kind: int, flags: int, stream_id: int, size: int) -> bytes:
    return struct.pack(">HBBBL", size >> 8, size & 0xFF, kind, flags, stream_id)


def assert_fatal(
    session: requests.Session, peer: StartPeer, attack: Attack, *codes: int
) -> PeerConnection:
    """The attack ends the connection, promptly and by name; the next request gets another."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        try:
            attack(conn, request)
        except Closed:
            return  # the client had enough before the end
        conn.wait_eof()

    started = peer([script, ordinary])
    begin = time.monotonic()
    # The latter when headers of the response came first.
    with pytest.raises(
        (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
    ) as caught:
        session.get(started.url, timeout=WAIT)
    assert time.monotonic() - begin < PROMPT
    assert not isinstance(caught.value, requests.Timeout)
    assert f"127.0.0.1:{started.port}" in str(caught.value)
    conn: PeerConnection = started.connection()
    goaway = conn.wait_for(GoAwayFrame)
    assert goaway.error_code in codes
    assert f"{ErrorCodes(goaway.error_code).name} ({goaway.error_code:#x})" in str(caught.value)
    conn.wait_eof()
    assert len(str(caught.value)) < 1000
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    assert started.accepted == 2
    assert len(conn.requests) == 1
    return conn


# -- 98: CONTINUATION ----------------------------------------------------------------------


def flood(conn: PeerConnection, request: Request, size: int, flags: int = 0) -> None:
    """Field blocks without an end, which decode well, so that it is not HPACK that complains."""
    block = b"\x00\x01a\x7f\xe1\x7e" + b"b" * 16_352  # a: bbb..., 16,352 octets
    if size == 1:
        block = b"\x90"  # accept-encoding: gzip, deflate
    assert len(block) <= 16_384
    conn.send(HeadersFrame(request.stream_id, conn.encode({":status": "200"})))
    for _ in range(200):
        conn.send(ContinuationFrame(request.stream_id, block[:size]))


@pytest.mark.parametrize("size", [0, 1, 16_384], ids=["empty", "tiny", "full"])
def test_098_continuation_flood(session: requests.Session, peer: StartPeer, size: int) -> None:
    def attack(conn: PeerConnection, request: Request) -> None:
        flood(conn, request, size)

    assert_fatal(session, peer, attack, ENHANCE_YOUR_CALM, PROTOCOL_ERROR)


def test_098_one_continuation_too_many(session: requests.Session, peer: StartPeer) -> None:
    """Also when it would have been the last: its block was not decoded, so HPACK is lost."""

    def attack(conn: PeerConnection, request: Request) -> None:
        block = conn.encode({":status": "200", "x-long": "x" * 100})
        frames: list[Frame] = [HeadersFrame(request.stream_id, block)]
        frames += [ContinuationFrame(request.stream_id, b"") for _ in range(65)]
        frames[-1].flags.add("END_HEADERS")
        conn.send(*frames)

    assert_fatal(session, peer, attack, ENHANCE_YOUR_CALM, PROTOCOL_ERROR)


@pytest.mark.parametrize("count", [1, 32, 60, 62, 63, 64])
def test_098_up_to_the_limit_of_continuations(
    session: requests.Session, peer: StartPeer, count: int
) -> None:
    """Either it is taken as what it says, or the connection ends; never something in between."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        block = conn.encode({":status": "200", "x-long": "x" * 100})
        frames: list[Frame] = [HeadersFrame(request.stream_id, block, flags=["END_STREAM"])]
        frames += [ContinuationFrame(request.stream_id, b"") for _ in range(count)]
        frames[-1].flags.add("END_HEADERS")
        conn.send(*frames)
        ordinary(conn)

    started = peer([script, ordinary])
    if count <= 62:
        assert session.get(started.url, timeout=WAIT).headers["x-long"] == "x" * 100
    else:
        try:
            assert session.get(started.url, timeout=WAIT).headers["x-long"] == "x" * 100
        except requests.ConnectionError:
            started.connection().wait_eof()
    response = session.get(started.url + "/next", timeout=WAIT)
    assert (response.content, response.headers.get("x-long")) == (b"/next", None)


def test_098_memory_stays_bounded(session: requests.Session, peer: StartPeer) -> None:
    """Every stream of every connection may try; what one block may hold is about 1 MiB."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        tracemalloc.start()
        try:
            flood(conn, request, 16_384)
            conn.wait_eof()
        except Closed:
            return

    started = peer([script, ordinary])
    try:
        with pytest.raises(requests.ConnectionError):
            session.get(started.url, timeout=WAIT)
        started.connection().wait_eof()
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("trailers", [False, True])
def test_098_a_block_in_many_pieces(
    session: requests.Session, peer: StartPeer, trailers: bool
) -> None:
    """Below the limits it is just a slow way to say it."""

    def script(conn: PeerConnection) -> None:
        for request in conn.next_requests(1):
            if trailers:
                conn.send_headers(request, 200)
                block = conn.encode({"x-long": "x" * 50})
            else:
                block = conn.encode({":status": "200", "x-long": "x" * 50})
            size = -(-len(block) // 60)
            conn.send_header_block(request, block, end_stream=True, frame_size=size)
        ordinary(conn)

    started = peer(script)
    response = session.get(started.url, timeout=WAIT)
    if not trailers:
        assert response.headers["x-long"] == "x" * 50
    assert response.content == b""
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    assert started.accepted == 1


def _inside(frame: Callable[[Request], Frame]) -> Attack:
    def attack(conn: PeerConnection, request: Request) -> None:
        block = conn.encode({":status": "200"})
        conn.send(HeadersFrame(request.stream_id, block), frame(request))

    return attack


NOT_IN_A_BLOCK: dict[str, Attack] = {
    "naked": lambda conn, request: conn.send(
        ContinuationFrame(request.stream_id, b"\x88", flags=["END_HEADERS"])
    ),
    "naked on an idle stream": lambda conn, request: conn.send(
        ContinuationFrame(99, b"\x88", flags=["END_HEADERS"])
    ),
    "naked on stream 0": lambda conn, request: conn.send_raw(frame_header(9, 4, 0, 1) + b"\x88"),
    "after END_HEADERS": lambda conn, request: conn.send(
        HeadersFrame(request.stream_id, conn.encode({":status": "200"}), flags=["END_HEADERS"]),
        ContinuationFrame(request.stream_id, b"", flags=["END_HEADERS"]),
    ),
    "of another stream": _inside(
        lambda request: ContinuationFrame(request.stream_id + 2, b"", flags=["END_HEADERS"])
    ),
    "HEADERS inside": _inside(
        lambda request: HeadersFrame(request.stream_id, b"", flags=["END_HEADERS"])
    ),
    "DATA inside": _inside(lambda request: DataFrame(request.stream_id, b"x")),
    "PING inside": _inside(lambda request: PingFrame(0, b"12345678")),
    "SETTINGS inside": _inside(lambda request: SettingsFrame()),
    "WINDOW_UPDATE inside": _inside(
        lambda request: WindowUpdateFrame(request.stream_id, window_increment=1)
    ),
    "RST_STREAM inside": _inside(lambda request: RstStreamFrame(request.stream_id, error_code=8)),
    "GOAWAY inside": _inside(lambda request: GoAwayFrame(0, last_stream_id=2**31 - 1)),
}


@pytest.mark.parametrize("what", list(NOT_IN_A_BLOCK))
def test_098_a_block_is_not_interrupted(
    session: requests.Session, peer: StartPeer, what: str
) -> None:
    conn = assert_fatal(session, peer, NOT_IN_A_BLOCK[what], PROTOCOL_ERROR)
    assert all("ACK" not in frame.flags for frame in conn.received(PingFrame))


def test_098_an_unknown_frame_inside_a_block(session: requests.Session, peer: StartPeer) -> None:
    """RFC 9113 section 5.5: unknown types are ignored, but not there."""

    def attack(conn: PeerConnection, request: Request) -> None:
        conn.send(HeadersFrame(request.stream_id, conn.encode({":status": "200"})))
        conn.send_raw(frame_header(0xEE, 0, 0, 0))

    assert_fatal(session, peer, attack, PROTOCOL_ERROR)


# -- 99: HPACK -----------------------------------------------------------------------------

BAD_BLOCKS = {
    "index 0": b"\x88\x80",
    "index beyond both tables": b"\x88\xff\x80\x01",
    "name index beyond both tables": b"\x88\x7f\x80\x01\x01x",
    "integer without an end": b"\x88\xff" + b"\xff" * 100,
    "integer of 70 bits": b"\x88\xff" + b"\xff" * 9 + b"\x7f",
    "cut after a name": b"\x88\x00\x01a",
    "value longer than the block": b"\x88\x00\x01a\x7e" + b"b" * 3,
    "Huffman with EOS": b"\x88\x00\x01a\x84\xff\xff\xff\xff",
    "Huffman padded with zeros": b"\x88\x00\x01a\x81\x00",
    "table size above the limit": b"\x3f\xe2\x1f\x88",  # 4097
    "huge table size": b"\x3f\xe1\xff\xff\xff\x0f\x88",
    "table size after a field": b"\x88\x20",
}


@pytest.mark.parametrize("what", list(BAD_BLOCKS))
def test_099_what_hpack_cannot_decode(
    session: requests.Session, peer: StartPeer, what: str
) -> None:
    def attack(conn: PeerConnection, request: Request) -> None:
        conn.send_header_block(request, BAD_BLOCKS[what], end_stream=True)

    assert_fatal(session, peer, attack, COMPRESSION_ERROR, PROTOCOL_ERROR)


@pytest.mark.parametrize("where", ["trailers", "a closed stream"])
def test_099_the_table_is_shared_by_every_block(
    session: requests.Session, peer: StartPeer, where: str
) -> None:
    """Also where nobody reads the fields, a block that cannot be decoded is the end."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        if where == "a closed stream":
            conn.wait_for(RstStreamFrame, stream_id=1)
            conn.next_request()
        else:
            conn.send_headers(request)
            conn.send_data(request, b"body")
        conn.send_header_block(request, b"\x80", end_stream=True)
        conn.wait_eof()

    started = peer(script)
    begin = time.monotonic()
    if where == "trailers":
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get(started.url, timeout=WAIT)
    else:
        with pytest.raises(requests.exceptions.ReadTimeout):
            session.get(started.url, timeout=0.2)
        with pytest.raises(requests.ConnectionError, match="COMPRESSION_ERROR"):
            session.get(started.url, timeout=WAIT)
    assert time.monotonic() - begin < PROMPT
    started.connection().wait_for(GoAwayFrame, error_code=COMPRESSION_ERROR)


def test_099_hpack_bomb(session: requests.Session, peer: StartPeer) -> None:
    """One field of nearly the table's size, and then an octet for each copy: 64 MB of fields."""

    def attack(conn: PeerConnection, request: Request) -> None:
        fat = b"\x40\x01a\x7f\xe1\x1e" + b"b" * 4000  # with indexing: the first dynamic entry, 62
        conn.send_header_block(request, b"\x88" + fat + b"\xbe" * 16_000 * 4, end_stream=True)

    tracemalloc.start()
    try:
        assert_fatal(session, peer, attack, ENHANCE_YOUR_CALM, COMPRESSION_ERROR, PROTOCOL_ERROR)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_099_a_bomb_of_empty_fields(session: requests.Session, peer: StartPeer) -> None:
    """The 32 octets that each field counts for are what limits these."""

    def attack(conn: PeerConnection, request: Request) -> None:
        conn.send_header_block(request, b"\x88" + b"\x40\x01a\x00" + b"\xbe" * 200_000)

    tracemalloc.start()
    try:
        assert_fatal(session, peer, attack, ENHANCE_YOUR_CALM, COMPRESSION_ERROR, PROTOCOL_ERROR)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


# -- 100: answers that nobody reads --------------------------------------------------------


def test_100_a_mild_flood_is_served(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        for number in range(500):
            conn.ping(number.to_bytes(8, "big"))
            if number % 5 == 0:
                conn.settings(max_concurrent_streams=100)
        conn.respond(request, 200, (), b"answer")
        conn.wait_for(PingFrame, opaque_data=(499).to_bytes(8, "big"))
        ordinary(conn)

    started = peer(script)
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    conn = started.connection()
    acks = [frame.opaque_data for frame in conn.received(PingFrame) if "ACK" in frame.flags]
    assert acks == [number.to_bytes(8, "big") for number in range(500)]
    assert len([1 for frame in conn.received(SettingsFrame) if "ACK" in frame.flags]) == 101
    assert started.accepted == 1


@pytest.fixture
def network_is_full(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Once set, no client's socket takes anything: both TCP buffers, which may hold megabytes, are
    full because the peer does not read.
    """
    full = threading.Event()
    send = ssl.SSLSocket.send

    def try_to_send(sock: ssl.SSLSocket, *args: Any) -> int:
        if full.is_set() and not sock.server_side:
            raise ssl.SSLWantWriteError
        return send(sock, *args)

    monkeypatch.setattr(ssl.SSLSocket, "send", try_to_send)
    return full


FLOODS = {
    "PING": PingFrame(0, b"12345678").serialize(),
    "SETTINGS": SettingsFrame(0).serialize(),
    "SETTINGS with values": SettingsFrame(0, {4: 100_000, 3: 100}).serialize(),
}


@pytest.mark.parametrize("what", list(FLOODS))
def test_100_a_flood_whose_answers_are_not_read(
    session: requests.Session, peer: StartPeer, network_is_full: threading.Event, what: str
) -> None:
    """The connection ends, for everybody on it, before the answers pile up."""
    sent = 0

    def script(conn: PeerConnection) -> None:
        nonlocal sent
        conn.next_requests(2)
        frames = FLOODS[what] * 100
        network_is_full.set()
        try:
            while sent < 64 * MIB:
                conn.send_raw(frames)
                sent += len(frames)
        except Closed:
            network_is_full.clear()

    started = peer([script, ordinary])
    other = background(lambda: session.get(started.url, timeout=WAIT))
    started.connection().wait_for(HeadersFrame, stream_id=1)
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError, match="flood") as caught:
        session.get(started.url, timeout=WAIT)
    assert not isinstance(caught.value, requests.Timeout)
    with pytest.raises(requests.ConnectionError, match="flood"):
        other.result(WAIT)
    assert time.monotonic() - begin < 2 * PROMPT
    assert sent < 16 * MIB
    network_is_full.clear()
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    assert started.accepted == 2


def test_100_headers_on_closed_streams_are_no_way_to_flood(
    session: requests.Session, peer: StartPeer
) -> None:
    """At most one frame of ours for each of theirs, and the connection lives."""

    def script(conn: PeerConnection) -> None:
        first = conn.next_request()
        conn.wait_for(RstStreamFrame, stream_id=1)
        second = conn.next_request()
        for _ in range(200):
            conn.send_headers(first, 200, {"x": "late"})
            conn.send_data(first, b"late")
        conn.respond(second, 200, (), b"second")
        ordinary(conn)

    started = peer(script)
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(started.url, timeout=0.2)
    assert session.get(started.url, timeout=WAIT).content == b"second"
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    assert started.accepted == 1
    assert len(started.connection().frames) < 450


@pytest.mark.parametrize("known", [True, False])
def test_100_settings_with_thousands_of_entries(
    session: requests.Session, peer: StartPeer, known: bool
) -> None:
    """CVE-2020-11080."""

    def attack(conn: PeerConnection, request: Request) -> None:
        entries = [(4, 65_535 + n) if known else (0x1000 + n, n) for n in range(2400)]
        payload = b"".join(struct.pack(">HL", *entry) for entry in entries)
        conn.send_raw(frame_header(4, 0, 0, len(payload)) + payload)

    assert_fatal(session, peer, attack, ENHANCE_YOUR_CALM)


def test_100_settings_with_some_unknown_entries(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        payload = b"".join(struct.pack(">HL", 0x1000 + n, n) for n in range(30))
        conn.send_raw(frame_header(4, 0, 0, len(payload)) + payload)
        conn._unacknowledged.append({})
        ordinary(conn)

    started = peer(script)
    for _ in range(2):
        assert session.get(started.url + "/path", timeout=WAIT).content == b"/path"
    assert started.accepted == 1


# -- 102: frames that are too large, or come in pieces --------------------------------------

KINDS = {"DATA": 0, "HEADERS": 1, "SETTINGS": 4, "PUSH_PROMISE": 5, "PING": 6, "unknown": 0xEE}


@pytest.mark.parametrize("size", [16_385, 2**24 - 1])
@pytest.mark.parametrize("kind", list(KINDS))
def test_102_refused_at_the_nine_octets(
    session: requests.Session, peer: StartPeer, kind: str, size: int
) -> None:
    """None of the payload was sent, so waiting for it would be waiting for the timeout."""

    def attack(conn: PeerConnection, request: Request) -> None:
        stream_id = request.stream_id if kind in ("DATA", "HEADERS", "PUSH_PROMISE") else 0
        conn.send_raw(frame_header(KINDS[kind], 0, stream_id, size))

    assert_fatal(session, peer, attack, FRAME_SIZE_ERROR)


def test_102_refused_in_the_middle_of_a_body(session: requests.Session, peer: StartPeer) -> None:
    """What is complete by then stands."""

    def script(conn: PeerConnection) -> None:
        first, second = conn.next_requests(2)
        conn.respond(first, 200, (), b"complete")
        conn.send_headers(second)
        conn.send_data(second, b"partial")
        conn.send_raw(frame_header(0, 0, second.stream_id, 20_000))
        conn.wait_eof()

    started = peer(script)

    def work(number: int) -> bytes:
        try:
            return session.get(started.url, timeout=WAIT).content
        except requests.exceptions.ChunkedEncodingError as error:
            return b"failed" if "FRAME_SIZE_ERROR" in str(error) else str(error).encode()

    begin = time.monotonic()
    assert sorted(together(2, work)) == [b"complete", b"failed"]
    assert time.monotonic() - begin < PROMPT


def test_102_the_largest_frame_is_fine(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"x" * 16_384)
        conn.send_data(request, b"y" * (16_384 - 256), padding=255, end_stream=True)

    content = session.get(peer(script).url, timeout=WAIT).content
    assert content == b"x" * 16_384 + b"y" * (16_384 - 256)


@pytest.mark.parametrize("piece", [1, 2, 8, 9, 10, 1000])
def test_102_frames_in_pieces(session: requests.Session, peer: StartPeer, piece: int) -> None:
    """Every TCP segment ends somewhere, and so does every TLS record."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        body = bytes(range(256)) * (8 if piece > 2 else 1)
        block = conn.encode({":status": "200", "x-long": "x" * 300})
        frames = [
            HeadersFrame(request.stream_id, block[:100]),
            ContinuationFrame(request.stream_id, block[100:], flags=["END_HEADERS"]),
            PingFrame(0, b"12345678"),
            SettingsFrame(0, {3: 50}),
            DataFrame(request.stream_id, body[:100]),
            DataFrame(request.stream_id, b""),
            DataFrame(request.stream_id, body[100:], flags=["END_STREAM"]),
        ]
        conn._unacknowledged.append({3: 50})
        data = b"".join(frame.serialize() for frame in frames)
        for start in range(0, len(data), piece):
            conn.send_raw(data[start : start + piece])
        ordinary(conn)

    started = peer(script)
    response = session.get(started.url, timeout=WAIT)
    assert response.headers["x-long"] == "x" * 300
    assert response.content == bytes(range(256)) * (8 if piece > 2 else 1)
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    assert started.accepted == 1


def test_102_the_reserved_bit_is_ignored(session: requests.Session, peer: StartPeer) -> None:
    """Of every stream identifier, of WINDOW_UPDATE's increment, of GOAWAY's last stream."""
    reserved = 1 << 31

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        block = conn.encode({":status": "200"})
        stream_id = reserved | request.stream_id
        conn.send_raw(
            frame_header(8, 0, reserved, 4)
            + struct.pack(">L", reserved | 1000)
            + frame_header(6, 0, reserved, 8)
            + b"12345678"
            + frame_header(1, 4, stream_id, len(block))
            + block
            + frame_header(0, 0, stream_id, 4)
            + b"body"
            + frame_header(7, 0, reserved, 8)
            + struct.pack(">LL", reserved | request.stream_id, 0)
            + frame_header(0, 1, stream_id, 0)
        )
        conn.wait_eof()

    started = peer([script, ordinary])
    assert session.get(started.url, timeout=WAIT).content == b"body"
    conn = started.connection()
    conn.wait_for(PingFrame, lambda frame: "ACK" in frame.flags)
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    assert started.accepted == 2


# -- 103: slow on purpose ------------------------------------------------------------------


def test_103_pool_limits_hold(make_session: MakeSession, peer: StartPeer) -> None:
    """Streams held open by an octet at a time: no connection is added for them, nobody spins."""
    session = make_session(pool_maxsize=2)
    over = threading.Event()

    def script(conn: PeerConnection) -> None:
        trickling: list[Request] = []
        if conn is started.connection(0):
            conn.respond(conn.next_request())  # after which the limit is known
        while not over.is_set():
            conn.read_available()
            while conn.has_request:
                trickling.append(conn.next_request())
                conn.send_headers(trickling[-1])
            for request in trickling:
                conn.send_data(request, b"x")
            over.wait(0.05)
        for request in trickling:
            conn.send_data(request, end_stream=True)

    started = peer(script, settings={"max_concurrent_streams": 3})
    session.get(started.url, timeout=WAIT)
    futures: list[Future[bytes]] = [
        background(lambda: session.get(started.url, timeout=WAIT).content) for _ in range(6)
    ]
    started.connection(1).wait_for(HeadersFrame, stream_id=1)
    for conn, last in zip(started.connections, (7, 5), strict=True):
        conn.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)
        conn.wait_for(HeadersFrame, stream_id=last)
    begin = time.monotonic()
    with pytest.raises(requests.exceptions.ConnectTimeout):
        session.get(started.url, timeout=(0.3, WAIT))
    assert time.monotonic() - begin < PROMPT
    over.set()
    assert all(set(future.result(WAIT)) == {ord("x")} for future in futures)
    assert started.accepted == 2


def test_103_a_header_section_that_trickles_is_no_progress(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        slow = conn.next_request()
        block = conn.encode({":status": "200", "x-long": "x" * 1000})
        data = HeadersFrame(slow.stream_id, block, flags=["END_HEADERS"]).serialize()
        for octet in data:
            conn.send_raw(bytes([octet]))
            conn.read_available()
            if slow.reset_code is not None:
                break
            pause.wait(0.05)
        raise AssertionError("unreachable") if slow.reset_code is None else Closed

    pause = threading.Event()
    begin = time.monotonic()
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(peer(script).url, timeout=0.5)
    assert time.monotonic() - begin < PROMPT


def test_103_an_unread_response_is_bounded_by_its_window(
    session: requests.Session, peer: StartPeer
) -> None:
    """However much the server has: it may send a window of it, and that is all we hold."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        room = min(conn.send_window, conn.window_of(request.stream_id))
        conn.send_data(request, b"x" * room)
        sent.append(room)
        second = conn.next_request()
        sent.append(min(conn.send_window, conn.window_of(request.stream_id)))
        conn.respond(second, 200, (), b"beside")

    sent: list[int] = []
    started = peer(script)
    tracemalloc.start()
    try:
        with session.get(started.url, stream=True, timeout=WAIT):
            assert session.get(started.url, timeout=WAIT).content == b"beside"
            assert sent[0] <= MIB
            assert sent[1] == 0  # no credit for what nobody reads
            assert started.connection().received(WindowUpdateFrame, stream_id=1) == []
            # The peer's own copies are counted here as well.
            assert tracemalloc.get_traced_memory()[0] < 5 * MIB
    finally:
        tracemalloc.stop()


def test_103_small_pieces_cost_no_more_than_their_octets(
    session: requests.Session, peer: StartPeer
) -> None:
    """The window counts octets. A DATA frame for every two of them must not cost us dozens."""
    count = 20_000

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.next_request()
        piece = DataFrame(request.stream_id, b"xy").serialize()
        conn.send_raw(piece * count)
        conn.respond(3, 200, (), b"beside")
        conn.next_request()
        conn.send_data(request, end_stream=True)
        conn.respond(5, 200, (), b"beside")

    started = peer(script)
    with session.get(started.url, stream=True, timeout=WAIT) as response:
        tracemalloc.start()
        try:
            assert session.get(started.url, timeout=WAIT).content == b"beside"
            held = tracemalloc.take_snapshot().filter_traces(
                [tracemalloc.Filter(True, "*/requests_h2/*")]
            )
            size = sum(statistic.size for statistic in held.statistics("filename"))
        finally:
            tracemalloc.stop()
        session.get(started.url, timeout=WAIT)
        assert response.content == b"xy" * count
    assert size < 8 * 2 * count
