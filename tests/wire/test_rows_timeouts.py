"""Rows 77 to 82 of the fault table: whose timeouts they are, and what they leave behind."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, RstStreamFrame, WindowUpdateFrame
from urllib3.connection import HTTPConnection

from tests.support.peer import MakeSession, Peer, PeerConnection, StartPeer, hold, serve
from tests.support.threads import PROMPT, WAIT, background

MIB = 2**20
CANCEL = 8
WIDE_OPEN = {"initial_window_size": 2**30}


def read_timeouts() -> list[Any]:
    return [
        0.3,
        (5, 0.3),
        (None, 0.3),
        urllib3.Timeout(connect=5, read=0.3),
        urllib3.Timeout(total=0.4),
    ]


# -- 77: no header section in time ---------------------------------------------------------


@pytest.mark.parametrize("timeout", read_timeouts(), ids=str)
def test_077_no_headers_in_time(make_session: MakeSession, peer: StartPeer, timeout: Any) -> None:
    """Only that stream ends: the slot is free, and who else waits goes on waiting."""

    def script(conn: PeerConnection) -> None:
        sibling = conn.next_request()
        conn.next_request()
        conn.expect(RstStreamFrame, stream_id=3, error_code=CANCEL)
        conn.respond(conn.next_request(), 200, (), b"next")
        conn.respond(sibling, 200, (), b"sibling")

    session = make_session(pool_maxsize=1)
    started = peer(script, settings={"max_concurrent_streams": 2})
    sibling = background(lambda: session.get(started.url, timeout=WAIT).content)
    started.connection().wait_for(HeadersFrame, stream_id=1)
    begin = time.monotonic()
    with pytest.raises(requests.exceptions.ReadTimeout, match="timed out") as caught:
        session.get(started.url, timeout=timeout)
    assert 0.25 < time.monotonic() - begin < 0.4 + PROMPT
    assert "127.0.0.1" in str(caught.value)
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert sibling.result(WAIT) == b"sibling"
    assert started.accepted == 1
    assert len(started.requests) == 3


def test_077_informational_responses_do_not_put_it_off(
    session: requests.Session, peer: StartPeer
) -> None:
    over = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        for _ in range(90):
            conn.informational(request, 102)
            conn.read_available()
            if request.reset_code is not None:
                return
            over.wait(0.05)

    begin = time.monotonic()
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(peer(script).url, timeout=0.4)
    assert time.monotonic() - begin < 0.4 + PROMPT


def test_077_progress_of_others_does_not_put_it_off(
    session: requests.Session, peer: StartPeer
) -> None:
    quiet_is_there, over = threading.Event(), threading.Event()

    def script(conn: PeerConnection) -> None:
        quiet = conn.next_request()
        quiet_is_there.set()
        busy = conn.next_request()
        conn.send_headers(busy)
        while quiet.reset_code is None:
            conn.send_data(busy, b"x")
            conn.read_available()
            over.wait(0.02)
        conn.send_data(busy, end_stream=True)

    started = peer(script)
    quiet = background(lambda: session.get(started.url, timeout=0.5))
    assert quiet_is_there.wait(WAIT)
    busy = background(lambda: session.get(started.url, timeout=WAIT))
    with pytest.raises(requests.exceptions.ReadTimeout):
        quiet.result(5)
    assert set(busy.result(WAIT).content) == set(b"x")


def test_077_the_timer_starts_when_the_body_is_produced(
    session: requests.Session, peer: StartPeer
) -> None:
    """A body may take longer than the read timeout to produce."""
    pause = threading.Event()

    def body() -> Iterator[bytes]:
        for _ in range(4):
            yield b"x"
            pause.wait(0.2)

    started = peer(serve(lambda request: (200, {}, bytes(request.body))))
    assert session.post(started.url, data=body(), timeout=0.5).content == b"xxxx"


def read_slowly(seconds: float, until: int) -> Callable[[PeerConnection], None]:
    """A frame at a time with a pause before each, the rest at once, then answer.

    The buffer is fixed, or it grows and takes all; in one of less than loopback's segments of
    64 KiB TCP itself stalls.
    """
    pause = threading.Event()

    def script(conn: PeerConnection) -> None:
        sock = conn.channel.tls
        assert sock is not None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        conn.window_update(0, 2**30)
        request = conn.next_request()
        while not request.ended:
            if request.received < until:
                pause.wait(seconds)
            conn.read_frame()
        conn.respond(request, 200, {}, str(request.received).encode())

    return script


@pytest.mark.usefixtures("small_send_buffer")
@pytest.mark.parametrize("kind", ["bytes", "generator"])
def test_077_the_timer_starts_when_the_request_has_left(
    session: requests.Session, peer: StartPeer, kind: str
) -> None:
    """What still waits for a slow socket is not sent yet.

    The peer reads 320 KB/s at most. All is queued at once, the last of it leaves after 1.5 s at
    least, and the answer comes soon after.
    """
    started = peer(read_slowly(0.05, 600_000), settings=WIDE_OPEN)
    data: Any = bytes(700_000) if kind == "bytes" else (bytes(70_000) for _ in range(10))
    assert session.post(started.url, data=data, timeout=1.2).content == b"700000"
    assert started.accepted == 1


# -- 78: a body that stalls ----------------------------------------------------------------


def read_by_send(session: requests.Session, url: str) -> None:
    session.get(url, timeout=0.3)


def read_by_content(session: requests.Session, url: str) -> None:
    session.get(url, timeout=0.3, stream=True).content  # noqa: B018


def read_by_iterating(session: requests.Session, url: str) -> None:
    chunks = session.get(url, timeout=0.3, stream=True).iter_content(4)
    assert next(chunks) == b"some"
    next(chunks)


READS = [read_by_send, read_by_content, read_by_iterating]


@pytest.mark.parametrize("length", [(), {"content-length": "10"}], ids=["open", "measured"])
@pytest.mark.parametrize("read", READS)
def test_078_a_body_that_stalls(
    make_session: MakeSession, peer: StartPeer, read: Callable[..., None], length: Any
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, length)
        conn.send_data(request, b"some")
        conn.expect(RstStreamFrame, stream_id=1, error_code=CANCEL)
        conn.respond(conn.next_request(), 200, (), b"next")

    session = make_session(pool_maxsize=1)
    started = peer(script, settings={"max_concurrent_streams": 1})
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError, match="timed out") as caught:
        read(session, started.url)
    assert not isinstance(caught.value, requests.Timeout)
    assert isinstance(caught.value.args[0], urllib3.exceptions.ReadTimeoutError)
    assert 0.25 < time.monotonic() - begin < 0.3 + PROMPT
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.accepted == 1


def test_078_raw_raises_urllib3s_own(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.send_headers(conn.next_request())

    response = session.get(peer(script).url, timeout=0.3, stream=True)
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        response.raw.read(1)


def test_078_a_body_that_trickles(session: requests.Session, peer: StartPeer) -> None:
    """Longer than the timeout in all, never in one gap."""
    pause = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for _ in range(10):
            conn.send_data(request, b"x")
            pause.wait(0.12)
        conn.send_data(request, end_stream=True)

    assert session.get(peer(script).url, timeout=0.8).content == b"x" * 10


def test_078_the_callers_own_pauses_do_not_count(
    session: requests.Session, peer: StartPeer
) -> None:
    """Who reads late finds all that came meanwhile."""
    started = peer(serve(lambda request: (200, {}, bytes(MIB // 2))))
    response = session.get(started.url, timeout=0.3, stream=True)
    assert len(response.raw.read(10)) == 10
    threading.Event().wait(0.5)
    assert len(response.content) == MIB // 2 - 10


# -- 80 and 81: nothing is sent that nobody asked for --------------------------------------


def cancel_many(session: requests.Session, started: Peer) -> None:
    for _ in range(50):
        session.get(started.url + "/held", stream=True, timeout=WAIT).close()
    for _ in range(2):
        time_out(session, started)
        assert session.get(started.url + "/next", timeout=WAIT).content == b"next"


def time_out(session: requests.Session, started: Peer) -> None:
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(started.url + "/silent", timeout=0.1)


def held_and_silent(conn: PeerConnection) -> None:
    while True:
        request = conn.next_request(3600)
        if request.path == "/held":
            conn.send_headers(request)
        elif request.path == "/next":
            conn.respond(request, 200, (), b"next")


def test_080_cancels_and_timeouts_send_no_ping_and_keep_the_connection(
    make_session: MakeSession, peer: StartPeer
) -> None:
    """A PING nobody asked for counts as abuse at some servers; the slots are free at once."""
    session = make_session(pool_maxsize=1)
    started = peer(held_and_silent, settings={"max_concurrent_streams": 1})
    cancel_many(session, started)
    assert session.get(started.url + "/next", timeout=WAIT).content == b"next"
    conn = started.connection()
    assert conn.received(PingFrame) == []
    assert len(conn.received(RstStreamFrame)) == 52
    assert started.accepted == 1


def test_080_timeouts_in_a_row_without_a_word_retire_the_connection(
    session: requests.Session, peer: StartPeer
) -> None:
    """Without a PING that is all there is to tell a dead connection by."""
    started = peer([held_and_silent, held_and_silent])
    assert session.get(started.url + "/next", timeout=WAIT).content == b"next"
    for _ in range(2):
        time_out(session, started)
    assert session.get(started.url + "/next", timeout=WAIT).content == b"next"
    assert started.accepted == 2
    assert started.connection(0).received(PingFrame) == []


def test_081_no_timeout_waits_without_a_ping(session: requests.Session, peer: StartPeer) -> None:
    """However long nothing comes; and the end of the connection is noticed."""
    started = peer(hold)
    for number, timeout in enumerate((None, (None, None), urllib3.Timeout(None))):
        future = background(lambda timeout=timeout: session.get(started.url, timeout=timeout))  # type: ignore[misc]
        conn = started.connection()
        stream_id = 2 * number + 1
        conn.wait_for(HeadersFrame, stream_id=stream_id)
        threading.Event().wait(0.2)
        conn.respond(stream_id, 204)
        assert future.result(WAIT).status_code == 204
    last = background(lambda: session.post(started.url, timeout=None))
    conn.wait_for(HeadersFrame, stream_id=7)
    assert conn.received(PingFrame) == []
    begin = time.monotonic()
    conn.abort()
    with pytest.raises(requests.ConnectionError):
        last.result(WAIT)
    assert time.monotonic() - begin < PROMPT


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """A duplicate of each socket that urllib3 connects, to look at its options."""
    sockets: list[socket.socket] = []
    create_connection = urllib3.util.connection.create_connection

    def create(*args: Any, **kwargs: Any) -> socket.socket:
        sock = create_connection(*args, **kwargs)
        sockets.append(sock.dup())
        return sock

    monkeypatch.setattr(urllib3.util.connection, "create_connection", create)
    yield sockets
    for sock in sockets:
        sock.close()


def tcp_options(sock: socket.socket) -> tuple[bool, bool]:
    keepalive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return bool(keepalive), bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


@pytest.mark.parametrize("keepalive", [False, True])
def test_081_tcp_keepalive_is_as_the_stock_adapter_has_it(
    make_adapter: Callable[..., Any],
    session: requests.Session,
    peer: StartPeer,
    dialled: list[socket.socket],
    keepalive: bool,
) -> None:
    """Off, and on with the same ``socket_options`` that people give to the stock adapter."""
    options = list(HTTPConnection.default_socket_options)
    if keepalive:
        options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))

    started = peer(serve(lambda request: (204, {}, b"")))
    results = []
    for adapter in (make_adapter(), requests.adapters.HTTPAdapter()):
        if keepalive:
            adapter.init_poolmanager(10, 10, socket_options=options)
        session.mount("https://", adapter)
        results.append(session.get(started.url, timeout=WAIT).raw.version)
    session.close()
    assert results == [20, 11]
    ours, stock = map(tcp_options, dialled)
    assert ours == stock == (keepalive, True)


# -- 82: a peer that does not read ---------------------------------------------------------


def stop_reading(go_on: threading.Event) -> Callable[[PeerConnection], None]:
    """Windows wide open, but nothing is read after the first DATA until ``go_on``."""

    def script(conn: PeerConnection) -> None:
        conn.window_update(0, 2**30)
        conn.next_request()
        conn.expect(DataFrame)
        assert go_on.wait(WAIT)
        while not all(each.ended or each.reset_code is not None for each in conn.requests):
            conn.read_frame()
        for request in conn.requests:
            if request.reset_code is None:
                conn.respond(request, 200, {}, str(request.received).encode())

    return script


ordinary = serve(lambda request: (200, {}, b"ordinary"))


@pytest.mark.usefixtures("small_send_buffer")
@pytest.mark.parametrize("kind", ["bytes", "generator"])
def test_082_a_write_that_does_not_move_is_bounded(
    session: requests.Session, peer: StartPeer, kind: str
) -> None:
    go_on = threading.Event()
    started = peer([stop_reading(go_on), ordinary], settings=WIDE_OPEN, keep_data=False)
    data: Any = bytes(4 * MIB) if kind == "bytes" else (bytes(100_000) for _ in range(42))
    begin = time.monotonic()
    with pytest.raises(requests.Timeout, match="timed out"):
        session.post(started.url, data=data, timeout=0.4)
    assert 0.35 < time.monotonic() - begin < 0.4 + PROMPT
    # No other request is entrusted to that connection, and it ends.
    assert session.get(started.url, timeout=WAIT).content == b"ordinary"
    assert started.accepted == 2
    go_on.set()
    started.connection(0).wait_eof()
    assert len(started.connection(0).requests) == 1


@pytest.mark.usefixtures("small_send_buffer")
def test_082_requests_behind_such_a_write_are_bounded(
    session: requests.Session, peer: StartPeer
) -> None:
    """Their HEADERS wait in the same queue; each has its own timeout."""
    go_on = threading.Event()
    started = peer([stop_reading(go_on), ordinary], settings=WIDE_OPEN, keep_data=False)
    upload = background(lambda: session.post(started.url, data=bytes(4 * MIB), timeout=WAIT))
    conn = started.connection()
    conn.wait_for(DataFrame, stream_id=1)
    begin = time.monotonic()
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(started.url, timeout=0.4)
    assert time.monotonic() - begin < 0.4 + PROMPT
    go_on.set()
    assert upload.result(WAIT).content == str(4 * MIB).encode()


@pytest.mark.usefixtures("small_send_buffer")
def test_082_one_callers_timeout_does_not_abort_anothers_write(
    session: requests.Session, peer: StartPeer
) -> None:
    go_on = threading.Event()
    started = peer([stop_reading(go_on), ordinary], settings=WIDE_OPEN, keep_data=False)
    patient = background(lambda: session.post(started.url, data=bytes(4 * MIB), timeout=WAIT))
    started.connection().wait_for(DataFrame, stream_id=1)
    hasty = background(lambda: session.post(started.url, data=bytes(4 * MIB), timeout=0.4))
    with pytest.raises(requests.Timeout):
        hasty.result(WAIT)
    assert not patient.done()
    go_on.set()
    assert patient.result(WAIT).content == str(4 * MIB).encode()


@pytest.mark.usefixtures("small_send_buffer")
def test_082_a_slow_write_that_moves_survives(session: requests.Session, peer: StartPeer) -> None:
    started = peer(read_slowly(0.02, 1_400_000), settings=WIDE_OPEN)
    begin = time.monotonic()
    response = session.post(started.url, data=bytes(1_500_000), timeout=0.8)
    assert response.content == b"1500000"
    assert time.monotonic() - begin > 0.8
    assert started.accepted == 1


def test_082_slow_credit_that_moves_survives(session: requests.Session, peer: StartPeer) -> None:
    pause = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < 65_535:
            conn.expect(DataFrame)
        for _ in range(10):
            pause.wait(0.12)
            conn.credit(request, 1000)
            conn.expect(DataFrame)
        conn.respond(request, 200, {}, b"ok")

    started = peer(script)
    assert session.post(started.url, data=bytes(75_535), timeout=0.8).content == b"ok"
    assert started.connection().received(WindowUpdateFrame, stream_id=1) == []
