"""HTTPS proxies: TLS inside TLS, both certificates, and whose settings count for which."""

from __future__ import annotations

import hashlib
import ssl
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hyperframe.frame import RstStreamFrame
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InsecureRequestWarning

from tests.support.certs import Certificates
from tests.support.peer import (
    Http1Connection,
    MakeSession,
    PeerConnection,
    Request,
    StartPeer,
    hold,
    serve,
)
from tests.support.proxy import MakeProxy
from tests.support.threads import WAIT, background, together

PATTERN = hashlib.shake_128(b"pattern").digest(8 << 20)


def settings(base: type[HTTPAdapter], **options: Any) -> type[HTTPAdapter]:
    """An adapter that gives its proxies' pools these, as subclasses do."""

    class Adapter(base):  # type: ignore[misc, valid-type]
        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            return super().proxy_manager_for(proxy, **options, **kwargs)

    return Adapter


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or request.path.encode()


# -- octets --------------------------------------------------------------------------------


def test_bodies_of_any_size(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(tls=True)
    session.proxies = {"https": proxy.url}
    for size in (1, 16_384, 16_385, 100_000, len(PATTERN)):
        response = session.post(started.url, data=PATTERN[:size], timeout=WAIT)
        assert response.raw.version == 20
        assert response.content == PATTERN[:size]
    assert proxy.accepted == 1


def test_threads_with_bodies(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(tls=True)
    session.proxies = {"https": proxy.url}

    def work(number: int) -> None:
        for size in (10, 300_000, 1000):
            data = PATTERN[number : number + size]
            assert session.post(started.url, data=data, timeout=WAIT).content == data

    together(8, work)
    assert (proxy.accepted, started.accepted) == (1, 1)


def test_a_proxy_that_takes_a_break(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    """Records are half sent for a while; nothing is lost, and no processor time either."""
    started, proxy = peer(serve(answer)), make_proxy(tls=True)
    session.proxies = {"https": proxy.url}
    session.get(started.url, timeout=WAIT)
    proxy.pause()
    upload = background(lambda: session.post(started.url, data=PATTERN, timeout=WAIT))
    time.sleep(0.3)
    spent = time.process_time()
    time.sleep(0.5)
    spent = time.process_time() - spent
    assert not upload.done()
    proxy.resume()
    assert upload.result(WAIT).content == PATTERN
    assert spent < 0.2
    assert proxy.accepted == 1


def test_a_proxy_that_takes_nothing_any_more(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(tls=True)
    session.proxies = {"https": proxy.url}
    session.get(started.url, timeout=WAIT)
    proxy.pause()
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.post(started.url, data=PATTERN, timeout=(WAIT, 0.3))


def test_a_read_timeout_leaves_the_tunnel_to_others(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.respond(conn.next_request(), 200, {}, b"second")

    started, proxy = peer(script), make_proxy(tls=True)
    session.proxies = {"https": proxy.url}
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(started.url, timeout=(WAIT, 0.2))
    assert session.get(started.url, timeout=WAIT).content == b"second"
    started.connection().wait_for(RstStreamFrame, stream_id=1)
    assert proxy.accepted == 1


def test_closing_the_session_closes_the_tunnel(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    started, proxy = peer(serve(answer)), make_proxy(tls=True)
    session.proxies = {"https": proxy.url}
    session.get(started.url, timeout=WAIT)
    session.close()
    proxy.wait_ended(1)


def test_the_end_of_a_tunnel_within_a_response(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"content-length": "10"})
        conn.send_data(request, b"begin")

    started, proxy = peer(script), make_proxy(tls=True)
    session.proxies = {"https": proxy.url}
    response = session.get(started.url, stream=True, timeout=WAIT)
    assert response.raw.read(5) == b"begin"
    proxy.cut_tunnels()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = response.content


def test_http_1_1_required_goes_through_the_tunnel_too(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    def refuse(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), 0xD)

    started, proxy = peer([refuse, serve(answer)]), make_proxy(tls=True)
    session.proxies = {"https": proxy.url}
    assert session.get(started.url + "/path", timeout=WAIT).raw.version == 11
    assert started.connection(1).channel.alpn == "http/1.1"
    assert proxy.alpn == ["http/1.1"] * 2


def test_the_peers_certificate_is_the_origins(
    session: requests.Session,
    make_adapter: Callable[..., Any],
    peer: StartPeer,
    make_proxy: MakeProxy,
    certs: Certificates,
) -> None:
    """For those who look at the socket."""
    started = peer(serve(answer))
    proxy = make_proxy(tls=certs.server_context(certificate=certs.wrong_host_pem_path))
    base = type(make_adapter())
    session.mount("https://", settings(base, proxy_assert_hostname="elsewhere.example")())
    session.proxies = {"https": proxy.url}
    with session.get(started.url, stream=True, timeout=WAIT) as response:
        certificate = response.raw._fp._connection.sock.getpeercert()
    assert ("DNS", "localhost") in certificate["subjectAltName"]


# -- certificates --------------------------------------------------------------------------


@pytest.fixture(params=["ours", "stock"])
def with_options(
    request: pytest.FixtureRequest, make_adapter: Callable[..., Any], certs: Certificates
) -> Callable[..., requests.Session]:
    """``with_options(proxy_ssl_context=...)``: a session; the stock adapter is the oracle."""
    base = type(make_adapter()) if request.param == "ours" else HTTPAdapter

    def make(**options: Any) -> requests.Session:
        session = requests.Session()
        request.addfinalizer(session.close)
        session.mount("https://", settings(base, **options)())
        session.verify = certs.ca_path
        return session

    return make


WithOptions = Callable[..., requests.Session]


def get(session: requests.Session, url: str, proxy: Any, **options: Any) -> int:
    """The version, which is this adapter's business; all else is as with the stock one."""
    response = session.get(url, proxies={"https": proxy.url}, timeout=WAIT, **options)
    assert response.content == b"/"
    return int(response.raw.version)


def fingerprint(path: str) -> str:
    with open(path) as file:
        pem = file.read()
    begin = pem.index("-----BEGIN CERTIFICATE")
    end = pem.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[begin:end])).hexdigest()


BAD_PROXIES = {"unknown CA": "other_pem_path", "wrong host": "wrong_host_pem_path"}


@pytest.mark.parametrize("fault", list(BAD_PROXIES))
def test_a_proxy_with_a_bad_certificate(
    with_options: WithOptions,
    peer: StartPeer,
    make_proxy: MakeProxy,
    certs: Certificates,
    fault: str,
) -> None:
    started = peer(serve(answer))
    certificate = getattr(certs, BAD_PROXIES[fault])
    proxy = make_proxy(tls=certs.server_context(certificate=certificate))
    session = with_options()
    for _ in range(2):
        with pytest.raises(requests.exceptions.ProxyError, match=r"(?i)certificate|hostname"):
            get(session, started.url, proxy)
    assert (proxy.requests, started.accepted) == ([], 0)


@pytest.mark.parametrize("fault", list(BAD_PROXIES))
def test_an_origin_with_a_bad_certificate(
    with_options: WithOptions,
    peer: StartPeer,
    make_proxy: MakeProxy,
    certs: Certificates,
    fault: str,
) -> None:
    certificate = getattr(certs, BAD_PROXIES[fault])
    started = peer(serve(answer), context=certs.server_context(certificate=certificate))
    proxy = make_proxy(tls=True)
    with pytest.raises(requests.exceptions.SSLError, match=r"(?i)certificate|hostname"):
        get(with_options(), started.url, proxy)
    assert started.requests == []


def test_a_proxy_with_a_ca_of_its_own(
    with_options: WithOptions, peer: StartPeer, make_proxy: MakeProxy, certs: Certificates
) -> None:
    started = peer(serve(answer))
    proxy = make_proxy(tls=certs.server_context(certificate=certs.other_pem_path))
    context = ssl.create_default_context(cafile=certs.other_ca_path)
    session = with_options(proxy_ssl_context=context)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            get(session, started.url, proxy)
    # It is for the proxy alone.
    other = peer(serve(answer), context=certs.server_context(certificate=certs.other_pem_path))
    with pytest.raises(requests.exceptions.SSLError):
        get(session, other.url, proxy)


def test_the_contexts_own_ca_is_for_the_origin_alone(
    make_adapter: Callable[..., Any], peer: StartPeer, make_proxy: MakeProxy, certs: Certificates
) -> None:
    """As in urllib3, ``verify`` decides about the proxy."""
    other = certs.server_context(certificate=certs.other_pem_path)
    started, proxy = peer(serve(answer), context=other), make_proxy(tls=True)
    with requests.Session() as session:
        context = ssl.create_default_context(cafile=certs.other_ca_path)
        session.mount("https://", make_adapter(ssl_context=context))
        with pytest.raises(requests.exceptions.ProxyError):
            get(session, started.url, proxy)
        assert get(session, started.url, proxy, verify=certs.ca_path) == 20
    # And a bundle makes no difference between the two.
    with requests.Session() as session:
        session.mount("https://", make_adapter())
        with pytest.raises(requests.exceptions.ProxyError):
            get(session, started.url, proxy, verify=certs.other_ca_path)
        with pytest.raises(requests.exceptions.SSLError):
            get(session, started.url, proxy, verify=certs.ca_path)


def test_the_proxys_name_and_fingerprint(
    with_options: WithOptions, peer: StartPeer, make_proxy: MakeProxy, certs: Certificates
) -> None:
    started = peer(serve(answer))
    proxy = make_proxy(tls=certs.server_context(certificate=certs.wrong_host_pem_path))
    right = fingerprint(certs.wrong_host_pem_path)
    for options in (
        {"proxy_assert_hostname": "elsewhere.example"},
        {"proxy_assert_hostname": False},
        {"proxy_assert_fingerprint": right},
    ):
        get(with_options(**options), started.url, proxy)
    for options in (
        {"proxy_assert_hostname": "localhost"},
        {"proxy_assert_fingerprint": fingerprint(certs.cert_path)},
    ):
        with pytest.raises(requests.exceptions.ProxyError):
            get(with_options(**options), started.url, proxy)
    assert started.accepted == 3


def test_the_origins_name_and_fingerprint(
    with_options: WithOptions, peer: StartPeer, make_proxy: MakeProxy, certs: Certificates
) -> None:
    context = certs.server_context(certificate=certs.wrong_host_pem_path)
    started, proxy = peer(serve(answer), context=context), make_proxy(tls=True)
    right = fingerprint(certs.wrong_host_pem_path)
    for options in (
        {"assert_hostname": "elsewhere.example"},
        {"assert_hostname": False},
        {"assert_fingerprint": right},
    ):
        get(with_options(**options), started.url, proxy)
    for options in (
        {"assert_hostname": "localhost"},
        {"assert_fingerprint": fingerprint(certs.cert_path)},
    ):
        with pytest.raises(requests.exceptions.SSLError):
            get(with_options(**options), started.url, proxy)
    assert len(started.requests) == 3


def test_verify_false_is_for_both_and_warns(
    with_options: WithOptions, peer: StartPeer, make_proxy: MakeProxy, certs: Certificates
) -> None:
    other = certs.server_context(certificate=certs.other_pem_path)
    started, proxy = peer(serve(answer), context=other), make_proxy(tls=other)
    session = with_options()
    with pytest.warns(InsecureRequestWarning):
        get(session, started.url, proxy, verify=False)


def test_client_certificates(
    with_options: WithOptions, peer: StartPeer, make_proxy: MakeProxy, certs: Certificates
) -> None:
    """``cert`` is for the origin; the proxy's is in its context."""
    strict = certs.server_context(client_certificate=True)
    started, proxy = peer(serve(answer), context=strict), make_proxy(tls=True)
    session = with_options()
    pair = (certs.client_cert_path, certs.client_key_path)
    get(session, started.url, proxy, cert=pair)
    with pytest.raises(requests.ConnectionError):
        get(session, started.url, proxy)

    proxy = make_proxy(tls=strict)
    context = certs.client_context()
    context.load_cert_chain(certs.client_pem_path)
    get(with_options(proxy_ssl_context=context), started.url, proxy, cert=pair)
    assert len(started.requests) == 2


def test_a_proxy_that_wants_a_client_certificate(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, certs: Certificates
) -> None:
    """TLS 1.3 says so after the handshake, in answer to CONNECT."""
    started = peer(serve(answer))
    proxy = make_proxy(tls=certs.server_context(client_certificate=True))
    session.mount("https://localhost", HTTPAdapter())
    for host, expected in (
        ("127.0.0.1", requests.exceptions.ProxyError),
        ("localhost", requests.exceptions.SSLError),
    ):
        url = f"https://{host}:{started.port}/"
        with pytest.raises(expected):
            get(session, url, proxy, cert=certs.client_pem_path)
    assert started.accepted == 0


def test_a_handshake_with_the_origin_that_stalls_or_is_cut(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    def cut(conn: Http1Connection) -> None:
        conn.channel.receive()
        conn.channel.close()

    proxy = make_proxy(tls=True)
    session.proxies = {"https": proxy.url}
    stalling, cutting = peer(hold, tls=False), peer(cut, tls=False)
    for started, expected in (
        (stalling, requests.exceptions.ConnectTimeout),
        (cutting, requests.ConnectionError),
    ):
        begin = time.monotonic()
        with pytest.raises(expected) as caught:
            session.get(f"https://127.0.0.1:{started.port}/", timeout=(0.5, WAIT))
        assert not isinstance(caught.value, requests.exceptions.ProxyError)
        assert time.monotonic() - begin < WAIT / 2
    proxy.wait_ended(2)


# -- ALPN ----------------------------------------------------------------------------------


def test_one_context_for_proxies_and_origins(
    make_adapter: Callable[..., Any], peer: StartPeer, make_proxy: MakeProxy, certs: Certificates
) -> None:
    """What is offered to one is not offered to the other, also at the same moment."""
    context = certs.client_context()
    proxy = make_proxy(tls=True)
    origins = [peer(serve(answer)) for _ in range(6)]
    adapter = settings(type(make_adapter()), proxy_ssl_context=context)
    for _ in range(3):
        with requests.Session() as session:
            session.mount("https://", adapter(ssl_context=context))  # type: ignore[call-arg]
            session.verify = certs.ca_path
            versions = together(6, lambda number: get(session, origins[number].url, proxy))
        assert versions == [20] * 6
    assert proxy.alpn == ["http/1.1"] * 18


def test_a_context_that_cannot_do_it(
    make_adapter: Callable[..., Any], peer: StartPeer, make_proxy: MakeProxy, certs: Certificates
) -> None:
    class WithoutBuffers:
        """As pyOpenSSL's."""

        def __init__(self) -> None:
            object.__setattr__(self, "_context", certs.client_context())

        def __getattr__(self, name: str) -> Any:
            if name == "wrap_bio":
                raise AttributeError(name)
            return getattr(self._context, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(self._context, name, value)

        def wrap_socket(self, *args: Any, **kwargs: Any) -> Any:
            return self._context.wrap_socket(*args, **kwargs)

    started, proxy = peer(serve(answer)), make_proxy(tls=True)
    with requests.Session() as session:
        session.mount("https://", make_adapter(ssl_context=WithoutBuffers()))
        session.verify = certs.ca_path
        with pytest.raises(requests.exceptions.ProxyError, match="wrap_bio"):
            get(session, started.url, proxy)
        assert session.get(started.url, timeout=WAIT).raw.version == 20


# -- forwarding ----------------------------------------------------------------------------


def test_a_forwarding_proxy_is_spoken_to_in_http1(
    with_options: WithOptions, peer: StartPeer
) -> None:
    """It is the TLS peer. requests does not make this useful: it sends no absolute URL."""
    proxy = peer(serve(lambda request: (200, {}, b"/")))
    session = with_options(use_forwarding_for_https=True)
    for _ in range(2):
        assert get(session, "https://origin.example/path", proxy) == 11
    assert proxy.connection().channel.alpn == "http/1.1"
    assert proxy.accepted == 1


def test_h2_required_of_a_forwarding_proxy(
    make_session: MakeSession, make_adapter: Callable[..., Any], peer: StartPeer
) -> None:
    proxy = peer(serve(answer))
    adapter = settings(type(make_adapter()), use_forwarding_for_https=True)
    session = make_session()
    # In a pool of one place, which has to be given back.
    options: Any = {"http2": "required", "pool_block": True, "pool_maxsize": 1}
    session.mount("https://", adapter(**options))
    for _ in range(2):
        with pytest.raises(requests.ConnectionError, match="forwarding proxy"):
            get(session, "https://origin.example/path", proxy)
    assert proxy.accepted == 0
