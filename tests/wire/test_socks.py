"""SOCKS proxies, by PySocks as urllib3 uses it. The stock adapter is the oracle for errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.support.certs import Certificates
from tests.support.peer import MakeSession, Request, StartPeer, serve
from tests.support.socks import REFUSED, MakeSocks, SocksRequest
from tests.support.threads import PROMPT, WAIT, together

pytestmark = pytest.mark.extra("socks")
SCHEMES = ("socks4", "socks4a", "socks5", "socks5h")
schemes = pytest.mark.parametrize("scheme", SCHEMES)


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or request.path.encode()


@schemes
def test_h2_inside(
    session: requests.Session, peer: StartPeer, make_socks: MakeSocks, scheme: str
) -> None:
    started, socks = peer(serve(answer)), make_socks()
    session.proxies = {"https": socks.url(scheme)}
    for path in ("/a", "/b"):
        response = session.get(started.url + path, timeout=WAIT)
        assert (response.raw.version, response.content) == (20, path.encode())
    upload = session.post(started.url, data=(b"x" * 10_000 for _ in range(30)), timeout=WAIT)
    assert upload.content == b"x" * 300_000
    (request,) = socks.requests
    assert request.version == int(scheme[5])
    assert (request.host, request.port) == ("127.0.0.1", started.port)
    assert (socks.accepted, started.accepted) == (1, 1)
    session.close()
    socks.wait_ended(1)


@schemes
def test_http1_inside(
    session: requests.Session, peer: StartPeer, make_socks: MakeSocks, scheme: str
) -> None:
    started, socks = peer(serve(answer), alpn=("http/1.1",)), make_socks()
    session.proxies = {"https": socks.url(scheme)}
    for _ in range(2):
        response = session.get(started.url + "/path", timeout=WAIT)
        assert (response.raw.version, response.content) == (11, b"/path")
    assert (socks.accepted, started.accepted) == (1, 1)


def test_threads_share_one_connection(
    session: requests.Session, peer: StartPeer, make_socks: MakeSocks
) -> None:
    started, socks = peer(serve(answer)), make_socks()
    session.proxies = {"https": socks.url("socks5h")}
    bodies = together(10, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [f"/{number}".encode() for number in range(10)]
    assert (socks.accepted, started.accepted) == (1, 1)


def test_h2_required(make_session: MakeSession, peer: StartPeer, make_socks: MakeSocks) -> None:
    h2, http1 = peer(serve(answer)), peer(serve(answer), alpn=("http/1.1",))
    session = make_session(http2="required")
    session.proxies = {"https": make_socks().url("socks5")}
    assert session.get(h2.url, timeout=WAIT).raw.version == 20
    with pytest.raises(requests.ConnectionError, match="does not speak HTTP/2"):
        session.get(http1.url, timeout=WAIT)


@schemes
def test_who_looks_names_up(
    session: requests.Session, peer: StartPeer, make_socks: MakeSocks, scheme: str
) -> None:
    started, socks = peer(serve(answer)), make_socks()
    session.proxies = {"https": socks.url(scheme)}
    assert session.get(f"https://localhost:{started.port}/", timeout=WAIT).raw.version == 20
    (request,) = socks.requests
    remote = scheme in ("socks4a", "socks5h")
    assert request.by_name == remote
    assert request.host == ("localhost" if remote else "127.0.0.1")
    assert started.server_names == ["localhost"]


@pytest.mark.parametrize("scheme", ["socks4a", "socks5h"])
def test_a_name_that_only_the_proxy_knows(
    make_adapter: Callable[..., Any],
    peer: StartPeer,
    make_socks: MakeSocks,
    certs: Certificates,
    scheme: str,
) -> None:
    context = certs.server_context(certificate=certs.wrong_host_pem_path)
    started, socks = peer(serve(answer), context=context), make_socks()
    socks.names["elsewhere.example"] = "127.0.0.1"
    with requests.Session() as session:
        session.mount("https://", make_adapter())
        url = f"https://elsewhere.example:{started.port}/"
        proxies = {"https": socks.url(scheme)}
        response = session.get(url, proxies=proxies, verify=certs.ca_path, timeout=WAIT)
    assert response.raw.version == 20
    assert socks.requests == [
        SocksRequest(int(scheme[5]), "elsewhere.example", started.port, by_name=True)
    ]


def test_credentials(session: requests.Session, peer: StartPeer, make_socks: MakeSocks) -> None:
    started, socks = peer(serve(answer)), make_socks(credentials=("user", "p@ss"))
    old = make_socks()
    for url in (
        socks.url("socks5", "user:p%40ss"),
        socks.url("socks5h", "user:p%40ss"),
        old.url("socks4", "user"),
        old.url("socks4", "user:unused"),
    ):
        for _ in range(2):
            response = session.get(started.url, proxies={"https": url}, timeout=WAIT)
            assert response.raw.version == 20
    assert [(request.user, request.password) for request in socks.requests] == [
        ("user", "p@ss")
    ] * 2
    # PySocks takes a user for version 4, urllib3 hands it one only beside a password.
    assert [request.user for request in old.requests] == ["", "user"]
    for request in started.requests:
        assert "proxy-authorization" not in request.headers


@pytest.mark.parametrize("begin", ["http", "https"])
def test_a_redirect_to_http_keeps_the_password_back(
    session: requests.Session, peer: StartPeer, make_socks: MakeSocks, begin: str
) -> None:
    """requests adds it to what follows, for an HTTP proxy; the stock adapter sends it on."""
    plain = peer(serve(answer), tls=False)
    first = peer(serve(lambda _: (302, {"location": plain.url}, b"")), tls=begin == "https")
    session.mount("http://", session.get_adapter("https://"))
    url = make_socks(credentials=("user", "pass")).url("socks5", "user:pass")
    response = session.get(first.url, proxies={"http": url, "https": url}, timeout=WAIT)
    assert (response.status_code, len(response.history)) == (200, 1)
    assert "proxy-authorization" not in plain.requests[0].headers


def test_proxy_and_credentials_are_in_the_key(
    session: requests.Session, peer: StartPeer, make_socks: MakeSocks
) -> None:
    started, socks, other = peer(serve(answer)), make_socks(), make_socks()
    ways = [
        socks.url("socks5"),
        socks.url("socks5h"),
        socks.url("socks5", "user:pass"),
        socks.url("socks5", "user:other"),
        other.url("socks5"),
    ]
    for _ in range(2):
        for url in ways:
            response = session.get(started.url, proxies={"https": url}, timeout=WAIT)
            assert response.raw.version == 20
    assert (socks.accepted, other.accepted) == (4, 1)


def test_a_lost_connection_is_replaced(
    session: requests.Session, peer: StartPeer, make_socks: MakeSocks
) -> None:
    started, socks = peer(serve(answer)), make_socks()
    session.proxies = {"https": socks.url("socks5")}
    session.get(started.url, timeout=WAIT)
    socks.cut_tunnels()
    for channel in list(socks._channels):
        if channel.half_closed:
            channel.wait_until_delivered()
    assert session.post(started.url, data=iter([b"once"]), timeout=WAIT).content == b"once"
    assert (socks.accepted, len(started.requests)) == (2, 2)


def test_plain_http(
    session: requests.Session,
    make_adapter: Callable[..., Any],
    peer: StartPeer,
    make_socks: MakeSocks,
) -> None:
    started, socks = peer(serve(answer), tls=False), make_socks()
    session.mount("http://", make_adapter())
    proxies = {"http": socks.url("socks5h")}
    response = session.get(started.url + "/plain", proxies=proxies, timeout=WAIT)
    assert (response.raw.version, response.content) == (11, b"/plain")
    assert started.request.request_line == "GET /plain HTTP/1.1"
    assert socks.accepted == 1


# -- errors --------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Any, type[Exception], str]] = {
    "refused": (REFUSED, requests.ConnectionError, "(?i)refused|rejected"),
    "garbage": (b"garbage of enough octets", requests.ConnectionError, "invalid data"),
    "EOF": (b"", requests.ConnectionError, "closed unexpectedly"),
    "silent": (None, requests.exceptions.ConnectTimeout, "timed out"),
}


@pytest.fixture(params=["ours", "stock"])
def oracle(
    request: pytest.FixtureRequest, make_session: MakeSession, certs: Certificates
) -> requests.Session:
    """A session, also one with the stock adapter: it has to meet the same."""
    session = make_session()
    if request.param == "stock":
        session.mount("https://", HTTPAdapter())
    return session


@schemes
@pytest.mark.parametrize("fault", list(FAULTS))
def test_errors(
    oracle: requests.Session, peer: StartPeer, make_socks: MakeSocks, scheme: str, fault: str
) -> None:
    answer_, expected, text = FAULTS[fault]
    started, socks = peer(serve(answer)), make_socks(answer_)
    oracle.proxies = {"https": socks.url(scheme, "user:secret")}
    begin = time.monotonic()
    with pytest.raises(expected, match=text) as caught:
        oracle.get(started.url, timeout=(0.5, WAIT))
    assert type(caught.value) is expected
    assert "secret" not in str(caught.value)
    assert time.monotonic() - begin < PROMPT
    assert started.accepted == 0


@schemes
def test_a_server_that_is_not_there(
    oracle: requests.Session, peer: StartPeer, make_socks: MakeSocks, scheme: str
) -> None:
    started, socks = peer(serve(answer)), make_socks()
    socks.stop_listening()
    oracle.proxies = {"https": socks.url(scheme)}
    with pytest.raises(requests.ConnectionError, match="refused") as caught:
        oracle.get(started.url, timeout=WAIT)
    assert type(caught.value) is requests.ConnectionError
    assert str(caught.value).startswith("SOCKSHTTPSConnectionPool(host='127.0.0.1', port=")
    assert started.accepted == 0


@pytest.mark.parametrize("credentials", ["", "user", "user:wrong"])
def test_credentials_that_are_refused(
    oracle: requests.Session, peer: StartPeer, make_socks: MakeSocks, credentials: str
) -> None:
    started, socks = peer(serve(answer)), make_socks(credentials=("user", "pass"))
    oracle.proxies = {"https": socks.url("socks5", credentials)}
    with pytest.raises(requests.ConnectionError, match="authentication") as caught:
        oracle.get(started.url, timeout=WAIT)
    assert type(caught.value) is requests.ConnectionError
    assert started.accepted == 0


@pytest.mark.parametrize("scheme", ["socks4", "socks5"])
def test_a_name_that_nobody_knows(
    oracle: requests.Session, make_socks: MakeSocks, scheme: str
) -> None:
    socks = make_socks()
    oracle.proxies = {"https": socks.url(scheme)}
    with pytest.raises(requests.ConnectionError, match=r"(?i)name") as caught:
        oracle.get("https://nowhere.invalid/", timeout=WAIT)
    assert type(caught.value) is requests.ConnectionError
    assert socks.requests == []


def test_every_thread_hears_of_the_refusal(
    session: requests.Session, peer: StartPeer, make_socks: MakeSocks
) -> None:
    started, socks = peer(serve(answer)), make_socks(REFUSED)
    session.proxies = {"https": socks.url("socks5")}

    def work(number: int) -> bool:
        with pytest.raises(requests.ConnectionError, match="refused"):
            session.get(started.url, timeout=WAIT)
        return True

    assert together(8, work) == [True] * 8
    assert started.accepted == 0


def test_the_certificate_is_the_origins(
    oracle: requests.Session, peer: StartPeer, make_socks: MakeSocks, certs: Certificates
) -> None:
    context = certs.server_context(certificate=certs.wrong_host_pem_path)
    started, socks = peer(serve(answer), context=context), make_socks()
    oracle.proxies = {"https": socks.url("socks5h")}
    with pytest.raises(requests.exceptions.SSLError):
        oracle.get(started.url, timeout=WAIT)
    assert started.requests == []


@schemes
def test_a_host_that_is_no_name(
    session: requests.Session, make_socks: MakeSocks, scheme: str
) -> None:
    """The stock adapter lets a UnicodeError out."""
    socks = make_socks()
    session.proxies = {"https": socks.url(scheme)}
    with pytest.raises(requests.exceptions.InvalidURL):
        session.get(f"https://{'a' * 64}.example/", timeout=WAIT)
    assert socks.requests == []
