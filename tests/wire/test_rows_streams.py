"""Rows 15 to 22 of the fault table: streams beside each other, their order and their number."""

from __future__ import annotations

import math
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import requests
from hyperframe.frame import (
    ContinuationFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from requests_h2 import keepalive
from requests_h2.engine.choice import engine_class
from requests_h2.poller import Poller
from requests_h2.pump import Pump
from tests.support.exchanges import Moment, in_one_write, start
from tests.support.interrupts import interrupting
from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, hold, serve
from tests.support.threads import PROMPT, WAIT, background, together

PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 1, 2, 7, 8


def echo_path(request: Request) -> Any:
    return 200, {}, request.path.encode()


# -- 15: everybody gets what is theirs -------------------------------------------------------------


def test_015_answers_out_of_order(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        requests_ = conn.next_requests(20)
        for request in requests_:
            conn.send_headers(request)
        for request in reversed(requests_):
            conn.send_data(request, request.path.encode(), end_stream=True)

    started = peer(script)
    bodies = together(20, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [f"/{number}".encode() for number in range(20)]


@pytest.mark.parametrize("seed", range(3))
def test_015_interleaved_streams(session: requests.Session, peer: StartPeer, seed: int) -> None:
    """Fields, pieces of bodies and trailers of 20 streams in any order."""

    def steps(conn: PeerConnection, request: Request) -> Iterator[None]:
        name = request.path.encode()
        conn.informational(request, 103, {"x-path": request.path})
        yield
        conn.send_headers(request, 200, {"x-path": request.path})
        yield
        for _ in range(10):
            conn.send_data(request, name * 100, padding=random_.choice((0, 7)))
            yield
        conn.send_trailers(request, {"x-path": request.path})

    def script(conn: PeerConnection) -> None:
        running = [steps(conn, request) for request in conn.next_requests(20)]
        while running:
            chosen = random_.choice(running)
            if next(chosen, chosen) is chosen:
                running.remove(chosen)

    def work(number: int) -> None:
        response = session.get(f"{started.url}/{number}", timeout=WAIT)
        assert response.headers["x-path"] == f"/{number}"
        assert response.content == f"/{number}".encode() * 1000

    random_ = random.Random(seed)
    started = peer(script)
    together(20, work)
    assert started.accepted == 1


def late_response(conn: PeerConnection, first: Request) -> None:
    conn.send_headers(first, 200, {"x": "first", "set-cookie": "late=1"})
    conn.send_data(first, b"late " * 1000)
    conn.send_trailers(first, {"x-late": "yes"})


LATE: dict[str, Callable[[PeerConnection, Request], None]] = {
    "response": late_response,
    "informational": lambda conn, first: conn.informational(first, 103, {"x": "first"}),
    "malformed": lambda conn, first: conn.send_headers(first, 200, {"X": "first"}),
    "padding": lambda conn, first: conn.send_data(first, b"", padding=200),
    "credit": lambda conn, first: conn.window_update(first, 1000),
    "reset": lambda conn, first: conn.reset(first, CANCEL),
}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_015_late_frames_of_a_timed_out_stream(
    session: requests.Session, peer: StartPeer, late: Callable[[PeerConnection, Request], None]
) -> None:
    """Nobody gets them, and the HPACK state that they changed is the connection's all the same."""

    def script(conn: PeerConnection) -> None:
        first = conn.next_request()
        conn.expect(RstStreamFrame, stream_id=first.stream_id, error_code=CANCEL)
        second = conn.next_request()
        late(conn, first)
        conn.respond(second, 200, {"x": "second"}, b"second")
        conn.respond(conn.next_request(), 200, {"x": "first"}, b"third")

    started = peer(script)
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(started.url, timeout=0.3)
    second = session.get(started.url, timeout=WAIT)
    assert (dict(second.headers), second.content) == ({"x": "second"}, b"second")
    assert not session.cookies
    third = session.get(started.url, timeout=WAIT)
    assert (dict(third.headers), third.content) == ({"x": "first"}, b"third")
    assert [request.stream_id for request in started.requests] == [1, 3, 5]
    assert started.accepted == 1


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_015_late_frames_of_a_cancelled_stream(
    session: requests.Session, peer: StartPeer, late: Callable[[PeerConnection, Request], None]
) -> None:
    def script(conn: PeerConnection) -> None:
        first = conn.next_request()
        conn.send_headers(first, 200, {"x": "cancelled"})
        conn.expect(RstStreamFrame, stream_id=first.stream_id, error_code=CANCEL)
        second = conn.next_request()
        late(conn, first)
        conn.respond(second, 200, {"x": "second"}, b"second")

    started = peer(script)
    session.get(started.url, stream=True, timeout=WAIT).close()
    second = session.get(started.url, timeout=WAIT)
    assert (dict(second.headers), second.content) == ({"x": "second"}, b"second")
    assert started.accepted == 1


# -- 16: good frames in front of a bad one ---------------------------------------------------------

Break = Callable[[PeerConnection, int], None]

#: Each breaks stream 1 and nothing else.
STREAM_FAULTS: dict[str, Break] = {
    "no status": lambda conn, stream_id: conn.send_headers(stream_id, None, {"x": "y"}),
    "bad name": lambda conn, stream_id: conn.send_headers(stream_id, 200, {"X": "y"}),
    "data first": lambda conn, stream_id: conn.send_data(stream_id, b"early"),
    "no credit": lambda conn, stream_id: conn.send(WindowUpdateFrame(stream_id, 0)),
    "much credit": lambda conn, stream_id: conn.send(WindowUpdateFrame(stream_id, 2**31 - 1)),
    "reset": lambda conn, stream_id: conn.reset(stream_id, INTERNAL_ERROR),
}

#: Each breaks the connection.
CONNECTION_FAULTS: dict[str, Break] = {
    "short PING": lambda conn, _: conn.send_raw(b"\x00\x00\x05\x06\x00\x00\x00\x00\x00short"),
    "idle stream": lambda conn, _: conn.send_data(99, b"x"),
    "stream 0": lambda conn, _: conn.send_raw(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x"),
    "bad HPACK": lambda conn, stream_id: conn.send_header_block(stream_id, b"\xff\xff\xff\xff"),
    "interleaved": lambda conn, stream_id: conn.send(
        HeadersFrame(stream_id, b"\x88"), PingFrame(0, b"between!")
    ),
    "long frame": lambda conn, stream_id: conn.send_raw(
        b"\x00\x40\x01\x00\x00" + stream_id.to_bytes(4, "big")
    ),
    "much credit": lambda conn, _: conn.send(WindowUpdateFrame(0, 2**31 - 1)),
}


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", STREAM_FAULTS.values(), ids=STREAM_FAULTS)
def test_016_a_response_and_a_stream_fault_in_one_read(
    session: requests.Session, peer: StartPeer, fault: Break, whole: bool
) -> None:
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        bad, good = conn.next_requests(2)
        moment.now()
        with in_one_write(conn):
            conn.respond(good, 200, {"x": "good"}, b"good", trailers={"x": "end"})
            fault(conn, bad.stream_id)
        conn.respond(conn.next_request(), 200, {"x": "good"}, b"next")

    started = peer(script)
    bad = start(session, started, "/bad", stream_id=1)
    good = start(session, started, "/good", stream_id=3, stream=not whole)
    with pytest.raises(requests.ConnectionError, match="stream 1"):
        bad.result(WAIT)
    moment.assert_prompt()
    response = good.result(WAIT)
    assert (response.headers["x"], response.content) == ("good", b"good")
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert [request.stream_id for request in started.requests] == [1, 3, 5]
    assert started.accepted == 1


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", CONNECTION_FAULTS.values(), ids=CONNECTION_FAULTS)
def test_016_a_response_and_a_connection_fault_in_one_read(
    session: requests.Session, peer: StartPeer, fault: Break, whole: bool
) -> None:
    """Also what was complete before the fault survives it; the other is not sent again."""
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        bad, good = conn.next_requests(2)
        moment.now()
        with in_one_write(conn):
            conn.respond(good, 200, {"x": "good"}, b"good", trailers={"x": "end"})
            fault(conn, bad.stream_id)
        conn.wait_eof()

    started = peer([script, serve(echo_path)])
    bad = start(session, started, "/bad", stream_id=1)
    good = start(session, started, "/good", stream_id=3, stream=not whole)
    with pytest.raises(requests.ConnectionError, match=r"127\.0\.0\.1:\d+: stream 1: "):
        bad.result(WAIT)
    moment.assert_prompt()
    response = good.result(WAIT)
    assert (response.headers["x"], response.content) == ("good", b"good")
    conn = started.connection(0)
    conn.wait_eof()
    assert conn.received(GoAwayFrame)[-1].error_code != 0
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    assert [request.path for request in started.requests] == ["/bad", "/good", "/next"]


# -- 17: a malformed response is one request's affair ----------------------------------------------


def too_long(conn: PeerConnection, stream_id: int) -> None:
    conn.send_headers(stream_id, 200, {"content-length": "3"})
    conn.send_data(stream_id, b"12345")


def bad_trailers(conn: PeerConnection, stream_id: int) -> None:
    conn.send_headers(stream_id, 200)
    conn.send_data(stream_id, b"some")
    conn.send_headers(stream_id, None, [(":status", "200")], end_stream=True)


def endless_trailers(conn: PeerConnection, stream_id: int) -> None:
    conn.send_headers(stream_id, 200)
    conn.send_data(stream_id, b"some")
    conn.send_headers(stream_id, None, {"x": "y"})


#: Each with what the caller sees.
MALFORMED: dict[str, tuple[Break, type[Exception]]] = {
    "no status": (STREAM_FAULTS["no status"], requests.ConnectionError),
    "bad name": (STREAM_FAULTS["bad name"], requests.ConnectionError),
    "data first": (STREAM_FAULTS["data first"], requests.ConnectionError),
    "line feed": (
        lambda conn, stream_id: conn.send_headers(stream_id, 200, {"x": "a\nb"}),
        requests.ConnectionError,
    ),
    "connection": (
        lambda conn, stream_id: conn.send_headers(stream_id, 200, {"connection": "close"}),
        requests.ConnectionError,
    ),
    "bad informational": (
        lambda conn, stream_id: conn.send_headers(stream_id, 103, {"X": "y"}),
        requests.ConnectionError,
    ),
    "too long": (too_long, requests.exceptions.ChunkedEncodingError),
    "bad trailers": (bad_trailers, requests.exceptions.ChunkedEncodingError),
    "endless trailers": (endless_trailers, requests.exceptions.ChunkedEncodingError),
}


@pytest.mark.parametrize("uploading", [False, True], ids=["GET", "POST"])
@pytest.mark.parametrize(("fault", "error"), MALFORMED.values(), ids=MALFORMED)
def test_017_a_malformed_response_beside_others(
    session: requests.Session,
    peer: StartPeer,
    fault: Break,
    error: type[Exception],
    uploading: bool,
) -> None:
    # Bad trailers end the response all the same: a stream whose request is whole is closed then.
    reset = uploading or fault is not bad_trailers
    moment, over = Moment(), threading.Event()

    def body() -> Iterator[bytes]:
        yield b"some"
        assert over.wait(WAIT)
        yield b"more"

    def script(conn: PeerConnection) -> None:
        before, bad, after = conn.next_requests(3)
        conn.send_headers(before, 200, {"x": "indexed"})
        conn.send_data(before, b"some ")
        moment.now()
        fault(conn, bad.stream_id)
        if reset:
            conn.wait_for(RstStreamFrame, stream_id=bad.stream_id)
        over.set()
        # Field lines that refer to the dynamic table, which the bad block has changed.
        conn.respond(after, 200, {"x": "indexed"}, b"after")
        conn.send_data(before, b"more", end_stream=True)
        conn.respond(conn.next_request(), 200, {"x": "indexed"}, b"next")

    started = peer(script)
    options: dict[str, Any] = {"method": "POST", "data": body()} if uploading else {}
    before = start(session, started, "/before", stream_id=1)
    bad = start(session, started, "/bad", stream_id=3, **options)
    after = start(session, started, "/after", stream_id=5)
    with pytest.raises(error) as caught:
        bad.result(WAIT)
    moment.assert_prompt()
    assert not isinstance(caught.value, requests.Timeout)
    assert f"127.0.0.1:{started.port}: stream 3: " in str(caught.value)
    assert "PROTOCOL_ERROR (0x1)" in str(caught.value) or "malformed" in str(caught.value)
    assert before.result(WAIT).content == b"some more"
    assert after.result(WAIT).content == b"after"
    assert session.get(started.url, timeout=WAIT).headers["x"] == "indexed"
    conn = started.connection()
    resets = [(frame.stream_id, frame.error_code) for frame in conn.received(RstStreamFrame)]
    assert resets == ([(3, PROTOCOL_ERROR)] if reset else [])
    assert conn.received(GoAwayFrame) == []
    assert len(started.requests) == 4
    assert started.accepted == 1


# -- 18: streams of the server's -------------------------------------------------------------------

REQUEST = [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")]


@pytest.mark.parametrize("block", [REQUEST, [(":status", "200")]], ids=["request", "response"])
@pytest.mark.parametrize(
    ("stream_id", "end_stream"),
    [(2, True), (2, False), (100, True), (3, True), (99, False), (0, True)],
)
def test_018_a_stream_opened_by_the_server(
    session: requests.Session, peer: StartPeer, stream_id: int, block: Any, end_stream: bool
) -> None:
    """Even ones are the server's but push is off; odd ones only a client may open."""
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        conn.next_request()
        encoded = conn.encode(block)
        flags = 0x4 | (0x1 if end_stream else 0)
        head = len(encoded).to_bytes(3, "big") + bytes([1, flags]) + stream_id.to_bytes(4, "big")
        moment.now()
        conn.send_raw(head + encoded)
        conn.wait_eof()

    started = peer([script, serve(echo_path)])
    with pytest.raises(requests.ConnectionError, match=r"PROTOCOL_ERROR \(0x1\)"):
        session.get(started.url, timeout=WAIT)
    moment.assert_prompt()
    conn = started.connection()
    conn.wait_for(GoAwayFrame, error_code=PROTOCOL_ERROR)
    assert len(conn.requests) == 1
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    assert started.accepted == 2


def test_018_streams_opened_on_an_idle_connection(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(serve(echo_path))
    session.get(started.url)
    conn = started.connection()
    for stream_id in range(2, 202, 2):
        conn.send_headers(stream_id, None, REQUEST, end_stream=True)
    conn.channel.wait_until_delivered()
    # Seen before anything is entrusted to that connection.
    assert session.post(started.url + "/next", data=b"x", timeout=WAIT).content == b"/next"
    conn.wait_for(GoAwayFrame, error_code=PROTOCOL_ERROR)
    assert [len(each.requests) for each in started.connections] == [1, 1]


# -- 20: more requests than streams ----------------------------------------------------------------


def await_limit(conn: PeerConnection) -> None:
    """Until the client has acknowledged, so obeys, the peer's SETTINGS."""
    conn.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)


def test_020_requests_past_the_limit_wait_their_turn(
    make_session: MakeSession, peer: StartPeer
) -> None:
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


def test_020_past_the_limit_more_connections(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=3)
    started = peer(hold, settings={"max_concurrent_streams": 1})
    futures = []
    for index in range(3):
        futures.append(start(session, started, "/", stream_id=1, connection=index))
        await_limit(started.connection(index))
    futures.append(background(lambda: session.get(started.url, timeout=WAIT)))
    for index in (0, 1, 2):
        started.connection(index).respond(1, 200, (), b"answer")
    # The fourth waits for whichever connection has a free stream first.
    busy = next(
        conn for conn in started.connections if _gets_a_second_request(conn, started.connections)
    )
    busy.respond(3, 200, (), b"answer")
    assert [future.result(WAIT).content for future in futures] == [b"answer"] * 4
    assert started.accepted == 3


def _gets_a_second_request(conn: PeerConnection, connections: list[PeerConnection]) -> bool:
    deadline = threading.Event()
    for _ in range(1000):
        if any(len(each.requests) > 1 for each in connections):
            return len(conn.requests) > 1
        deadline.wait(0.01)
    raise AssertionError("nobody got the fourth request")


def test_020_waiting_for_a_stream_is_bounded(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=1)
    started = peer(hold, settings={"max_concurrent_streams": 1})
    first = start(session, started, "/", stream_id=1)
    conn = started.connection()
    await_limit(conn)
    for timeout in (0.3, (0.3, WAIT), (None, 0.3)):
        begin = time.monotonic()
        with pytest.raises(requests.exceptions.ConnectTimeout):
            session.get(started.url, timeout=timeout)
        assert 0.25 < time.monotonic() - begin < 0.3 + PROMPT
    conn.respond(1, 200, (), b"first")
    assert first.result(WAIT).content == b"first"
    # Who gave up has burnt no stream id.
    last = start(session, started, "/", stream_id=3)
    conn.respond(3, 200, (), b"last")
    assert last.result(WAIT).content == b"last"
    assert len(conn.requests) == 2


def test_020_who_gives_up_leaves_the_queue(make_session: MakeSession, peer: StartPeer) -> None:
    """The place goes to the next in line, and goes there at once."""
    session = make_session(pool_maxsize=1)
    started = peer(hold, settings={"max_concurrent_streams": 1})
    first = start(session, started, "/first", stream_id=1)
    conn = started.connection()
    await_limit(conn)
    gives_up = [
        background(lambda: session.get(started.url + "/gives-up", timeout=(0.5, WAIT)))
        for _ in range(3)
    ]
    patient = [
        background(lambda: session.get(started.url + "/patient", timeout=WAIT)) for _ in "ab"
    ]
    for future in gives_up:
        with pytest.raises(requests.exceptions.ConnectTimeout):
            future.result(WAIT)
    moment = Moment()
    for stream_id in (1, 3, 5):
        conn.wait_for(HeadersFrame, stream_id=stream_id)
        if stream_id > 1:
            moment.assert_prompt()
        moment.now()
        conn.respond(stream_id, 200, (), b"answer")
    assert [each.result(WAIT).content for each in (first, *patient)] == [b"answer"] * 3
    assert [request.path for request in started.requests] == ["/first", "/patient", "/patient"]
    assert started.accepted == 1


def test_020_an_interrupted_waiter(make_session: MakeSession, peer: StartPeer) -> None:
    """A signal's exception in the main thread, which stands in the queue."""

    class Interrupted(BaseException):
        pass

    def waits(at: FrameType) -> bool:
        # Anywhere else it might hold the lock, which ends the connection.
        polls = at.f_code is Poller.wait.__code__
        return polls or (at.f_code is Pump.wait.__code__ and bool(at.f_locals.get("bell")))

    session = make_session(pool_maxsize=1)
    started = peer(hold, settings={"max_concurrent_streams": 1})
    first = start(session, started, "/first", stream_id=1)
    conn = started.connection()
    await_limit(conn)
    with interrupting(Interrupted, waits) as interrupt:
        disturbance = background(interrupt)
        with pytest.raises(Interrupted):
            session.get(started.url + "/interrupted", timeout=WAIT)
        disturbance.result(WAIT)
    conn.respond(1, 200, (), b"first")
    assert first.result(WAIT).content == b"first"
    last = start(session, started, "/last", stream_id=3)
    conn.respond(3, 200, (), b"last")
    assert last.result(WAIT).content == b"last"
    assert [request.path for request in started.requests] == ["/first", "/last"]
    assert started.accepted == 1


# -- 21: stream ids are used up --------------------------------------------------------------------

LAST_ID = 2**31 - 1


@pytest.fixture
def last_ids(monkeypatch: pytest.MonkeyPatch, engine: str) -> Callable[[int], list[int]]:
    """``last_ids(3)``: the next connection has these three stream ids left, later ones have all.

    ngh2 cannot begin anywhere but at 1; its engine is told to take an early id for the last.
    """
    made = engine_class(engine)
    original = made.__init__

    def lower(count: int) -> list[int]:
        last = LAST_ID if engine == "h2" else 2 * count - 1
        limited: list[Any] = []

        def init(self: Any, **options: Any) -> None:
            monkeypatch.setattr(made, "__init__", original)
            original(self, **options)
            limited.append(self)
            if engine == "h2":
                self._next_stream_id = LAST_ID - 2 * (count - 1)

        def has_stream_ids(self: Any) -> bool:
            return bool(self._next_stream_id <= (last if self in limited else LAST_ID))

        monkeypatch.setattr(made, "__init__", init)
        if engine == "nghttp2":
            monkeypatch.setattr(made, "has_stream_ids", property(has_stream_ids))
        return list(range(last - 2 * (count - 1), last + 1, 2))

    return lower


def test_021_a_new_connection_when_ids_are_used_up(
    session: requests.Session, peer: StartPeer, last_ids: Callable[[int], list[int]]
) -> None:
    left = last_ids(3)
    started = peer(serve(lambda request: (200, {}, bytes(request.body))))
    for number in range(6):
        body = str(number).encode()
        response = session.post(started.url, data=iter([body]), timeout=WAIT)
        assert response.content == body
    old, new = started.connections
    assert [request.stream_id for request in old.requests] == left
    assert [request.stream_id for request in new.requests] == [1, 3, 5]
    old.wait_eof()
    assert old.received(GoAwayFrame)[-1].error_code == 0
    assert old.received(RstStreamFrame) == []


def test_021_the_old_connection_drains(
    session: requests.Session, peer: StartPeer, last_ids: Callable[[int], list[int]]
) -> None:
    left = last_ids(2)
    started = peer([hold, serve(echo_path)])
    slow = [start(session, started, "/slow", stream_id=stream_id) for stream_id in left]
    assert session.get(started.url + "/new", timeout=WAIT).content == b"/new"
    old = started.connection(0)
    assert old.received(GoAwayFrame) == []
    for request in old.requests:
        old.respond(request, 200, (), b"slow")
    assert [future.result(WAIT).content for future in slow] == [b"slow"] * 2
    old.wait_eof()
    assert old.received(RstStreamFrame) == []
    assert started.accepted == 2


def test_021_threads_at_the_last_id(
    session: requests.Session, peer: StartPeer, last_ids: Callable[[int], list[int]]
) -> None:
    last_ids(5)
    started = peer(serve(echo_path))
    bodies = together(12, lambda number: session.post(f"{started.url}/{number}", data=b"x").content)
    assert bodies == [f"/{number}".encode() for number in range(12)]
    assert len(started.requests) == 12
    assert started.accepted == 2


# -- 22: one critical section ----------------------------------------------------------------------


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Threads change after nearly every bytecode, as they do on a loaded machine now and then."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_switches")
def test_022_requests_that_start_together(session: requests.Session, peer: StartPeer) -> None:
    """The peer checks that ids rise, that nothing is inside a header block, that HPACK decodes."""

    def check(request: Request) -> Any:
        return 200, {"x-answer": request.headers["x-number"]}, request.headers["x-long"].encode()

    def work(number: int) -> None:
        for count in range(4):
            name = f"{number}-{count}"
            # CONTINUATION for one of them; entries of HPACK's dynamic table for all.
            long = name * (12_000 if count == 0 else 10)
            headers = {"x-number": name, "x-long": long, f"x-of-{number}": name}
            response = session.get(started.url, headers=headers, timeout=WAIT)
            assert response.headers["x-answer"] == name
            assert response.text == long

    started = peer(serve(check))
    together(12, work)
    assert len(started.requests) == 48
    assert len(started.connection().received(ContinuationFrame)) >= 12
    assert started.accepted == 1


class EveryEnd:
    """A script whose paths name how their streams end, and which counts those that are open."""

    ways = ("/reset", "/refuse", "/malformed", "/early", "/close", "/timeout")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: list[Request] = []
        self._ended: list[Request] = []  # on this side
        self._refused = False

    def __call__(self, conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        await_limit(conn)
        while (request := conn.next_request()).path != "/last":
            self._open = [each for each in [*self._open, request] if not self._over(each)]
            assert len(self._open) <= self.limit
            if self._end(conn, request):
                self._ended.append(request)
        for each in [request, *conn.next_requests(self.limit - 1)]:
            conn.respond(each, 200, (), b"last")

    def _over(self, request: Request) -> bool:
        return request.reset_code is not None or (request.ended and request in self._ended)

    def _end(self, conn: PeerConnection, request: Request) -> bool:
        """Whether that was the end of the stream on this side."""
        if request.path == "/reset":
            conn.reset(request, INTERNAL_ERROR)
        elif request.path == "/refuse" and not self._refused:
            self._refused = True
            conn.reset(request, REFUSED_STREAM)
        elif request.path == "/malformed":
            conn.send_headers(request, None, {"x": "y"}, end_stream=True)
        elif request.path == "/early":
            conn.respond(request, 413, (), b"early")
        elif request.path == "/close":
            conn.send_headers(request)
            conn.send_data(request, b"some")
            return False
        elif request.path == "/timeout":
            return False
        else:
            conn.respond(request, 200, (), b"answer")
        return True


@pytest.mark.usefixtures("eager_switches")
def test_022_slots_are_never_lost(
    make_session: MakeSession, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams end in every way there is; afterwards each slot can still be used."""
    # On a busy machine several may time out before the peer had its turn to say anything. That is
    # no reason to leave the connection here: its slots are what is looked at.
    monkeypatch.setattr(keepalive, "_MAX_SILENT_TIMEOUTS", math.inf)

    def work(number: int) -> None:
        ways = EveryEnd.ways[number % 6 :] + EveryEnd.ways[: number % 6]
        for path in ("/answer", *ways, "/answer"):
            options: dict[str, Any] = {"timeout": (WAIT, 0.1 if path == "/timeout" else WAIT)}
            if path == "/early":
                options.update(data=(bytes(10_000) for _ in range(100)))
            try:
                session.post(started.url + path, stream=path == "/close", **options).close()
            except requests.RequestException:
                assert path in ("/reset", "/malformed", "/timeout")

    script = EveryEnd(limit=4)
    session = make_session(pool_maxsize=1)
    started = peer(script, settings={"max_concurrent_streams": script.limit})
    session.get(started.url, timeout=WAIT)
    together(8, work)
    last = together(
        script.limit, lambda number: session.get(started.url + "/last", timeout=WAIT).content
    )
    assert last == [b"last"] * script.limit
    assert started.accepted == 1
