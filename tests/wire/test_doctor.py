"""``python -m requests_h2 doctor``: each outcome has a line of its own, and no secret in it."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
import urllib3.util.connection

from requests_h2.__main__ import main
from tests.support.certs import Certificates
from tests.support.peer import Http1Connection, PeerConnection, Request, StartPeer, hold, serve
from tests.support.proxy import Proxy
from tests.support.socks import SocksServer
from tests.support.threads import WAIT

#: In the user information, the path and the query of every URL here.
SECRET = "s3cret"
Examine = Callable[..., list[str]]


def answer(request: Request) -> Any:
    return 200, {}, b""


@pytest.fixture(autouse=True)
def bundle(certs: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certs.ca_path)


@pytest.fixture
def examine(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Examine:
    """The lines for a URL, ``user:password@`` put into it. On both engines where that matters."""
    both = "engine" in request.fixturenames
    engine: str = request.getfixturevalue("engine") if both else "auto"

    def run(url: str, timeout: float = 10.0) -> list[str]:
        url = url.replace("://", f"://user:{SECRET}@") + f"/{SECRET}?{SECRET}#{SECRET}"
        status = main(["doctor", "--engine", engine, "--timeout", str(timeout), url])
        out, err = capsys.readouterr()
        lines: list[str] = out.splitlines()
        assert err == ""
        assert SECRET not in out
        assert all(re.match(r"(ok|!!) [A-Za-z0-9/_]+: ", line) for line in lines), out
        assert status == any(line.startswith("!!") for line in lines)
        assert all(line.endswith(".") for line in lines if line.startswith("!!"))
        return lines

    return run


def failures(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("!!")]


def fault(lines: list[str]) -> str:
    """The last line, which alone tells of a failure."""
    (line,) = failures(lines)
    assert line == lines[-1]
    return line


def topics(lines: list[str]) -> list[str]:
    return [line[3:].partition(":")[0] for line in lines]


def take_preface(conn: PeerConnection) -> None:
    while len(conn._buffer) < 24:
        conn._fill(WAIT)
    del conn._buffer[:24]


# -- a healthy server ----------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_a_healthy_server(examine: Examine, peer: StartPeer, certs: Certificates) -> None:
    started = peer(serve(answer), settings={"max_concurrent_streams": 7})
    lines = examine(started.url.replace("127.0.0.1", "localhost"))
    assert failures(lines) == []
    about = dict(line[3:].split(": ", 1) for line in lines)
    assert list(about) == [
        "engine",
        "URL",
        "proxy",
        "name",
        "connection",
        "TLS",
        "certificate",
        "ALPN",
        "SETTINGS",
        "answer",
    ]
    assert "urllib3 " in about["engine"]
    assert about["URL"] == f"https://localhost:{started.port}"
    assert about["proxy"] == "none"
    assert about["name"].startswith("localhost is ")
    assert about["connection"] == f"127.0.0.1 port {started.port}"
    assert about["TLS"].startswith("TLSv1.3, ")
    assert certs.ca_path in about["certificate"]
    assert about["ALPN"] == "h2"
    assert about["SETTINGS"] == "MAX_CONCURRENT_STREAMS 7"
    assert about["answer"].startswith("HTTP/2 200 OK")
    assert started.request.method == "HEAD"
    assert started.accepted == 1


@pytest.mark.parametrize("status", [301, 404, 503])
def test_any_answer_is_one(examine: Examine, peer: StartPeer, status: int) -> None:
    fields = {"location": f"https://user:{SECRET}@elsewhere.example/{SECRET}"}
    lines = examine(peer(serve(lambda request: (status, fields, b""))).url)
    assert failures(lines) == []
    assert lines[-1].startswith(f"ok answer: HTTP/2 {status} ")
    assert ("https://elsewhere.example" in lines[-1]) == (status == 301)


def test_a_redirect_to_nowhere(examine: Examine, peer: StartPeer) -> None:
    lines = examine(peer(serve(lambda request: (301, {"location": "https://[::1"}, b""))).url)
    assert lines[-1].startswith("ok answer: HTTP/2 301 ")


# -- what it is asked ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com", "prior_knowledge=True"),
        ("ftp://example.com", "neither"),
        ("https://", "no URL"),
        ("https://[::1", "no URL"),
        ("https://example.com:99999", "no URL"),
        ("https://*.example.com", "no URL"),
    ],
)
def test_urls(examine: Examine, url: str, expected: str) -> None:
    line = fault(examine(url))
    assert line.startswith("!! URL: ")
    assert expected in line


def test_url_without_a_scheme(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "example.com"]) == 1
    assert "!! URL: " in capsys.readouterr().out


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["doctor"], ["doctor", "--timeout", "0", "https://example.com"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "usage: python -m requests_h2 doctor" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["soon", "0", "nan", "-1"])
def test_a_timeout_that_is_none(capsys: pytest.CaptureFixture[str], value: str) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", f"--timeout={value}", "https://example.com"])
    assert "argument --timeout: must be" in capsys.readouterr().err


def test_an_engine_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ngh2", None)
    assert main(["doctor", "--engine", "nghttp2", "https://example.com"]) == 1
    assert "!! engine: nghttp2 " in capsys.readouterr().out


def test_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("requests_h2.doctor.diagnose", interrupted)
    assert main(["doctor", "https://example.com"]) == 130


# -- names and connections -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [(socket.EAI_NONAME, "spelling"), (socket.EAI_AGAIN, "network")],
)
def test_a_name_that_does_not_resolve(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, code: int, expected: str
) -> None:
    def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(code, "no such thing")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    line = fault(examine("https://www.example.com"))
    assert line.startswith("!! name: www.example.com ")
    assert expected in line


def test_a_resolver_that_does_not_answer(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: ended.wait(30) and [])
    assert fault(examine("https://www.example.com", 0.1)).startswith("!! name: ")
    ended.set()


def test_a_name_that_cannot_be(examine: Examine) -> None:
    assert fault(examine(f"https://{'x' * 64}.example")).startswith("!! name: ")


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_refused(examine: Examine) -> None:
    line = fault(examine(f"https://127.0.0.1:{unused_port()}"))
    assert line.startswith("!! connection: refused")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError("timed out"), "no answer within 3 s"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
    ],
)
def test_no_connection(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, error: OSError, expected: str
) -> None:
    def create_connection(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(urllib3.util.connection, "create_connection", create_connection)
    line = fault(examine("https://127.0.0.1", 3))
    assert line.startswith("!! connection: ")
    assert expected in line


# -- TLS -----------------------------------------------------------------------------------


def test_a_handshake_that_does_not_end(examine: Examine, peer: StartPeer) -> None:
    line = fault(examine(peer(hold, tls=False).url.replace("http:", "https:"), 0.5))
    assert line.startswith("!! TLS: no answer within 0.5 s")


def test_no_tls(examine: Examine, peer: StartPeer) -> None:
    def script(conn: Http1Connection) -> None:
        conn.channel.receive()
        conn.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        conn.close()

    line = fault(examine(peer(script, tls=False).url.replace("http:", "https:")))
    assert line.startswith("!! TLS: what answers does not speak TLS")


def test_a_handshake_that_is_cut_off(examine: Examine, peer: StartPeer) -> None:
    def script(conn: Http1Connection) -> None:
        conn.channel.receive()
        conn.close()

    line = fault(examine(peer(script, tls=False).url.replace("http:", "https:")))
    assert line.startswith("!! TLS: the server ended the connection")


@pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning")
def test_tls_too_old(examine: Examine, peer: StartPeer, certs: Certificates) -> None:
    context = certs.server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    line = fault(examine(peer(hold, context=context).url))
    assert line.startswith("!! TLS: ")
    assert "TLS 1.2" in line


def test_tls12(examine: Examine, peer: StartPeer, certs: Certificates) -> None:
    context = certs.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    lines = examine(peer(serve(answer), context=context).url)
    assert failures(lines) == []
    assert any(line.startswith("ok TLS: TLSv1.2, ") for line in lines)


def test_no_cipher_in_common(examine: Examine, peer: StartPeer, certs: Certificates) -> None:
    context = certs.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("NULL-SHA256:@SECLEVEL=0")
    line = fault(examine(peer(hold, context=context).url))
    assert line.startswith("!! TLS: the server refused the handshake")


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_wanted(
    examine: Examine, peer: StartPeer, certs: Certificates, newest: ssl.TLSVersion
) -> None:
    context = certs.server_context(client_certificate=True)
    context.maximum_version = newest
    line = fault(examine(peer(serve(answer), context=context).url))
    assert line.startswith("!! TLS: ")
    assert "cert=" in line


def test_an_untrusted_certificate(
    examine: Examine, peer: StartPeer, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certs.other_ca_path)
    line = fault(examine(peer(serve(answer)).url))
    assert line.startswith("!! certificate: not trusted")
    assert "REQUESTS_CA_BUNDLE" in line


def test_a_certificate_that_has_signed_itself(
    examine: Examine, peer: StartPeer, certs: Certificates, tmp_path: Path
) -> None:
    authority = trustme.CA()
    path = tmp_path / "own.pem"
    path.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    context = certs.server_context(certificate=str(path))
    line = fault(examine(peer(serve(answer), context=context).url))
    assert line.startswith("!! certificate: not trusted, it has signed itself")
    assert "name a file with it in REQUESTS_CA_BUNDLE" in line


def test_an_expired_certificate(examine: Examine, peer: StartPeer, certs: Certificates) -> None:
    context = certs.server_context(certificate=certs.expired_pem_path)
    line = fault(examine(peer(serve(answer), context=context).url))
    assert line.startswith("!! certificate: expired")
    assert "clock" in line


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_for_another_host(
    examine: Examine, peer: StartPeer, certs: Certificates, host: str
) -> None:
    context = certs.server_context(certificate=certs.wrong_host_pem_path)
    url = peer(serve(answer), context=context).url.replace("127.0.0.1", host)
    line = fault(examine(url))
    assert line.startswith("!! certificate: not for this host")
    assert host in line


def test_a_bundle_that_is_not_there(
    examine: Examine, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    line = fault(examine(peer(serve(answer)).url))
    assert line.startswith("!! certificate: ")
    assert "/no/such/file" in line


def test_a_bundle_that_is_none(
    examine: Examine, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", __file__)
    line = fault(examine(peer(serve(answer)).url))
    assert line.startswith("!! certificate: ")
    assert __file__ in line


# -- ALPN ----------------------------------------------------------------------------------


@pytest.mark.parametrize("alpn", [("http/1.1",), None])
def test_http1_only(examine: Examine, peer: StartPeer, alpn: Any) -> None:
    lines = examine(peer(serve(answer), alpn=alpn).url)
    (line,) = failures(lines)
    assert line.startswith("!! ALPN: " + ("http/1.1" if alpn else "nothing"))
    assert lines[-1].startswith("ok answer: HTTP/1.1 200 OK")


# -- HTTP/2 --------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_enhance_your_calm(examine: Examine, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.goaway(0, 0xB, b"slow\x1b[31m down")
        conn.close()

    line = fault(examine(peer(script).url))
    assert line.startswith("!! GOAWAY: ENHANCE_YOUR_CALM (0xb)")
    assert "slow\\x1b[31m down" in line
    assert "fewer" in line


@pytest.mark.usefixtures("engine")
def test_goaway_from_every_connection(examine: Examine, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.goaway(0, 0)
        conn.close()

    line = fault(examine(peer(script).url))
    assert line.startswith("!! GOAWAY: NO_ERROR (0x0)")


@pytest.mark.usefixtures("engine")
def test_goaway_and_then_an_answer(examine: Examine, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.goaway(1, 0)
        conn.respond(request)

    lines = examine(peer(script).url)
    assert [line[:11] for line in failures(lines)] == ["!! GOAWAY: "]
    assert lines[-1].startswith("ok answer: HTTP/2 200")


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("frame", ["RST_STREAM", "GOAWAY"])
def test_http11_required(examine: Examine, peer: StartPeer, frame: str) -> None:
    def script(conn: PeerConnection | Http1Connection) -> None:
        request = conn.next_request()
        if isinstance(conn, Http1Connection):
            conn.respond(request)
        elif frame == "GOAWAY":
            conn.goaway(0, 0xD)
        else:
            conn.reset(request, 0xD)

    lines = examine(peer(script).url)
    (line,) = failures(lines)
    assert line.startswith(f"!! {frame}: HTTP_1_1_REQUIRED (0xd)")
    assert lines[-1].startswith("ok answer: HTTP/1.1 200 OK")


@pytest.mark.usefixtures("engine")
def test_a_refusal_without_an_end(examine: Examine, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        while True:
            conn.reset(conn.next_request(), 0x7)

    line = fault(examine(peer(script).url))
    assert line.startswith("!! RST_STREAM: REFUSED_STREAM (0x7)")


@pytest.mark.usefixtures("engine")
def test_a_code_that_nobody_knows(examine: Examine, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), 0x1234)

    assert fault(examine(peer(script).url)).startswith("!! RST_STREAM: error code 0x1234")


@pytest.mark.usefixtures("engine")
def test_h2_and_then_silence(examine: Examine, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.auto_settings = False
        take_preface(conn)

    line = fault(examine(peer(script, preface=False).url, 1.0))
    assert line.startswith("!! HTTP/2: no SETTINGS within 1 s")


@pytest.mark.usefixtures("engine")
def test_settings_and_then_silence(examine: Examine, peer: StartPeer) -> None:
    line = fault(examine(peer(hold).url, 1.0))
    assert line.startswith("!! answer: none within 1 s")


@pytest.mark.usefixtures("engine")
def test_a_server_that_allows_no_streams(examine: Examine, peer: StartPeer) -> None:
    """Its SETTINGS may come before the request is sent, or after."""
    lines = examine(peer(hold, settings={"max_concurrent_streams": 0}).url, 1.0)
    assert "with MAX_CONCURRENT_STREAMS 0 the server takes no requests" in fault(lines)


@pytest.mark.usefixtures("engine")
def test_http1_after_h2_was_chosen(examine: Examine, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.send_raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        take_preface(conn)

    line = fault(examine(peer(script, preface=False).url))
    assert line.startswith("!! HTTP/2: ")
    assert "looks like HTTP/1.1" in line


@pytest.mark.usefixtures("engine")
def test_a_malformed_answer(examine: Examine, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.send_headers(conn.next_request(), None, {"no": "status"}, end_stream=True)

    assert fault(examine(peer(script).url)).startswith("!! HTTP/2: ")


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("preface", [True, False])
def test_the_end_before_an_answer(examine: Examine, peer: StartPeer, preface: bool) -> None:
    def script(conn: PeerConnection) -> None:
        if not preface:
            conn.channel.receive()  # the client's, and its request with it
        conn.close()

    line = fault(examine(peer(script, preface=preface).url))
    assert line.startswith("!! HTTP/2: the server closed the connection")


@pytest.mark.usefixtures("engine")
def test_the_end_before_an_answer_over_http1(examine: Examine, peer: StartPeer) -> None:
    def script(conn: Http1Connection) -> None:
        conn.next_request()
        conn.close()

    lines = examine(peer(script, alpn=("http/1.1",)).url)
    assert topics(failures(lines)) == ["ALPN", "answer"]


def test_an_answer_over_http1_that_is_none(examine: Examine, peer: StartPeer) -> None:
    def script(conn: Http1Connection) -> None:
        conn.next_request()
        conn.send_raw(b"What?\r\n\r\n")
        conn.close()

    lines = examine(peer(script, alpn=("http/1.1",)).url)
    assert topics(failures(lines)) == ["ALPN", "answer"]
    assert failures(lines)[1].startswith("!! answer: what answers is no HTTP. ")


# -- proxies -------------------------------------------------------------------------------


@pytest.fixture
def make_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Proxy]]:
    """A proxy that the environment names, with a user and a password."""
    proxies: list[Proxy] = []

    def make(*args: Any, **options: Any) -> Proxy:
        proxies.append(Proxy(*args, **options))
        monkeypatch.setenv("HTTPS_PROXY", proxies[-1].url_for(f"user:{SECRET}"))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


def test_through_a_proxy(
    examine: Examine, peer: StartPeer, make_proxy: Callable[..., Proxy]
) -> None:
    proxy = make_proxy()
    lines = examine(peer(serve(answer)).url)
    assert failures(lines) == []
    assert f"ok proxy: {proxy.url}" in lines
    assert lines[-1].startswith("ok answer: HTTP/2 200")
    assert proxy.accepted == 1


def test_past_a_proxy(
    examine: Examine,
    peer: StartPeer,
    make_proxy: Callable[..., Proxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = make_proxy()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    lines = examine(peer(serve(answer)).url)
    assert "ok proxy: none" in lines
    assert proxy.accepted == 0


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"HTTP/1.1 407 Give me a password\r\n\r\n", "wants a user"),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "wants a user"),  # tinyproxy, for a wrong one
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502 Bad Gateway. It cannot reach the server"),
        # tinyproxy, whatever the reason
        (b"HTTP/1.1 500 Unable to connect\r\n\r\n", "Error. It cannot reach the server"),
        (b"HTTP/1.1 299 What\r\n\r\n", "299"),
        (b"\x16\x03\x01 what is this?\r\n\r\n", "no HTTP proxy"),
        (b"", "closed the connection"),
        (None, "no answer within 1 s"),
    ],
)
def test_a_proxy_that_refuses(
    examine: Examine,
    peer: StartPeer,
    make_proxy: Callable[..., Proxy],
    reply: bytes | None,
    expected: str,
) -> None:
    make_proxy(reply)
    line = fault(examine(peer(serve(answer)).url, 1.0 if reply is None else 10))
    assert line.startswith("!! proxy: ")
    assert expected in line


def test_a_proxy_that_is_not_there(
    examine: Examine, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@127.0.0.1:{unused_port()}")
    lines = examine(peer(serve(answer)).url)
    assert fault(lines).startswith("!! proxy: refused")


def test_a_proxy_whose_name_does_not_resolve(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@{'x' * 64}.example:3128")
    line = fault(examine("https://127.0.0.1"))
    assert line.startswith("!! name: ")
    assert "proxy" in line


def test_a_proxy_without_a_scheme(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{unused_port()}")
    assert fault(examine("https://127.0.0.1")).startswith("!! proxy: refused")


@pytest.mark.parametrize("proxy", ["http://:3128", "http://[::1", "weird://127.0.0.1:1"])
def test_a_proxy_that_is_no_url(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.replace("://", f"://user:{SECRET}@"))
    assert fault(examine("https://127.0.0.1")).startswith("!! proxy: ")


def test_an_https_proxy(
    examine: Examine, peer: StartPeer, make_proxy: Callable[..., Proxy]
) -> None:
    proxy = make_proxy(tls=True)
    lines = examine(peer(serve(answer)).url)
    assert failures(lines) == []
    assert f"ok proxy: {proxy.url}" in lines
    assert "ok settings" in "\n".join(line.lower() for line in lines)
    assert lines[-1].startswith("ok answer: HTTP/2 200")


def test_an_https_proxy_with_a_certificate_that_is_not_trusted(
    examine: Examine, peer: StartPeer, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", peer(hold).url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certs.other_ca_path)
    lines = examine("https://example.com")
    assert topics(failures(lines)) == ["certificate"]
    assert lines[-1].startswith("!! certificate: the proxy's: not trusted")


def test_an_https_proxy_with_a_certificate_for_another_host(
    examine: Examine, peer: StartPeer, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = certs.server_context(certificate=certs.wrong_host_pem_path)
    monkeypatch.setenv("HTTPS_PROXY", peer(hold, context=context).url)
    line = failures(examine("https://example.com"))[-1]
    assert line.startswith("!! certificate: the proxy's: not for this host, 127.0.0.1. ")


def test_the_certificate_behind_a_proxy(
    examine: Examine, peer: StartPeer, make_proxy: Callable[..., Proxy], certs: Certificates
) -> None:
    make_proxy()
    context = certs.server_context(certificate=certs.expired_pem_path)
    line = fault(examine(peer(serve(answer), context=context).url))
    assert line.startswith("!! certificate: expired")


@pytest.fixture
def socks(monkeypatch: pytest.MonkeyPatch) -> Iterator[SocksServer]:
    """A proxy that the environment names."""
    with SocksServer() as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url("socks5h", f"user:{SECRET}"))
        yield server


@pytest.mark.extra("socks")
def test_a_socks_proxy(examine: Examine, peer: StartPeer, socks: SocksServer) -> None:
    lines = examine(peer(serve(answer)).url)
    assert failures(lines) == []
    assert f"ok proxy: {socks.url('socks5h')}" in lines
    assert f"ok connection: 127.0.0.1 port {socks.port}, the proxy" in lines
    assert lines[-1].startswith("ok answer: HTTP/2 200")
    assert socks.accepted == 1


@pytest.mark.extra("socks")
def test_the_certificate_behind_a_socks_proxy(
    examine: Examine, peer: StartPeer, socks: SocksServer, certs: Certificates
) -> None:
    context = certs.server_context(certificate=certs.expired_pem_path)
    line = fault(examine(peer(serve(answer), context=context).url))
    assert line.startswith("!! certificate: expired")


@pytest.mark.extra("socks")
def test_a_socks_proxy_that_is_not_there(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"socks5h://user:{SECRET}@127.0.0.1:{unused_port()}")
    assert fault(examine("https://127.0.0.1")).startswith("!! proxy: refused")


@pytest.mark.extra("socks")
@pytest.mark.parametrize(
    ("scheme", "reply", "expected"),
    [
        ("socks5h", 5, "no connection to the server, but 0x05: Connection refused"),
        ("socks4a", 5, "no connection to the server, but 0x5b: Request rejected"),
        ("socks5h", b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers is no SOCKS proxy"),
        ("socks4a", b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers is no SOCKS proxy"),
        ("socks5h", b"", "it closed the connection"),
        ("socks5h", None, "no answer within 1 s"),
    ],
)
def test_a_socks_proxy_that_refuses(
    examine: Examine,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    reply: int | bytes | None,
    expected: str,
) -> None:
    with SocksServer([reply]) as server:  # type: ignore[list-item]
        monkeypatch.setenv("HTTPS_PROXY", server.url(scheme, f"user:{SECRET}"))
        line = fault(examine("https://example.com", 1.0 if reply is None else 10))
    assert line.startswith(f"!! proxy: {expected}")


@pytest.mark.extra("socks")
@pytest.mark.parametrize("credentials", ["", f"user:{SECRET}"])
def test_a_socks_proxy_that_wants_a_password(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, credentials: str
) -> None:
    with SocksServer(credentials=("user", "another")) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url("socks5h", credentials))
        line = fault(examine("https://example.com"))
    assert line.startswith("!! proxy: it wants a user's name and password. ")


@pytest.mark.extra("socks")
@pytest.mark.parametrize("scheme", ["socks5", "socks4"])
def test_a_name_that_does_not_resolve_before_a_socks_proxy(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    def unknown(host: str, *args: Any, **kwargs: Any) -> Any:
        if host == "unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return resolve(host, *args, **kwargs)

    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(socket, "gethostbyname", unknown)
    with SocksServer() as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url(scheme, f"user:{SECRET}"))
        line = fault(examine("https://unknown.example"))
    assert line.startswith("!! name: unknown.example does not resolve")
    assert "socks5h" in line


def test_socks_is_not_installed(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: Any, **kwargs: Any) -> None:
        raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

    monkeypatch.setattr(requests.adapters, "SOCKSProxyManager", missing)
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://127.0.0.1:1")
    line = fault(examine("https://127.0.0.1"))
    assert line.startswith("!! proxy: ")
    assert "the extra socks" in line
