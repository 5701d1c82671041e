"""Server push through session and request hooks, and what may be pushed."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import HeadersFrame, RstStreamFrame, SettingsFrame
from requests.adapters import HTTPAdapter
from urllib3.util import Timeout

import requests_h2
from requests_h2.pump import Pump
from tests.support.certs import Certificates
from tests.support.peer import Peer, PeerConnection, StartPeer, hold, serve
from tests.support.threads import PROMPT, WAIT, background, together, until

PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 1, 2, 7, 8, 11


def promised(started: Peer, path: str = "/pushed", **fields: str) -> list[tuple[str, str]]:
    """The field list of a promise; keyword arguments replace pseudo-header fields."""
    pseudo = {"method": "GET", "scheme": "https", "authority": authority(started), "path": path}
    return [(f":{name}", value) for name, value in {**pseudo, **fields}.items()]


def authority(started: Peer) -> str:
    return started.url.removeprefix("https://")


@pytest.fixture
def pushing(
    make_adapter: Callable[..., Any], certs: Certificates
) -> Iterator[Callable[..., requests.Session]]:
    """``pushing(push_timeout=1)``: a session with our adapter mounted by ``requests_h2.mount``."""
    sessions: list[requests.Session] = []

    def make(**options: Any) -> requests.Session:
        session = requests.Session()
        sessions.append(session)
        session.verify = certs.ca_path
        requests_h2.mount(session, make_adapter(**options))
        return session

    yield make
    for session in sessions:
        session.close()


class Site:
    """A script: ``/`` promises ``paths`` at ``when`` and then, unless told not to, sends them."""

    def __init__(self, *paths: str, when: str = "before", send: bool = True) -> None:
        self.paths = paths or ("/pushed",)
        self.when = when
        self.send = send
        self.peer: Any = None

    def __call__(self, conn: PeerConnection) -> None:
        request = conn.next_request()
        promises = []
        for moment in ("before", "after headers", "in the body", "last"):
            if moment == "after headers":
                conn.send_headers(request, 200)
            elif moment == "in the body":
                conn.send_data(request, b"first ")
            elif moment == "last":
                conn.send_data(request, b"second")
            if moment == self.when:
                promises = [
                    conn.push_promise(request, 2 * number, promised(self.peer, path))
                    for number, path in enumerate(self.paths, 1)
                ]
        conn.send_data(request, b"", end_stream=True)
        for promise in promises if self.send else ():
            conn.respond(promise, 200, {"x-of": promise.path}, b"body of " + promise.path.encode())
        hold(conn)


def the_only_push(session: requests.Session, started: Peer) -> requests_h2.PushedResponse:
    """What a GET brings."""
    seen: list[requests_h2.PushedResponse] = []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    session.get(started.url, timeout=WAIT)
    (push,) = seen
    return push


def start(peer: StartPeer, site: Site) -> Peer:
    site.peer = started = peer(site)
    return started


# -- hooks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after headers", "in the body", "last"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_session_hook_gets_what_is_pushed(
    pushing: Any, peer: StartPeer, when: str, stream: bool
) -> None:
    started = start(peer, Site("/a", "/b?c=d", when=when))
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append((push, kwargs))
    response = session.get(started.url, timeout=WAIT, stream=stream)
    assert response.content == b"first second"
    assert [push.path for push, _ in seen] == ["/a", "/b?c=d"]
    push, kwargs = seen[1]
    assert push.url == started.url + "/b?c=d"
    assert push.request.method == "GET"
    assert push.request.url == push.url
    assert push.parent is response
    assert kwargs["timeout"] == WAIT
    assert kwargs["stream"] is stream
    assert not push.claimed
    answer = push.response()
    assert push.claimed
    assert answer.content == b"body of /b?c=d"
    assert answer.headers["x-of"] == "/b?c=d"
    assert (answer.status_code, answer.url, answer.request) == (200, push.url, push.request)
    assert answer.raw.pushed
    assert not response.raw.pushed
    assert push.response() is answer
    assert started.accepted == 1


@pytest.mark.parametrize("when", ["before", "in the body", "last"])
def test_hooks_are_called_by_those_who_read_frames(
    pushing: Any, peer: StartPeer, when: str
) -> None:
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push.path)
    response = session.get(start(peer, Site(when=when)).url, timeout=WAIT, stream=True)
    assert list(response.raw.read_chunked()) == [b"first ", b"second", b""]
    assert seen == ["/pushed"]


def test_hooks_of_session_and_request_are_called_in_that_order(
    pushing: Any, peer: StartPeer
) -> None:
    started = start(peer, Site())
    session, seen = pushing(), []

    def named(name: str) -> Callable[..., None]:
        return lambda push, **kwargs: seen.append(name)

    session.hooks["push"] = [named("session 1"), named("session 2")]
    session.hooks["response"].append(lambda response, **kwargs: seen.append("response"))
    session.get(started.url, hooks={"push": [named("one"), named("two")]}, timeout=WAIT)
    assert seen == ["session 1", "session 2", "one", "two", "response"]


@pytest.mark.parametrize("with_response_hooks", [False, True])
def test_a_hook_of_one_request(pushing: Any, peer: StartPeer, with_response_hooks: bool) -> None:
    """With a ``response`` hook on the session requests would drop the request's hooks."""
    started = start(peer, Site())
    session, seen = pushing(), []
    if with_response_hooks:
        session.hooks["response"].append(lambda response, **kwargs: None)
    session.get(started.url, hooks={"push": lambda push, **kw: seen.append(push)}, timeout=WAIT)
    assert [push.path for push in seen] == ["/pushed"]


def test_a_hook_of_one_request_needs_no_mount_of_ours(
    session: requests.Session, peer: StartPeer
) -> None:
    started = start(peer, Site())
    seen: list[Any] = []
    session.get(started.url, hooks={"push": lambda push, **kw: seen.append(push)}, timeout=WAIT)
    assert [push.response().content for push in seen] == [b"body of /pushed"]


def test_what_a_hook_raises_reaches_the_caller_and_nobody_else(
    pushing: Any, peer: StartPeer
) -> None:
    started = start(peer, Site(when="in the body"))
    session = pushing()

    def hook(push: Any, **kwargs: Any) -> None:
        raise OSError("the hook's own")

    with pytest.raises(OSError, match="the hook's own") as caught:
        session.get(started.url, hooks={"push": hook}, timeout=WAIT)
    assert not isinstance(caught.value, requests.RequestException)
    future = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=3)
    conn.respond(3, 200, {}, b"fine")
    assert future.result(WAIT) == b"fine"


@pytest.mark.parametrize("when", ["before", "after headers", "last"])
def test_a_hook_that_raises_closes_the_response(pushing: Any, peer: StartPeer, when: str) -> None:
    """What was read just then is lost, so nobody may go on without it."""
    started = start(peer, Site("/1", "/2", when=when, send=False))
    session, seen = pushing(), []

    def hook(push: Any, **kwargs: Any) -> None:
        seen.append(push)
        raise ValueError("the hook's own")

    def read() -> None:
        response = session.get(started.url, stream=True, timeout=WAIT)
        try:
            response.content  # noqa: B018
        finally:
            seen.append(response.content)

    session.hooks["push"] = hook
    with pytest.raises(ValueError, match="own"):
        read()
    assert seen[1:] == ([] if when == "before" else [b""])
    for stream_id in (2, 4):
        reset = started.connection().wait_for(RstStreamFrame, stream_id=stream_id)
        assert reset.error_code == CANCEL


def test_a_hook_that_is_an_empty_list_itself(pushing: Any, peer: StartPeer) -> None:
    class Collector(list[Any]):
        def __call__(self, push: Any, **kwargs: Any) -> None:
            self.append(push)

    started = start(peer, Site())
    session = pushing()
    session.hooks["push"] = seen = Collector()
    session.get(started.url, timeout=WAIT)
    assert [push.path for push in seen] == ["/pushed"]


def test_what_is_no_hook_is_told_to_who_reads_the_parent(pushing: Any, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        first, second = conn.next_requests(2)
        for request in (second, first):
            conn.send_headers(request, 200)
        wrong.wait(WAIT)
        conn.push_promise(first, 2, promised(started))
        for request in (first, second):
            conn.send_data(request, b"page", end_stream=True)
        hold(conn)

    wrong = threading.Event()
    started = peer(script)
    session = pushing()
    session.hooks["push"] = print
    answers = together(2, lambda number: session.get(started.url, timeout=WAIT, stream=True))
    first, second = sorted(answers, key=lambda answer: answer.raw.connection_info.stream_id)
    session.hooks["push"] = 5
    wrong.set()
    assert second.content == b"page"
    with pytest.raises(TypeError, match="int"):
        first.content  # noqa: B018
    started.connection().wait_for(RstStreamFrame, stream_id=2, error_code=CANCEL)


def test_hooks_are_called_while_requests_reads(pushing: Any, peer: StartPeer) -> None:
    """And not at the end of the body, when the push may have been dropped."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"content-length": "12"})
        conn.send_data(request, b"first ")
        conn.push_promise(request, 2, promised(started))
        conn.send_data(request, b"sec")
        conn.wait_for(RstStreamFrame, stream_id=2)
        conn.send_data(request, b"ond", end_stream=True)

    started = peer(script)
    session = pushing()
    session.hooks["push"] = lambda push, **kwargs: push.cancel()
    assert session.get(started.url, timeout=WAIT).content == b"first second"


def test_two_sessions_with_the_connections_of_one_adapter(
    pushing: Any, peer: StartPeer, certs: Certificates
) -> None:
    def script(conn: PeerConnection) -> None:
        for number in (1, 2):
            request = conn.next_request()
            conn.push(request, 2 * number, promised(started, f"/{number}"))
            conn.respond(request)
        hold(conn)

    started = peer(script)
    first, second, seen = pushing(), requests.Session(), []
    second.verify = certs.ca_path
    requests_h2.mount(second, first.get_adapter("https://"))
    first.hooks["push"] = lambda push, **kwargs: seen.append(("first", push.path))
    second.hooks["push"] = lambda push, **kwargs: seen.append(("second", push.path))
    with second:
        second.get(started.url, timeout=WAIT)
        first.get(started.url, timeout=WAIT)
    assert seen == [("second", "/1"), ("first", "/2")]
    assert started.accepted == 1


def test_a_pickled_adapter_forgets_its_session(pushing: Any) -> None:
    session = pushing(enable_push=True, push_timeout=7.0)
    adapter = pickle.loads(pickle.dumps(session.get_adapter("https://")))
    assert adapter._session is None
    assert adapter._options.push_timeout == 7.0


# -- whether the server may push -----------------------------------------------------------


def test_push_is_refused_when_nobody_asks_for_it(session: Any, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"")))
    session.get(started.url, timeout=WAIT)
    assert not started.connection().may_push


def test_the_first_request_with_a_hook_allows_push(pushing: Any, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"")))
    session = pushing()
    session.get(started.url, timeout=WAIT)
    session.hooks["push"] = lambda push, **kwargs: None
    session.get(started.url, timeout=WAIT)
    conn = started.connection()
    assert conn.may_push
    frames = [
        type(frame)
        for frame in conn.frames
        if isinstance(frame, HeadersFrame)
        or (isinstance(frame, SettingsFrame) and SettingsFrame.ENABLE_PUSH in frame.settings)
    ]
    assert frames == [SettingsFrame, HeadersFrame, SettingsFrame, HeadersFrame]


def test_promises_to_a_request_without_a_hook_are_cancelled(pushing: Any, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        request = conn.next_request()
        conn.push_promise(request, 2, promised(started))
        conn.wait_for(RstStreamFrame, lambda frame: frame.error_code == CANCEL, stream_id=2)
        conn.respond(request, 200, {}, b"fine")

    started = peer(script)
    session = pushing()
    session.get(started.url, hooks={"push": lambda push, **kwargs: None}, timeout=WAIT)
    assert session.get(started.url, timeout=WAIT).content == b"fine"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"authority": "elsewhere.example"}, PROTOCOL_ERROR),
        ({"authority": "127.0.0.1"}, PROTOCOL_ERROR),
        # Python converts no more than 4,300 digits.
        ({"authority": "127.0.0.1:" + "1" * 5_000}, PROTOCOL_ERROR),
        ({"scheme": "http"}, PROTOCOL_ERROR),
        ({"method": "POST"}, PROTOCOL_ERROR),
        ({"path": "*"}, PROTOCOL_ERROR),
        ({"path": "/pushed#fragment"}, PROTOCOL_ERROR),
    ],
)
def test_what_must_not_be_pushed(
    pushing: Any, peer: StartPeer, fields: dict[str, str], code: int
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.push_promise(request, 2, promised(started, **fields))
        conn.wait_for(RstStreamFrame, lambda frame: frame.error_code == code, stream_id=2)
        conn.push(request, 4, promised(started, "/good"), body=b"good")
        conn.respond(request, 200, {}, b"parent")

    started = peer(script)
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    assert session.get(started.url, timeout=WAIT).content == b"parent"
    assert [push.response().content for push in seen] == [b"good"]


@pytest.mark.parametrize(("count", "size"), [(1001, 1), (5, 60_000)])
def test_a_promise_that_is_too_large(pushing: Any, peer: StartPeer, count: int, size: int) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        fields = [(f"x-{number}", "x" * size) for number in range(count)]
        conn.push_promise(request, 2, promised(started) + fields)
        conn.wait_for(RstStreamFrame, stream_id=2, error_code=ENHANCE_YOUR_CALM)
        conn.respond(request, 200, {}, b"parent")

    started = peer(script)
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    assert session.get(started.url, timeout=WAIT).content == b"parent"
    assert seen == []


@pytest.mark.parametrize("verified", [True, False])
def test_another_host_of_the_certificate(pushing: Any, peer: StartPeer, verified: bool) -> None:
    """It names 127.0.0.1 and localhost. Without verification it proves nothing."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        there = authority(started).replace("127.0.0.1", "localhost")
        conn.push_promise(request, 2, promised(started, authority=there))
        conn.push_promise(request, 4, promised(started, "/here"))
        conn.respond(request)
        hold(conn)

    started = peer(script)
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push.url)
    verify = session.verify if verified else False
    if verified:
        session.get(started.url, timeout=WAIT, verify=verify)
    else:
        with pytest.warns(Warning, match="Unverified HTTPS"):
            session.get(started.url, timeout=WAIT, verify=verify)
    there = started.url.replace("127.0.0.1", "localhost") + "/pushed"
    assert seen == [*([there] if verified else []), started.url + "/here"]


def test_no_more_pushes_than_wanted(pushing: Any, peer: StartPeer) -> None:
    started = start(peer, Site("/1", "/2", "/3", send=False))
    session, seen = pushing(max_pushes=2), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push.path)
    session.get(started.url, timeout=WAIT)
    assert seen == ["/1", "/2"]
    reset = started.connection().wait_for(RstStreamFrame, stream_id=6)
    assert reset.error_code == REFUSED_STREAM


# -- the life of a push --------------------------------------------------------------------


@pytest.mark.parametrize("limit", [100, 1000])
def test_a_burst_of_promises(pushing: Any, peer: StartPeer, limit: int) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        for number in range(1, 1101):
            conn.push_promise(request, 2 * number, promised(started, "/p"))
        conn.respond(request, 200, {}, b"page")
        hold(conn)

    started = peer(script)
    session, seen = pushing(max_pushes=limit), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    assert session.get(started.url, timeout=WAIT).content == b"page"
    assert len(seen) == limit
    conn = started.connection()
    conn.wait_for(RstStreamFrame, stream_id=2200)
    refused = conn.received(RstStreamFrame)
    assert {frame.error_code for frame in refused} == {REFUSED_STREAM}
    assert len(refused) == 1100 - limit


def test_a_pushed_body_obeys_flow_control_and_outlives_its_parent(
    pushing: Any, peer: StartPeer
) -> None:
    body = bytes(3_000_000)

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        promise = conn.push_promise(request, 2, promised(started))
        conn.respond(request, 200, {}, b"parent")
        conn.send_headers(promise, 200)
        conn.send_body(promise, body)

    started = peer(script)
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    assert session.get(started.url, timeout=WAIT).content == b"parent"
    stopped = background(lambda: started.connection().window_of(2))
    assert stopped.result(WAIT) >= 0
    answer = background(lambda: seen[0].response(stream=True))
    assert sum(map(len, answer.result(WAIT).iter_content(10_000))) == len(body)


@pytest.mark.parametrize("way", ["close", "with", "unread"])
def test_closing_the_parent_resets_what_nobody_claimed(
    pushing: Any, peer: StartPeer, way: str
) -> None:
    started = start(peer, Site("/claimed", "/unclaimed", send=False))
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    response = session.get(started.url, timeout=WAIT, stream=way == "unread")
    claimed = background(lambda: seen[0].response(timeout=WAIT).content)
    conn = started.connection()
    until(lambda: seen[0].claimed)
    if way == "with":
        with response:
            pass
    else:
        response.close()
    conn.wait_for(RstStreamFrame, lambda frame: frame.error_code == CANCEL, stream_id=4)
    with pytest.raises(requests.ConnectionError, match=r"push of /unclaimed was dropped"):
        seen[1].response()
    conn.respond(2, 200, {}, b"late")
    assert claimed.result(WAIT) == b"late"
    assert not [frame for frame in conn.received(RstStreamFrame) if frame.stream_id == 2]


def test_a_push_that_nobody_claims_in_time(pushing: Any, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.push_promise(request, 2, promised(started))
        conn.respond(request)
        while True:
            conn.respond(conn.next_request())

    started = peer(script)
    session, seen = pushing(push_timeout=0.01), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    session.get(started.url, timeout=WAIT)
    conn, end = started.connection(), time.monotonic() + WAIT
    # Nobody looks at a connection that nobody uses: the next request does.
    while not conn.received(RstStreamFrame) and time.monotonic() < end:
        session.get(started.url, timeout=WAIT)
    assert conn.wait_for(RstStreamFrame, stream_id=2).error_code == CANCEL
    with pytest.raises(requests.ConnectionError, match="dropped"):
        seen[0].response()


def test_cancel(pushing: Any, peer: StartPeer) -> None:
    started = start(peer, Site(send=False))
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    session.get(started.url, timeout=WAIT)
    seen[0].cancel()
    reset = started.connection().wait_for(RstStreamFrame, stream_id=2)
    assert reset.error_code == CANCEL
    seen[0].cancel()
    with pytest.raises(requests.ConnectionError, match="was cancelled"):
        seen[0].response()
    assert len(started.connection().received(RstStreamFrame)) == 1


def test_cancelling_what_has_come_takes_it_from_no_reader(pushing: Any, peer: StartPeer) -> None:
    """A reader in another thread would take what it has by then for all of it."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        promise = conn.push_promise(request, 2, promised(started))
        conn.respond(request, 200, {}, b"page")
        conn.respond(promise, 200, {}, bytes(200_000))
        conn.respond(conn.next_request(), 204)
        hold(conn)

    started = peer(script)
    session = pushing()
    push = the_only_push(session, started)
    response = push.response(stream=True)
    parts = response.iter_content(1000)
    first = next(parts)
    session.get(started.url, timeout=WAIT)  # what came before its answer has come
    push.cancel()
    assert len(first) + sum(map(len, parts)) == 200_000
    assert started.connection().received(RstStreamFrame) == []


def test_cancel_inside_the_hook(pushing: Any, peer: StartPeer) -> None:
    started = start(peer, Site(when="in the body", send=False))
    session = pushing()
    session.hooks["push"] = lambda push, **kwargs: push.cancel()
    assert session.get(started.url, timeout=WAIT).content == b"first second"
    started.connection().wait_for(RstStreamFrame, stream_id=2)


def test_a_push_that_the_server_resets(pushing: Any, peer: StartPeer) -> None:
    started = start(peer, Site(send=False))
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    session.get(started.url, timeout=WAIT)
    started.connection().reset(2, INTERNAL_ERROR)
    with pytest.raises(requests.ConnectionError, match=r"stream 2: reset .*INTERNAL_ERROR"):
        seen[0].response(timeout=WAIT)


def test_a_push_that_never_comes(pushing: Any, peer: StartPeer) -> None:
    started = start(peer, Site(send=False))
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    session.get(started.url, timeout=WAIT)
    text = rf"^{authority(started)}: Read timed out\. \(read timeout=0\.05\)$"
    with pytest.raises(requests.ReadTimeout, match=text):
        seen[0].response(timeout=0.05)
    started.connection().wait_for(RstStreamFrame, stream_id=2)
    with pytest.raises(requests.ConnectionError, match="given up: it had failed or not come in"):
        seen[0].response()


@pytest.mark.parametrize("wrong", ["3", (1,), (1, 2, 3), (1, "3"), 0, -1, True], ids=str)
def test_a_timeout_that_cannot_be_claims_nothing(pushing: Any, peer: StartPeer, wrong: Any) -> None:
    started = start(peer, Site())
    push = the_only_push(pushing(), started)
    with pytest.raises(ValueError, match=r"[Tt]imeout"):
        push.response(timeout=wrong)
    assert not push.claimed
    assert push.response().content == b"body of /pushed"


@pytest.mark.parametrize("timeout", [Timeout(total=WAIT), Timeout(WAIT), Timeout(read=WAIT)])
def test_timeouts_of_urllib3(pushing: Any, peer: StartPeer, timeout: Timeout) -> None:
    started = start(peer, Site())
    push = the_only_push(pushing(), started)
    assert push.response(timeout=timeout).content == b"body of /pushed"


@pytest.mark.parametrize("stream", [False, True])
def test_a_push_that_breaks_off_is_not_taken_for_complete(
    pushing: Any, peer: StartPeer, stream: bool
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        promise = conn.push_promise(request, 2, promised(started))
        conn.respond(request, 200, {}, b"page")
        conn.respond(promise, 200, {}, b"the first part", end_stream=False)
        conn.reset(promise, INTERNAL_ERROR)
        hold(conn)

    started = peer(script)
    push = the_only_push(pushing(), started)
    if stream:
        assert push.response(stream=True).status_code == 200
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="INTERNAL_ERROR"):
        push.response()
    for again in (False, True):
        with pytest.raises(requests.exceptions.ConnectionError, match="had failed"):
            push.response(stream=again)


def test_a_push_that_was_read_is_still_the_same_response(pushing: Any, peer: StartPeer) -> None:
    started = start(peer, Site())
    push = the_only_push(pushing(), started)
    response = push.response(stream=True)
    assert b"".join(response.iter_content(3)) == b"body of /pushed"
    with pytest.raises(RuntimeError, match="already consumed"):
        push.response()  # as response.content
    assert push.response(stream=True) is response


def test_an_interrupt_while_a_push_is_awaited(
    pushing: Any, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = start(peer, Site(send=False))
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    session.get(started.url, timeout=WAIT)

    def interrupted(self: Pump, *args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Pump, "_poll", interrupted)
        with pytest.raises(KeyboardInterrupt):
            seen[0].response()
    started.connection().wait_for(RstStreamFrame, stream_id=2, error_code=CANCEL)


def test_an_adapter_that_builds_no_response(pushing: Any, peer: StartPeer) -> None:
    """A subclass may check what it is given."""

    class Checking(requests_h2.HTTP2Adapter):
        def build_response(self, req: Any, resp: Any) -> requests.Response:
            if resp.pushed:
                kept.append(resp)
                raise KeyError("own")
            return super().build_response(req, resp)

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        promise = conn.push_promise(request, 2, promised(started))
        conn.respond(request, 200, {}, b"page")
        conn.send_headers(promise, 200)
        hold(conn)

    kept: list[Any] = []  # dropped, it would be given up anyway
    started = peer(script)
    session, seen = pushing(), []
    requests_h2.mount(session, Checking(engine=session.get_adapter("https://").engine))
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    session.get(started.url, timeout=WAIT)
    with pytest.raises(KeyError, match="own"):
        seen[0].response()
    started.connection().wait_for(RstStreamFrame, stream_id=2, error_code=CANCEL)


def test_a_push_of_head(pushing: Any, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.push(request, 2, promised(started, method="HEAD"), 200, {"content-length": "5"})
        conn.respond(request)

    started = peer(script)
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    session.get(started.url, timeout=WAIT)
    assert seen[0].response(timeout=WAIT).headers["content-length"] == "5"


def test_the_promised_headers(pushing: Any, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        fields = [*promised(started), ("accept", "text/css"), ("cookie", "a=1"), ("cookie", "b=2")]
        conn.push(request, 2, fields)
        conn.respond(request)

    started = peer(script)
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    session.get(started.url, timeout=WAIT)
    assert dict(seen[0].headers) == {"accept": "text/css", "cookie": "a=1; b=2"}
    assert repr(seen[0]) == f"<PushedResponse [GET {started.url}/pushed]>"


def test_goaway_leaves_pushes_alone(pushing: Any, peer: StartPeer) -> None:
    started = start(peer, Site("/1", "/2", send=False))
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    session.get(started.url, timeout=WAIT)
    conn = started.connection()
    conn.goaway(1)
    for stream_id in (2, 4):
        conn.respond(stream_id, 200, {}, b"after goaway")
    assert [push.response(timeout=WAIT).content for push in seen] == [b"after goaway"] * 2


def test_session_close_drops_unclaimed_pushes(pushing: Any, peer: StartPeer) -> None:
    started = start(peer, Site(send=False))
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    session.get(started.url, timeout=WAIT)
    session.close()
    with pytest.raises(requests.ConnectionError, match="dropped"):
        seen[0].response(timeout=WAIT)
    seen[0].cancel()


@pytest.mark.parametrize("late", [False, True])
def test_session_close_drops_the_pushes_of_retired_connections(
    pushing: Any, peer: StartPeer, late: bool
) -> None:
    """Nobody sends requests there any more; and there may be no new connection to look at it.

    :param late: whether the promise comes after the connection was found to be retired.
    """

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200)
        if not late:
            conn.push_promise(request, 2, promised(started))
        conn.goaway(1)
        conn.channel.wait_until_delivered()
        retired.set()
        assert go_on.wait(WAIT)
        if late:
            conn.push_promise(request, 2, promised(started))
        conn.send_data(request, b"body", end_stream=True)

    retired, go_on = threading.Event(), threading.Event()
    started = peer([script, serve(lambda request: (200, {}, b""))])
    session, seen = pushing(), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    response = session.get(started.url, stream=True, timeout=WAIT)
    assert retired.wait(WAIT)
    session.get(started.url, timeout=WAIT)
    assert started.accepted == 2
    go_on.set()
    assert response.content == b"body"
    session.close()
    conn = started.connection(0)
    assert conn.wait_for(RstStreamFrame, stream_id=2).error_code == CANCEL
    conn.wait_eof()


# -- get_pushes ----------------------------------------------------------------------------


def test_get_pushes_gives_what_was_promised_so_far(pushing: Any, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.push_promise(request, 2, promised(started, "/before"))
        conn.send_headers(request, 200)
        conn.wait_for(RstStreamFrame, stream_id=2)
        conn.push_promise(request, 4, promised(started, "/after"))
        conn.send_data(request, b"body", end_stream=True)

    started = peer(script)
    session = pushing(enable_push=True)
    response = session.get(started.url, stream=True, timeout=WAIT)
    first = list(requests_h2.get_pushes(response))
    assert [push.path for push in first] == ["/before"]
    assert list(requests_h2.get_pushes(response)) == []
    first[0].cancel()
    assert response.content == b"body"
    assert [push.path for push in requests_h2.get_pushes(response)] == ["/after"]


def test_get_pushes_until_the_parent_ends(pushing: Any, peer: StartPeer) -> None:
    """Also when the parent is larger than its window, which nobody reads meanwhile."""
    body = bytes(3_000_000)

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.push_promise(request, 2, promised(started, "/1"))
        conn.send_headers(request, 200)
        conn.send_body(request, body, end_stream=False)
        conn.push_promise(request, 4, promised(started, "/2"))
        conn.send_data(request, b"", end_stream=True)

    started = peer(script)
    session = pushing(enable_push=True)
    response = session.get(started.url, stream=True, timeout=WAIT)
    pushes = requests_h2.get_pushes(response, capture_all=True)
    assert [push.path for push in pushes] == ["/1", "/2"]
    assert response.content == body


def test_get_pushes_over_http1(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"")), alpn=["http/1.1"])
    response = session.get(started.url, timeout=WAIT)
    assert list(requests_h2.get_pushes(response, capture_all=True)) == []


def test_the_list_does_not_grow_with_a_response_that_goes_on(pushing: Any, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200)
        for number in range(1, 6):
            conn.push(request, 2 * number, promised(started, f"/{number}"), body=bytes(number))
            conn.send_data(request, b"x", end_stream=number == 5)
            assert taken.acquire(timeout=WAIT)

    started, taken = peer(script), threading.Semaphore(0)
    session, seen = pushing(max_pushes=2), []

    def hook(push: Any, **kwargs: Any) -> None:
        seen.append((push.path, len(push.response(timeout=WAIT).content)))
        taken.release()

    session.hooks["push"] = hook
    response = session.get(started.url, timeout=WAIT)
    assert seen == [(f"/{number}", number) for number in range(1, 6)]
    assert [push.path for push in requests_h2.get_pushes(response)] == ["/4", "/5"]


# -- adoption ------------------------------------------------------------------------------


def adopting(peer: StartPeer, headers: Any = (), body: bytes = b"pushed") -> Peer:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        fields = [*promised(started), ("accept", "*/*"), ("x-kind", "promised")]
        conn.push(request, 2, fields, 200, headers, body)
        conn.respond(request)
        while True:
            conn.respond(conn.next_request(), 200, {}, b"asked for")

    started = peer(script)
    return started


def test_a_later_request_is_answered_from_the_push(pushing: Any, peer: StartPeer) -> None:
    started = adopting(peer, {"vary": "accept", "set-cookie": "pushed=1"})
    session = pushing(adopt_pushes=True)
    session.get(started.url, timeout=WAIT)
    response = session.get(started.url + "/pushed", timeout=WAIT)
    assert response.content == b"pushed"
    assert response.raw.pushed
    assert session.cookies["pushed"] == "1"
    again = session.get(started.url + "/pushed", timeout=WAIT)
    assert again.content == b"asked for"
    assert not again.raw.pushed
    assert [request.path for request in started.requests] == ["/", "/pushed"]


@pytest.mark.parametrize(
    ("vary", "change"),
    [
        ("", {"path": "/other"}),
        ("", {"method": "POST"}),
        ("", {"data": b"x"}),
        ("", {"headers": {"Authorization": "Basic eA=="}}),
        ("", {"headers": {"Cookie": "a=b"}}),
        ("", {"headers": {"Range": "bytes=0-1"}}),
        ("", {"headers": {"If-None-Match": '"x"'}}),
        ("x-kind", {}),
        ("accept, x-kind", {"headers": {"X-Kind": "other"}}),
        ("*", {}),
    ],
)
def test_only_what_was_promised_is_adopted(
    pushing: Any, peer: StartPeer, vary: str, change: dict[str, Any]
) -> None:
    started = adopting(peer, {"vary": vary} if vary else ())
    session = pushing(adopt_pushes=True)
    session.get(started.url, timeout=WAIT)
    url = started.url + change.get("path", "/pushed")
    method, headers = change.get("method", "GET"), change.get("headers", {})
    data = change.get("data")
    response = session.request(method, url, headers=headers, data=data, timeout=WAIT)
    assert response.content == b"asked for"


def test_cancelling_what_was_adopted_takes_it_from_nobody(pushing: Any, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        promise = conn.push_promise(request, 2, promised(started))
        conn.respond(request)
        conn.send_headers(promise, 200)
        assert cancelled.wait(WAIT)
        conn.send_data(promise, b"pushed", end_stream=True)

    started, cancelled = peer(script), threading.Event()
    session = pushing(adopt_pushes=True)
    page = session.get(started.url, timeout=WAIT)
    response = session.get(started.url + "/pushed", stream=True, timeout=WAIT)
    (push,) = requests_h2.get_pushes(page)
    assert push.claimed
    push.cancel()
    cancelled.set()
    assert response.content == b"pushed"
    with pytest.raises(requests.ConnectionError, match="was claimed by another"):
        push.response()


def test_a_push_that_waited_too_long_is_not_adopted(pushing: Any, peer: StartPeer) -> None:
    started = adopting(peer)
    session = pushing(adopt_pushes=True, push_timeout=0.2)
    page = session.get(started.url, timeout=WAIT)
    (push,) = requests_h2.get_pushes(page)
    until(lambda: push._promise.deadline.expired)
    assert session.get(started.url + "/pushed", timeout=WAIT).content == b"asked for"
    assert started.connection().promises[0].reset_code in (None, CANCEL)


@pytest.mark.parametrize("cookies", [["a=1; b=2"], ["a=1", "b=2"]])
def test_the_same_request_in_other_words_is_adopted(
    pushing: Any, peer: StartPeer, cookies: list[str]
) -> None:
    """A host is the same in capitals (RFC 3986 section 6.2.2.1), and one field of cookies the same
    as one for each (RFC 9113 section 8.2.3).
    """

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        fields = promised(started, authority=f"LOCALHOST:{started.port}")
        conn.push(request, 2, [*fields, *(("cookie", one) for one in cookies)], body=b"pushed")
        conn.respond(request)
        hold(conn)

    started = peer(script)
    url = f"https://localhost:{started.port}"
    session = pushing(adopt_pushes=True)
    session.cookies.update({"a": "1", "b": "2"})
    session.get(url, timeout=WAIT)
    assert session.get(url + "/pushed", timeout=PROMPT).content == b"pushed"


def test_a_push_that_fails_is_not_adopted(pushing: Any, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.push_promise(request, 2, promised(started))
        conn.respond(request)
        conn.reset(2, REFUSED_STREAM)
        conn.respond(conn.next_request(), 200, {}, b"asked for")

    started = peer(script)
    session = pushing(adopt_pushes=True)
    session.get(started.url, timeout=WAIT)
    assert session.get(started.url + "/pushed", timeout=WAIT).content == b"asked for"


def test_a_hook_comes_before_adoption(pushing: Any, peer: StartPeer) -> None:
    started = adopting(peer)
    session, seen = pushing(adopt_pushes=True), []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push.response().content)
    session.get(started.url, timeout=WAIT)
    assert seen == [b"pushed"]
    assert session.get(started.url + "/pushed", timeout=WAIT).content == b"asked for"


@pytest.mark.parametrize("wrong", [HTTPAdapter(), requests_h2.HTTP2Adapter, "https://"])
def test_what_is_no_adapter_of_ours_is_not_mounted(wrong: Any) -> None:
    with requests.Session() as session:
        before = session.get_adapter("https://")
        with pytest.raises(TypeError, match="an instance of HTTP2Adapter, not"):
            requests_h2.mount(session, wrong)
        assert session.get_adapter("https://") is before


@pytest.mark.parametrize("name", ["max_pushes", "push_timeout"])
@pytest.mark.parametrize("wrong", [0, -1.0, "3", None, float("nan")])
def test_options_are_checked(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=name):
        requests_h2.HTTP2Adapter(**{name: wrong})


@pytest.mark.parametrize("wrong", [1.5, 1001, 2**32, float("inf")])
def test_a_number_of_pushes_that_cannot_be(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"max_pushes must be 1 to 1000"):
        requests_h2.HTTP2Adapter(max_pushes=wrong)
