"""Real pushes, and what else only HTTP/2 servers send."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import requests

import requests_h2
from tests.support.backend import HINTS
from tests.support.servers import PUSHED, Can, Server
from tests.support.threads import WAIT, background

from .support import MIB, TIMEOUT, check, on


@on(Can.PUSH)
@pytest.mark.parametrize("stream", [False, True])
def test_pushes_reach_the_hook(server: Server, session: requests.Session, stream: bool) -> None:
    seen: list[Any] = []
    hooks: Any = {"push": lambda push, **kwargs: seen.append(push)}
    response = check(
        session.get(f"{server.url}/pushing", hooks=hooks, timeout=TIMEOUT, stream=stream)
    )
    assert response.content
    if server.name != "h2o" or not stream:
        list(requests_h2.get_pushes(response, capture_all=True))
    assert [push.path for push in seen] == list(PUSHED)
    for push in seen:
        answer = background(lambda push=push: check(push.response(timeout=TIMEOUT)))
        assert answer.result(WAIT).content == f"this is {push.path.strip('/')}\n".encode()
        assert answer.result(WAIT).raw.pushed
        assert push.url == server.url + push.path


@on(Can.PUSH)
def test_get_pushes(server: Server, make_session: Any) -> None:
    session = make_session(enable_push=True)
    response = session.get(f"{server.url}/pushing", timeout=TIMEOUT, stream=True)
    pushes = requests_h2.get_pushes(response, capture_all=True)
    assert [push.path for push in pushes] == list(PUSHED)
    assert check(response).content


@on(Can.PUSH)
def test_pushes_are_adopted(server: Server, make_session: Any) -> None:
    session = make_session(adopt_pushes=True)
    check(session.get(f"{server.url}/pushing", timeout=TIMEOUT))
    for path in PUSHED:
        response = check(session.get(server.url + path, timeout=TIMEOUT))
        assert response.content == f"this is {path.strip('/')}\n".encode()
        assert response.raw.pushed


@on(Can.PUSH)
def test_a_large_push(server: Server, make_session: Any) -> None:
    """More than any window."""
    session = make_session(enable_push=True)
    response = session.get(f"{server.url}/pushing-large", timeout=TIMEOUT)
    (push,) = requests_h2.get_pushes(response)
    with push.response(timeout=TIMEOUT, stream=True) as answer:
        assert sum(map(len, check(answer).iter_content(65536))) == 100 * MIB


@on(Can.PUSH)
def test_a_large_push_is_cancelled(server: Server, make_session: Any) -> None:
    session = make_session(enable_push=True)
    response = session.get(f"{server.url}/pushing-large", timeout=TIMEOUT)
    (push,) = requests_h2.get_pushes(response)
    push.cancel()
    check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    with pytest.raises(requests.ConnectionError, match="cancelled"):
        push.response()


@on(Can.PUSH)
def test_nothing_is_pushed_to_those_who_did_not_ask(
    server: Server, session: requests.Session
) -> None:
    response = check(session.get(f"{server.url}/pushing", timeout=TIMEOUT))
    assert list(requests_h2.get_pushes(response, capture_all=True)) == []


@on(Can.EARLY_HINTS)
def test_early_hints(server: Server, session: requests.Session) -> None:
    seen: list[Any] = []
    hooks: Any = {"informational": lambda one, **kwargs: seen.append(one)}
    plain = {"Accept-Encoding": "identity"}  # Caddy's gzip keeps them to itself
    url = f"{server.url}/early-hints"
    response = check(session.get(url, headers=plain, hooks=hooks, timeout=TIMEOUT))
    assert [one.status for one in seen] == [103]
    assert seen[0].headers["link"] == ", ".join(HINTS)
    assert response.raw.informational == seen
    assert response.content == b"hinted"


@on(Can.TRAILERS)
def test_trailers(server: Server, session: requests.Session) -> None:
    response = check(
        session.get(f"{server.url}/trailers", headers={"TE": "trailers"}, timeout=TIMEOUT)
    )
    assert response.content == b"a body before trailers"
    assert response.raw.trailers["x-sha256"] == hashlib.sha256(response.content).hexdigest()
    assert "x-sha256" not in response.headers


@on(Can.REQUEST_TRAILERS)
@pytest.mark.parametrize("pieces", [[], [b"hel", b"lo"], [bytes(MIB)] * 3])
def test_request_trailers(server: Server, session: requests.Session, pieces: list[bytes]) -> None:
    body: Any = requests_h2.BodyWithTrailers(pieces, {"x-one": "1", "x-two": "2"})
    response = check(session.post(f"{server.url}/echo-trailers", data=body, timeout=TIMEOUT))
    trailers = [["x-one", "1"], ["x-two", "2"]]
    assert response.json() == {"length": sum(map(len, pieces)), "trailers": trailers}
