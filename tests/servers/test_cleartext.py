"""HTTP/2 without TLS, and Unix domain sockets, with real servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

import requests_h2
from tests.support.farm import Farm, needed
from tests.support.servers import Document
from tests.support.servers.cleartext import CLEARTEXT, CleartextServer, Spoken
from tests.support.threads import together

from .support import MIB, TIMEOUT, check, sha256

BLOCK = bytes(range(256)) * 4096


@pytest.fixture
def cleartext(request: pytest.FixtureRequest, farm: Farm) -> CleartextServer:
    """The running server whose name is the parameter."""
    with needed():
        started: CleartextServer = farm.get(request.param)
    return started


def of(condition: Callable[[type[CleartextServer]], bool]) -> pytest.MarkDecorator:
    """Run the test over these servers."""
    names = [name for name, each in CLEARTEXT.items() if condition(each)]
    return pytest.mark.parametrize("cleartext", names, indirect=True)


every = of(lambda each: True)
on_sockets = of(lambda each: bool(each.spoken))


@pytest.fixture
def prior(session: requests.Session, make_adapter: Callable[..., Any]) -> requests.Session:
    session.mount("http://", make_adapter(prior_knowledge=True))
    return session


def exchange(session: requests.Session, url: str, version: int, dynamic: bool) -> None:
    """Small, large, up."""
    assert len(check(session.get(f"{url}/1k", timeout=TIMEOUT), version=version).content) == 1024
    path = "/upload" if dynamic else "/anywhere"
    body = (BLOCK for _ in range(8))
    response = check(session.post(url + path, data=body, timeout=TIMEOUT), version=version)
    expected = sha256(BLOCK for _ in range(8))
    if dynamic:
        assert (response.json()["length"], response.json()["sha256"]) == expected
    else:
        assert sha256([response.content]) == expected


@every
def test_exchanges(
    cleartext: CleartextServer, prior: requests.Session, documents: dict[str, Document]
) -> None:
    exchange(prior, cleartext.url, 20, cleartext.dynamic)
    with prior.get(f"{cleartext.url}/100m", stream=True, timeout=TIMEOUT) as response:
        large = documents["100m"]
        assert sha256(check(response).iter_content(MIB)) == (large.size, large.sha256)


@every
def test_threads_and_pings(cleartext: CleartextServer, prior: requests.Session) -> None:
    adapter: Any = prior.get_adapter(cleartext.url)

    def work(number: int) -> None:
        for _ in range(5):
            if number % 3:
                check(prior.get(f"{cleartext.url}/1k", timeout=TIMEOUT))
            else:
                assert adapter.ping(cleartext.url, timeout=TIMEOUT) < TIMEOUT

    together(9, work)


@pytest.mark.parametrize("cleartext", ["nghttpd-cleartext", "node-cleartext"], indirect=True)
def test_push(
    cleartext: CleartextServer, session: requests.Session, make_adapter: Callable[..., Any]
) -> None:
    session.mount("http://", make_adapter(prior_knowledge=True, enable_push=True))
    response = check(session.get(f"{cleartext.url}/pushing", timeout=TIMEOUT))
    pushes = {push.path: push for push in requests_h2.get_pushes(response, capture_all=True)}
    assert set(pushes) == {"/pushed-1", "/pushed-2"}
    pushed = pushes["/pushed-1"].response(timeout=TIMEOUT)
    assert pushed.url == f"{cleartext.url}/pushed-1"
    assert pushed.content == b"this is pushed-1\n"


@pytest.mark.parametrize("cleartext", ["nginx-cleartext", "node-cleartext"], indirect=True)
def test_a_server_that_speaks_http1_only(
    cleartext: CleartextServer, session: requests.Session, make_adapter: Callable[..., Any]
) -> None:
    """Each says it in its own way: an answer, or the end of the connection."""
    session.mount("http://", make_adapter(uds=cleartext.sockets["http1"], prior_knowledge=True))
    with pytest.raises(requests.ConnectionError, match="prior_knowledge=True"):
        session.get("http://localhost/1k", timeout=TIMEOUT)


@on_sockets
@pytest.mark.parametrize("spoken", ["h2c", "http1", "tls"])
def test_unix_sockets(
    cleartext: CleartextServer,
    session: requests.Session,
    make_adapter: Callable[..., Any],
    spoken: Spoken,
) -> None:
    scheme = "https" if spoken == "tls" else "http"
    adapter = make_adapter(uds=cleartext.sockets[spoken], prior_knowledge=spoken == "h2c")
    session.mount(f"{scheme}://", adapter)
    version = 11 if spoken == "http1" else 20
    for _ in range(2):
        exchange(session, f"{scheme}://localhost", version, cleartext.dynamic)
