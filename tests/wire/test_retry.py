"""``max_retries`` with ``urllib3.Retry`` works as over HTTP/1.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from hyperframe.frame import RstStreamFrame
from urllib3.util import Retry

from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, serve

INTERNAL_ERROR, CANCEL = 2, 8


def statuses(*sequence: int, **headers: str) -> Callable[[Request], Any]:
    remaining = list(sequence)

    def handler(request: Request) -> Any:
        return remaining.pop(0) if remaining else 200, headers, b"answer"

    return handler


def test_retry_on_status(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(max_retries=Retry(3, status_forcelist=[503], backoff_factor=0))
    started = peer(serve(statuses(503, 503)))
    assert session.get(started.url).status_code == 200
    assert len(started.requests) == 3
    assert started.accepted == 1


def test_retry_exhausted(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(max_retries=Retry(2, status_forcelist=[503]))
    started = peer(serve(statuses(*[503] * 5)))
    with pytest.raises(requests.exceptions.RetryError):
        session.get(started.url)
    assert len(started.requests) == 3


def test_retry_leaves_other_methods_alone(make_session: MakeSession, peer: StartPeer) -> None:
    retry = Retry(2, status_forcelist=[503], allowed_methods=["GET"])
    session = make_session(max_retries=retry)
    started = peer(serve(statuses(503)))
    assert session.post(started.url, data=b"x").status_code == 503


def test_retry_of_a_post_sends_the_body_again(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(max_retries=Retry(1, status_forcelist=[503], allowed_methods=None))
    started = peer(serve(statuses(503)))
    assert session.post(started.url, data=b"body").status_code == 200
    assert [bytes(request.body) for request in started.requests] == [b"body"] * 2


def test_retry_on_reset_and_timeout(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), INTERNAL_ERROR)
        conn.next_request()
        conn.expect(RstStreamFrame, error_code=CANCEL)
        conn.respond(conn.next_request(), 200, (), b"third")

    session = make_session(max_retries=2)
    started = peer(script)
    assert session.get(started.url, timeout=0.5).content == b"third"
    assert len(started.requests) == 3


def test_retry_connect(make_session: MakeSession, peer: StartPeer) -> None:
    def refuse(conn: Any) -> None:
        conn.abort()

    session = make_session(max_retries=Retry(2))
    started = peer([refuse, refuse, serve(statuses())])
    assert session.get(started.url, timeout=5).status_code == 200
