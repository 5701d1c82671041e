"""Trailers both ways, informational responses, priorities."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame

import requests_h2
from requests_h2 import BodyWithTrailers
from tests.support.peer import (
    MakeSession,
    Peer,
    PeerConnection,
    Request,
    StartPeer,
    hold,
    serve,
)
from tests.support.threads import WAIT, background

REFUSED_STREAM, CANCEL = 7, 8
LINK = "</style.css>; rel=preload; as=style"

# -- response trailers ---------------------------------------------------------------------


def test_response_trailers_are_there_after_the_body(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"x-name": "header"})
        conn.send_data(request, b"body")
        assert go_on.wait(WAIT)
        conn.send_trailers(request, [("x-name", "trailer"), ("set-cookie", "a=1"), ("x-2", "b")])

    go_on = threading.Event()
    response: Any = session.get(peer(script).url, stream=True, timeout=WAIT)
    assert not response.raw.trailers
    go_on.set()
    assert response.content == b"body"
    assert response.raw.trailers["X-Name"] == "trailer"
    assert list(response.raw.trailers) == ["x-name", "set-cookie", "x-2"]
    assert response.headers["x-name"] == "header"
    assert not response.cookies
    assert not session.cookies


@pytest.mark.parametrize("way", ["content", "pushes", "pieces", "sized pieces", "read1", "frames"])
def test_response_trailers_that_come_after_the_last_octet(
    make_session: MakeSession, peer: StartPeer, way: str
) -> None:
    """Content-Length tells the end of the content, not of the response."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"content-length": "8"})
        conn.send_data(request, b"the ")
        conn.send_data(request, b"body")
        if way in ("pieces", "read1", "frames"):
            assert received.wait(WAIT)
        conn.send_trailers(request, {"x-end": "1"})
        conn.linger()

    received = threading.Event()
    ways: dict[str, Callable[[requests.Response], Iterable[bytes]]] = {
        "pieces": lambda response: response.iter_content(None),
        "sized pieces": lambda response: response.iter_content(3),
        "read1": lambda response: iter(response.raw.read1, b""),
        "frames": lambda response: response.raw.read_chunked(),
    }
    session = make_session(enable_push=way == "pushes")
    response = session.get(peer(script).url, stream=way in ways, timeout=WAIT)
    got = b""
    for piece in ways[way](response) if way in ways else [response.content]:
        got += piece
        if len(got) == 8:
            received.set()
    assert got == b"the body"
    assert response.raw.trailers == {"x-end": "1"}
    assert response.raw.closed


# -- request trailers ----------------------------------------------------------------------


def chunks() -> Iterator[bytes]:
    yield b"first "
    yield b"second"


def shape(conn: PeerConnection) -> list[tuple[str, bool]]:
    """The request's frames after its HEADERS: their kinds and whether they end the stream."""
    kinds = (HeadersFrame, DataFrame)
    frames = [frame for frame in conn.frames if isinstance(frame, kinds)]
    return [(type(frame).__name__, "END_STREAM" in frame.flags) for frame in frames][1:]


def trailers_of(started: Peer) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in started.request.trailers or ()]


def test_response_trailers_that_came_before_the_body_was_read(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200, {}, bytes(100_000), trailers={"x-end": "1"})
        conn.respond(conn.next_request())

    started = peer(script)
    response = session.get(started.url, stream=True, timeout=WAIT)
    session.get(started.url, timeout=WAIT)
    assert len(response.raw.read(99_999)) == 99_999
    assert not response.raw.trailers
    response.raw.read(1)
    assert response.raw.trailers == {"x-end": "1"}


@pytest.mark.parametrize("late", [False, True])
def test_request_trailers(session: requests.Session, peer: StartPeer, late: bool) -> None:
    started = peer(serve(lambda request: (200, {}, bytes(request.body))))
    taken: list[bytes] = []

    def body() -> Iterator[bytes]:
        for chunk in chunks():
            taken.append(chunk)
            yield chunk

    def trailers() -> list[tuple[str, str]]:
        return [("X-Length", str(sum(map(len, taken)))), ("x-2", "b")]

    known = {"X-Length": "12", "x-2": "b"}
    data: Any = requests_h2.BodyWithTrailers(body(), trailers if late else known)
    response = session.post(started.url, data=data, timeout=WAIT)
    assert response.content == b"first second"
    assert trailers_of(started) == [("x-length", "12"), ("x-2", "b")]
    assert shape(started.connection())[-2:] == [("DataFrame", False), ("HeadersFrame", True)]


def test_request_trailers_after_an_empty_body(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, bytes(request.body))))
    data: Any = requests_h2.BodyWithTrailers([], {"x-name": "value"})
    assert session.post(started.url, data=data, timeout=WAIT).content == b""
    assert trailers_of(started) == [("x-name", "value")]


def test_request_trailers_need_no_window(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while not request.ended:
            conn.read_frame()
        conn.respond(request, 200, {}, b"fine")

    started = peer(script, settings={"initial_window_size": 12})
    data: Any = requests_h2.BodyWithTrailers(chunks(), {"x-name": "value"})
    assert session.post(started.url, data=data, timeout=WAIT).content == b"fine"
    assert trailers_of(started) == [("x-name", "value")]


@pytest.mark.parametrize(
    "trailers",
    [
        {"content-length": "1"},
        {"Host": "example"},
        {"TE": "gzip"},
        {"Connection": "x-name", "x-name": "value"},
        {"transfer-encoding": "chunked"},
        {"authorization": "secret"},
        {"x-name": "a\r\nb"},
        {"x name": "a"},
        {":path": "/"},
        {"x-name": None},
    ],
)
def test_forbidden_trailers_are_refused_before_a_byte_is_sent(
    session: requests.Session, peer: StartPeer, trailers: dict[str, Any]
) -> None:
    started = peer(serve(lambda request: (200, {}, b"")))
    session.get(started.url, timeout=WAIT)
    data: Any = requests_h2.BodyWithTrailers(chunks(), trailers)
    with pytest.raises(requests.exceptions.InvalidHeader) as caught:
        session.post(started.url, data=data, timeout=WAIT)
    assert "secret" not in str(caught.value)
    assert len(started.requests) == 1


@pytest.mark.parametrize("body", [b"piece", bytearray(b"piece"), memoryview(b"piece"), 5, None])
def test_a_body_with_trailers_that_is_no_iterable_of_pieces(body: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(body).__name__}; for one piece"):
        BodyWithTrailers(body, {"x-name": "value"})


@pytest.mark.parametrize("raises", [False, True])
def test_bad_trailers_at_the_end_reset_the_stream(
    session: requests.Session, peer: StartPeer, raises: bool
) -> None:
    def trailers() -> dict[str, str]:
        if raises:
            raise KeyError("the caller's own")
        return {"content-length": "1"}

    started = peer(hold)
    data: Any = requests_h2.BodyWithTrailers(chunks(), trailers)
    with pytest.raises(KeyError if raises else requests.exceptions.InvalidHeader):
        session.post(started.url, data=data, timeout=WAIT)
    started.connection().wait_for(RstStreamFrame, stream_id=1)


@pytest.mark.parametrize("again", [True, False])
def test_a_refused_body_with_trailers_is_sent_again(
    session: requests.Session, peer: StartPeer, again: bool
) -> None:
    """If it is certain to be the same: a list is, an iterator has no beginning any more."""

    def script(conn: PeerConnection) -> None:
        refused = conn.next_request()
        conn.wait_for(DataFrame)
        conn.reset(refused, REFUSED_STREAM)
        request = conn.next_request()
        conn.wait_for(HeadersFrame, lambda frame: "END_STREAM" in frame.flags, stream_id=3)
        conn.respond(request, 200, {}, bytes(request.body))

    started = peer(script if again else hold)
    pieces = [b"one", b"two"]
    body: Any = BodyWithTrailers(pieces if again else iter(pieces), {"x-end": "1"})
    future = background(lambda: session.post(started.url, data=body, timeout=WAIT).content)
    if again:
        assert future.result(WAIT) == b"onetwo"
        assert started.requests[1].trailers == [(b"x-end", b"1")]
        return
    conn = started.connection()
    conn.wait_for(DataFrame)
    conn.reset(1, REFUSED_STREAM)
    with pytest.raises(requests.ConnectionError, match="cannot be read twice"):
        future.result(WAIT)


def test_request_trailers_over_http1_are_left_out(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(serve(lambda request: (200, {}, bytes(request.body))), alpn=["http/1.1"])
    data: Any = requests_h2.BodyWithTrailers(chunks(), {"x-name": "value"})
    response = session.post(started.url, data=data, timeout=WAIT)
    assert response.content == b"first second"
    raw = response.raw
    assert (dict(raw.trailers), raw.informational, raw.pushed) == ({}, [], False)


# -- informational responses ---------------------------------------------------------------


def hints(conn: PeerConnection) -> None:
    while True:
        request = conn.next_request()
        conn.informational(request, 103, [("link", LINK), ("link", "</b>; rel=preload")])
        conn.informational(request, 103, {"x-name": "second"})
        conn.respond(request, 200, {"x-name": "final"}, b"body")


def test_informational_responses_are_listed(session: requests.Session, peer: StartPeer) -> None:
    response = session.get(peer(hints).url, timeout=WAIT)
    first, second = response.raw.informational
    assert (first.status, first.headers.getlist("link")) == (103, [LINK, "</b>; rel=preload"])
    assert (second.status, dict(second.headers)) == (103, {"x-name": "second"})
    assert dict(response.headers) == {"x-name": "final"}


def test_a_hook_gets_them_before_the_response(session: requests.Session, peer: StartPeer) -> None:
    """The final response is held back until the hook was called."""
    requests_h2.mount(session, session.get_adapter("https://"))  # type: ignore[arg-type]
    seen: list[Any] = []

    def hook(informational: Any, **kwargs: Any) -> None:
        seen.append((informational.status, informational.headers["link"], kwargs["timeout"]))
        conn = started.connection()
        conn.respond(1, 200, {}, b"final")

    def script(conn: PeerConnection) -> None:
        conn.informational(conn.next_request(), 103, {"link": LINK})
        hold(conn)

    started = peer(script)
    session.hooks["informational"] = hook
    assert session.get(started.url, timeout=WAIT).content == b"final"
    assert seen == [(103, LINK, WAIT)]


@pytest.mark.parametrize("headers", [{}, {"Expect": "100-continue"}], ids=["", "expecting"])
def test_a_hook_gets_them_while_the_body_is_sent(
    session: requests.Session, peer: StartPeer, headers: dict[str, str]
) -> None:
    """There is no window for the rest of the body until the hook was called twice."""
    told = threading.Semaphore(0)
    seen: list[int] = []

    def hook(informational: Any, **kwargs: Any) -> None:
        seen.append(informational.status)
        told.release()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        for status in (100, 103):
            conn.informational(request, status)
            assert told.acquire(timeout=WAIT)
        body = conn.read_body(request)
        conn.informational(request, 102)
        conn.respond(request, 200, {}, b"%d" % len(body))
        hold(conn)

    url = peer(script).url
    hooks: Any = {"informational": hook}
    body = iter([bytes(100_000), bytes(100_000)])
    response = session.post(url, data=body, headers=headers, hooks=hooks, timeout=WAIT)
    assert response.content == b"200000"
    assert seen == [100, 103, 102]
    assert [one.status for one in response.raw.informational] == seen


def test_what_a_hook_raises_while_the_body_is_sent(
    session: requests.Session, peer: StartPeer
) -> None:
    def hook(informational: Any, **kwargs: Any) -> None:
        raise OSError("own")

    def script(conn: PeerConnection) -> None:
        conn.informational(conn.next_request(), 103)
        conn.wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
        conn.respond(conn.next_request(), 200, {}, b"fine")

    started = peer(script)
    hooks: Any = {"informational": hook}
    with pytest.raises(OSError, match="own"):
        session.post(started.url, data=iter([bytes(100_000)]), hooks=hooks, timeout=WAIT)
    assert session.get(started.url, timeout=WAIT).content == b"fine"


def test_a_hook_of_one_request_for_informational_responses(
    session: requests.Session, peer: StartPeer
) -> None:
    seen: list[int] = []
    hooks: Any = {"informational": [lambda one, **kwargs: seen.append(one.status)]}
    assert session.get(peer(hints).url, hooks=hooks, timeout=WAIT).content == b"body"
    assert seen == [103, 103]


@pytest.mark.parametrize("error", [ValueError("own"), OSError("own"), TimeoutError("own")])
def test_what_an_informational_hook_raises(
    session: requests.Session, peer: StartPeer, error: Exception
) -> None:
    def hook(informational: Any, **kwargs: Any) -> None:
        raise error

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.informational(request, 103)
        conn.wait_for(RstStreamFrame, stream_id=1)
        conn.respond(conn.next_request(), 200, {}, b"fine")

    started = peer(script)
    with pytest.raises(type(error)) as caught:
        session.get(started.url, hooks={"informational": hook}, timeout=WAIT)  # type: ignore[dict-item]
    assert caught.value is error
    assert session.get(started.url, timeout=WAIT).content == b"fine"


def test_informational_responses_do_not_extend_the_timeout(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(hold)

    def hook(informational: Any, **kwargs: Any) -> None:
        started.connection().informational(1, 103)

    future = background(
        lambda: session.get(started.url, hooks={"informational": hook}, timeout=0.2)  # type: ignore[dict-item]
    )
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.informational(1, 103)
    with pytest.raises((requests.ReadTimeout, requests.ConnectionError)):
        future.result(WAIT)  # the timeout, or the limit on their number before it


# -- priorities ----------------------------------------------------------------------------


def test_a_priority_header_passes_as_it_is(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"")))
    session.get(started.url, headers={"Priority": "u=1, i"}, timeout=WAIT)
    assert started.request.headers["priority"] == "u=1, i"


def test_reprioritize(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request: Request = conn.next_request()
        conn.send_headers(request, 200)
        hold(conn)

    started = peer(script)
    response = session.get(started.url, stream=True, timeout=WAIT)
    response.raw.reprioritize(urgency=1, incremental=True)
    response.raw.reprioritize(urgency=7)
    conn = started.connection()
    conn.send_data(1, b"end", end_stream=True)
    assert response.content == b"end"
    response.raw.reprioritize()
    session.close()
    conn.wait_for(GoAwayFrame)
    assert conn.priority_updates == [(1, b"u=1, i"), (1, b"u=7")]


@pytest.mark.parametrize("urgency", [-1, 8, 2.5, 3.0, None])
def test_an_urgency_that_there_is_not(
    session: requests.Session, peer: StartPeer, urgency: Any
) -> None:
    response = session.get(peer(serve(lambda request: (200, {}, b""))).url, timeout=WAIT)
    with pytest.raises(ValueError, match="urgency goes from 0 to 7"):
        response.raw.reprioritize(urgency=urgency)


def test_there_are_no_priorities_over_http1(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"")), alpn=["http/1.1"])
    response = session.get(started.url, timeout=WAIT)
    with pytest.raises(io.UnsupportedOperation, match="needs HTTP/2"):
        response.raw.reprioritize(urgency=1)


@pytest.mark.parametrize("tls", [True, False])
def test_what_there_is_not_where_http2_is_not_on_offer(
    make_session: MakeSession, peer: StartPeer, tls: bool
) -> None:
    session = make_session(http2=not tls)
    session.mount("http://", session.get_adapter("https://"))
    started = peer(serve(lambda request: (200, {}, b"")), tls=tls, alpn=["http/1.1"])
    raw = session.get(started.url, timeout=WAIT).raw
    assert (len(raw.trailers), raw.informational, raw.pushed) == (0, [], False)
    with pytest.raises(io.UnsupportedOperation):
        raw.reprioritize()
