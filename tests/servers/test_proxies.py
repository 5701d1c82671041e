"""Real proxies of every kind in front of real servers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ProxyError

from tests.support.farm import Farm, needed
from tests.support.servers import Can, Document, Server
from tests.support.servers.base import free_ports
from tests.support.servers.proxies import DENIED, PROXIES, WAYS, ProxyServer
from tests.support.threads import until

from .support import MIB, TIMEOUT, check, client_port, on, sha256

BLOCK = bytes(range(256)) * 4096

nginx = pytest.mark.parametrize("server", ["nginx"], indirect=True)


@dataclass
class Way:
    proxy: ProxyServer
    scheme: str

    @property
    def proxies(self) -> dict[str, str]:
        return {"https": self.proxy.url_for(self.scheme)}


def way_id(way: tuple[str, str]) -> str:
    return "-".join(way)


def only(condition: Callable[[type[ProxyServer]], bool]) -> pytest.MarkDecorator:
    """Run the test over these proxies."""
    ways = [way for way in WAYS if condition(PROXIES[way[0]])]
    return pytest.mark.parametrize("way", ways, indirect=True, ids=way_id)


@pytest.fixture(params=WAYS, ids=way_id)
def way(request: pytest.FixtureRequest, farm: Farm) -> Way:
    name, scheme = request.param
    with needed():
        proxy = farm.get(name)
    return Way(proxy, scheme)


@on()
def test_exchanges(
    server: Server, way: Way, session: requests.Session, documents: dict[str, Document]
) -> None:
    session.proxies = way.proxies
    for _ in range(3):
        response = check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
        assert sha256([response.content]) == (1024, documents["1k"].sha256)


@nginx
def test_by_name(server: Server, way: Way, session: requests.Session) -> None:
    session.proxies = way.proxies
    check(session.get(f"https://localhost:{server.port}/1k", timeout=TIMEOUT))


@pytest.mark.parametrize("server", ["caddy"], indirect=True)  # it does not retire connections
def test_one_connection_for_all(server: Server, way: Way, session: requests.Session) -> None:
    session.proxies = way.proxies

    def work(_: int) -> str | None:
        return client_port(check(session.get(f"{server.url}/1k", timeout=TIMEOUT)))

    with ThreadPoolExecutor(16) as executor:
        assert len(set(executor.map(work, range(160)))) == 1


@nginx
def test_large_bodies(
    server: Server, way: Way, session: requests.Session, documents: dict[str, Document]
) -> None:
    session.proxies = way.proxies
    with session.get(f"{server.url}/100m", stream=True, timeout=TIMEOUT) as response:
        document = documents["100m"]
        assert sha256(check(response).iter_content(65536)) == (document.size, document.sha256)
    uploaded = session.post(
        f"{server.url}/upload", data=(BLOCK for _ in range(20)), timeout=TIMEOUT
    )
    expected = hashlib.sha256(BLOCK * 20).hexdigest()
    result = check(uploaded).json()
    assert (result["length"], result["sha256"]) == (20 * MIB, expected)


@nginx
def test_up_and_down_at_once(server: Server, way: Way, session: requests.Session) -> None:
    session.proxies = way.proxies

    def work(number: int) -> None:
        data = BLOCK[number : number + 300_000]
        answer = check(session.post(f"{server.url}/upload", data=data, timeout=TIMEOUT)).json()
        assert answer["sha256"] == hashlib.sha256(data).hexdigest()
        assert len(check(session.get(f"{server.url}/1k", timeout=TIMEOUT)).content) == 1024

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(work, range(32)))


@nginx
def test_a_response_that_is_left(server: Server, way: Way, session: requests.Session) -> None:
    session.proxies = way.proxies
    first = check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    for _ in range(3):
        with session.get(f"{server.url}/100m", stream=True, timeout=TIMEOUT) as response:
            assert len(response.raw.read(100_000)) == 100_000
    last = check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    assert client_port(first) == client_port(last)


@nginx
def test_http1_inside(
    server: Server, way: Way, session: requests.Session, documents: dict[str, Document]
) -> None:
    session.proxies = way.proxies
    ports = set()
    for _ in range(3):
        response = session.get(f"{server.http11_url}/1k", timeout=TIMEOUT)
        ports.add(client_port(check(response, version=11)))
        assert sha256([response.content]) == (1024, documents["1k"].sha256)
    assert len(ports) == 1
    posted = session.post(f"{server.http11_url}/echo", json={"a": 1}, timeout=TIMEOUT)
    assert check(posted, version=11).json()["body"] == '{"a": 1}'


@nginx
def test_what_the_origin_sees(server: Server, way: Way, session: requests.Session) -> None:
    session.proxies = way.proxies
    echoed = check(session.get(f"{server.url}/echo", timeout=TIMEOUT)).json()
    names = {name for name, _ in echoed["headers"]}
    assert not {"proxy-authorization", "proxy-connection", "via"} & names


@on(Can.RETIRE)
def test_an_origin_that_retires_connections(
    server: Server, way: Way, session: requests.Session
) -> None:
    session.proxies = way.proxies
    for _ in range(25):
        check(session.get(f"{server.retiring_url}/1k", timeout=TIMEOUT))


@nginx
def test_an_https_proxy_is_offered_http1_only(
    server: Server, farm: Farm, session: requests.Session
) -> None:
    """nghttpx prefers h2 and would take it."""
    with needed():
        proxy: ProxyServer = farm.get("nghttpx")
    session.proxies = {"https": proxy.url_for("https")}
    check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    session.close()  # nghttpx tells of a tunnel when it ends
    until(lambda: f"alpn=http/1.1 CONNECT 127.0.0.1:{server.port} HTTP/1." in proxy.log())
    assert "alpn=h2" not in proxy.log()


# -- errors --------------------------------------------------------------------------------


def both_raise(session: requests.Session, url: str, proxy: str) -> type[Exception]:
    """What both adapters raise: the stock one is the oracle."""
    seen = []
    with requests.Session() as stock:
        stock.mount("https://", HTTPAdapter())
        stock.verify, stock.trust_env = session.verify, False
        for each in (session, stock):
            with pytest.raises(requests.RequestException) as caught:
                each.get(url, proxies={"https": proxy}, timeout=TIMEOUT)
            assert "pass" not in str(caught.value)
            seen.append(type(caught.value))
    assert seen[0] is seen[1]
    return seen[0]


def blamed(way: Way) -> type[Exception]:
    """PySocks' failures are those of a connection, to urllib3."""
    return ProxyError if way.scheme.startswith("http") else requests.ConnectionError


def test_an_origin_that_is_not_there(way: Way, session: requests.Session) -> None:
    (port,) = free_ports(1)
    proxy = way.proxies["https"]
    assert both_raise(session, f"https://127.0.0.1:{port}/", proxy) is blamed(way)


def test_a_name_that_nobody_knows(way: Way, session: requests.Session) -> None:
    proxy = way.proxies["https"]
    assert both_raise(session, "https://nowhere.invalid/", proxy) is blamed(way)


@nginx
@only(lambda proxy: bool(proxy.credentials))
@pytest.mark.parametrize("credentials", ["", "user:wrong"])
def test_credentials_that_are_refused(
    server: Server, way: Way, session: requests.Session, credentials: str
) -> None:
    proxy = way.proxy.url_for(way.scheme, credentials)
    assert both_raise(session, server.url, proxy) is blamed(way)
    # It is no reason to refuse those who have them.
    check(session.get(f"{server.url}/1k", proxies=way.proxies, timeout=TIMEOUT))


@only(lambda proxy: proxy.schemes[0].startswith("http"))
def test_a_host_that_is_denied(way: Way, session: requests.Session) -> None:
    proxy = way.proxies["https"]
    assert both_raise(session, f"https://{DENIED}/", proxy) is ProxyError


@nginx
def test_an_unknown_ca(server: Server, way: Way, session: requests.Session) -> None:
    """At an HTTPS proxy it is the proxy's certificate that is met first."""
    session.verify = True
    expected = ProxyError if way.scheme == "https" else requests.exceptions.SSLError
    assert both_raise(session, server.url, way.proxies["https"]) is expected


# -- a proxy that comes and goes -----------------------------------------------------------


@pytest.fixture(params=WAYS, ids=way_id)
def own_way(request: pytest.FixtureRequest, farm: Farm) -> Iterator[Way]:
    """With a proxy that the test may stop."""
    name, scheme = request.param
    with needed():
        proxy = PROXIES[name](farm.around)
    try:
        proxy.start()
        yield Way(proxy, scheme)
    finally:
        proxy.stop()


@nginx
def test_a_proxy_that_dies(server: Server, own_way: Way, session: requests.Session) -> None:
    session.proxies = own_way.proxies
    check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    with session.get(f"{server.url}/100m", stream=True, timeout=TIMEOUT) as response:
        response.raw.read(1000)
        own_way.proxy.stop()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _ = response.content
    with pytest.raises(blamed(own_way)):
        session.get(f"{server.url}/1k", timeout=TIMEOUT)
