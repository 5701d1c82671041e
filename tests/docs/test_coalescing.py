"""The blocks of docs/coalescing.rst."""

from __future__ import annotations

import pytest
import requests

from requests_h2 import HTTP2Adapter
from tests.support.names import Names
from tests.support.pages import SITE, Example
from tests.support.peer import Peer, StartPeer, serve
from tests.support.threads import WAIT

PAGE = "coalescing.rst"


@pytest.fixture
def site(peer: StartPeer, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """The server of all hosts."""
    started: Peer = peer(serve(lambda request: (200, {}, request.authority.encode())))
    Names(monkeypatch).https_port = started.port
    return started


def test_coalescing(example: Example, site: Peer) -> None:
    done = example(SITE)
    assert done["first"].text == "www.example.com"
    assert done["second"].text == "static.example.com"
    assert site.accepted == 1


def test_for_some(example: Example, site: Peer, session: requests.Session) -> None:
    example(SITE, session=session, HTTP2Adapter=HTTP2Adapter)
    for host in ("www", "static", "other"):
        session.get(f"https://{host}.example.com/", timeout=WAIT)
    assert site.accepted == 2
