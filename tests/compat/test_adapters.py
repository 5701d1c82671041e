"""Adapters of others combined with ours, and the options of urllib3 that people set by subclassing.

``class Both(Theirs, transport.base)`` is with the stock adapter what it always was.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import truststore
import vcr
from requests.adapters import HTTPAdapter
from requests_toolbelt.adapters.fingerprint import FingerprintAdapter
from requests_toolbelt.adapters.host_header_ssl import HostHeaderSSLAdapter
from requests_toolbelt.adapters.socket_options import SocketOptionsAdapter, TCPKeepAliveAdapter
from requests_toolbelt.adapters.source import SourceAddressAdapter
from requests_toolbelt.adapters.ssl import SSLAdapter
from requests_toolbelt.adapters.x509 import X509Adapter
from urllib3 import PoolManager

from requests_h2 import HTTP2Adapter
from tests.servers.support import TIMEOUT
from tests.support.certs import Certificates
from tests.support.peer import Request, StartPeer, serve
from tests.support.servers import Server

from .conftest import Transport
from .support import run

caddy = pytest.mark.parametrize("server", ["caddy"], indirect=True)


def echo(request: Request) -> Any:
    """What the scripted peer answers; its connections can be looked at from the other side."""
    return 200, {}, request.headers.get("host", request.authority).encode()


def both(theirs: type[HTTPAdapter], transport: Transport, ours_first: bool = False) -> type[Any]:
    bases = (transport.base, theirs) if ours_first else (theirs, transport.base)
    if transport.base is HTTPAdapter:
        bases = (theirs,)
    return type("Both", bases, {})


def fingerprint(certs: Certificates) -> str:
    der = ssl.PEM_cert_to_DER_cert(
        Path(certs.cert_path).read_text().split("-----END")[0] + "-----END CERTIFICATE-----\n"
    )
    return hashlib.sha256(der).hexdigest()


def local(response: requests.Response) -> Any:
    """The socket of a response that is not read yet."""
    raw = response.raw
    return raw.connection.sock if raw.version == 11 else raw.reader.connection.sock


# -- requests-toolbelt ---------------------------------------------------------------------


@caddy
@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:'ssl_version' option is deprecated")
@pytest.mark.parametrize("ours_first", [False, True])
def test_ssl_adapter(
    dress: Callable[..., Any], transport: Transport, server: Server, ours_first: bool
) -> None:
    kind = both(SSLAdapter, transport, ours_first)
    options = (
        {} if ours_first and transport.version == 20 else {"ssl_version": ssl.PROTOCOL_TLSv1_2}
    )
    session = dress(requests.Session(), transport.adapter(kind, **options))
    with session.get(f"{server.url}/1k", stream=True, timeout=TIMEOUT) as response:
        transport.check(response)
        assert local(response).version() == ("TLSv1.2" if options else "TLSv1.3")


@caddy
@pytest.mark.parametrize("ours_first", [False, True])
def test_source_address_adapter(
    dress: Callable[..., Any], transport: Transport, server: Server, ours_first: bool
) -> None:
    class Loopback2(SourceAddressAdapter):
        def __init__(self, **options: Any) -> None:
            super().__init__("127.0.0.2", **options)

    session = dress(requests.Session(), transport.adapter(both(Loopback2, transport, ours_first)))
    with session.get(f"{server.url}/1k", stream=True, timeout=TIMEOUT) as response:
        assert local(transport.check(response)).getsockname()[0] == "127.0.0.2"


@caddy
@pytest.mark.parametrize("ours_first", [False, True])
def test_socket_options_adapter(
    dress: Callable[..., Any], transport: Transport, server: Server, ours_first: bool
) -> None:
    chosen = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]

    class KeepAlive(SocketOptionsAdapter):
        def __init__(self, **options: Any) -> None:
            super().__init__(socket_options=chosen, **options)

    session = dress(requests.Session(), transport.adapter(both(KeepAlive, transport, ours_first)))
    with session.get(f"{server.url}/1k", stream=True, timeout=TIMEOUT) as response:
        sock = local(transport.check(response))
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


@caddy
def test_tcp_keep_alive_adapter(
    dress: Callable[..., Any], transport: Transport, server: Server
) -> None:
    kind = both(TCPKeepAliveAdapter, transport)
    session = dress(requests.Session(), transport.adapter(kind, idle=77, interval=7))
    with session.get(f"{server.url}/1k", stream=True, timeout=TIMEOUT) as response:
        sock = local(transport.check(response))
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 7


@caddy
def test_fingerprint_adapter(
    dress: Callable[..., Any], transport: Transport, server: Server, certs: Certificates
) -> None:
    kind = both(FingerprintAdapter, transport)
    session = dress(requests.Session(), transport.adapter(kind, fingerprint=fingerprint(certs)))
    transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    wrong = dress(requests.Session(), transport.adapter(kind, fingerprint="00" * 32))
    with pytest.raises(requests.exceptions.SSLError, match="Fingerprints did not match"):
        wrong.get(f"{server.url}/1k", timeout=TIMEOUT)


@pytest.mark.parametrize("ours_first", [False, True])
def test_host_header_ssl_adapter(
    dress: Callable[..., Any],
    transport: Transport,
    peer: StartPeer,
    certs: Certificates,
    ours_first: bool,
) -> None:
    """The certificate is checked for the Host that the request names."""
    kind = both(HostHeaderSSLAdapter, transport, ours_first)
    context = certs.server_context(certificate=certs.wrong_host_pem_path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    started = peer(serve(echo), context=context)
    session = dress(requests.Session(), transport.adapter(kind))
    host = {"Host": "elsewhere.example"}
    response = session.get(started.url, headers=host, timeout=TIMEOUT)
    assert transport.check(response).text == "elsewhere.example"
    with pytest.raises(requests.exceptions.SSLError):
        session.get(started.url, timeout=TIMEOUT)
    with pytest.raises(requests.exceptions.SSLError):
        session.get(started.url, headers={"Host": "another.example"}, timeout=TIMEOUT)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_x509_adapter(
    dress: Callable[..., Any], transport: Transport, peer: StartPeer, certs: Certificates
) -> None:
    """It brings pyOpenSSL, which is for HTTP/1.1, and cannot reconnect with the stock adapter."""
    started = peer(serve(echo), context=certs.server_context(client_certificate=True))
    adapter = transport.adapter(
        both(X509Adapter, transport),
        cert_bytes=Path(certs.client_cert_path).read_bytes(),
        pk_bytes=Path(certs.client_key_path).read_bytes(),
    )
    session = dress(requests.Session(), adapter)
    for _ in range(3):
        response = session.get(started.url, timeout=TIMEOUT)
        assert (response.status_code, response.raw.version) == (200, 11)
    assert started.accepted == 1


# -- one's own -----------------------------------------------------------------------------


@pytest.fixture
def through(dress: Callable[..., Any], transport: Transport) -> Callable[..., requests.Session]:
    """``through(blocksize=5)``: a session whose adapter makes its manager with these options."""

    def make(**options: Any) -> requests.Session:
        class Own(transport.base):  # type: ignore[name-defined, misc]
            def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
                super().init_poolmanager(*args, **kwargs, **options)

        session: requests.Session = dress(requests.Session(), transport.adapter(Own))
        return session

    return make


@caddy
def test_a_manager_of_ones_own(
    dress: Callable[..., Any], transport: Transport, server: Server
) -> None:
    """As the documentation of requests does it, without ``super()``."""

    class Own(transport.base):  # type: ignore[name-defined, misc]
        def init_poolmanager(self, connections: int, maxsize: int, block: bool = False) -> None:
            self.poolmanager = PoolManager(
                num_pools=connections,
                maxsize=maxsize,
                block=block,
                ssl_maximum_version=ssl.TLSVersion.TLSv1_2,
            )

    session = dress(requests.Session(), transport.adapter(Own))
    with session.get(f"{server.url}/1k", stream=True, timeout=TIMEOUT) as response:
        assert local(transport.check(response)).version() == "TLSv1.2"


@caddy
def test_pinned_ciphers(
    through: Callable[..., requests.Session],
    transport: Transport,
    server: Server,
    certs: Certificates,
) -> None:
    context = certs.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
    session = through(ssl_context=context)
    with session.get(f"{server.url}/1k", stream=True, timeout=TIMEOUT) as response:
        assert local(transport.check(response)).cipher()[0].endswith("AES128-GCM-SHA256")


@caddy
def test_truststore(
    through: Callable[..., requests.Session],
    transport: Transport,
    server: Server,
    certs: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It trusts what the system trusts."""
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    session = through(ssl_context=context)
    session.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        session.get(f"{server.url}/1k", timeout=TIMEOUT)
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca_path)
    transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))


@caddy
def test_truststore_injected(
    server: Server, engine: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``truststore.inject_into_ssl()`` counts from then on, and only as long."""
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca_path)
    found = run("injected", f"{server.url}/1k", engine)
    assert found == ["refused", 20, "refused"]


def test_mutual_tls_from_memory(
    through: Callable[..., requests.Session],
    transport: Transport,
    peer: StartPeer,
    certs: Certificates,
) -> None:
    """Chain and key that are in no file with a name."""
    context = certs.client_context()
    memory = os.memfd_create("client")
    try:
        os.write(memory, Path(certs.client_pem_path).read_bytes())
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
    started = peer(serve(echo), context=certs.server_context(client_certificate=True))
    transport.check(through(ssl_context=context).get(started.url, timeout=TIMEOUT))
    with pytest.raises(requests.ConnectionError):
        through().get(started.url, timeout=TIMEOUT)


@pytest.mark.parametrize("name", ["elsewhere.example", False])
def test_assert_hostname(
    through: Callable[..., requests.Session],
    transport: Transport,
    peer: StartPeer,
    certs: Certificates,
    name: Any,
) -> None:
    context = certs.server_context(certificate=certs.wrong_host_pem_path)
    started = peer(serve(echo), context=context)
    transport.check(through(assert_hostname=name).get(started.url, timeout=TIMEOUT))
    with pytest.raises(requests.exceptions.SSLError):
        through(assert_hostname="another.example").get(started.url, timeout=TIMEOUT)
    with pytest.raises(requests.exceptions.SSLError):
        through().get(started.url, timeout=TIMEOUT)


@caddy
def test_assert_fingerprint(
    through: Callable[..., requests.Session],
    transport: Transport,
    server: Server,
    certs: Certificates,
) -> None:
    session = through(assert_fingerprint=fingerprint(certs))
    transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    with pytest.raises(requests.exceptions.SSLError):
        through(assert_fingerprint="00" * 32).get(f"{server.url}/1k", timeout=TIMEOUT)


def test_server_hostname(
    through: Callable[..., requests.Session],
    transport: Transport,
    peer: StartPeer,
    certs: Certificates,
) -> None:
    """The name for SNI and the certificate, where the URL has an address."""
    context = certs.server_context(certificate=certs.wrong_host_pem_path)
    started = peer(serve(echo), context=context)
    session = through(server_hostname="elsewhere.example")
    transport.check(session.get(started.url, timeout=TIMEOUT))
    assert started.server_names == ["elsewhere.example"]


@caddy
def test_socket_settings(
    through: Callable[..., requests.Session], transport: Transport, server: Server
) -> None:
    session = through(
        source_address=("127.0.0.3", 0),
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)],
        blocksize=1 << 20,
    )
    body = b"x" * 3_000_000
    with session.post(f"{server.url}/upload", data=body, stream=True, timeout=TIMEOUT) as response:
        sock = local(transport.check(response))
        assert sock.getsockname()[0] == "127.0.0.3"
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        assert response.json()["length"] == len(body)


@caddy
def test_pool_settings(dress: Callable[..., Any], transport: Transport, server: Server) -> None:
    session = dress(
        requests.Session(), pool_connections=1, pool_maxsize=1, pool_block=True, max_retries=1
    )
    for target in (f"{server.url}/1k", f"{server.url}/text.txt"):
        transport.check(session.get(target, timeout=TIMEOUT))
    manager = session.get_adapter("https://").poolmanager
    assert len(manager.pools) == 1
    (pool,) = (manager.pools[key] for key in manager.pools.keys())  # noqa: SIM118
    assert (pool.num_connections, pool.num_requests, pool.block) == (1, 2, True)


@caddy
def test_pool_key_attributes(
    dress: Callable[..., Any], transport: Transport, server: Server
) -> None:
    """``build_connection_pool_key_attributes``: a connection for each user, say."""

    class Apart(transport.base):  # type: ignore[name-defined, misc]
        def build_connection_pool_key_attributes(self, request: Any, *args: Any) -> Any:
            host, pool = super().build_connection_pool_key_attributes(request, *args)
            pool["blocksize"] = 16384 + int(request.headers["X-User"])
            return host, pool

    session = dress(requests.Session(), transport.adapter(Apart))
    ports: dict[str, set[str]] = {"1": set(), "2": set()}
    for user in "1212":
        response = session.get(f"{server.url}/1k", headers={"X-User": user}, timeout=TIMEOUT)
        ports[user].add(transport.check(response).headers["x-client-port"])
    assert {len(each) for each in ports.values()} == {1}
    assert not ports["1"] & ports["2"]


@caddy
def test_methods_that_are_there_to_be_overridden(
    dress: Callable[..., Any], transport: Transport, server: Server
) -> None:
    class Own(transport.base):  # type: ignore[name-defined, misc]
        def add_headers(self, request: Any, **options: Any) -> None:
            request.headers["X-Timeout"] = str(options["timeout"])

        def request_url(self, request: Any, proxies: Any) -> Any:
            return super().request_url(request, proxies) + "?own=1"

        def build_response(self, request: Any, response: Any) -> Any:
            built = super().build_response(request, response)
            built.version = response.version
            return built

        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            super().cert_verify(conn, url, verify, cert)
            verified.append(url)

    verified: list[str] = []
    session = dress(requests.Session(), transport.adapter(Own))
    response = transport.check(session.get(f"{server.url}/echo", timeout=TIMEOUT))
    assert response.version == transport.version
    assert response.json()["path"] == "/echo?own=1"
    assert ["x-timeout", str(TIMEOUT)] in response.json()["headers"]
    assert verified == [f"{server.url}/echo"]


@caddy
def test_two_mounts(dress: Callable[..., Any], transport: Transport, server: Server) -> None:
    """The longest prefix wins, as ever."""
    session = dress(requests.Session())
    stock = HTTPAdapter()
    session.mount(f"{server.url}/text", stock)
    transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    assert session.get(f"{server.url}/text.txt", timeout=TIMEOUT).raw.version == 11


# -- Unix domain sockets -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # by vcrpy
@pytest.mark.parametrize("options", [{}, {"prior_knowledge": True}, {"http2": False}])
@pytest.mark.parametrize("open_before", [True, False])
def test_vcr_over_a_unix_socket(
    peer: StartPeer, engine: str, tmp_path: Path, options: dict[str, Any], open_before: bool
) -> None:
    """What is recorded comes from the socket, not from the URL's host."""
    with tempfile.TemporaryDirectory(prefix="h2-") as folder, requests.Session() as session:
        path, cassette = f"{folder}/sock", str(tmp_path / "one.yaml")
        there = peer(serve(echo), uds=path, tls=False, h2c=True)
        elsewhere = peer(serve(echo), tls=False, h2c=True)
        session.mount("http://", HTTP2Adapter(uds=path, engine=engine, **options))
        if open_before:
            session.get(elsewhere.url, timeout=TIMEOUT)
        for played in (0, 1):
            with vcr.use_cassette(cassette) as tape:
                session.get(elsewhere.url, timeout=TIMEOUT)
                assert (len(tape), tape.play_count) == (1, played)
        response = session.get(elsewhere.url, timeout=TIMEOUT)
        assert response.raw.version == (20 if "prior_knowledge" in options else 11)
        assert len(there.requests) == 2 + open_before
        assert not elsewhere.accepted
