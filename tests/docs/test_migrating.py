"""The blocks of docs/migrating.rst."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import pytest
import requests

import requests_h2
from tests.support.pages import Example
from tests.support.peer import Request, StartPeer, serve
from tests.support.threads import WAIT

PAGE = "migrating.rst"


def answer(request: Request) -> Any:
    return 200, {}, b""


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    yield
    requests_h2.uninstall()


def test_one_session(example: Example, peer: StartPeer) -> None:
    assert example(peer(serve(answer)).url)["response"].raw.version == 20


def test_every_new_session(example: Example, peer: StartPeer) -> None:
    done = example(peer(serve(answer)).url, requests=requests, requests_h2=requests_h2)
    assert done["response"].raw.version == 20


def test_in_a_block(example: Example, peer: StartPeer) -> None:
    library = types.SimpleNamespace(Client=requests.Session)
    with example(library=library, requests_h2=requests_h2)["client"] as client:
        assert client.get(peer(serve(answer)).url, timeout=WAIT).raw.version == 20
    assert not isinstance(requests.Session().get_adapter("https://"), requests_h2.HTTP2Adapter)
