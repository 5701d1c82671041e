"""Many threads, few connections."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests
from hyperframe.frame import HeadersFrame, RstStreamFrame, SettingsFrame

from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, hold, serve
from tests.support.threads import WAIT, background, together


def echo_path(request: Request) -> Any:
    return 200, {}, request.path.encode()


def test_a_cold_origin_is_dialled_once(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(echo_path))
    bodies = together(20, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [f"/{number}".encode() for number in range(20)]
    assert started.accepted == 1


def test_answers_out_of_order(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        requests_ = conn.next_requests(20)
        for request in requests_:
            conn.send_headers(request)
        for request in reversed(requests_):
            conn.send_data(request, request.path.encode(), end_stream=True)

    started = peer(script)
    bodies = together(20, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [f"/{number}".encode() for number in range(20)]


def test_many_requests_of_many_threads(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(echo_path))

    def work(number: int) -> bool:
        paths = [f"/{number}/{count}" for count in range(25)]
        return all(session.get(started.url + path).content == path.encode() for path in paths)

    assert all(together(16, work))
    assert started.accepted == 1
    assert len(started.requests) == 400


def test_large_answers_side_by_side(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, request.path[-1].encode() * 3_000_000)))
    bodies = together(6, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [str(number).encode() * 3_000_000 for number in range(6)]
    assert started.accepted == 1


def test_a_slow_answer_holds_nobody_up(session: requests.Session, peer: StartPeer) -> None:
    """The thread of the slow one waits first, so it is the one that reads the socket."""
    slow_is_there = threading.Event()

    def script(conn: PeerConnection) -> None:
        slow = conn.next_request()
        slow_is_there.set()
        for request in conn.next_requests(3):
            conn.respond(request, 200, (), b"quick")
        conn.next_request()
        conn.respond(slow, 200, (), b"slow")

    started = peer(script)
    slow = background(lambda: session.get(started.url + "/slow").content)
    assert slow_is_there.wait(WAIT)
    quick = together(3, lambda number: session.get(started.url, timeout=WAIT).content)
    assert quick == [b"quick"] * 3
    assert not slow.done()
    background(lambda: session.get(started.url, timeout=1))
    assert slow.result(WAIT) == b"slow"


def test_the_reading_thread_times_out_and_another_takes_over(
    session: requests.Session, peer: StartPeer
) -> None:
    first_is_there, second_is_there = threading.Event(), threading.Event()

    def script(conn: PeerConnection) -> None:
        first = conn.next_request()
        first_is_there.set()
        second = conn.next_request()
        second_is_there.set()
        conn.expect(RstStreamFrame, stream_id=first.stream_id)
        conn.respond(second, 200, (), b"second")

    started = peer(script)
    first = background(lambda: session.get(started.url, timeout=0.5))
    assert first_is_there.wait(WAIT)
    second = background(lambda: session.get(started.url, timeout=WAIT).content)
    assert second_is_there.wait(WAIT)
    with pytest.raises(requests.exceptions.ReadTimeout):
        first.result(WAIT)
    assert second.result(WAIT) == b"second"


def test_a_waiting_thread_keeps_its_own_deadline(
    session: requests.Session, peer: StartPeer
) -> None:
    """It is not the one that reads, and still times out while the reader waits on."""
    first_is_there = threading.Event()

    def script(conn: PeerConnection) -> None:
        first = conn.next_request()
        first_is_there.set()
        second = conn.next_request()
        conn.expect(RstStreamFrame, stream_id=second.stream_id)
        conn.respond(first, 200, (), b"first")

    started = peer(script)
    first = background(lambda: session.get(started.url, timeout=WAIT).content)
    assert first_is_there.wait(WAIT)
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(started.url, timeout=0.3)
    assert first.result(WAIT) == b"first"
    assert started.accepted == 1


# -- the peer's stream limit ---------------------------------------------------------------


def test_the_stream_limit_is_kept(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=1)
    most = 0

    def script(conn: PeerConnection) -> None:
        nonlocal most
        conn.respond(conn.next_request())
        answered = 0
        open_requests: list[Request] = []
        while answered < 12:
            open_requests.append(conn.next_request())
            while conn.read_available():
                pass
            while conn.has_request:
                open_requests.append(conn.next_request())
            most = max(most, len(open_requests))
            for request in open_requests:
                conn.respond(request)
                answered += 1
            open_requests.clear()

    started = peer(script, settings={"max_concurrent_streams": 2})
    session.get(started.url)
    together(12, lambda number: session.get(started.url, timeout=WAIT).status_code)
    assert 1 <= most <= 2
    assert started.accepted == 1


def test_past_the_limit_more_connections(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=3)
    started = peer(hold, settings={"max_concurrent_streams": 1})
    futures = []
    for index in range(3):
        futures.append(background(lambda: session.get(started.url, timeout=WAIT).content))
        started.connection(index).wait_for(HeadersFrame)
        started.connection(index).wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)
    futures.append(background(lambda: session.get(started.url, timeout=WAIT).content))
    for index in (0, 1, 2):
        started.connection(index).respond(1, 200, (), b"answer")
    # The fourth waits for whichever connection has a free stream first.
    busy = next(
        conn for conn in started.connections if _gets_a_second_request(conn, started.connections)
    )
    busy.respond(3, 200, (), b"answer")
    assert [future.result(WAIT) for future in futures] == [b"answer"] * 4
    assert started.accepted == 3


def _gets_a_second_request(conn: PeerConnection, connections: list[PeerConnection]) -> bool:
    deadline = threading.Event()
    for _ in range(1000):
        if any(len(each.requests) > 1 for each in connections):
            return len(conn.requests) > 1
        deadline.wait(0.01)
    raise AssertionError("nobody got the fourth request")


def test_waiting_for_a_stream_is_bounded(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=1)
    started = peer(hold, settings={"max_concurrent_streams": 1})
    first = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)
    with pytest.raises(requests.exceptions.ConnectTimeout):
        session.get(started.url, timeout=(0.3, WAIT))
    with pytest.raises(requests.exceptions.ConnectTimeout):
        session.get(started.url, timeout=0.3)
    conn.respond(1, 200, (), b"first")
    assert first.result(WAIT) == b"first"
    # Who gave up has burnt no stream id.
    last = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn.wait_for(HeadersFrame, stream_id=3)
    conn.respond(3, 200, (), b"last")
    assert last.result(WAIT) == b"last"


def test_the_limit_may_rise_and_fall(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=1)
    started = peer(hold, settings={"max_concurrent_streams": 1})
    futures = [background(lambda: session.get(started.url, timeout=WAIT).content)]
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)
    futures += [background(lambda: session.get(started.url, timeout=WAIT).content) for _ in "ab"]
    conn.settings(max_concurrent_streams=3)
    conn.wait_for(HeadersFrame, stream_id=5)
    conn.settings(max_concurrent_streams=1)
    # Below the number of open streams: they go on.
    for stream_id in (1, 3, 5):
        conn.respond(stream_id, 200, (), b"answer")
    assert [future.result(WAIT) for future in futures] == [b"answer"] * 3
    last = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn.wait_for(HeadersFrame, stream_id=7)
    conn.respond(7, 200, (), b"answer")
    assert last.result(WAIT) == b"answer"


def test_a_limit_of_zero_is_waited_for(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=1)
    started = peer(hold)
    first = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.settings(max_concurrent_streams=0)
    conn.respond(1, 200, (), b"answer")
    assert first.result(WAIT) == b"answer"
    with pytest.raises(requests.exceptions.ConnectTimeout):
        session.get(started.url, timeout=0.3)
    conn.settings(max_concurrent_streams=1)
    last = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn.wait_for(HeadersFrame, stream_id=3)
    conn.respond(3, 200, (), b"answer")
    assert last.result(WAIT) == b"answer"


# -- ends that concern everybody -----------------------------------------------------------


@pytest.mark.parametrize("way", ["close", "cut", "abort"])
def test_a_lost_connection_wakes_everybody(
    session: requests.Session, peer: StartPeer, way: str
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_requests(8)
        getattr(conn, way)()

    started = peer(script)

    def work(number: int) -> str:
        try:
            session.post(started.url, data=b"x", timeout=WAIT)
        except requests.ConnectionError:
            return "lost"
        return "answered"

    assert together(8, work) == ["lost"] * 8
    assert started.accepted == 1


def test_what_is_complete_survives_a_lost_connection(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        first, _ = conn.next_requests(2)
        conn.respond(first, 200, (), first.path.encode())
        # PING on a stream.
        conn.send_raw(b"\x00\x00\x08\x06\x00\x00\x00\x00\x01garbage!")

    started = peer(script)

    def work(number: int) -> bytes:
        try:
            return session.post(f"{started.url}/{number}", data=b"x", timeout=WAIT).content
        except requests.ConnectionError:
            return b"lost"

    assert sorted(map(len, together(2, work))) == [2, 4]


def test_nobody_waits_for_another_origin(session: requests.Session, peer: StartPeer) -> None:
    stuck, quick = peer(hold), peer(serve(echo_path))
    background(lambda: session.get(stuck.url, timeout=5))
    stuck.connection().wait_for(HeadersFrame)
    assert session.get(quick.url + "/quick", timeout=WAIT).content == b"/quick"


def test_http1_follows_pool_block(make_session: MakeSession, peer: StartPeer) -> None:
    """One connection a request, and with pool_block no more of them than pool_maxsize."""
    session = make_session(pool_maxsize=2, pool_block=True)
    started = peer(serve(echo_path), alpn=("http/1.1",))
    bodies = together(8, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [f"/{number}".encode() for number in range(8)]
    assert started.accepted <= 2
