"""The blocks of docs/cleartext.rst."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest
import requests

from requests_h2 import HTTP2Adapter
from tests.support.pages import Example
from tests.support.peer import Request, StartPeer, serve
from tests.support.threads import WAIT

PAGE = "cleartext.rst"


@pytest.fixture
def path() -> Iterator[str]:
    """Where a socket may be: pytest's own folders have long names."""
    with tempfile.TemporaryDirectory(prefix="h2-") as folder:
        yield f"{folder}/sock"


def test_prior_knowledge(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"fine")), tls=False, h2c=True)
    done = example(session=session, HTTP2Adapter=HTTP2Adapter, url=started.url + "/")
    assert done["response"].content == b"fine"
    assert done["response"].raw.version == 20


def test_with_hooks(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"fine")), tls=False, h2c=True)
    example(session=session)
    seen: list[object] = []
    session.hooks["push"] = lambda push, **kwargs: seen.append(push)
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    assert started.connection().may_push


def test_a_socket(example: Example, session: requests.Session, peer: StartPeer, path: str) -> None:
    started = peer(serve(lambda request: (200, {}, b"fine")), tls=False, h2c=True, uds=path)
    done = example(session=session, HTTP2Adapter=HTTP2Adapter, path=path)
    assert done["response"].raw.version == 20
    assert (started.request.authority, started.request.path) == ("backend", "/status")


def test_http1_over_a_socket(
    example: Example, session: requests.Session, peer: StartPeer, path: str
) -> None:
    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        return 200, {"content-type": "application/json"}, b"[]"

    started = peer(serve(answer), tls=False, uds=path)
    done = example(session=session, HTTP2Adapter=HTTP2Adapter, path=path)
    assert done["containers"] == []
    assert started.request.request_line == "GET /containers/json HTTP/1.1"
