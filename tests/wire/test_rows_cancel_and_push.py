"""Rows 83 to 89 of the fault table: cancellation, close, and pushes that nobody asked for."""

from __future__ import annotations

import contextlib
import gc
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from requests_h2.transport import SSLSocketTransport
from tests.support.peer import (
    Closed,
    MakeSession,
    Peer,
    PeerConnection,
    Request,
    StartPeer,
    hold,
    serve,
)
from tests.support.threads import PROMPT, WAIT, background

MIB = 2**20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, CANCEL = 0, 1, 2, 8
BODY = bytes(3_000_000)


def large(request: Request) -> Any:
    return (200, {}, BODY) if request.path == "/large" else (200, {}, b"small")


def exchange(session: requests.Session, started: Peer, stream_id: int) -> None:
    """One more request on the connection of a peer that holds."""
    future = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=stream_id)
    conn.respond(stream_id, 200, {}, b"more")
    assert future.result(WAIT) == b"more"
    assert started.accepted == 1


# -- 83: responses that are let go ---------------------------------------------------------


def by_close(session: requests.Session, url: str) -> None:
    session.get(url, stream=True, timeout=WAIT).close()


def by_raw_close(session: requests.Session, url: str) -> None:
    session.get(url, stream=True, timeout=WAIT).raw.close()


def by_release(session: requests.Session, url: str) -> None:
    response = session.get(url, stream=True, timeout=WAIT)
    response.raw.release_conn()
    del response
    gc.collect()


def by_with(session: requests.Session, url: str) -> None:
    with session.get(url, stream=True, timeout=WAIT) as response:
        assert len(next(response.iter_content(100))) == 100


def by_dropping(session: requests.Session, url: str) -> None:
    response: Any = session.get(url, stream=True, timeout=WAIT)
    next(response.iter_content(100))
    del response
    gc.collect()


def by_dropping_in_a_cycle(session: requests.Session, url: str) -> None:
    response: Any = session.get(url, stream=True, timeout=WAIT)
    response.itself = response
    del response
    gc.collect()


def by_an_exception(session: requests.Session, url: str) -> None:
    with (
        contextlib.suppress(KeyboardInterrupt),
        session.get(url, stream=True, timeout=WAIT) as response,
    ):
        for _ in response.iter_content(100):
            raise KeyboardInterrupt


WAYS = [
    by_close,
    by_raw_close,
    by_release,
    by_with,
    by_dropping,
    by_dropping_in_a_cycle,
    by_an_exception,
]


@pytest.mark.parametrize("let_go", WAYS)
def test_083_a_response_that_is_let_go_ends_only_its_stream(
    make_session: MakeSession, peer: StartPeer, let_go: Callable[..., None]
) -> None:
    """Of a server with one stream at a time: the slot is free too."""
    session = make_session(pool_maxsize=1)
    started = peer(serve(large), settings={"max_concurrent_streams": 1})
    for _ in range(3):
        let_go(session, started.url + "/large")
    assert session.get(started.url, timeout=WAIT).content == b"small"
    conn = started.connection()
    resets = conn.received(RstStreamFrame)
    assert [(each.stream_id, each.error_code) for each in resets] == [
        (1, CANCEL),
        (3, CANCEL),
        (5, CANCEL),
    ]
    assert started.accepted == 1


@pytest.mark.parametrize("let_go", WAYS)
def test_083_its_unread_bytes_are_credited(
    session: requests.Session,
    peer: StartPeer,
    monkeypatch: pytest.MonkeyPatch,
    let_go: Callable[..., None],
) -> None:
    """A connection window of 256 KiB carries several times that."""
    window = 256 << 10
    monkeypatch.setattr("requests_h2.origin.CONNECTION_WINDOW", window)
    monkeypatch.setattr("requests_h2.credit.CONNECTION_WINDOW", window)
    started = peer(serve(large))
    for _ in range(8):
        let_go(session, started.url + "/large")
    assert len(session.get(started.url + "/large", timeout=WAIT).content) == len(BODY)
    assert started.accepted == 1


def test_083_a_complete_response_is_not_reset(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(large))
    for _ in range(2):
        response = session.get(started.url)
        response.close()
        response.close()
    with session.get(started.url, stream=True) as response:
        response.raw.read()
    session.get(started.url)
    assert started.connection().received(RstStreamFrame) == []


def test_083_a_complete_response_that_nobody_read_is_not_reset(
    session: requests.Session, peer: StartPeer
) -> None:
    """END_STREAM is there, only not looked at by anybody."""
    started = peer(hold)
    future = background(lambda: session.get(started.url, stream=True, timeout=WAIT))
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.send_headers(1, 200, {"content-length": "4"})
    response = future.result(WAIT)
    conn.send_data(1, b"body", end_stream=True)
    exchange(session, started, 3)
    response.close()
    exchange(session, started, 5)
    assert conn.received(RstStreamFrame) == []


# -- 85: a write that is broken off --------------------------------------------------------


class Interrupt(BaseException):
    """As a signal handler may raise."""


class BrokenWrite:
    """Makes ``send`` fail when it is asked to send octets that hold ``needle``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, needle: bytes, error: Any, part: Any):
        self.failed = threading.Event()
        self.sent_afterwards: list[bytes] = []
        send = SSLSocketTransport.send
        broken: list[SSLSocketTransport] = []

        def send_or_fail(transport: SSLSocketTransport, data: memoryview) -> int:
            if transport in broken:
                self.sent_afterwards.append(bytes(data))
            elif needle in bytes(data) and not self.failed.is_set():
                broken.append(transport)
                end = {"nothing": 0, "half": len(data) // 2, "all": len(data)}[part]
                if end:
                    send(transport, data[:end])
                self.failed.set()
                raise error
            return send(transport, data)

        monkeypatch.setattr(SSLSocketTransport, "send", send_or_fail)


@pytest.mark.parametrize("part", ["nothing", "half", "all"])
@pytest.mark.parametrize("error", [Interrupt(), OSError(5, "broken")], ids=repr)
def test_085_a_broken_write_is_the_end_of_the_connection(
    session: requests.Session,
    peer: StartPeer,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    part: str,
) -> None:
    """How much of it left is unknown, so nothing may follow it, for nobody."""
    started = peer([hold, serve(large)])
    sibling = background(lambda: session.post(started.url, timeout=WAIT))
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    needle = b"the needle of this test"
    write = BrokenWrite(monkeypatch, needle, error, part)
    expected = Interrupt if isinstance(error, Interrupt) else requests.ConnectionError
    begin = time.monotonic()
    with pytest.raises(expected):
        session.post(started.url, data=needle * 100, timeout=WAIT)
    with pytest.raises(requests.ConnectionError) as caught:
        sibling.result(WAIT)
    assert time.monotonic() - begin < PROMPT
    assert "127.0.0.1" in str(caught.value)
    conn.wait_eof()
    assert write.failed.is_set()
    assert write.sent_afterwards == []
    assert session.get(started.url, timeout=WAIT).content == b"small"
    assert started.accepted == 2
    assert [len(each.requests) for each in started.connections][1] == 1


def test_085_a_broken_write_of_headers(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not sent again on the same connection (the peer checks stream ids)."""
    started = peer([hold, serve(large)])
    sibling = background(lambda: session.post(started.url, timeout=WAIT))
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)  # else that is the write
    write = BrokenWrite(monkeypatch, b"", Interrupt(), "all")
    with pytest.raises(Interrupt):
        session.get(started.url, timeout=WAIT)
    with pytest.raises(requests.ConnectionError):
        sibling.result(WAIT)
    conn.wait_eof()
    assert write.sent_afterwards == []
    assert session.get(started.url, timeout=WAIT).content == b"small"
    assert started.accepted == 2


def test_085_an_interrupt_between_writes_ends_only_its_stream(
    session: requests.Session, peer: StartPeer
) -> None:
    """The iterator is asked while nothing is being written."""
    started = peer(hold)
    sibling = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)

    def body() -> Iterator[bytes]:
        yield b"some"
        raise Interrupt

    with pytest.raises(Interrupt):
        session.post(started.url, data=body(), timeout=WAIT)
    conn.wait_for(RstStreamFrame, stream_id=3, error_code=CANCEL)
    conn.respond(1, 200, {}, b"sibling")
    assert sibling.result(WAIT) == b"sibling"
    exchange(session, started, 5)


# -- 86: what is over is over --------------------------------------------------------------


def ended(conn: PeerConnection) -> None:
    conn.send_data(1, end_stream=True)


def reset(conn: PeerConnection) -> None:
    conn.reset(1, INTERNAL_ERROR)


def goaway(conn: PeerConnection) -> None:
    conn.goaway(0)


def goaway_accepted(conn: PeerConnection) -> None:
    conn.goaway(1)


def lost(conn: PeerConnection) -> None:
    conn.cut()


def aborted(conn: PeerConnection) -> None:
    conn.abort()


def malformed(conn: PeerConnection) -> None:
    conn.send_headers(1, None, {":status": "200"})


ENDS = [ended, reset, goaway, goaway_accepted, lost, aborted, malformed]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("first", ["close", "read"])
def test_086_closing_what_is_gone_is_a_silent_no_op(
    session: requests.Session, peer: StartPeer, end: Callable[[PeerConnection], None], first: str
) -> None:
    """Twice, by every name; reading what was there before gives credit to nobody."""
    started = peer([hold, serve(large)])
    future = background(lambda: session.get(started.url, stream=True, timeout=WAIT))
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.send_headers(1)
    conn.send_data(1, bytes(900_000))
    response = future.result(WAIT)
    # Another request makes the client take in all of that; and one more, the end.
    exchange(session, started, 3)
    end(conn)
    if end is not aborted:
        conn.channel.wait_until_delivered()
    other = background(lambda: session.get(started.url, timeout=WAIT).content)
    if end in (ended, reset, malformed):
        conn.wait_for(HeadersFrame, stream_id=5)
        conn.respond(5, 200, {}, b"small")
    assert other.result(WAIT) == b"small"
    if first == "read":
        with contextlib.suppress(urllib3.exceptions.ProtocolError):
            response.raw.read(800_000)
    for close in (response.close, response.raw.close, response.raw.release_conn) * 2:
        close()
    assert response.raw.read() == b""
    gc.collect()
    session.close()
    conn.wait_eof() if end is not aborted else None
    if end is not goaway_accepted:
        # RST_STREAM only for what we refused ourselves.
        resets = [frame.error_code for frame in conn.received(RstStreamFrame)]
        assert resets == ([PROTOCOL_ERROR] if end is malformed else [])
        assert conn.received(WindowUpdateFrame, stream_id=1) == []


@pytest.mark.parametrize("end", [reset, lost, aborted, goaway])
def test_086_an_upload_to_what_is_gone_is_an_ordinary_failure(
    session: requests.Session, peer: StartPeer, end: Callable[[PeerConnection], None]
) -> None:
    """Noticed between two pieces: then there is no stream to write to, to end or to reset."""
    gone = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"some"
        assert gone.wait(WAIT)
        for _ in range(20):
            yield bytes(1000)

    started = peer([hold, hold])
    future = background(lambda: session.post(started.url, data=body(), timeout=WAIT))
    conn = started.connection()
    conn.wait_for(DataFrame, stream_id=1)
    end(conn)
    if end is not aborted:
        conn.channel.wait_until_delivered()
    gone.set()
    with pytest.raises(requests.ConnectionError) as caught:
        future.result(WAIT)
    assert not isinstance(caught.value, requests.Timeout)
    assert conn.received(RstStreamFrame) == []
    assert len(started.requests) == 1


# -- 87: closing a session -----------------------------------------------------------------


def test_087_closing_a_session_closes_idle_connections_now(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(serve(large))
    session.get(started.url)
    session.close()
    conn = started.connection()
    conn.wait_eof()
    assert conn.received(GoAwayFrame)[-1].error_code == NO_ERROR
    assert conn.received(RstStreamFrame) == []


@pytest.mark.parametrize("way", ["session", "adapter"])
def test_087_busy_connections_close_when_their_streams_are_done(
    session: requests.Session, peer: StartPeer, way: str
) -> None:
    """They take no new streams; who uses the session again gets a fresh connection."""
    started = peer(serve(large))
    response = session.get(started.url + "/large", stream=True)
    assert response.raw.read(10) == BODY[:10]
    (session if way == "session" else session.get_adapter(started.url)).close()
    assert session.get(started.url).content == b"small"
    assert started.accepted == 2
    assert len(started.connection(0).requests) == 1
    assert len(response.raw.read()) == len(BODY) - 10
    conn = started.connection(0)
    conn.wait_eof()
    assert conn.received(RstStreamFrame) == []
    assert conn.wait_for(GoAwayFrame).error_code == NO_ERROR


def test_087_busy_in_other_threads(session: requests.Session, peer: StartPeer) -> None:
    """One waits for headers, one for its window."""
    started = peer(hold)
    waiting = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    upload = background(lambda: session.post(started.url, data=bytes(100_000), timeout=WAIT))
    conn.wait_for(DataFrame, lambda frame: conn.request(3).received == 65_535)
    session.close()
    conn.respond(1, 200, {}, b"waited")
    assert waiting.result(WAIT) == b"waited"
    conn.window_update(0, MIB)
    conn.window_update(3, MIB)
    conn.wait_for(DataFrame, lambda frame: "END_STREAM" in frame.flags)
    conn.respond(3, 200, {}, b"taken")
    assert upload.result(WAIT).content == b"taken"
    conn.wait_eof()
    assert conn.received(RstStreamFrame) == []


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_087_a_peer_that_does_not_react_keeps_nobody(
    session: requests.Session, peer: StartPeer, busy: bool
) -> None:
    """It reads nothing, so neither GOAWAY nor close_notify is ever answered."""
    go_on = threading.Event()

    def script(conn: PeerConnection) -> None:
        conn.window_update(0, 2**30)
        conn.respond(conn.next_request(), 200, {}, b"first")
        if busy:
            conn.next_request()
            conn.expect(DataFrame)
        assert go_on.wait(WAIT)
        conn.abort()

    started = peer(script, settings={"initial_window_size": 2**30})
    assert session.get(started.url, timeout=WAIT).content == b"first"
    upload = None
    if busy:
        data = bytes(16 * MIB)
        upload = background(lambda: session.post(started.url, data=data, timeout=WAIT))
        started.connection().wait_for(DataFrame)
    begin = time.monotonic()
    session.close()
    assert time.monotonic() - begin < 0.25 + PROMPT
    go_on.set()
    if upload is not None:
        with pytest.raises(requests.ConnectionError):
            upload.result(WAIT)


def test_087_closing_twice_and_using_again(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(large))
    session.close()
    for number in range(3):
        assert session.get(started.url, timeout=WAIT).content == b"small"
        session.close()
        session.close()
        started.connection(number).wait_eof()
    assert started.accepted == 3


# -- 88: one response that fails -----------------------------------------------------------


def fail_by_decoding(conn: PeerConnection, session: requests.Session, url: str) -> None:
    response = respond_to(conn, session, url, {"content-encoding": "gzip"}, b"this is not gzip")
    with pytest.raises(requests.exceptions.ContentDecodingError):
        response.content  # noqa: B018


def fail_by_decoding_late(conn: PeerConnection, session: requests.Session, url: str) -> None:
    data = gzip.compress(bytes(range(256)) * 100)
    response = respond_to(conn, session, url, {"content-encoding": "gzip"}, data[:40] + data)
    with pytest.raises(requests.exceptions.ContentDecodingError):
        list(response.iter_content(10))


def fail_by_timeout(conn: PeerConnection, session: requests.Session, url: str) -> None:
    response = respond_to(conn, session, url, {}, b"some", timeout=(WAIT, 0.2))
    with pytest.raises(requests.ConnectionError, match="timed out"):
        response.content  # noqa: B018


def fail_by_reset(conn: PeerConnection, session: requests.Session, url: str) -> None:
    response = respond_to(conn, session, url, {}, b"some")
    conn.reset(3, INTERNAL_ERROR)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="INTERNAL_ERROR"):
        response.content  # noqa: B018


def fail_by_length(conn: PeerConnection, session: requests.Session, url: str) -> None:
    response = respond_to(conn, session, url, {"content-length": "100"}, b"some")
    conn.send_data(3, end_stream=True)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        response.content  # noqa: B018


def fail_by_closing(conn: PeerConnection, session: requests.Session, url: str) -> None:
    response = respond_to(conn, session, url, {}, b"some")
    assert response.raw.connection is None or response.raw.connection.close() is None
    response.raw.close()


def fail_by_shutting_down(conn: PeerConnection, session: requests.Session, url: str) -> None:
    response = respond_to(conn, session, url, {}, b"some")
    with contextlib.suppress(ValueError):
        response.raw.shutdown()
    response.close()


FAILURES = [
    fail_by_decoding,
    fail_by_decoding_late,
    fail_by_timeout,
    fail_by_reset,
    fail_by_length,
    fail_by_closing,
]
if hasattr(urllib3.HTTPResponse, "shutdown"):  # since urllib3 2.3
    FAILURES.append(fail_by_shutting_down)


def respond_to(
    conn: PeerConnection,
    session: requests.Session,
    url: str,
    headers: dict[str, str],
    data: bytes,
    timeout: Any = WAIT,
) -> requests.Response:
    """A ``stream=True`` response on stream 3 with this much of its content, and no end."""
    future = background(lambda: session.get(url, stream=True, timeout=timeout))
    conn.wait_for(HeadersFrame, stream_id=3)
    conn.send_headers(3, 200, headers)
    conn.send_data(3, data)
    response: requests.Response = future.result(WAIT)
    return response


@pytest.mark.parametrize("fail", FAILURES)
def test_088_a_response_that_fails_ends_only_its_stream(
    session: requests.Session, peer: StartPeer, fail: Callable[..., None]
) -> None:
    started = peer(hold)
    sibling = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    fail(conn, session, started.url)
    gc.collect()
    exchange(session, started, 5)
    conn.respond(1, 200, {}, b"sibling")
    assert sibling.result(WAIT) == b"sibling"
    if fail not in (fail_by_reset, fail_by_length):
        assert conn.wait_for(RstStreamFrame, stream_id=3).error_code == CANCEL
    assert conn.received(GoAwayFrame) == []


# -- 89: push ------------------------------------------------------------------------------


PROMISE = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "127.0.0.1"),
    (":path", "/pushed"),
]


def push(conn: PeerConnection) -> None:
    conn.push_promise(1, 2, PROMISE)
    conn.send_headers(2, 200, {"set-cookie": "pushed=1"})
    conn.send_data(2, b"pushed", end_stream=True)


def push_and_answer(conn: PeerConnection) -> None:
    """The answer comes after: nothing is taken from a connection that breaks the rules."""
    conn.push_promise(1, 2, PROMISE)
    conn.respond(1, 200, {}, b"answer")


def push_of_a_push(conn: PeerConnection) -> None:
    frame = PushPromiseFrame(2, 4, conn.encode(PROMISE), flags=["END_HEADERS"])
    conn.send(frame)


def push_with_thousands_of_fields(conn: PeerConnection) -> None:
    block = conn.encode([*PROMISE, *((f"x-{number}", "y" * 20) for number in range(10_000))])
    pieces = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    frames: list[Frame] = [PushPromiseFrame(1, 2, pieces[0])]
    frames += [ContinuationFrame(1, piece) for piece in pieces[1:]]
    frames[-1].flags.add("END_HEADERS")
    conn.send(*frames)


def push_without_an_end(conn: PeerConnection) -> None:
    conn.push_promise(1, 2, PROMISE, end_headers=False)


def many_pushes(conn: PeerConnection) -> None:
    for promised in range(2, 2000, 2):
        conn.push_promise(1, promised, PROMISE)


def push_on_no_stream(conn: PeerConnection) -> None:
    conn.push_promise(99, 2, PROMISE)


PUSHES = [
    push,
    push_and_answer,
    push_of_a_push,
    push_with_thousands_of_fields,
    push_without_an_end,
    many_pushes,
    push_on_no_stream,
]


@pytest.mark.parametrize("promise", PUSHES)
def test_089_a_push_ends_the_connection(
    session: requests.Session, peer: StartPeer, promise: Callable[[PeerConnection], None]
) -> None:
    """It was switched off, and a client that takes part of it takes what the server likes."""
    started = peer([hold, serve(large)])
    first = background(lambda: session.post(started.url + "/first", timeout=WAIT))
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    second = background(lambda: session.post(started.url + "/second", timeout=WAIT))
    conn.wait_for(HeadersFrame, stream_id=3)
    begin = time.monotonic()
    with contextlib.suppress(Closed):  # before all of it could be sent
        promise(conn)
    for future in (first, second):
        with pytest.raises(requests.ConnectionError, match=r"PROTOCOL_ERROR \(0x1\)") as caught:
            future.result(WAIT)
        assert not isinstance(caught.value, requests.Timeout)
        assert "127.0.0.1" in str(caught.value)
    assert time.monotonic() - begin < PROMPT
    assert conn.wait_for(GoAwayFrame).error_code == PROTOCOL_ERROR
    conn.wait_eof()
    assert len(conn.requests) == 2
    # Nothing of it was kept.
    assert session.get(started.url + "/pushed", timeout=WAIT).content == b"small"
    assert not session.cookies
    assert [request.path for request in started.connection(1).requests] == ["/pushed"]


def test_089_what_was_complete_before_stands(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        whole = DataFrame(request.stream_id, b"whole", flags=["END_STREAM"])
        promise = PushPromiseFrame(1, 2, conn.encode(PROMISE), flags=["END_HEADERS"])
        conn.send(whole, promise)

    assert session.get(peer(script).url, timeout=WAIT).content == b"whole"


def test_089_a_push_in_the_middle_of_a_body(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"partial")
        conn.push_promise(request, 2, PROMISE)

    response = session.get(peer(script).url, stream=True, timeout=WAIT)
    received: list[bytes] = []
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="PROTOCOL_ERROR"):
        received.extend(response.iter_content(7))
