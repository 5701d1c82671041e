"""The blocks of docs/keepalive.rst."""

from __future__ import annotations

import requests

from requests_h2 import HTTP2Adapter
from tests.support.pages import Example
from tests.support.peer import StartPeer, serve
from tests.support.threads import WAIT

PAGE = "keepalive.rst"


def test_asking_once(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"")))
    assert 0 < example(started.url, session=session)["seconds"] < WAIT


def test_as_the_session_would(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"")))
    session.get(started.url, timeout=WAIT)
    adapter = session.get_adapter(started.url)
    assert 0 < example(started.url, session=session, adapter=adapter)["seconds"] < WAIT
    assert started.accepted == 1


def test_keepalive(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"fine")))
    example(started.url, session=session, HTTP2Adapter=HTTP2Adapter)
    assert session.get(started.url, timeout=WAIT).content == b"fine"
