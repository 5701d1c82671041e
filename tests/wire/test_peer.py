"""The scripted peer itself, seen by a client of a few lines."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hpack import Decoder, Encoder
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

from tests.support.certs import certificates
from tests.support.peer import Peer, StartPeer, hold, serve
from tests.support.peer_frames import PREFACE


class RawClient:
    """Blocking frames over TLS."""

    def __init__(self, peer: Peer, alpn: tuple[str, ...] = ("h2", "http/1.1")) -> None:
        context = certificates().client_context()
        context.set_alpn_protocols(list(alpn))
        # Debian's Python sets OP_IGNORE_UNEXPECTED_EOF, which ssl names from 3.13 on only.
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 1 << 7)
        plain = socket.create_connection(("127.0.0.1", peer.port), timeout=10)
        self.sock = context.wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False
        )
        self.encoder, self.decoder = Encoder(), Decoder()

    def preface(self, **settings: int) -> None:
        numbered = {getattr(SettingsFrame, name.upper()): value for name, value in settings.items()}
        self.sock.sendall(PREFACE + SettingsFrame(settings=numbered).serialize())
        assert isinstance(self.read(), SettingsFrame)
        assert "ACK" in self.read().flags
        self.send(SettingsFrame(flags=["ACK"]))

    def send(self, *frames: Frame) -> None:
        self.sock.sendall(b"".join(frame.serialize() for frame in frames))

    def request(self, stream_id: int, path: str = "/", *, end: bool = True, **extra: str) -> None:
        fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
            *extra.items(),
        ]
        frame = HeadersFrame(stream_id, self.encoder.encode(fields), flags=["END_HEADERS"])
        if end:
            frame.flags.add("END_STREAM")
        self.send(frame)

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def read(self) -> Any:
        frame, length = Frame.parse_frame_header(memoryview(self.exactly(9)))
        frame.parse_body(memoryview(self.exactly(length)))
        return frame

    def fields(self, frame: HeadersFrame) -> list[tuple[str, str]]:
        block = frame.data
        while "END_HEADERS" not in frame.flags:
            frame = self.read()
            assert isinstance(frame, ContinuationFrame)
            block += frame.data
        return [(str(name), str(value)) for name, value in self.decoder.decode(block)]


@pytest.fixture
def client() -> Iterator[Callable[..., RawClient]]:
    clients: list[RawClient] = []

    def connect(peer: Peer, *args: Any) -> RawClient:
        clients.append(RawClient(peer, *args))
        return clients[-1]

    yield connect
    for each in clients:
        each.sock.close()


Connect = Callable[..., RawClient]


def test_requests_and_frames_are_recorded(peer: StartPeer, client: Connect) -> None:
    def script(conn: Any) -> None:
        request = conn.next_request()
        assert conn.read_body(request) == b"body"
        conn.respond(request, 201, {"x-answer": "yes"}, b"done", trailers={"x-sum": "1"})

    started = peer(script, settings={"max_concurrent_streams": 7})
    raw = client(started)
    raw.preface(initial_window_size=1000)
    raw.request(1, "/path", end=False, cookie="a=b")
    raw.send(DataFrame(1, b"body", flags=["END_STREAM"]))
    frames = [raw.read()]
    while "END_STREAM" not in frames[-1].flags:
        frames.append(raw.read())
    frames = [frame for frame in frames if not isinstance(frame, WindowUpdateFrame)]
    assert raw.fields(frames[0]) == [(":status", "201"), ("x-answer", "yes")]
    assert frames[1].data == b"done"
    assert raw.fields(frames[2]) == [("x-sum", "1")]

    request = started.request
    assert (request.method, request.path, request.authority) == ("GET", "/path", "localhost")
    assert request.headers == {"cookie": "a=b"}
    assert request.body == b"body"
    conn = started.connection()
    assert conn.client_settings[SettingsFrame.INITIAL_WINDOW_SIZE] == 1000
    assert [type(frame) for frame in conn.frames] == [
        SettingsFrame,
        SettingsFrame,
        HeadersFrame,
        DataFrame,
    ]


def test_large_header_lists_are_continued(peer: StartPeer, client: Connect) -> None:
    started = peer(lambda conn: conn.respond(conn.next_request(), 200, {"x-big": "v" * 40_000}))
    raw = client(started)
    raw.preface()
    raw.request(1)
    first = raw.read()
    assert "END_HEADERS" not in first.flags
    assert "END_STREAM" in first.flags
    assert dict(raw.fields(first))["x-big"] == "v" * 40_000


def test_serve_obeys_windows_and_answers_pings(peer: StartPeer, client: Connect) -> None:
    started = peer(serve(lambda request: (200, {}, b"x" * 100)))
    raw = client(started)
    raw.preface(initial_window_size=60)
    raw.request(1)
    assert raw.fields(raw.read()) == [(":status", "200"), ("content-length", "100")]
    assert len(raw.read().data) == 60
    raw.send(PingFrame(0, b"abcdefgh"))
    assert raw.read().opaque_data == b"abcdefgh"
    raw.send(WindowUpdateFrame(1, window_increment=100))
    last = raw.read()
    assert (last.data, "END_STREAM" in last.flags) == (b"x" * 40, True)


def test_serve_forgets_a_reset_stream(peer: StartPeer, client: Connect) -> None:
    started = peer(serve(lambda request: (200, {}, b"x" * 100)))
    raw = client(started)
    raw.preface(initial_window_size=60)
    raw.request(1)
    raw.fields(raw.read())
    raw.read()
    raw.send(RstStreamFrame(1, error_code=8))
    raw.send(SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1000}))
    assert "ACK" in raw.read().flags
    raw.request(3)
    assert raw.read().stream_id == 3
    assert started.connection().wait_for(RstStreamFrame).error_code == 8
    assert started.requests[0].reset_code == 8


def test_http1_and_no_alpn(peer: StartPeer, client: Connect) -> None:
    for alpn in (("http/1.1",), None):
        started = peer(serve(lambda request: (200, {}, b"old " + bytes(request.body))), alpn=alpn)
        raw = client(started)
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        raw.sock.sendall(head)
        assert raw.sock.recv(1000).endswith(b"\r\n\r\nold abc")
        assert started.request.method == "POST"


def test_plain_tcp(peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"plain")), tls=False)
    with socket.create_connection(("127.0.0.1", started.port), timeout=10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(1000).endswith(b"plain")


def test_other_threads_may_send_and_wait(peer: StartPeer, client: Connect) -> None:
    started = peer(hold)
    raw = client(started)
    raw.preface()
    raw.request(1)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.respond(1, 204)
    assert raw.fields(raw.read()) == [(":status", "204")]
    conn.goaway(1, 2, b"debug")
    frame = raw.read()
    assert isinstance(frame, GoAwayFrame)
    assert frame.additional_data == b"debug"


@pytest.mark.parametrize("way", ["close", "cut", "abort"])
def test_ends(peer: StartPeer, client: Connect, way: str) -> None:
    started = peer(hold)
    raw = client(started)
    raw.preface()
    raw.request(1)
    conn = started.connection()
    conn.wait_for(HeadersFrame)
    getattr(conn, way)()
    if way == "close":
        assert raw.sock.recv(1) == b""
    else:
        # Debian's OpenSSL settings make a plain SSLError of it where others have SSLEOFError.
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            raw.sock.recv(1)


def test_a_script_for_each_connection(peer: StartPeer, client: Connect) -> None:
    def answering(status: int) -> Callable[[Any], None]:
        return lambda conn: conn.respond(conn.next_request(), status)

    started = peer([answering(200), answering(201)])
    seen = []
    for _ in range(3):
        raw = client(started)
        raw.preface()
        raw.request(1)
        seen.append(raw.fields(raw.read())[0][1])
    assert seen == ["200", "201", "201"]
    assert len(started.connections) == started.accepted == 3


def test_failures_of_a_script_fail_the_test(client: Connect) -> None:
    def script(conn: Any) -> None:
        raise ValueError("the script's own")

    with pytest.raises(ValueError, match="the script's own"), Peer(script) as started:
        client(started).preface()


def test_unmet_expectations_fail_the_test(client: Connect) -> None:
    with (
        pytest.raises(AssertionError, match=r"waited for DataFrame .*stopped"),
        Peer(lambda conn: conn.expect(DataFrame)) as started,
    ):
        client(started).preface()


def test_a_client_that_breaks_the_rules_fails_the_test(client: Connect) -> None:
    peer = Peer(hold)
    raw = client(peer)
    raw.preface()
    raw.request(1, end=False)
    for _ in range(4):
        raw.send(DataFrame(1, bytes(16_384)))
    with contextlib.suppress(EOFError, OSError):
        while True:
            raw.read()
    with pytest.raises(AssertionError, match="overran the connection window"):
        peer.close()


def test_the_end_waits_for_what_was_sent(client: Connect) -> None:
    done = threading.Event()

    def script(conn: Any) -> None:
        for _ in range(20):
            conn.expect(PingFrame)
        done.set()

    with Peer(script) as started:
        raw = client(started)
        raw.preface()
        raw.send(*(PingFrame(0, bytes(8)) for _ in range(20)))
    assert done.is_set()


def test_a_client_that_leaves_is_no_failure(client: Connect) -> None:
    with Peer(serve(lambda request: (200, {}, b""))) as started:
        raw = client(started)
        raw.preface()
        raw.sock.close()
        started.connection()


def test_failed_handshakes_are_recorded() -> None:
    with Peer(hold) as started, socket.create_connection(("127.0.0.1", started.port)) as sock:
        sock.sendall(b"this is no ClientHello at all")
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(100):
                pass
        assert started.accepted == 1
    assert len(started.handshake_errors) == 1
    assert started.connections == []
