"""Sessions, adapters, responses and pushes that are closed in any order, by call or by ``with``."""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import GoAwayFrame, HeadersFrame, RstStreamFrame
from requests.adapters import HTTPAdapter

import requests_h2
from requests_h2.waiting import Waiting
from tests.support.certs import Certificates
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
from tests.support.threads import WAIT, background, until

NO_ERROR, CANCEL = 0, 8
BODY = bytes(3_000_000)
CLOSED = ("session", "adapter", "response", "push")


def answer(request: Request) -> Any:
    body = BODY if request.path == "/large" else request.path.encode()
    return 200, {}, body


ordinary = serve(answer)


def push_and_hold(conn: PeerConnection) -> None:
    """Headers of a response on stream 1 and of a push on stream 2; the test sends the rest."""
    request = conn.next_request()
    promise(conn, request, 2, "/pushed")
    conn.send_headers(request, 200)
    conn.send_headers(2, 200)
    hold(conn)


@pytest.fixture
def pushing(make_session: MakeSession) -> requests.Session:
    """A session whose pushes are collected in ``session.pushes``."""
    session: Any = make_session()
    requests_h2.mount(session, session.get_adapter("https://"))
    session.pushes = []
    session.hooks["push"] = lambda push, **kwargs: session.pushes.append(push)
    made: requests.Session = session
    return made


def opened(session: Any, started: Peer, way: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What there is to be closed, and what closes each."""
    response = session.get(started.url, stream=True, timeout=WAIT)
    pushed = session.pushes.pop().response(stream=True, timeout=WAIT)
    things = {
        "session": session,
        "adapter": session.get_adapter("https://"),
        "response": response,
        "push": pushed,
    }
    if way == "with":
        closers: dict[str, Any] = {}
        for name, thing in things.items():
            closers[name] = contextlib.ExitStack()
            closers[name].enter_context(thing)
        return things, closers
    return things, dict(things)


# -- every order -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["close", "with", "read"])
@pytest.mark.parametrize("order", list(itertools.permutations(CLOSED)), ids="-".join)
def test_every_order(
    pushing: requests.Session, peer: StartPeer, order: tuple[str, ...], way: str
) -> None:
    """What is not closed itself can be read on; what is closed ends its own stream only."""
    started = peer([push_and_hold, ordinary])
    things, closers = opened(pushing, started, way)
    conn = started.connection()
    left = {"response": 1, "push": 2}
    for name in order:
        if way == "read" and name in left:
            conn.send_data(left[name], b"the rest", end_stream=True)
            assert things[name].content == b"the rest"
        closers[name].close()
        left.pop(name, None)
        for other, stream_id in left.items():
            conn.send_data(stream_id, b"more of " + other.encode())
            assert things[other].raw.read(len("more of " + other)) == b"more of " + other.encode()
    conn.wait_eof()
    resets = {(frame.stream_id, frame.error_code) for frame in conn.received(RstStreamFrame)}
    assert resets == (set() if way == "read" else {(1, CANCEL), (2, CANCEL)})
    assert conn.received(GoAwayFrame)[-1].error_code == NO_ERROR
    # Closed is not the end: as with the stock adapter, new requests dial anew.
    assert pushing.get(started.url + "/new", timeout=WAIT).content == b"/new"
    assert started.accepted == 2


@pytest.mark.parametrize("order", list(itertools.permutations(CLOSED[:3])), ids="-".join)
def test_every_order_over_http1(
    make_session: MakeSession, peer: StartPeer, order: tuple[str, ...]
) -> None:
    started = peer(ordinary, alpn=["http/1.1"])
    session = make_session()
    response = session.get(started.url + "/large", stream=True, timeout=WAIT)
    things = {
        "session": session,
        "adapter": session.get_adapter("https://"),
        "response": response,
    }
    for name in order:
        if name == "response":
            assert response.content == BODY
        things[name].close()  # type: ignore[attr-defined]
    assert session.get(started.url + "/new", timeout=WAIT).content == b"/new"


@pytest.mark.parametrize("order", list(itertools.permutations(("session", "adapter", "response"))))
def test_a_push_that_nobody_has_claimed_goes_with_the_first(
    pushing: Any, peer: StartPeer, order: tuple[str, ...]
) -> None:
    started = peer([push_and_hold, ordinary])
    response = pushing.get(started.url, stream=True, timeout=WAIT)
    things = {
        "session": pushing,
        "adapter": pushing.get_adapter("https://"),
        "response": response,
    }
    conn = started.connection()
    for name in order:
        things[name].close()
        assert conn.wait_for(RstStreamFrame, stream_id=2).error_code == CANCEL
        with pytest.raises(requests.ConnectionError, match="was dropped"):
            pushing.pushes[0].response(timeout=WAIT)
    pushing.pushes[0].cancel()
    conn.wait_eof()
    assert len([frame for frame in conn.received(RstStreamFrame) if frame.stream_id == 2]) == 1
    assert [push.path for push in requests_h2.get_pushes(response)] == ["/pushed"]
    assert list(requests_h2.get_pushes(response, capture_all=True)) == []


@pytest.mark.parametrize("way", ["close", "content", "iter_content", "read", "read1", "stream"])
def test_a_response_that_is_closed_reads_as_over_the_stock_adapter(
    session: requests.Session, peer: StartPeer, certs: Certificates, way: str
) -> None:
    """Nothing, or an error, whatever has been received; and closing again does nothing."""
    ways: dict[str, Callable[[Any], Any]] = {
        "close": lambda response: response.close(),
        "content": lambda response: response.content,
        "iter_content": lambda response: list(response.iter_content(10)),
        "read": lambda response: response.raw.read(),
        "read1": lambda response: response.raw.read1(10),
        "stream": lambda response: list(response.raw.stream(10)),
    }

    def outcome(session: requests.Session, started: Peer) -> Any:
        response: Any = session.get(started.url + "/large", stream=True, timeout=WAIT)
        response.raw.read(10)
        response.close()
        try:
            result = ways[way](response)
        except Exception as error:  # noqa: BLE001 - compared
            result = f"{type(error)}: {error}"
        return result, response.raw.closed, response.raw.isclosed()

    with requests.Session() as stock:
        stock.verify = certs.ca_path
        expected = outcome(stock, peer(ordinary, alpn=["http/1.1"]))
    assert outcome(session, peer(ordinary)) == expected


# -- adapters ----------------------------------------------------------------------------------


def test_an_adapter_as_a_context_manager(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    started = peer([ordinary, ordinary])
    request = requests.Request("GET", started.url + "/path").prepare()
    with make_adapter() as adapter:
        assert isinstance(adapter, HTTPAdapter)
        response = adapter.send(request, stream=True, timeout=WAIT, verify=certs.ca_path)
        kept = adapter.send(request, timeout=WAIT, verify=certs.ca_path)
        assert response.content == b"/path"
    # Nobody had read it yet when the block was left.
    assert kept.content == b"/path"
    started.connection().wait_eof()
    with adapter:  # as often as one likes
        again = adapter.send(request, timeout=WAIT, verify=certs.ca_path)
        assert again.content == b"/path"
    assert started.accepted == 2


def test_a_block_that_raises_closes_its_adapter(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    started = peer(ordinary)
    request = requests.Request("GET", started.url).prepare()

    def use() -> None:
        with make_adapter() as adapter:
            adapter.send(request, timeout=WAIT, verify=certs.ca_path).close()
            raise ValueError("the block's own")

    with pytest.raises(ValueError, match="own"):
        use()
    started.connection().wait_eof()


def test_two_sessions_share_one_adapter(
    make_session: MakeSession, peer: StartPeer, certs: Certificates
) -> None:
    """Who closes it first keeps the other from nothing."""
    started = peer([ordinary, ordinary])
    first, second = make_session(), requests.Session()
    second.verify = certs.ca_path
    requests_h2.mount(first, first.get_adapter("https://"))  # type: ignore[arg-type]
    requests_h2.mount(second, first.get_adapter("https://"))  # type: ignore[arg-type]
    response = second.get(started.url + "/large", stream=True, timeout=WAIT)
    assert first.get(started.url + "/1", timeout=WAIT).content == b"/1"
    assert started.accepted == 1
    first.close()
    assert second.get(started.url + "/2", timeout=WAIT).content == b"/2"
    assert response.content == BODY
    started.connection(0).wait_eof()
    second.close()
    started.connection(1).wait_eof()


# -- closed while others wait ------------------------------------------------------------------


@pytest.mark.parametrize("what", ["session", "adapter"])
def test_closed_while_a_request_waits_for_a_free_stream(
    make_session: MakeSession, peer: StartPeer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The connection takes no more of them, so the request gets one of its own."""
    waiting = threading.Semaphore(0)
    real = Waiting.for_slot

    def for_slot(self: Waiting, *args: Any) -> bool:
        waiting.release()
        return real(self, *args)

    monkeypatch.setattr(Waiting, "for_slot", for_slot)
    session = make_session(pool_maxsize=1)
    started = peer([ordinary, ordinary], settings={"max_concurrent_streams": 1})
    response = session.get(started.url + "/large", stream=True, timeout=WAIT)
    second = background(lambda: session.get(started.url + "/2", timeout=WAIT).content)
    assert waiting.acquire(timeout=WAIT)
    (session if what == "session" else session.get_adapter("https://")).close()
    assert second.result(WAIT) == b"/2"
    assert response.content == BODY
    started.connection(0).wait_eof()
    del response
    gc.collect()  # urllib3's pool, which nobody refers to any more, closes what it had
    started.connection(1).wait_eof()
    assert session.get(started.url + "/3", timeout=WAIT).content == b"/3"
    assert started.accepted == 3


def test_closed_in_the_middle_of_an_upload(session: requests.Session, peer: StartPeer) -> None:
    """By its own body's iterator."""

    def body() -> Iterator[bytes]:
        yield b"before, "
        session.close()
        yield b"after"

    started = peer([serve(lambda request: (200, {}, bytes(request.body))), ordinary])
    assert session.post(started.url, data=body(), timeout=WAIT).content == b"before, after"
    started.connection().wait_eof()
    assert session.get(started.url + "/new", timeout=WAIT).content == b"/new"


@pytest.mark.parametrize("event", ["push", "informational", "response"])
def test_closed_in_a_hook(make_session: MakeSession, peer: StartPeer, event: str) -> None:
    """The response that it belongs to goes on, and so does the push if it was claimed before."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.informational(request, 103)
        promise(conn, request, 2, "/pushed")
        conn.send_headers(request, 200)
        conn.respond(2, 200, {}, b"pushed")
        conn.send_data(request, b"body")
        assert closed.wait(WAIT)
        conn.send_data(request, end_stream=True)

    closed = threading.Event()
    bodies: list[bytes] = []

    def hook(data: Any, **kwargs: Any) -> None:
        if event == "push":
            bodies.append(data.response(timeout=WAIT).content)
        session.close()
        closed.set()

    session = make_session(enable_push=True)
    requests_h2.mount(session, session.get_adapter("https://"))  # type: ignore[arg-type]
    started = peer([script, ordinary])
    hooks: Any = {event: hook}
    stream = event == "response"  # that hook is called before the body is read
    response = session.get(started.url, hooks=hooks, stream=stream, timeout=WAIT)
    assert response.content == b"body"
    assert bodies == ([b"pushed"] if event == "push" else [])
    response.close()
    started.connection().wait_eof()


# -- pushes ------------------------------------------------------------------------------------


def test_cancelled_while_another_thread_waits_for_it(pushing: Any, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        promise(conn, request, 2, "/pushed")
        conn.respond(request, 200, {}, b"body")

    started = peer(script)
    pushing.get(started.url, timeout=WAIT)
    (push,) = pushing.pushes
    waiting = background(lambda: push.response(timeout=WAIT))
    until(lambda: push.claimed)
    push.cancel()
    with pytest.raises(requests.ConnectionError, match="push of /pushed was cancelled"):
        waiting.result(WAIT)


def test_a_promise_that_comes_after_closing(pushing: Any, peer: StartPeer) -> None:
    """To a response that goes on, as if nothing had happened."""
    started = peer(hold)
    future = background(lambda: pushing.get(started.url, stream=True, timeout=WAIT))
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.send_headers(1, 200)
    response = future.result(WAIT)
    pushing.close()
    promise(conn, conn.request(1), 2, "/pushed")
    conn.send_data(1, b"body", end_stream=True)
    assert response.content == b"body"
    (push,) = pushing.pushes
    conn.respond(2, 200, {}, b"pushed")
    assert push.response(timeout=WAIT).content == b"pushed"
    conn.wait_eof()


def test_a_complete_push_outlives_its_connection(pushing: Any, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        promise(conn, request, 2, "/pushed")
        conn.respond(2, 200, {}, b"pushed")
        conn.respond(request, 200, {}, b"body")
        conn.goaway(1)
        conn.channel.wait_until_delivered()
        conn.close()
        ended.set()

    ended = threading.Event()
    started = peer([script, ordinary])
    pushing.get(started.url, timeout=WAIT)
    assert ended.wait(WAIT)
    assert pushing.get(started.url + "/new", timeout=WAIT).content == b"/new"
    assert started.accepted == 2
    (push,) = pushing.pushes
    assert push.response(timeout=WAIT).content == b"pushed"


def test_a_parent_that_is_dropped_gives_up_its_stream_at_once(
    pushing: Any, peer: StartPeer
) -> None:
    """Without a garbage collection, although its push knows it. The push can still be claimed."""
    started = peer(push_and_hold)
    response = pushing.get(started.url, stream=True, timeout=WAIT)
    (push,) = pushing.pushes
    assert push.parent is response
    gc.disable()
    try:
        del response
        conn = started.connection()
        assert conn.wait_for(RstStreamFrame, stream_id=1).error_code == CANCEL
    finally:
        gc.enable()
    assert push.parent is None
    conn.send_data(2, b"pushed", end_stream=True)
    assert push.response(timeout=WAIT).content == b"pushed"


def test_a_session_that_is_dropped(pushing: Any, peer: StartPeer) -> None:
    """Without close(): what is kept of its responses goes on, and then the connection ends."""
    started = peer(push_and_hold)
    response = pushing.get(started.url, stream=True, timeout=WAIT)
    pushed = pushing.pushes.pop().response(stream=True, timeout=WAIT)
    session = requests.Session()
    session.adapters = pushing.adapters
    pushing.adapters = {}
    del session
    gc.collect()
    conn = started.connection()
    conn.send_data(1, b"body", end_stream=True)
    conn.send_data(2, b"pushed", end_stream=True)
    assert (response.content, pushed.content) == (b"body", b"pushed")
    del response, pushed
    gc.collect()
    until(lambda: bool(conn.received(GoAwayFrame)))
    conn.wait_eof()
