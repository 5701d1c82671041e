"""Read timeouts: whose they are, and what they leave behind."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import requests
import urllib3
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame

from tests.support.peer import PeerConnection, StartPeer, hold, serve
from tests.support.threads import WAIT, background

CANCEL = 8


TIMEOUTS: list[Any] = [
    0.3,
    (5, 0.3),
    (None, 0.3),
    urllib3.Timeout(connect=5, read=0.3),
    urllib3.Timeout(total=0.4),
]


@pytest.mark.parametrize("timeout", TIMEOUTS, ids=str)
def test_no_headers_in_time(session: requests.Session, peer: StartPeer, timeout: Any) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.expect(RstStreamFrame, stream_id=1, error_code=CANCEL)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    begin = time.monotonic()
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(started.url, timeout=timeout)
    assert 0.25 < time.monotonic() - begin < 3
    # Neither the connection nor the slot is lost.
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.accepted == 1


def test_no_timeout(session: requests.Session, peer: StartPeer) -> None:
    started = peer(hold)
    for number, timeout in enumerate((None, (None, None), urllib3.Timeout(None))):
        future = background(lambda timeout=timeout: session.get(started.url, timeout=timeout))  # type: ignore[misc]
        conn = started.connection()
        stream_id = 2 * number + 1
        conn.wait_for(HeadersFrame, stream_id=stream_id)
        conn.respond(stream_id, 204)
        assert future.result(WAIT).status_code == 204


def test_the_timer_starts_when_the_request_is_sent(
    session: requests.Session, peer: StartPeer
) -> None:
    """A body may take longer than the read timeout to produce."""
    pause = threading.Event()

    def body() -> Any:
        for _ in range(4):
            yield b"x"
            pause.wait(0.2)

    started = peer(serve(lambda request: (200, {}, bytes(request.body))))
    assert session.post(started.url, data=body(), timeout=0.5).content == b"xxxx"


def test_a_body_that_stalls(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"some")
        conn.expect(RstStreamFrame, stream_id=1, error_code=CANCEL)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    with pytest.raises(requests.ConnectionError, match="timed out") as caught:
        session.get(started.url, timeout=0.3)
    assert not isinstance(caught.value, requests.Timeout)
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.accepted == 1


def test_a_body_that_trickles(session: requests.Session, peer: StartPeer) -> None:
    pause = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for _ in range(8):
            conn.send_data(request, b"x")
            pause.wait(0.15)
        conn.send_data(request, end_stream=True)

    assert session.get(peer(script).url, timeout=0.8).content == b"x" * 8


def test_progress_of_others_is_no_progress(session: requests.Session, peer: StartPeer) -> None:
    quiet_is_there = threading.Event()
    over = threading.Event()

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


def test_a_silent_server_after_tls(session: requests.Session, peer: StartPeer) -> None:
    """The request does not wait for SETTINGS, and the timeout is the caller's."""

    def script(conn: PeerConnection) -> None:
        while conn.channel.receive():
            pass

    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(peer(script, preface=False).url, timeout=0.5)


@pytest.mark.parametrize("window", ["stream", "connection"])
def test_an_upload_that_is_not_read(
    session: requests.Session, peer: StartPeer, window: str
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        if window == "connection":
            conn.window_update(request, 2**20)
        while request.received < 65_535:
            conn.expect(DataFrame)
        conn.expect(RstStreamFrame, stream_id=1, error_code=CANCEL)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.post(started.url, data=bytes(200_000), timeout=0.5)
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.accepted == 1
