"""The blocks of docs/concurrency.rst."""

from __future__ import annotations

import requests

from tests.support.pages import Example
from tests.support.peer import StartPeer, serve

PAGE = "concurrency.rst"


def test_event_loops(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, request.path.encode())))
    assert example(started.url, session=session)["texts"] == ["/1", "/2", "/3"]
    assert started.accepted == 1
