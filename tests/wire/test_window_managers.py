"""``HTTP2Adapter(window_manager=...)``: what managers are asked, and what the peer sees of it."""

from __future__ import annotations

import contextlib
import functools
import pickle
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import RstStreamFrame, SettingsFrame, WindowUpdateFrame
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ProtocolError

from requests_h2 import AdaptiveWindow, FlowControlManager, HTTP2Adapter, get_pushes
from tests.support.exchanges import start
from tests.support.peer import (
    MakeSession,
    Peer,
    PeerConnection,
    Request,
    StartPeer,
    hold,
    promise,
    serve,
)
from tests.support.threads import PROMPT, WAIT, background, together, until

KIB, MIB = 1 << 10, 1 << 20
GIB = 1 << 30
MAX_WINDOW = 2**31 - 1
CANCEL = 8
SMALL_WINDOW = 256 << 10

Call = tuple[str, int, int, int | None]


class Recording(FlowControlManager):
    """Gives back each frame, and notes what it was asked and what it knew then."""

    made: list[Recording]

    def __init__(self, initial_window_size: int, document_size: int | None = None) -> None:
        super().__init__(initial_window_size, document_size)
        self.calls: list[Call] = []
        self.made.append(self)

    def increase_window_size(self, frame_size: int) -> int:
        self.calls.append(("read", frame_size, self.window_size, self.document_size))
        return frame_size

    def blocked(self) -> int:
        self.calls.append(("blocked", 0, self.window_size, self.document_size))
        return 0

    @property
    def read(self) -> list[int]:
        return [size for what, size, _, _ in self.calls if what == "read"]


@pytest.fixture
def recording() -> type[Recording]:
    made: list[Recording] = []
    return type("Fresh", (Recording,), {"made": made})


@pytest.fixture
def small_connection_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 KiB for all streams together: what is not given back soon stalls somebody."""
    monkeypatch.setattr("requests_h2.origin.CONNECTION_WINDOW", SMALL_WINDOW)
    monkeypatch.setattr("requests_h2.credit.CONNECTION_WINDOW", SMALL_WINDOW)


def increments(conn: PeerConnection, stream_id: int) -> list[int]:
    """The WINDOW_UPDATEs of a stream, or of the connection (0) after the one that sets it up."""
    frames = conn.received(WindowUpdateFrame, stream_id=stream_id)
    return [frame.window_increment for frame in frames][0 if stream_id else 1 :]


def held_response(
    session: requests.Session, started: Peer, stream_id: int = 1, **headers: str
) -> tuple[PeerConnection, requests.Response]:
    """A streamed response of which only the header section came, from a peer that holds."""
    future = start(session, started, "/", stream_id=stream_id, stream=True)
    conn: PeerConnection = started.connection()
    conn.send_headers(stream_id, 200, {name.replace("_", "-"): headers[name] for name in headers})
    return conn, future.result(WAIT)


def fence(session: requests.Session, started: Peer, stream_id: int) -> None:
    """An exchange: what either side had sent before it has been read by the other."""
    future = start(session, started, "/", stream_id=stream_id)
    started.connection().respond(stream_id, 204)
    assert future.result(WAIT).status_code == 204


def read_all(response: requests.Response) -> int:
    return sum(len(chunk) for chunk in response.iter_content(65_536))


# -- what a manager is asked -------------------------------------------------------------------


def test_a_manager_hears_of_each_frame_as_it_is_read(
    make_session: MakeSession, peer: StartPeer, engine: str, recording: type[Recording]
) -> None:
    session, started = make_session(window_manager=recording), peer(hold)
    conn, response = held_response(session, started)
    sizes = [100, 0, 16_384, 7, 0, 5000]
    for size in sizes:
        conn.send_data(1, bytes(size))
    items = response.raw.read_chunked()
    for count, size in enumerate(sizes, 1):
        assert len(next(items)) == size
        assert recording.made[0].read == sizes[:count]
    fence(session, started, 3)
    assert increments(conn, 1) == [size for size in sizes if size]
    # On nghttp2 the connection's window is ours.
    assert increments(conn, 0) == ([size for size in sizes if size] if engine == "h2" else [])


def test_frames_that_are_read_together_are_answered_together(
    make_session: MakeSession, peer: StartPeer, engine: str, recording: type[Recording]
) -> None:
    """One call each, one WINDOW_UPDATE for all."""
    session, started = make_session(window_manager=recording), peer(hold)
    conn, response = held_response(session, started)
    for size in (1000, 0, 2000, 16_000):
        conn.send_data(1, bytes(size))
    fence(session, started, 3)
    assert len(response.raw.read(19_000)) == 19_000
    assert recording.made[0].read == [1000, 0, 2000, 16_000]
    fence(session, started, 5)
    assert increments(conn, 1) == [19_000]


def test_nothing_is_asked_before_the_application_reads(
    make_session: MakeSession, peer: StartPeer, recording: type[Recording]
) -> None:
    """Unlike hyper, where all was read at once: a reader that stops stops the peer."""
    session, started = make_session(window_manager=recording), peer(hold)
    conn, response = held_response(session, started)
    conn.send_data(1, bytes(MIB))
    fence(session, started, 3)
    assert recording.made[0].calls == []
    assert increments(conn, 1) == []
    assert len(response.raw.read(MIB)) == MIB
    assert sum(recording.made[0].read) == MIB


def test_a_frame_counts_when_its_last_octet_is_read(
    make_session: MakeSession, peer: StartPeer, recording: type[Recording]
) -> None:
    session, started = make_session(window_manager=recording), peer(hold)
    conn, response = held_response(session, started)
    conn.send_data(1, bytes(1000))
    conn.send_data(1, bytes(1000))
    fence(session, started, 3)
    for _ in range(9):
        assert len(response.raw.read(111)) == 111
    assert recording.made[0].read == []
    assert len(response.raw.read(2)) == 2
    assert recording.made[0].read == [1000]
    assert len(response.raw.read1(1000)) == 999
    assert recording.made[0].read == [1000, 1000]


def test_what_a_manager_knows(
    make_session: MakeSession, peer: StartPeer, engine: str, recording: type[Recording]
) -> None:
    session, started = make_session(window_manager=recording), peer(hold)
    for stream_id, headers in ((1, {"content_length": "300"}), (3, {})):
        conn, response = held_response(session, started, stream_id, **headers)
        for _ in range(2):
            conn.send_data(stream_id, bytes(100))
        conn.send_data(stream_id, bytes(100), end_stream=True)
        assert len(list(filter(None, response.raw.read_chunked()))) == 3
    first, *shared, second = (
        recording.made if engine == "h2" else [recording.made[0], recording.made[1]]
    )
    assert (first.stream_id, first.document_size) == (1, 300)
    assert (second.stream_id, second.document_size) == (3, None)
    assert first.initial_window_size == MIB
    assert [call for call in first.calls if call[0] == "read"] == [("read", 100, MIB, 300)] * 3
    assert first.window_size == MIB
    if engine == "h2":
        (of_connection,) = shared
        assert (of_connection.stream_id, of_connection.document_size) == (0, None)
        assert of_connection.initial_window_size == GIB
        assert of_connection.read == [100] * 6


def test_it_is_told_when_its_reader_waits(
    make_session: MakeSession, peer: StartPeer, recording: type[Recording]
) -> None:
    session, started = make_session(window_manager=recording), peer(hold)
    conn, response = held_response(session, started)
    items = response.raw.read_chunked()
    for count in range(1, 4):
        item = background(lambda: next(items))
        calls = recording.made[0].calls
        until(lambda: [call[0] for call in calls].count("blocked") == count)  # noqa: B023  # at once
        conn.send_data(1, b"x")
        assert item.result(WAIT) == b"x"
    assert [call[0] for call in recording.made[0].calls] == ["blocked", "read"] * 3


def test_small_responses_are_told_as_well(
    make_session: MakeSession, peer: StartPeer, recording: type[Recording]
) -> None:
    """Although nothing can be sent for them any more: a limiter counts them."""
    started = peer(serve(lambda request: (200, {}, b"x" * 500)))
    session = make_session(window_manager=recording)
    for _ in range(3):
        assert session.get(started.url, timeout=WAIT).content == b"x" * 500
    assert [made.read for made in recording.made if made.stream_id] == [[500]] * 3


# -- what reaches the peer ---------------------------------------------------------------------


class OpenOnce(FlowControlManager):
    """Seen in the wild: all there can be, and never anything again."""

    def increase_window_size(self, frame_size: int) -> int:
        return MAX_WINDOW - self.window_size


class LikeHyper(FlowControlManager):
    """hyper's default policy: nothing until a quarter of the window is left."""

    def increase_window_size(self, frame_size: int) -> int:
        left = self.window_size - frame_size
        if left < 1000 or left < self.initial_window_size // 4:
            return self.initial_window_size - left
        return 0


class OnlyWhenBlocked(FlowControlManager):
    """Lets the window run dry, and opens it for a reader who waits."""

    def increase_window_size(self, frame_size: int) -> int:
        return 0

    def blocked(self) -> int:
        return max(0, 50_000 - self.window_size) if self.stream_id else 0


class Nothing(FlowControlManager):
    def increase_window_size(self, frame_size: int) -> int:
        return 0


@pytest.mark.parametrize("manager", [FlowControlManager, LikeHyper, OnlyWhenBlocked, OpenOnce])
@pytest.mark.parametrize("way", ["content", "iter_content", "read_chunked", "read1"])
def test_a_long_body_gets_through(
    make_session: MakeSession, peer: StartPeer, manager: type[FlowControlManager], way: str
) -> None:
    """From a peer that keeps to its windows, four of them."""
    size = 4 * MIB
    started = peer(serve(lambda request: (200, {}, bytes(size))))
    session = make_session(window_manager=manager)
    response = session.get(started.url, stream=way != "content", timeout=WAIT)
    if way == "content":
        assert len(response.content) == size
    elif way == "read_chunked":
        assert sum(map(len, response.raw.read_chunked())) == size
    elif way == "read1":
        assert sum(map(len, iter(response.raw.read1, b""))) == size
    else:
        assert read_all(response) == size
    conn = started.connection()
    if manager is OpenOnce:
        assert GIB < conn.window_of(1) <= MAX_WINDOW
    elif manager is LikeHyper:
        assert min(increments(conn, 1)) >= 3 * MIB // 4
    elif manager is FlowControlManager:
        assert min(increments(conn, 1)) >= MIB // 2
    else:
        assert max(increments(conn, 1)) <= 50_000


def test_a_window_that_is_never_opened(make_session: MakeSession, peer: StartPeer) -> None:
    """It stops the peer, and the reader's timeout ends the wait."""
    started = peer(serve(lambda request: (200, {}, bytes(2 * MIB))))
    session = make_session(window_manager=Nothing, initial_window_size=100_000)
    response = session.get(started.url, stream=True, timeout=0.3)
    assert len(response.raw.read(100_000)) == 100_000
    with pytest.raises(requests.exceptions.ConnectionError, match="timed out"):
        read_all(response)
    conn = started.connection()
    assert conn.window_of(1) == 0
    conn.wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)


@pytest.mark.parametrize("size", [1, 100, 1000, 20_000])
@pytest.mark.parametrize("manager", [None, AdaptiveWindow, FlowControlManager])
def test_first_windows_of_any_size(
    make_session: MakeSession,
    peer: StartPeer,
    size: int,
    manager: type[FlowControlManager] | None,
) -> None:
    count = 300 * size if size < 1000 else 20 * size
    started = peer(serve(lambda request: (200, {}, bytes(count))))
    session = make_session(window_manager=manager, initial_window_size=size)
    assert read_all(session.get(started.url, stream=True, timeout=WAIT)) == count
    conn = started.connection()
    assert conn.client_settings[SettingsFrame.INITIAL_WINDOW_SIZE] == size


def test_a_large_first_window(make_session: MakeSession, peer: StartPeer) -> None:
    session, started = make_session(initial_window_size=64 * MIB), peer(hold)
    conn, response = held_response(session, started)
    assert conn.window_of(1) == 64 * MIB
    reader = background(lambda: read_all(response))
    conn.send_data(1, bytes(17 * MIB), end_stream=True)
    assert reader.result(WAIT) == 17 * MIB


def test_padding_goes_back_at_once_and_unasked(
    make_session: MakeSession, peer: StartPeer, engine: str, recording: type[Recording]
) -> None:
    session, started = make_session(window_manager=recording), peer(hold)
    conn, response = held_response(session, started)
    conn.send_data(1, b"padded", padding=200)
    fence(session, started, 3)
    assert recording.made[0].calls == []
    assert increments(conn, 1) == [201]
    assert increments(conn, 0) == ([201] if engine == "h2" else [])
    assert response.raw.read(6) == b"padded"
    assert recording.made[0].read == [6]
    fence(session, started, 5)
    assert conn.window_of(1) == MIB


def test_padding_does_not_use_a_small_window_up(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for _ in range(2000):
            while conn.window_of(request.stream_id) < 257:
                conn.read_frame()
            conn.send_data(request, b"x", padding=255)
        conn.send_data(request, end_stream=True)

    session = make_session(window_manager=LikeHyper, initial_window_size=2000)
    assert read_all(session.get(peer(script).url, stream=True, timeout=WAIT)) == 2000


def test_a_factory(make_session: MakeSession, peer: StartPeer) -> None:
    class Limited(FlowControlManager):
        def __init__(self, initial_window_size: int, *, limit: int) -> None:
            super().__init__(initial_window_size)
            self.limit = limit

        def increase_window_size(self, frame_size: int) -> int:
            return max(0, self.limit - self.window_size + frame_size)

    started = peer(serve(lambda request: (200, {}, bytes(3 * MIB))))
    session = make_session(window_manager=functools.partial(Limited, limit=40_000))
    assert read_all(session.get(started.url, stream=True, timeout=WAIT)) == 3 * MIB
    assert started.connection().window_of(1) <= 40_000


def test_constructors_of_hyper(make_session: MakeSession, peer: StartPeer) -> None:
    """One positional argument, and attributes that are set for those who forget to."""
    seen = []

    class Forgetful(FlowControlManager):
        def __init__(self, size: int) -> None:
            seen.append(size)

        def increase_window_size(self, frame_size: int) -> int:
            seen.append((self.initial_window_size, self.document_size, self.window_size))
            return frame_size

    started = peer(serve(lambda request: (200, {}, b"x" * 500)))
    session = make_session(window_manager=Forgetful)
    session.get(started.url, timeout=WAIT)
    assert seen[0] == MIB
    assert (MIB, 500, MIB) in seen


def test_only_the_default_is_a_default(
    make_session: MakeSession, peer: StartPeer, recording: type[Recording]
) -> None:
    """``AdaptiveWindow`` by name is the same, a subclass of it is a manager like any other."""
    asked = []

    class Watching(AdaptiveWindow):
        def increase_window_size(self, frame_size: int) -> int:
            asked.append(frame_size)
            return super().increase_window_size(frame_size)

    for manager in (AdaptiveWindow, Watching):
        started = peer(serve(lambda request: (200, {}, bytes(8 * MIB))))
        session = make_session(window_manager=manager)
        assert read_all(session.get(started.url, stream=True, timeout=WAIT)) == 8 * MIB
        assert len(increments(started.connection(), 1)) <= 20
    assert sum(asked) >= 8 * MIB


# -- what goes wrong ---------------------------------------------------------------------------


class Broken(FlowControlManager):
    error: BaseException

    def increase_window_size(self, frame_size: int) -> int:
        if self.stream_id == 1:
            raise self.error
        return frame_size


class BrokenBlocked(Broken):
    def increase_window_size(self, frame_size: int) -> int:
        return frame_size

    def blocked(self) -> int:
        if self.stream_id == 1:
            raise self.error
        return 0


class BrokenInit(Broken):
    broken: list[int]

    def __init__(self, initial_window_size: int, document_size: int | None = None) -> None:
        super().__init__(initial_window_size, document_size)
        if self.broken:
            self.broken.pop()
            raise self.error


READS: dict[str, Callable[[requests.Response], Any]] = {
    "content": lambda response: response.content,
    "iter_content": lambda response: list(response.iter_content(1000)),
    "iter_lines": lambda response: list(response.iter_lines()),
    "read": lambda response: response.raw.read(100_000),
    "read1": lambda response: [response.raw.read1() for _ in range(9)],
    "read_chunked": lambda response: list(response.raw.read_chunked()),
    "readinto": lambda response: response.raw.readinto(bytearray(100_000)),
}
ERRORS = [
    ValueError("of the manager"),
    OSError("of the manager"),
    TimeoutError("of the manager"),
    requests.exceptions.ReadTimeout("of the manager"),
]


@pytest.mark.parametrize("kind", [Broken, BrokenBlocked])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_reaches_who_reads(
    make_session: MakeSession,
    peer: StartPeer,
    kind: type[Broken],
    read: str,
    error: Exception,
) -> None:
    """Unchanged, and its stream is reset; others on the connection go on."""
    manager: Any = type("Manager", (kind,), {"error": error})
    session, started = make_session(window_manager=manager), peer(hold)
    conn, response = held_response(session, started)
    sibling = start(session, started, "/sibling", stream_id=3)
    conn.send_data(1, b"x" * 5000)
    with pytest.raises(type(error)) as caught:
        READS[read](response)
    assert caught.value is error
    assert response.raw.closed
    conn.wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    conn.respond(3, 200, {}, b"sibling")
    assert sibling.result(WAIT).content == b"sibling"
    fence(session, started, 5)
    assert started.accepted == 1


def test_an_error_while_requests_reads(make_session: MakeSession, peer: StartPeer) -> None:
    error = OSError("of the manager")
    manager: Any = type("Manager", (Broken,), {"error": error})
    started = peer(serve(lambda request: (200, {}, b"x" * 500)))
    session = make_session(window_manager=manager, max_retries=3)
    with pytest.raises(OSError, match="of the manager") as caught:
        session.get(started.url, timeout=WAIT)
    assert caught.value is error
    assert session.get(started.url, timeout=WAIT).content == b"x" * 500
    assert len(started.requests) == 2


def test_an_error_in_a_constructor(make_session: MakeSession, peer: StartPeer) -> None:
    error = OSError("of the manager")
    manager: Any = type("Manager", (BrokenInit,), {"error": error, "broken": [1]})
    started = peer(serve(lambda request: (200, {}, bytes(100_000))))
    session = make_session(window_manager=manager, max_retries=3)
    with pytest.raises(OSError, match="of the manager") as caught:
        session.get(started.url, timeout=WAIT, stream=True)
    assert caught.value is error
    conn = started.connection()
    conn.wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    assert len(session.get(started.url, timeout=WAIT).content) == 100_000
    assert started.accepted == 1


@pytest.mark.parametrize("wrong", ["raises", "makes something else"])
def test_a_pushed_response_whose_manager_cannot_be_made(
    make_session: MakeSession, peer: StartPeer, wrong: str
) -> None:
    """Pushes have managers like other responses, from when somebody asks for them."""
    error = OSError("of the manager")

    def make(size: int) -> Any:
        if not makes:
            return FlowControlManager(size)
        if wrong == "raises":
            raise error
        return None

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        pushed = promise(conn, request, 2, "/pushed")
        conn.respond(request, 200, {}, b"body")
        conn.send_headers(pushed, 200)
        conn.respond(conn.next_request(), 204)

    makes: list[bool] = []
    started = peer(script)
    session = make_session(window_manager=make, enable_push=True)
    response = session.get(started.url, timeout=WAIT, stream=True)
    assert response.raw.read() == b"body"
    (push,) = get_pushes(response)
    makes.append(True)
    if wrong == "raises":
        with pytest.raises(OSError, match="of the manager") as caught:
            push.response(timeout=WAIT)
        assert caught.value is error
    else:
        with pytest.raises(requests.exceptions.ConnectionError, match="no FlowControlManager"):
            push.response(timeout=WAIT)
    started.connection().wait_for(RstStreamFrame, stream_id=2, error_code=CANCEL)
    makes.clear()
    assert session.get(started.url, timeout=WAIT).status_code == 204


def test_closing_while_a_manager_takes_its_time(
    make_session: MakeSession, peer: StartPeer, engine: str
) -> None:
    """From another thread: the reader gets what it took, and no credit is lost."""
    entered, released = threading.Event(), threading.Event()

    class Slow(FlowControlManager):
        def increase_window_size(self, frame_size: int) -> int:
            if self.stream_id == 1:
                entered.set()
                assert released.wait(WAIT)
            return frame_size

    session, started = make_session(window_manager=Slow), peer(hold)
    conn, response = held_response(session, started)
    conn.send_data(1, b"x" * 1000)
    conn.send_data(1, b"y" * 1000)
    fence(session, started, 3)
    reader = background(lambda: response.raw.read(1500))
    assert entered.wait(WAIT)
    response.close()
    released.set()
    with contextlib.suppress(ProtocolError):
        assert reader.result(WAIT) in (b"x" * 1000 + b"y" * 500, b"x" * 1000)
    conn.wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    fence(session, started, 5)
    if engine == "h2":
        assert sum(increments(conn, 0)) == 2000


def test_an_interrupt_in_a_manager(make_session: MakeSession, peer: StartPeer) -> None:
    manager: Any = type("Manager", (Broken,), {"error": KeyboardInterrupt()})
    session, started = make_session(window_manager=manager), peer(hold)
    conn, response = held_response(session, started)
    conn.send_data(1, b"x" * 5000)
    with pytest.raises(KeyboardInterrupt):
        response.raw.read(5000)
    conn.wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    fence(session, started, 3)
    assert started.accepted == 1


@pytest.mark.parametrize("answer", [-1, None, "1", 1.5, 2**31, MAX_WINDOW - MIB + 101])
@pytest.mark.parametrize("method", ["increase_window_size", "blocked"])
def test_an_answer_that_is_no_increment(
    make_session: MakeSession, peer: StartPeer, method: str, answer: Any
) -> None:
    """After a frame of 100 octets; above 2**31-1 no window may be (RFC 9113 section 6.9.1)."""

    def asked(self: FlowControlManager, *arguments: int) -> Any:
        return answer if self.stream_id == 1 else 0

    manager: Any = type("Manager", (Nothing,), {method: asked})
    session, started = make_session(window_manager=manager), peer(hold)
    conn, response = held_response(session, started)
    conn.send_data(1, b"x" * 100)
    with pytest.raises(ProtocolError, match=r"stream 1: .*Manager returned.*no increment"):
        list(response.raw.read_chunked())
    conn.wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    assert increments(conn, 1) == []
    fence(session, started, 3)
    assert started.accepted == 1


def test_the_largest_increment(make_session: MakeSession, peer: StartPeer) -> None:
    manager: Any = type(
        "Manager", (Nothing,), {"increase_window_size": lambda self, size: MAX_WINDOW - MIB + 100}
    )
    # A connection's window is larger, and its manager's mistake that of who reads.
    session = make_session(window_manager=lambda size: (manager if size == MIB else Nothing)(size))
    started = peer(hold)
    conn, response = held_response(session, started)
    conn.send_data(1, b"x" * 100)
    assert len(response.raw.read(100)) == 100
    fence(session, started, 3)
    assert conn.window_of(1) == MAX_WINDOW


@pytest.mark.parametrize("made", [None, 5, object()])
def test_a_factory_of_something_else(make_session: MakeSession, peer: StartPeer, made: Any) -> None:
    started = peer(serve(lambda request: (200, {}, b"x")))
    session = make_session(window_manager=lambda size: made)
    with pytest.raises(requests.exceptions.ConnectionError, match="no FlowControlManager"):
        session.get(started.url, timeout=WAIT)


@pytest.mark.usefixtures("small_connection_window")
@pytest.mark.parametrize("broken", ["increase_window_size", "blocked", "__init__", "answer"])
def test_an_error_of_the_connections_manager(
    make_session: MakeSession, peer: StartPeer, engine: str, broken: str
) -> None:
    """It fails the stream whose reader asked, and loses nothing of the connection's window."""

    asked: list[threading.Event] = []  # one a request: the peer may still be at the last one

    def fail(self: FlowControlManager, *arguments: int) -> int:
        asked[-1].set()
        if self.stream_id:
            return arguments[0] if arguments else 0
        if broken == "answer":
            return -1
        raise ZeroDivisionError

    class OfConnection(Nothing):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            if broken == "__init__" and size == SMALL_WINDOW:
                raise ZeroDivisionError

        def increase_window_size(self, frame_size: int) -> int:
            return frame_size

    name = "increase_window_size" if broken == "answer" else broken
    body = {} if broken == "__init__" else {name: fail}
    manager: Any = type("Manager", (OfConnection,), body)

    def late(request: Request) -> Iterator[bytes]:
        yield b"x"
        yield b"y"  # the peer looks one piece ahead
        if broken == "blocked":  # a reader whom everything awaits never is
            assert asked[int(request.path[1:])].wait(WAIT)
        yield bytes(50_000)

    started = peer(serve(lambda request: (200, {}, late(request))))
    session = make_session(window_manager=manager)
    error = requests.exceptions.ChunkedEncodingError if broken == "answer" else ZeroDivisionError
    for number in range(4 * SMALL_WINDOW // 50_000):
        asked.append(threading.Event())
        if engine == "nghttp2":
            session.get(f"{started.url}/{number}", timeout=WAIT)
        else:
            with pytest.raises(error):
                session.get(f"{started.url}/{number}", timeout=WAIT)
    assert started.accepted == 1


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"window_manager": 5}, TypeError),
        ({"window_manager": dict}, TypeError),
        ({"window_manager": FlowControlManager(5)}, TypeError),
        ({"initial_window_size": 0}, ValueError),
        ({"initial_window_size": -1}, ValueError),
        ({"initial_window_size": 2**31}, ValueError),
        ({"initial_window_size": 65_536.0}, ValueError),
        ({"initial_window_size": None}, ValueError),
    ],
)
def test_arguments_that_cannot_be(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        HTTP2Adapter(**wrong)


def test_pickling_keeps_the_manager(engine: str) -> None:
    adapter = HTTP2Adapter(
        engine=engine,  # type: ignore[arg-type]
        window_manager=LikeHyper,
        initial_window_size=5000,
    )
    again = pickle.loads(pickle.dumps(adapter))
    assert again._options == adapter._options
    assert again._options.window_manager is LikeHyper


# -- what is not read --------------------------------------------------------------------------


def close_unread(session: requests.Session, url: str) -> None:
    session.get(url, stream=True, timeout=WAIT).close()


def close_within_a_frame(session: requests.Session, url: str) -> None:
    with session.get(url, stream=True, timeout=WAIT) as response:
        response.raw.read(100)


def close_between_frames(session: requests.Session, url: str) -> None:
    with session.get(url, stream=True, timeout=WAIT) as response:
        next(response.raw.read_chunked())


def drop(session: requests.Session, url: str) -> None:
    session.get(url, stream=True, timeout=WAIT).raw.read(20_000)


@pytest.mark.usefixtures("small_connection_window")
@pytest.mark.parametrize("end", [close_unread, close_within_a_frame, close_between_frames, drop])
def test_unread_octets_go_back_to_the_connection(
    make_session: MakeSession, peer: StartPeer, end: Callable[[requests.Session, str], None]
) -> None:
    """Unasked. From a peer that keeps to its windows, so that a leak stops it."""

    def script(conn: PeerConnection) -> None:
        while True:
            request = conn.next_request(3600)
            conn.send_headers(request)
            conn.send_body(request, bytes(40_000), end_stream=request.path == "/whole")

    session = make_session(window_manager=LikeHyper)
    started = peer(script)
    for _ in range(4 * SMALL_WINDOW // 40_000):
        end(session, started.url)
    assert len(session.get(started.url + "/whole", timeout=WAIT).content) == 40_000
    assert started.accepted == 1


@pytest.mark.usefixtures("small_connection_window")
def test_reading_ahead_is_paid_once(
    make_session: MakeSession, peer: StartPeer, recording: type[Recording]
) -> None:
    """``get_pushes(capture_all=True)`` gives credit for what nobody has read."""
    size = 3 * MIB
    started = peer(serve(lambda request: (200, {}, bytes(size))))
    session = make_session(window_manager=recording, enable_push=True)
    response = session.get(started.url, stream=True, timeout=WAIT)
    assert len(response.raw.read(10)) == 10
    assert list(get_pushes(response, capture_all=True)) == []
    assert read_all(response) == size - 10
    conn = started.connection()
    session.get(started.url + "/fence", stream=True, timeout=WAIT).close()
    assert sum(increments(conn, 1)) <= size
    assert conn.window_of(1) <= MIB
    assert conn.send_window <= SMALL_WINDOW


# -- threads -----------------------------------------------------------------------------------


def test_a_manager_that_takes_its_time_delays_nobody_else(
    make_session: MakeSession, peer: StartPeer
) -> None:
    """It runs in its reader's thread and under no lock."""
    entered, released = threading.Event(), threading.Event()

    class Slow(FlowControlManager):
        def increase_window_size(self, frame_size: int) -> int:
            if self.stream_id == 1:
                entered.set()
                assert released.wait(WAIT)
            return frame_size

    session, started = make_session(window_manager=Slow), peer(hold)
    conn, response = held_response(session, started)
    conn.send_data(1, b"x" * 100)
    reader = background(lambda: response.raw.read(100))
    assert entered.wait(WAIT)
    began = time.monotonic()
    for stream_id in (3, 5):
        future = start(session, started, "/other", stream_id=stream_id)
        conn.respond(stream_id, 200, {}, b"other")
        assert future.result(WAIT).content == b"other"
    assert time.monotonic() - began < 2 * PROMPT
    released.set()
    assert reader.result(WAIT) == b"x" * 100


def test_the_connections_manager_is_asked_by_one_thread_at_a_time(
    make_session: MakeSession, peer: StartPeer, engine: str
) -> None:
    inside: list[int] = []
    read = [0]

    class Watching(FlowControlManager):
        def increase_window_size(self, frame_size: int) -> int:
            if not self.stream_id:
                inside.append(threading.get_ident())
                time.sleep(0.0002)
                assert inside == [threading.get_ident()]
                inside.pop()
                read[0] += frame_size
            return frame_size

    sizes = [random.Random(number).randrange(MIB) for number in range(32)]
    started = peer(serve(lambda request: (200, {}, bytes(sizes[int(request.path[1:])]))))
    session = make_session(window_manager=Watching)

    def download(thread: int) -> None:
        for number in range(thread, 32, 8):
            response = session.get(f"{started.url}/{number}", timeout=WAIT)
            assert len(response.content) == sizes[number]

    together(8, download)
    if engine == "h2":
        assert read[0] == sum(sizes)
        conn = started.connection()
        conn.wait_for(WindowUpdateFrame, lambda frame: conn.send_window == GIB, stream_id=0)


def test_a_manager_may_use_its_own_session(make_session: MakeSession, peer: StartPeer) -> None:
    answers = []

    class Curious(FlowControlManager):
        def increase_window_size(self, frame_size: int) -> int:
            if frame_size == 7777:
                answers.append(session.get(started.url + "/inner", timeout=WAIT).content)
            return frame_size

    def handler(request: Request) -> Any:
        return 200, {}, b"inner" if request.path == "/inner" else bytes(7777)

    started = peer(serve(handler))
    session = make_session(window_manager=Curious)
    assert len(session.get(started.url, timeout=WAIT).content) == 7777
    assert set(answers) == {b"inner"}


def test_while_an_upload_goes_on(
    make_session: MakeSession, peer: StartPeer, recording: type[Recording]
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_body(request, bytes(2 * MIB), end_stream=False)
        assert len(conn.read_body(request)) == 500_000
        conn.send_data(request, b"end", end_stream=True)

    def body() -> Iterator[bytes]:
        for _ in range(5):
            yield bytes(100_000)

    started = peer(script)
    session = make_session(window_manager=recording)
    response = session.post(started.url, data=body(), stream=True, timeout=WAIT)
    assert read_all(response) == 2 * MIB + 3
    assert sum(recording.made[0].read) == 2 * MIB + 3


def test_credit_waits_for_a_peer_that_reads_nothing(
    make_session: MakeSession, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of an octet is ten, the credit for it 13 or 26: that must not fill the memory."""
    limit = 2000
    monkeypatch.setattr("requests_h2.receiving._CREDIT_LIMIT", limit)
    total = 60_000
    done = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        frame = b"\0\0\1\0\0" + request.stream_id.to_bytes(4, "big") + b"x"
        for _ in range(total // 1000):
            conn.send_raw(frame * 1000)
        assert done.wait(3 * WAIT)
        while sum(increments(conn, request.stream_id)) < total:
            conn.read_frame()
        conn.send_data(request, end_stream=True)

    class ByTheFrame(FlowControlManager):
        def increase_window_size(self, frame_size: int) -> int:
            return frame_size

    session = make_session(window_manager=ByTheFrame)
    options = [
        *HTTPConnection.default_socket_options,
        (socket.SOL_SOCKET, socket.SO_SNDBUF, 4096),
    ]
    adapter: Any = session.get_adapter("https://")
    adapter.init_poolmanager(10, 10, socket_options=options)
    started = peer(script)
    response = session.get(started.url, stream=True, timeout=3 * WAIT)
    pump = response.raw.reader.connection._pump
    items = response.raw.read_chunked()
    highest = 0
    for _ in range(total):
        assert next(items) == b"x"
        highest = max(highest, pump.unsent)
    assert limit - 100 < highest < limit + 100
    done.set()
    assert list(items) == [b""]


# -- over HTTP/1.1 -----------------------------------------------------------------------------


def test_there_are_no_windows_over_http1(
    make_session: MakeSession, peer: StartPeer, recording: type[Recording]
) -> None:
    started = peer(serve(lambda request: (200, {}, b"body")), alpn=["http/1.1"])
    session = make_session(window_manager=recording)
    assert session.get(started.url, timeout=WAIT).content == b"body"
    assert recording.made == []
