"""Copies, other processes, the end of this one, and what the garbage collector finds."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import requests
from requests_toolbelt.adapters.ssl import SSLAdapter
from urllib3 import Retry

from requests_h2 import HTTP2Adapter, mount
from tests.servers.support import TIMEOUT
from tests.support.certs import Certificates
from tests.support.servers import Server

from .conftest import Transport
from .support import run

caddy = pytest.mark.parametrize("server", ["caddy"], indirect=True)

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(params=list(COPIES))
def duplicate(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return COPIES[request.param]


# -- copies --------------------------------------------------------------------------------


@caddy
def test_copies_of_a_session(
    session: requests.Session, transport: Transport, server: Server, duplicate: Any
) -> None:
    session.cookies.set("a", "1")
    session.headers["X-Own"] = "2"
    transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    with duplicate(session) as other:
        response = transport.check(other.get(f"{server.url}/echo", timeout=TIMEOUT))
        headers = response.json()["headers"]
    assert ["cookie", "a=1"] in headers
    assert ["x-own", "2"] in headers
    transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))


@caddy
def test_copies_of_an_adapter(
    dress: Callable[..., Any], transport: Transport, server: Server, duplicate: Any
) -> None:
    """Settings are copied, connections are not."""
    retry = Retry(3, status_forcelist=[503], backoff_factor=0)
    adapter = transport.adapter(pool_connections=5, pool_maxsize=7, pool_block=True)
    adapter.max_retries = retry
    ports = set()
    for each in (adapter, duplicate(adapter), duplicate(duplicate(adapter))):
        assert (each._pool_connections, each._pool_maxsize, each._pool_block) == (5, 7, True)
        assert (each.max_retries.total, each.max_retries.status_forcelist) == (3, [503])
        session = dress(requests.Session(), each)
        response = transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
        ports.add(response.headers["x-client-port"])
    assert len(ports) == 3


class OverTLS12(SSLAdapter, HTTP2Adapter):
    """Whose ``__attrs__`` are the other's."""


@caddy
@pytest.mark.filterwarnings("ignore:'ssl_version' option is deprecated")
def test_copies_of_a_combined_adapter(server: Server, duplicate: Any, engine: str) -> None:
    adapter = duplicate(OverTLS12(engine=engine, pool_maxsize=3))
    assert (adapter.engine, adapter._pool_maxsize) == (engine, 3)
    with requests.Session() as session:
        session.mount("https://", adapter)
        response = session.get(f"{server.url}/1k", verify=server.around.ca, timeout=TIMEOUT)
    assert response.raw.version == 20


@caddy
def test_copies_and_contexts(server: Server, engine: str, certs: Certificates) -> None:
    """A context is shared; it is never dropped for one that trusts others."""
    adapter = HTTP2Adapter(engine=engine, ssl_context=certs.client_context())
    for other in (copy.copy(adapter), copy.deepcopy(adapter)):
        with requests.Session() as session:
            session.mount("https://", other)
            assert session.get(f"{server.url}/1k", timeout=TIMEOUT).raw.version == 20
    with pytest.raises(TypeError, match="SSLContext"):
        pickle.dumps(adapter)


@caddy
def test_copies_of_a_response(
    session: requests.Session, transport: Transport, server: Server
) -> None:
    response = transport.check(session.get(f"{server.url}/echo", timeout=TIMEOUT))
    other = pickle.loads(pickle.dumps(response))
    assert (other.json(), other.headers) == (response.json(), response.headers)


# -- processes -----------------------------------------------------------------------------


@caddy
@pytest.mark.parametrize(
    ("method", "engine"), [("fork", "h2"), ("spawn", "nghttp2"), ("forkserver", "h2")]
)
def test_multiprocessing(server: Server, engine: str, method: str) -> None:
    found = run("workers", method, server.url, server.around.ca, engine)
    assert found == [[20, str(number)] for number in range(6)]


@caddy
def test_fork_with_live_connections(server: Server, engine: str) -> None:
    found = run("forks", server.url, server.around.ca, engine)
    assert found == {
        "children": [[1, False], [1, False]],
        "downloaded": "".join(f"{letter}9000000" for letter in "ab"),
        "late": ["late"],
        "same connection": True,
    }


@caddy
@pytest.mark.parametrize(
    "how",
    [
        "unread",
        "half read",
        "uploading",
        "daemon thread",
        "in a cycle",
        "atexit",
        "sys.exit",
        "closed session",
    ],
)
def test_the_interpreter_exits(server: Server, engine: str, how: str) -> None:
    """At once, and without a word, whatever is open."""
    around = server.around
    assert run("exits", how, server.url, around.ca, engine, timeout=10) is True


# -- garbage -------------------------------------------------------------------------------


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@caddy
@pytest.mark.parametrize("state", ["read", "streamed", "pickled", "with hooks"])
def test_sessions_leave_nothing_behind(
    server: Server, engine: str, certs: Certificates, state: str
) -> None:
    """Nobody closes them; reference counts alone do it, but for what is pickled."""

    def use() -> list[weakref.ref[Any]]:
        session = requests.Session()
        session.trust_env = False
        if state == "with hooks":
            mount(session, engine=engine)
            session.hooks["push"] = print
        else:
            session.mount("https://", HTTP2Adapter(engine=engine))
        session.verify = certs.ca_path
        if state == "pickled":
            session = pickle.loads(pickle.dumps(session))
        if state == "streamed":
            response = session.get(f"{server.url}/100m", stream=True, timeout=TIMEOUT)
            assert len(response.raw.read(1000)) == 1000
        else:
            response = session.get(f"{server.url}/1k", timeout=TIMEOUT)
        assert response.raw.version == 20
        pool = session.get_adapter("https://").poolmanager.connection_from_url(server.url)
        return [weakref.ref(each) for each in (session, session.get_adapter("https://"), pool)]

    gc.collect()
    before, threads = descriptors(), threading.active_count()
    alive = [ref for _ in range(3) for ref in use()]
    assert descriptors() == before
    assert threading.active_count() == threads
    assert [ref() for ref in alive if ref() is not None] == []


@caddy
def test_an_abandoned_response_leaves_its_connection(
    session: requests.Session, transport: Transport, server: Server
) -> None:
    """It is collected, and over HTTP/2 the next request needs no other connection."""
    ports = set()
    for _ in range(5):
        response = session.get(f"{server.url}/100m", stream=True, timeout=TIMEOUT)
        ports.add(transport.check(response).headers["x-client-port"])
        del response
        gc.collect()
    assert len(ports) == (1 if transport.version == 20 else 5)
