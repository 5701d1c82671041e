"""The blocks of docs/from_httpx.rst."""

from __future__ import annotations

from tests.support.pages import Example
from tests.support.peer import StartPeer, serve

PAGE = "from_httpx.rst"


def test_a_client(example: Example, peer: StartPeer) -> None:
    done = example(peer(serve(lambda request: (200, {}, b"body"))).url)
    assert (done["version"], done["body"]) == ("HTTP/2", b"body")
