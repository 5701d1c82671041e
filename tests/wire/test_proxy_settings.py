"""Which proxy a request takes, what it is told, and that nothing goes direct instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
import requests.adapters
from requests.adapters import HTTPAdapter
from requests.exceptions import (
    ConnectTimeout,
    InvalidProxyURL,
    InvalidSchema,
    InvalidURL,
    ProxyError,
    ReadTimeout,
    SSLError,
)

from tests.support.certs import Certificates
from tests.support.peer import Http1Connection, MakeSession, Request, StartPeer, serve
from tests.support.proxy import RESET, MakeProxy
from tests.support.threads import WAIT

BASIC_USER = "Basic dXNlcjpwQHNz"  # user:p@ss


def answer(request: Request) -> Any:
    return 200, {}, request.path.encode()


both_kinds = pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])


# -- which proxy ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["https", "all", "https://127.0.0.1", "all://127.0.0.1"])
def test_keys_of_proxies(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, key: str
) -> None:
    started, proxy = peer(serve(answer)), make_proxy()
    for proxies in ({key: proxy.url}, {key: proxy.url.removeprefix("http://")}):
        assert session.get(started.url, proxies=proxies, timeout=WAIT).raw.version == 20
    assert proxy.accepted == 1
    # Those of other hosts and schemes are not for this one.
    others = {"http": proxy.url, "https://localhost": proxy.url, "all://localhost": proxy.url}
    assert session.get(started.url, proxies=others, timeout=WAIT).raw.version == 20
    assert (proxy.accepted, started.accepted) == (1, 2)


def test_the_most_exact_key_counts(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    started, exact, general = peer(serve(answer)), make_proxy(), make_proxy()
    session.proxies = {"all": general.url, "https://127.0.0.1": exact.url, "https": general.url}
    session.get(started.url, timeout=WAIT)
    assert (exact.accepted, general.accepted) == (1, 0)


def test_of_request_and_session(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    started, first, second = peer(serve(answer)), make_proxy(), make_proxy(tls=True)
    session.proxies = {"https": first.url}
    for proxies in (None, {"https": second.url}, None):
        assert session.get(started.url, proxies=proxies, timeout=WAIT).raw.version == 20
    assert (first.accepted, second.accepted, started.accepted) == (1, 1, 2)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HTTPS_PROXY": "PROXY"}, 1),
        ({"https_proxy": "PROXY"}, 1),
        ({"ALL_PROXY": "PROXY"}, 1),
        ({"HTTP_PROXY": "PROXY"}, 0),
        ({"HTTPS_PROXY": "PROXY", "NO_PROXY": "127.0.0.1"}, 0),
        ({"HTTPS_PROXY": "PROXY", "NO_PROXY": "10.0.0.0/8, 127.0.0.0/8"}, 0),
        ({"HTTPS_PROXY": "PROXY", "NO_PROXY": "*"}, 0),
        ({"HTTPS_PROXY": "PROXY", "NO_PROXY": "localhost,example.org"}, 1),
    ],
)
def test_of_the_environment(
    session: requests.Session,
    peer: StartPeer,
    make_proxy: MakeProxy,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    expected: int,
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(tls=True)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("PROXY", proxy.url))
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    assert proxy.accepted == expected
    session.trust_env = False
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    assert (proxy.accepted, started.accepted) == (expected, 1 + expected)


def test_a_redirect_asks_again(
    session: requests.Session,
    peer: StartPeer,
    make_proxy: MakeProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What NO_PROXY excepts is reached directly, what it does not is not."""
    second = peer(serve(answer))
    first = peer(
        serve(lambda request: (302, {"location": f"https://localhost:{second.port}/there"}, b""))
    )
    proxy = make_proxy()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert session.get(first.url, timeout=WAIT).content == b"/there"
    assert [request.line.split()[1] for request in proxy.requests] == [f"localhost:{second.port}"]


# -- what it is told -----------------------------------------------------------------------


@both_kinds
def test_proxy_headers_of_a_subclass(
    make_adapter: Callable[..., Any],
    peer: StartPeer,
    make_proxy: MakeProxy,
    certs: Certificates,
    tls: bool,
) -> None:
    base = type(make_adapter())

    class Adapter(base):  # type: ignore[misc, valid-type]
        def proxy_headers(self, proxy: str) -> dict[str, str]:
            return {**super().proxy_headers(proxy), "X-Ticket": "for the proxy"}

    started, proxy = peer(serve(answer)), make_proxy(tls=tls)
    with requests.Session() as session:
        session.mount("https://", Adapter())
        session.verify = certs.ca_path
        session.proxies = {"https": proxy.url_for("user:p%40ss")}
        for _ in range(2):
            assert session.get(started.url, timeout=WAIT).raw.version == 20
    (connect,) = proxy.requests
    assert connect.headers["x-ticket"] == "for the proxy"
    assert connect.headers["proxy-authorization"] == BASIC_USER
    for request in started.requests:
        assert not {"x-ticket", "proxy-authorization"} & set(request.headers)


def test_proxy_headers_that_cannot_be_sent(
    make_adapter: Callable[..., Any], peer: StartPeer, make_proxy: MakeProxy
) -> None:
    base = type(make_adapter())

    class Adapter(base):  # type: ignore[misc, valid-type]
        def proxy_headers(self, proxy: str) -> dict[str, str]:
            return {"X-Ticket": "\u20ac"}

    started, proxy = peer(serve(answer)), make_proxy()
    with requests.Session() as session:
        session.mount("https://", Adapter())
        with pytest.raises(ProxyError):
            session.get(started.url, proxies={"https": proxy.url}, timeout=WAIT)
    assert (proxy.requests, started.accepted) == ([], 0)


# -- never direct instead ------------------------------------------------------------------

Expected = type[Exception] | tuple[type[Exception], ...]
UNUSABLE: dict[str, Expected] = {
    "ftp://127.0.0.1:1": InvalidProxyURL,
    "socks://user:secret@127.0.0.1:1": InvalidProxyURL,
    "socks9://user:secret@127.0.0.1:1": InvalidProxyURL,
    "http://%E2%82%AC:secret@127.0.0.1:1": InvalidProxyURL,
    "http://": InvalidProxyURL,
    "socks5://": InvalidProxyURL,
    "http://127.0.0.1:port": InvalidURL,
    "http://127.0.0.1:1": ProxyError,
    "https://127.0.0.1:1": ProxyError,
    "socks5h://127.0.0.1:1": requests.ConnectionError,
    f"http://{'a' * 64}.example:1": (ProxyError, InvalidURL),
    "http://nowhere.invalid:1": ProxyError,
}


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(url, marks=[pytest.mark.extra("socks")] if url.startswith("socks") else [])
        for url in UNUSABLE
    ],
)
@pytest.mark.parametrize("http2", [True, "required", False])
def test_an_unusable_setting_raises(
    make_session: MakeSession, peer: StartPeer, url: str, http2: Any
) -> None:
    started = peer(serve(answer))
    session = make_session(http2=http2)
    for _ in range(2):
        with pytest.raises(UNUSABLE[url]) as caught:
            session.get(started.url, proxies={"https": url}, timeout=WAIT)
        assert "secret" not in str(caught.value)
    assert started.accepted == 0


def test_without_pysocks(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*args: Any, **kwargs: Any) -> Any:
        """As requests itself defines it then."""
        raise InvalidSchema("Missing dependencies for SOCKS support.")

    monkeypatch.setattr(requests.adapters, "SOCKSProxyManager", missing)
    started = peer(serve(answer))
    with pytest.raises(InvalidSchema, match="SOCKS"):
        session.get(started.url, proxies={"https": "socks5://127.0.0.1:1"}, timeout=WAIT)
    assert started.accepted == 0


# -- errors beside the stock adapter's -----------------------------------------------------

ConnectionError_ = requests.ConnectionError
#: Answers to CONNECT, what is raised, and what the stock adapter raises.
ANSWERS: dict[str, tuple[Any, type[Exception], type[Exception]]] = {
    "407": (b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n", ProxyError, ProxyError),
    "403": (b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nno!\n", ProxyError, ProxyError),
    "502": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", ProxyError, ProxyError),
    "302": (b"HTTP/1.1 302 Found\r\nLocation: https://[::1]/\r\n\r\n", ProxyError, ProxyError),
    # The stock adapter takes these for the origin's, and a CONNECT that nobody answers for a read.
    "garbage": (b"\x16\x03\x01 what is this?\r\n\r\n", ProxyError, ConnectionError_),
    "a long line": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, ProxyError, ConnectionError_),
    "EOF": (b"", ProxyError, ConnectionError_),
    "RST": (RESET, ProxyError, ConnectionError_),
    "silent": (None, ConnectTimeout, ReadTimeout),
}


@both_kinds
@pytest.mark.parametrize("case", list(ANSWERS))
def test_errors_beside_the_stock_adapter(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, tls: bool, case: str
) -> None:
    scripted, ours, stock = ANSWERS[case]
    started, proxy = peer(serve(answer)), make_proxy(scripted, tls=tls)
    session.proxies = {"https": proxy.url}
    session.mount("https://localhost", HTTPAdapter())
    for host, expected in (("127.0.0.1", ours), ("localhost", stock)):
        with pytest.raises(requests.RequestException) as caught:
            session.get(f"https://{host}:{started.port}/", timeout=(0.5, WAIT))
        assert type(caught.value) is expected
    assert started.requests == []


@both_kinds
def test_a_tunnel_to_something_else(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, tls: bool
) -> None:
    """The tunnel is there: the proxy is not at fault any more."""

    def script(conn: Http1Connection) -> None:
        conn.channel.receive()
        conn.channel.send(b"no TLS at all\r\n")

    started = peer(script, tls=False)
    proxy = make_proxy(tls=tls)
    session.mount("https://localhost", HTTPAdapter())
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(SSLError) as caught:
            session.get(
                f"https://{host}:{started.port}/", proxies={"https": proxy.url}, timeout=WAIT
            )
        assert type(caught.value) is SSLError
