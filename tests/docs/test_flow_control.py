"""The blocks of docs/flow_control.rst: what of the managers there reaches the server."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests
from hyperframe.frame import SettingsFrame, WindowUpdateFrame

from tests.support.certs import Certificates
from tests.support.exchanges import start
from tests.support.pages import Example
from tests.support.peer import Peer, PeerConnection, StartPeer, hold, serve
from tests.support.threads import WAIT, background

PAGE = "flow_control.rst"
KIB, MIB = 1 << 10, 1 << 20
FIRST = 64 * KIB  # the window of the limiting managers


@pytest.fixture
def session(certs: Certificates) -> Any:
    """The blocks mount their own adapters."""
    with requests.Session() as made:
        yield made


def increments(conn: PeerConnection, stream_id: int) -> list[int]:
    frames = conn.received(WindowUpdateFrame, stream_id=stream_id)
    return [frame.window_increment for frame in frames]


def fence(session: requests.Session, started: Peer, stream_id: int) -> None:
    """An exchange: what the client had sent before it is here."""
    future = start(session, started, "/", stream_id=stream_id)
    started.connection().respond(stream_id, 204)
    assert future.result(WAIT).status_code == 204


def test_a_larger_window(example: Example, session: requests.Session, peer: StartPeer) -> None:
    example(session=session)
    started = peer(serve(lambda request: (204, {}, b"")))
    session.get(started.url, timeout=WAIT)
    settings = started.connection().client_settings
    assert settings[SettingsFrame.INITIAL_WINDOW_SIZE] == 16 * MIB


def test_give_back(
    example: Example, session: requests.Session, peer: StartPeer, engine: str
) -> None:
    """A WINDOW_UPDATE for each frame, once it is read."""
    example(session=session)
    started = peer(hold)
    future = start(session, started, "/", stream_id=1, stream=True)
    conn: PeerConnection = started.connection()
    conn.send_headers(1)
    sizes = [16_384, 1, 0, 5000]
    for size in sizes:
        conn.send_data(1, bytes(size))
    fence(session, started, 3)
    assert increments(conn, 1) == []
    frames = future.result(WAIT).raw.read_chunked()
    assert [len(next(frames)) for _ in sizes] == sizes
    fence(session, started, 5)
    assert increments(conn, 1) == [16_384, 1, 5000]
    # The first one of the connection sets its window up; nghttp2's stays ours.
    assert increments(conn, 0)[1:] == ([16_384, 1, 5000] if engine == "h2" else [])


def test_a_rate_limit(example: Example, session: requests.Session, peer: StartPeer) -> None:
    """The server is held to the rate once it has used the first window up."""
    example(session=session)
    size, began, sent = 400_000, [0.0], [0.0]

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        began[0] = time.monotonic()
        conn.send_headers(request)
        left = size
        while left:
            room = min(left, conn.window_of(1))
            conn.send_data(request, bytes(room))
            left -= room
            # No octet before its time, on the server's side either.
            assert size - left - FIRST <= 1_000_000 * (time.monotonic() - began[0])
            if left:
                conn.read_frame()
        conn.send_data(request, end_stream=True)
        sent[0] = time.monotonic()

    started = peer(script)
    response = session.get(started.url, stream=True, timeout=WAIT)
    assert sum(map(len, response.iter_content(10_000))) == size
    assert time.monotonic() - began[0] >= 0.4
    assert sent[0] - began[0] >= (size - FIRST) / 1_000_000
    assert sum(increments(started.connection(), 1)) <= size


def test_a_bound_for_memory(example: Example, session: requests.Session, peer: StartPeer) -> None:
    """Three readers keep up: their windows are never more than 64 KiB each and 8 MiB together."""
    manager = example(session=session)["Bounded"]
    budget, size = 8 * MIB, 24 * MIB
    most: dict[int, int] = {}

    def script(conn: PeerConnection) -> None:
        requests_ = conn.next_requests(3)
        left = {request.stream_id: size for request in requests_}
        for request in requests_:
            conn.send_headers(request)
        while any(left.values()):
            windows = {number: conn.window_of(number) for number in left if left[number]}
            assert sum(windows.values()) <= 3 * FIRST + budget
            for stream_id, window in windows.items():
                most[stream_id] = max(most.get(stream_id, 0), window)
                room = min(window, left[stream_id])
                if room:
                    conn.send_data(stream_id, bytes(room))
                    left[stream_id] -= room
                    if not left[stream_id]:
                        conn.send_data(stream_id, end_stream=True)
            if any(left.values()):
                conn.read_frame()

    started = peer(script)

    def read() -> int:
        response = session.get(started.url, stream=True, timeout=WAIT)
        return sum(map(len, response.iter_content(FIRST)))

    readers = [background(read) for _ in range(3)]
    assert [reader.result(3 * WAIT) for reader in readers] == [size] * 3
    # What one has got the others have not; all of it is lent again when responses have ended.
    assert max(most.values()) >= MIB
    assert [each for each in manager.managers if each.stream_id] == []
