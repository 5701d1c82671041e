"""Proxies (rows 104 to 106 of the fault table) and security (row 107)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hyperframe.frame import HeadersFrame, RstStreamFrame
from urllib3.exceptions import InsecureRequestWarning

from tests.support.certs import Certificates
from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, serve
from tests.support.proxy import ESTABLISHED, RESET, MakeProxy
from tests.support.threads import PROMPT, WAIT, together

BASIC_USER = "Basic dXNlcjpwYXNz"  # user:pass


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or request.path.encode()


both_kinds = pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])


# -- 104: h2 through a tunnel --------------------------------------------------------------


@both_kinds
def test_104_connect_then_h2_inside(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, tls: bool
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(tls=tls)
    session.proxies = {"https": proxy.url}
    for path in ("/a", "/b"):
        response = session.get(started.url + path, timeout=WAIT)
        assert (response.raw.version, response.content) == (20, path.encode())
    upload = session.post(started.url, data=(b"x" * 10_000 for _ in range(30)), timeout=WAIT)
    assert upload.content == b"x" * 300_000
    # One tunnel, and HTTP/1.1 to the proxy.
    (request,) = proxy.requests
    assert request.line.startswith(
        f"CONNECT 127.0.0.1:{started.port} HTTP/1."
    )  # 1.0: Python < 3.12
    assert (proxy.accepted, started.accepted) == (1, 1)
    assert started.connection().channel.alpn == "h2"


@both_kinds
def test_104_threads_share_one_tunnel(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, tls: bool
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(tls=tls)
    session.proxies = {"https": proxy.url}
    bodies = together(10, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [f"/{number}".encode() for number in range(10)]
    assert (proxy.accepted, started.accepted) == (1, 1)


def test_104_the_environment_names_the_proxy(
    session: requests.Session,
    peer: StartPeer,
    make_proxy: MakeProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, proxy = peer(serve(answer)), make_proxy()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    assert proxy.accepted == 1
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    assert (proxy.accepted, started.accepted) == (1, 2)


@both_kinds
def test_104_http1_inside_a_tunnel(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, tls: bool
) -> None:
    started, proxy = peer(serve(answer), alpn=("http/1.1",)), make_proxy(tls=tls)
    session.proxies = {"https": proxy.url}
    for _ in range(2):
        response = session.get(started.url + "/path", timeout=WAIT)
        assert (response.raw.version, response.content) == (11, b"/path")
    assert started.requests[0].request_line == "GET /path HTTP/1.1"
    assert (proxy.accepted, started.accepted) == (1, 1)


def test_104_an_https_proxy_is_offered_http1_only(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(tls=True)
    session.proxies = {"https": proxy.url}
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    assert proxy.alpn == ["http/1.1"]
    assert started.connection().channel.alpn == "h2"


@both_kinds
def test_104_h2_required(
    make_session: MakeSession, peer: StartPeer, make_proxy: MakeProxy, tls: bool
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(tls=tls)
    session = make_session(http2="required")
    session.proxies = {"https": proxy.url}
    assert session.get(started.url, timeout=WAIT).raw.version == 20


@both_kinds
def test_104_proxy_and_credentials_are_in_the_key(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, tls: bool
) -> None:
    started, proxy, other = peer(serve(answer)), make_proxy(tls=tls), make_proxy(tls=tls)
    ways = [
        {},
        {"https": proxy.url},
        {"https": proxy.url_for("user:pass")},
        {"https": proxy.url_for("user:other")},
        {"https": other.url},
    ]
    for _ in range(2):
        for proxies in ways:
            assert session.get(started.url, proxies=proxies, timeout=WAIT).raw.version == 20
    assert started.accepted == len(ways)
    assert (proxy.accepted, other.accepted) == (3, 1)
    sent = [request.headers.get("proxy-authorization") for request in proxy.requests]
    assert sent == [None, BASIC_USER, "Basic dXNlcjpvdGhlcg=="]


@both_kinds
def test_104_a_lost_tunnel_is_replaced(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, tls: bool
) -> None:
    """Found dead before use, so not even a POST is lost, nor anything sent twice."""
    started, proxy = peer(serve(answer)), make_proxy(tls=tls)
    session.proxies = {"https": proxy.url}
    session.get(started.url, timeout=WAIT)
    proxy.cut_tunnels()
    for channel in list(proxy._channels):
        if channel.half_closed:
            channel.wait_until_delivered()
    assert session.post(started.url, data=iter([b"once"]), timeout=WAIT).content == b"once"
    assert (proxy.accepted, started.accepted) == (2, 2)
    assert len(started.requests) == 2


@both_kinds
def test_104_the_certificate_is_checked_through_a_tunnel(
    session: requests.Session,
    peer: StartPeer,
    make_proxy: MakeProxy,
    certs: Certificates,
    tls: bool,
) -> None:
    started = peer(serve(answer), context=certs.server_context(certificate=certs.expired_pem_path))
    proxy = make_proxy(tls=tls)
    session.proxies = {"https": proxy.url}
    with pytest.raises(requests.exceptions.SSLError):
        session.get(started.url, timeout=WAIT)
    proxy.wait_ended(1)
    assert started.requests == []


# -- 105: the tunnel is refused ------------------------------------------------------------

REFUSALS = {
    "407": b"HTTP/1.1 407 Proxy Authentication Required\r\n"
    b"Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    "403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!\n",
    "502": b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n",
    "garbage": b"\x16\x03\x01 what is this?\r\n\r\n",
    "EOF": b"",
    "RST": RESET,
}


@both_kinds
@pytest.mark.parametrize("how", list(REFUSALS))
def test_105_a_refused_tunnel_is_a_proxy_error(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, how: str, tls: bool
) -> None:
    started = peer(serve(answer))
    proxy = make_proxy([REFUSALS[how], REFUSALS[how], ESTABLISHED], tls=tls)
    session.proxies = {"https": proxy.url_for("user:pass")}
    for count in (1, 2):
        begin = time.monotonic()
        with pytest.raises(requests.exceptions.ProxyError) as caught:
            session.post(started.url, data=b"x", timeout=WAIT)
        assert time.monotonic() - begin < PROMPT
        if how.isdecimal():
            assert how in str(caught.value)
            assert "pass" not in str(caught.value)
        assert proxy.accepted == count
        if how not in ("EOF", "RST"):
            proxy.wait_ended(count)
    # Nothing of it stays: the next request gets a tunnel of its own.
    assert started.accepted == 0
    assert session.post(started.url, data=b"x", timeout=WAIT).content == b"x"
    assert (proxy.accepted, started.accepted) == (3, 1)


@both_kinds
def test_105_every_thread_hears_of_the_refusal(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, tls: bool
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(REFUSALS["407"], tls=tls)
    session.proxies = {"https": proxy.url}

    def work(number: int) -> str:
        try:
            session.get(started.url, timeout=WAIT)
        except requests.exceptions.ProxyError as error:
            return "407" if "407" in str(error) else str(error)
        return "answered"

    begin = time.monotonic()
    assert together(8, work) == ["407"] * 8
    assert time.monotonic() - begin < PROMPT
    proxy.wait_ended(proxy.accepted)
    assert started.accepted == 0


@both_kinds
def test_105_a_proxy_that_is_not_there(
    session: requests.Session, make_proxy: MakeProxy, tls: bool
) -> None:
    proxy = make_proxy(tls=tls)
    proxy.stop_listening()
    session.proxies = {"https": proxy.url}
    with pytest.raises(requests.exceptions.ProxyError):
        session.get("https://127.0.0.1:1", timeout=WAIT)


@both_kinds
def test_105_a_proxy_that_says_nothing(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, tls: bool
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(None, tls=tls)
    session.proxies = {"https": proxy.url}
    begin = time.monotonic()
    with pytest.raises((requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError)):
        session.get(started.url, timeout=(0.3, WAIT))
    assert time.monotonic() - begin < PROMPT
    proxy.wait_ended(1)


@both_kinds
def test_105_credentials_go_to_the_proxy_only(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, tls: bool
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(tls=tls)
    session.proxies = {"https": proxy.url_for("user:pass")}
    for _ in range(2):
        session.get(started.url, timeout=WAIT)
    (connect,) = proxy.requests
    assert connect.headers["proxy-authorization"] == BASIC_USER
    for request in started.requests:
        assert "proxy-authorization" not in request.headers
        assert "dXNlcjpwYXNz" not in str(request.fields)


def test_105_what_is_meant_for_the_origin_is_not_told_the_proxy(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    started, proxy = peer(serve(answer)), make_proxy()
    session.proxies = {"https": proxy.url}
    session.get(
        started.url + "/secret",
        headers={"Authorization": "Bearer x", "Cookie": "a=1"},
        timeout=WAIT,
    )
    (connect,) = proxy.requests
    assert not {"authorization", "cookie"} & set(connect.headers)
    assert "secret" not in connect.line
    assert started.request.headers["authorization"] == "Bearer x"


# -- 106: http:// --------------------------------------------------------------------------


@pytest.fixture
def plain(session: requests.Session, make_adapter: Callable[..., Any]) -> requests.Session:
    """Our adapter on http:// too."""
    session.mount("http://", make_adapter())
    return session


def assert_no_upgrade(request: Request) -> None:
    assert not {"upgrade", "http2-settings"} & set(request.headers)
    assert "upgrade" not in request.headers.get("connection", "").lower()
    assert request.request_line.endswith(" HTTP/1.1")


def test_106_plain_http_is_http1(plain: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(answer), tls=False)
    for _ in range(2):
        response = plain.get(started.url + "/plain", timeout=WAIT)
        assert (response.raw.version, response.content) == (11, b"/plain")
    for request in started.requests:
        assert request.request_line == "GET /plain HTTP/1.1"
        assert_no_upgrade(request)
    assert started.accepted == 1


def test_106_by_proxy_in_absolute_form(plain: requests.Session, peer: StartPeer) -> None:
    proxy = peer(serve(answer), tls=False)
    plain.proxies = {"http": proxy.url.replace("://", "://user:pass@")}
    response = plain.get("http://origin.example/plain", timeout=WAIT)
    assert response.raw.version == 11
    request = proxy.request
    assert request.request_line == "GET http://origin.example/plain HTTP/1.1"
    assert request.headers["host"] == "origin.example"
    assert request.headers["proxy-authorization"] == BASIC_USER
    assert_no_upgrade(request)


def test_106_by_https_proxy_in_absolute_form(plain: requests.Session, peer: StartPeer) -> None:
    """It would rather speak HTTP/2, in which nobody asks a proxy for anything here."""
    proxy = peer(serve(answer))
    plain.proxies = {"http": proxy.url.replace("://", "://user:pass@")}
    for _ in range(2):
        # requests verifies a proxy's certificate for https:// URLs only.
        with pytest.warns(InsecureRequestWarning):
            response = plain.get("http://origin.example/plain", timeout=WAIT)
        assert response.raw.version == 11
    assert proxy.connection().channel.alpn == "http/1.1"
    for request in proxy.requests:
        assert request.request_line == "GET http://origin.example/plain HTTP/1.1"
        assert request.headers["proxy-authorization"] == BASIC_USER
        assert_no_upgrade(request)
    assert proxy.accepted == 1


def test_106_an_offer_to_upgrade_is_not_taken(plain: requests.Session, peer: StartPeer) -> None:
    def offer(request: Request) -> Any:
        return 200, {"Upgrade": "h2c", "Connection": "Upgrade"}, b"answer"

    started = peer(serve(offer), tls=False)
    for _ in range(2):
        assert plain.get(started.url, timeout=WAIT).content == b"answer"
    for request in started.requests:
        assert_no_upgrade(request)


def test_106_h2_required_over_plain_http(
    make_adapter: Callable[..., Any], session: requests.Session, peer: StartPeer
) -> None:
    started = peer(serve(answer), tls=False)
    session.mount("http://", make_adapter(http2="required"))
    with pytest.raises(requests.ConnectionError, match="HTTP/2 needs TLS"):
        session.get(started.url, timeout=WAIT)
    assert started.accepted == 0


# -- 107: secrets --------------------------------------------------------------------------

SECRET = "c2VjcmV0IQ" * 8  # longer than the 20 octets that hpack itself cares for


def redirect_to(url: str) -> Any:
    return serve(lambda request: (307, {"location": url, "set-cookie": "from=first; Path=/"}, b""))


def test_107_a_redirect_to_another_origin_drops_credentials(
    session: requests.Session, peer: StartPeer
) -> None:
    second = peer(serve(answer))
    first = peer(redirect_to(f"https://localhost:{second.port}/there"))
    headers = {"Authorization": f"Bearer {SECRET}"}
    response = session.get(
        first.url, headers=headers, cookies={"mine": "1"}, auth=("user", "pass"), timeout=WAIT
    )
    assert response.content == b"/there"
    assert response.raw.version == 20
    assert "authorization" in first.request.headers
    assert not {"authorization", "proxy-authorization"} & set(second.request.headers)
    assert "from=first" not in second.request.headers.get("cookie", "")


def test_107_a_redirect_within_the_origin_keeps_them(
    session: requests.Session, peer: StartPeer
) -> None:
    def handler(request: Request) -> Any:
        if request.path == "/first":
            return 302, {"location": "/second", "set-cookie": "a=1; Path=/"}, b""
        return 200, {}, b"answer"

    started = peer(serve(handler))
    session.get(started.url + "/first", auth=("user", "pass"), timeout=WAIT)
    first, second = started.requests
    assert first.headers["authorization"] == second.headers["authorization"] == BASIC_USER
    assert (first.headers.get("cookie"), second.headers["cookie"]) == (None, "a=1")
    assert started.accepted == 1


def test_107_proxy_credentials_do_not_follow_a_redirect_to_https(
    plain: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    """CVE-2023-32681: http:// by proxy carries them, what goes through a tunnel must not."""
    started = peer(serve(answer))
    redirect = f"HTTP/1.1 302 Found\r\nLocation: {started.url}/there\r\nContent-Length: 0\r\n\r\n"
    proxy = make_proxy([redirect.encode(), ESTABLISHED])
    url = proxy.url_for("user:pass")
    plain.proxies = {"http": url, "https": url}
    response = plain.get("http://origin.example/here", timeout=WAIT)
    assert (response.raw.version, response.content) == (20, b"/there")
    absolute, connect = proxy.requests
    assert absolute.line == "GET http://origin.example/here HTTP/1.1"
    assert connect.line.startswith("CONNECT ")
    for request in (absolute, connect):
        assert request.headers["proxy-authorization"] == BASIC_USER
    assert "proxy-authorization" not in started.request.headers


def test_107_no_field_stays_for_the_next_stream(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(answer))
    secrets = {
        "Authorization": f"Bearer {SECRET}",
        "Cookie": f"sid={SECRET}",
        "Proxy-Authorization": f"Basic {SECRET}",
        "X-Custom": SECRET,
    }
    session.get(started.url, headers=secrets, timeout=WAIT)
    session.get(started.url, timeout=WAIT)
    first, second = started.requests
    assert {name.lower() for name in secrets} <= set(first.headers)
    assert not {name.lower() for name in secrets} & set(second.headers)
    assert SECRET not in str(second.fields)
    assert started.accepted == 1


def test_107_nor_for_other_threads(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(answer))

    def work(number: int) -> None:
        headers = {"Authorization": f"Bearer {number}"} if number % 2 else {}
        for _ in range(10):
            session.get(f"{started.url}/{number}", headers=headers, timeout=WAIT)

    together(8, work)
    assert len(started.requests) == 80
    for request in started.requests:
        number = int(request.path[1:])
        expected = f"Bearer {number}" if number % 2 else None
        assert request.headers.get("authorization") == expected


@pytest.mark.parametrize("value", ["a=1", f"sid={SECRET}"], ids=["short", "long"])
@pytest.mark.parametrize("name", ["Authorization", "Proxy-Authorization", "Cookie", "cOOkie"])
def test_107_secrets_are_never_indexed(
    session: requests.Session, peer: StartPeer, name: str, value: str
) -> None:
    started = peer(serve(answer))
    for _ in range(2):
        session.get(started.url, headers={name: value, "X-Plain": "plain"}, timeout=WAIT)
    for request in started.requests:
        indexable = {field[0]: field.indexable for field in request.raw_fields}  # type: ignore[attr-defined]
        assert indexable[name.lower().encode()] is False
        assert indexable[b"x-plain"] is True
        assert request.headers[name.lower()] == value


def test_107_cookies_of_the_jar_and_basic_auth_are_never_indexed(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(serve(lambda request: (200, {"set-cookie": f"sid={SECRET}; Path=/"}, b"")))
    for _ in range(2):
        session.get(started.url, auth=("user", SECRET), timeout=WAIT)
    fields = {field[0]: field.indexable for field in started.requests[1].raw_fields}  # type: ignore[attr-defined]
    assert fields[b"authorization"] is False
    assert fields[b"cookie"] is False


@pytest.mark.parametrize(
    "name", ["X-Api-Key", "Api-Key", "X-Auth-Token", "Private-Token", "X-Amz-Security-Token"]
)
def test_107_secrets_by_their_usual_names_are_never_indexed(
    session: requests.Session, peer: StartPeer, name: str
) -> None:
    started = peer(serve(answer))
    for _ in range(2):
        session.get(started.url, headers={name: SECRET}, timeout=WAIT)
    for request in started.requests:
        indexable = {field[0]: field.indexable for field in request.raw_fields}  # type: ignore[attr-defined]
        assert indexable[name.lower().encode()] is False
        assert request.headers[name.lower()] == SECRET


def test_107_secrets_are_in_no_message(session: requests.Session, peer: StartPeer) -> None:
    """An exception may end in a log."""

    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), 2)

    started = peer(script)
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(started.url, headers={"Authorization": SECRET}, timeout=WAIT)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    prepared = session.prepare_request(requests.Request("GET", started.url))
    prepared.headers["Authorization"] = SECRET + "\0"
    with pytest.raises(requests.exceptions.InvalidHeader) as refused:
        session.send(prepared, verify=session.verify, timeout=WAIT)
    assert SECRET not in str(refused.value)
    conn = started.connection()
    assert len(conn.received(HeadersFrame)) == 1
    assert conn.received(RstStreamFrame) == []
