"""Stream windows that grow: what WINDOW_UPDATE tells the peer of fast and of slow readers."""

from __future__ import annotations

import threading

import pytest
import requests
from hyperframe.frame import GoAwayFrame, WindowUpdateFrame

from tests.support.exchanges import start
from tests.support.peer import Peer, PeerConnection, StartPeer, hold
from tests.support.threads import WAIT, background

KIB, MIB = 1 << 10, 1 << 20
FIRST, LAST = MIB, 16 * MIB
FLOW_CONTROL_ERROR = 3
BATCH = FIRST // 2  # what may be read and not credited


def credited(conn: PeerConnection, stream_id: int = 1) -> int:
    return sum(
        frame.window_increment for frame in conn.received(WindowUpdateFrame, stream_id=stream_id)
    )


def held_response(
    session: requests.Session, started: Peer
) -> tuple[PeerConnection, requests.Response]:
    """A response on stream 1 without its content."""
    future = start(session, started, "/", stream_id=1, stream=True)
    conn: PeerConnection = started.connection()
    conn.send_headers(1)
    return conn, future.result(WAIT)


def fence(session: requests.Session, started: Peer, stream_id: int) -> None:
    """An exchange: what either side had sent before it has been read by the other."""
    future = start(session, started, "/", stream_id=stream_id)
    started.connection().respond(stream_id, 204)
    assert future.result(WAIT).status_code == 204


def fill(conn: PeerConnection) -> int:
    """Use the whole window of stream 1 up."""
    size = conn.window_of(1)
    conn.send_data(1, bytes(size))
    return size


def fill_beside(session: requests.Session, started: Peer, stream_id: int) -> int:
    """:func:`fill`, while another exchange has the client take in what comes."""
    conn: PeerConnection = started.connection()
    other = start(session, started, "/", stream_id=stream_id)
    size = fill(conn)
    conn.respond(stream_id, 204)
    assert other.result(WAIT).status_code == 204
    return size


def read_all(response: requests.Response) -> int:
    return sum(len(chunk) for chunk in response.iter_content(65_536))


def test_it_grows_for_a_reader_that_keeps_up(session: requests.Session, peer: StartPeer) -> None:
    """The peer sends a window at a time, so that the reader has to wait after each."""
    sent = 0
    sizes = []

    def script(conn: PeerConnection) -> None:
        nonlocal sent
        conn.send_headers(conn.next_request())
        for window in (4 * MIB, LAST, LAST):
            sent += fill(conn)
            while conn.window_of(1) <= window - window // 8:
                conn.read_frame()
            sizes.append(conn.window_of(1))
        conn.send_data(1, end_stream=True)

    started = peer(script)
    assert read_all(session.get(started.url, stream=True, timeout=WAIT)) == sent
    assert sizes[0] <= 4 * MIB
    assert max(sizes) <= LAST
    assert credited(started.connection()) <= sent + LAST - FIRST


def test_a_short_response_gets_no_more(session: requests.Session, peer: StartPeer) -> None:
    """Content within half a window: no update at all, however often the reader has to wait."""
    seen = threading.Semaphore(0)

    def script(conn: PeerConnection) -> None:
        conn.send_headers(conn.next_request())
        for _ in range(4):
            conn.send_data(1, bytes(100 * KIB))
            assert seen.acquire(timeout=WAIT)
        conn.send_data(1, end_stream=True)
        conn.respond(conn.next_request(), 204)

    started = peer(script)
    response = session.get(started.url, stream=True, timeout=WAIT)
    for _ in range(4):
        assert len(response.raw.read(100 * KIB)) == 100 * KIB
        seen.release()
    assert response.raw.read() == b""
    assert session.get(started.url, timeout=WAIT).status_code == 204
    assert credited(started.connection()) == 0


def test_it_stays_for_a_slow_reader(session: requests.Session, peer: StartPeer) -> None:
    """Other exchanges keep the connection read, so that the content waits in the stream."""
    started = peer(hold)
    conn, response = held_response(session, started)
    fill(conn)
    for count in range(1, 9):
        fence(session, started, 4 * count - 1)
        assert len(response.raw.read(BATCH)) == BATCH
        fence(session, started, 4 * count + 1)
        assert credited(conn) == count * BATCH
        assert fill(conn) == BATCH


def test_what_the_socket_holds_is_not_waited_for(
    session: requests.Session, peer: StartPeer
) -> None:
    """A slow reader alone on its connection: nobody else moves the content to the stream."""
    started = peer(hold)
    conn, response = held_response(session, started)
    steps = 32
    for _ in range(steps):
        conn.send_data(1, bytes(64 * KIB))
        conn.channel.wait_until_delivered()
        assert len(response.raw.read(64 * KIB)) == 64 * KIB
    fence(session, started, 3)
    assert credited(conn) == steps * 64 * KIB


def test_a_reader_that_stops_stops_the_peer(session: requests.Session, peer: StartPeer) -> None:
    """After growth as before: one window is what may be unread, and the peer is held to it."""
    started = peer(hold)
    conn, response = held_response(session, started)
    reader = background(lambda: response.raw.read(2 * FIRST))
    sent = fill(conn)
    conn.wait_for(WindowUpdateFrame, lambda frame: conn.window_of(1) > 4 * MIB - BATCH, stream_id=1)
    sent += fill_beside(session, started, 3)
    assert len(reader.result(WAIT)) == 2 * FIRST
    sent += fill_beside(session, started, 5)
    assert conn.window_of(1) == 0
    assert 4 * MIB - BATCH < sent - 2 * FIRST <= 4 * MIB
    bystander = start(session, started, "/", stream_id=7)
    conn.send_data(1, b"x")
    with pytest.raises(requests.exceptions.ConnectionError, match="DATA past the window"):
        bystander.result(WAIT)
    conn.wait_for(GoAwayFrame, error_code=FLOW_CONTROL_ERROR)


def test_streams_grow_apart(session: requests.Session, peer: StartPeer) -> None:
    """The second of a connection starts with the first window again."""
    total = 3 * MIB

    def script(conn: PeerConnection) -> None:
        for _ in range(2):
            request = conn.next_request()
            assert conn.window_of(request.stream_id) == FIRST
            conn.send_headers(request)
            conn.send_body(request, bytes(total))

    started = peer(script)
    for _ in range(2):
        assert read_all(session.get(started.url, stream=True, timeout=WAIT)) == total
    assert started.accepted == 1
