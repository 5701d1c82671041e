"""The blocks of docs/contributing.rst."""

from __future__ import annotations

import requests

from tests.support.pages import Example
from tests.support.peer import StartPeer

PAGE = "contributing.rst"


def test_a_script(example: Example, session: requests.Session, peer: StartPeer) -> None:
    assert session.get(peer(example()["script"]).url, timeout=10).content == b"hello"
