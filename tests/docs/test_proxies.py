"""The blocks of docs/proxies.rst."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from requests_h2 import HTTP2Adapter
from tests.support.certs import Certificates
from tests.support.pages import Example
from tests.support.peer import Peer, StartPeer, serve
from tests.support.proxy import Proxy
from tests.support.socks import SocksServer
from tests.support.threads import WAIT

PAGE = "proxies.rst"


@pytest.fixture
def started(peer: StartPeer) -> Peer:
    made: Peer = peer(serve(lambda request: (200, {}, b"fine")))
    return made


@pytest.fixture(params=["http", "https", pytest.param("socks5h", marks=pytest.mark.extra("socks"))])
def proxy(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "socks5h":
        with SocksServer() as socks:
            yield socks.url("socks5h")
    else:
        with Proxy(tls=request.param == "https") as made:
            yield made.url_for("user:password")


def test_a_proxy(example: Example, session: requests.Session, started: Peer, proxy: str) -> None:
    done = example(started.url, session=session, HTTP2Adapter=HTTP2Adapter, proxy=proxy)
    assert done["response"].content == b"fine"
    assert done["response"].raw.version == 20


def test_headers_for_the_proxy(example: Example, session: requests.Session, started: Peer) -> None:
    done = example(HTTP2Adapter=HTTP2Adapter, token=lambda: "secret")
    session.mount("https://", done["Adapter"]())
    with Proxy() as proxy:
        session.get(started.url, proxies={"https": proxy.url}, timeout=WAIT)
    assert proxy.requests[0].headers["proxy-authorization"] == "Bearer secret"
    assert "proxy-authorization" not in started.request.headers


def test_a_context_for_the_proxy(
    example: Example, session: requests.Session, started: Peer, certs: Certificates
) -> None:
    asked = []

    def context_for_the_proxy() -> object:
        asked.append(True)
        return certs.client_context()

    names = {"HTTP2Adapter": HTTP2Adapter, "context_for_the_proxy": context_for_the_proxy}
    session.mount("https://", example(**names)["Adapter"]())
    with Proxy(tls=True) as proxy:
        response = session.get(started.url, proxies={"https": proxy.url}, timeout=WAIT)
    assert response.raw.version == 20
    assert asked
