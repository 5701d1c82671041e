"""``HTTP2Adapter(coalesce=True)``: which hosts share a connection, and what ends that."""

from __future__ import annotations

import copy
import gc
import hashlib
import io
import logging
import os
import pickle
import socket
import ssl
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import requests
import urllib3
from hyperframe.frame import GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import InsecureRequestWarning

from requests_h2 import HTTP2Adapter
from tests.support.certs import Certificates
from tests.support.forks import works_in_child
from tests.support.names import Names
from tests.support.peer import MakeSession, Peer, PeerConnection, Request, StartPeer, hold, serve
from tests.support.proxy import Proxy
from tests.support.threads import WAIT, background, together, until

ONE, TWO, THREE = (f"{number}.example.com" for number in ("one", "two", "three"))
ordinary = serve(lambda request: (200, {}, request.authority.encode()))


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture
def session(make_session: MakeSession) -> requests.Session:
    return make_session(coalesce=True)


def at(host: str, peer: Peer, path: str = "/") -> str:
    return f"https://{host}:{peer.port}{path}"


def get(session: requests.Session, host: str, peer: Peer, **options: Any) -> requests.Response:
    options.setdefault("timeout", WAIT)
    return session.get(at(host, peer), **options)


def hosts(conn: PeerConnection) -> list[str]:
    return [request.authority.partition(":")[0] for request in conn.requests]


# -- what is shared ------------------------------------------------------------------------


def test_hosts_share_a_connection(session: requests.Session, peer: StartPeer, names: Names) -> None:
    started = peer(ordinary)
    for _ in range(3):
        for host in (ONE, TWO, THREE):
            response = get(session, host, started)
            assert response.text == f"{host}:{started.port}"
            assert response.url == at(host, started)
            assert response.raw.version == 20
    assert started.accepted == 1
    assert started.server_names == [ONE]
    assert names.lookups == [ONE, TWO, THREE], "once each: not again for every request"


def test_it_is_off_by_default(make_session: MakeSession, peer: StartPeer, names: Names) -> None:
    session, started = make_session(), peer(ordinary)
    for host in (ONE, TWO) * 2:
        get(session, host, started)
    assert [hosts(conn) for conn in started.connections] == [[ONE] * 2, [TWO] * 2]
    assert names.lookups == [ONE, TWO]


def test_addresses_as_hosts(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    for host in ("127.0.0.1", ONE, "localhost"):
        get(session, host, started)
    assert started.accepted == 1


def test_any_of_the_addresses_will_do(
    session: requests.Session, peer: StartPeer, names: Names
) -> None:
    names.addresses[TWO] = ["127.0.0.2", "127.0.0.1"]
    started = peer(ordinary)
    for host in (ONE, TWO):
        get(session, host, started)
    assert started.accepted == 1


def test_with_equal_tls_settings(
    make_session: MakeSession, peer: StartPeer, certs: Certificates
) -> None:
    session = make_session(coalesce=True, ssl_context=certs.client_context())
    started = peer(ordinary, context=certs.server_context(client_certificate=True))
    for host in (ONE, TWO):
        get(session, host, started, cert=certs.client_pem_path)
    assert started.accepted == 1


def test_threads(session: requests.Session, peer: StartPeer, names: Names) -> None:
    """Each host is looked up once, whoever comes first."""
    started = peer(ordinary)
    get(session, ONE, started)

    def work(number: int) -> None:
        for count in range(10):
            host = f"host-{(number + count) % 8}.example.com"
            assert get(session, host, started).text == f"{host}:{started.port}"

    together(16, work)
    assert started.accepted == 1
    assert sorted(names.lookups[1:]) == sorted({f"host-{n}.example.com" for n in range(8)})


# -- what is not ---------------------------------------------------------------------------


def separate(session: requests.Session, started: Peer, **options: Any) -> None:
    """Assert that two hosts have a connection each."""
    for host in (ONE, TWO) * 2:
        get(session, host, started, **options)
    assert [hosts(conn) for conn in started.connections] == [[ONE] * 2, [TWO] * 2]


def test_another_certificate(session: requests.Session, peer: StartPeer) -> None:
    """The dial finds out, as it would have without the option."""
    started = peer(ordinary)
    get(session, ONE, started)
    with pytest.raises(requests.exceptions.SSLError, match=r"elsewhere\.example"):
        get(session, "elsewhere.example", started)
    assert (started.accepted, len(started.requests)) == (2, 1)


def test_another_address(session: requests.Session, peer: StartPeer, names: Names) -> None:
    names.addresses[TWO] = ["127.0.0.2"]
    started = peer(ordinary)
    get(session, ONE, started)
    with pytest.raises(requests.exceptions.ConnectionError, match=TWO):
        get(session, TWO, started)
    assert len(started.requests) == 1


def test_a_name_that_does_not_resolve(
    session: requests.Session, make_session: MakeSession, peer: StartPeer, names: Names
) -> None:
    names.addresses[TWO] = []
    started = peer(ordinary)
    texts = []
    for each in (session, make_session()):
        get(each, ONE, started)
        with pytest.raises(requests.exceptions.ConnectionError) as caught:
            get(each, TWO, started)
        error = caught.value.args[0].reason
        texts.append((type(caught.value), type(error), str(error).partition(">")[2]))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("label", ["a" * 64, "a..b"], ids=len)
def test_a_name_that_cannot_be(session: requests.Session, peer: StartPeer, label: str) -> None:
    started = peer(ordinary)
    get(session, ONE, started)
    with pytest.raises(requests.exceptions.InvalidURL):
        get(session, f"{label}.example.com", started)


def test_another_port(session: requests.Session, peer: StartPeer) -> None:
    first, second = peer(ordinary), peer(ordinary)
    get(session, ONE, first)
    get(session, TWO, second)
    assert (first.accepted, second.accepted) == (1, 1)


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_nothing_verified(session: requests.Session, peer: StartPeer) -> None:
    separate(session, peer(ordinary), verify=False)


def test_an_unverified_connection_serves_no_verified_request(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(ordinary)
    with pytest.warns(InsecureRequestWarning):
        get(session, ONE, started, verify=False)
    get(session, TWO, started)
    assert started.accepted == 2


def test_another_ca(session: requests.Session, peer: StartPeer, certs: Certificates) -> None:
    started = peer(ordinary)
    get(session, ONE, started)
    get(session, TWO, started, verify=certs.ca_folder)
    assert started.accepted == 2


def test_another_client_certificate(
    session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    started = peer(ordinary, context=certs.server_context(client_certificate=True))
    get(session, ONE, started, cert=certs.client_pem_path)
    get(session, TWO, started, cert=(certs.client_cert_path, certs.client_key_path))
    assert started.accepted == 2


@pytest.mark.parametrize(
    "setting", [{"assert_hostname": ONE}, {"assert_hostname": False}, {"server_hostname": ONE}]
)
def test_a_changed_check(
    session: requests.Session, peer: StartPeer, setting: dict[str, Any]
) -> None:
    session.get_adapter("https://").poolmanager.connection_pool_kw.update(setting)  # type: ignore[attr-defined]
    separate(session, peer(ordinary))


def test_a_fingerprint(session: requests.Session, peer: StartPeer, certs: Certificates) -> None:
    started = peer(ordinary)
    with socket.create_connection(("127.0.0.1", started.port), WAIT) as plain:
        context = certs.client_context()
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(plain, server_hostname=ONE) as secure:
            der: Any = secure.getpeercert(binary_form=True)
    setting = {"assert_fingerprint": hashlib.sha256(der).hexdigest()}
    session.get_adapter("https://").poolmanager.connection_pool_kw.update(setting)  # type: ignore[attr-defined]
    for host in (ONE, TWO):
        get(session, host, started)
    assert started.accepted == 3


class PerHost(HTTP2Adapter):
    """Gives one host a pool key of its own."""

    setting: dict[str, Any]

    def build_connection_pool_key_attributes(self, *args: Any, **options: Any) -> Any:
        host, pool = super().build_connection_pool_key_attributes(*args, **options)
        return host, {**pool, **(self.setting if host["host"] == TWO else {})}


@pytest.mark.parametrize(
    "setting",
    [
        {"socket_options": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)]},
        {"source_address": ("127.0.0.3", 0)},
        {"ssl_maximum_version": ssl.TLSVersion.TLSv1_3},
        {"block": False, "headers": {"of": TWO}},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_another_pool_key(
    session: requests.Session, peer: StartPeer, engine: Any, setting: dict[str, Any]
) -> None:
    adapter = PerHost(coalesce=True, engine=engine)
    adapter.setting = setting
    session.mount("https://", adapter)
    separate(session, peer(ordinary))


def test_a_setting_of_the_pool_alone(session: requests.Session, peer: StartPeer) -> None:
    """As adapters set it that override ``cert_verify``."""
    started = peer(ordinary)
    get(session, ONE, started)
    request = requests.Request("GET", at(TWO, started)).prepare()
    adapter: Any = session.get_adapter(at(TWO, started))
    pool = adapter.get_connection_with_tls_context(request, session.verify)
    pool.ssl_minimum_version = 0x0303
    get(session, TWO, started)
    assert started.accepted == 2


def test_an_address_that_somebody_else_finds(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what the resolver says proves nothing."""
    real = urllib3.util.connection.create_connection

    def create_connection(address: Any, *args: Any, **options: Any) -> Any:
        return real(("127.0.0.1", address[1]), *args, **options)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", create_connection)
    separate(session, peer(ordinary))


@pytest.mark.parametrize("by", [setattr, lambda context, *wrap: setattr(type(context), *wrap)])
def test_a_context_that_checks_more(
    make_session: MakeSession, peer: StartPeer, certs: Any, by: Callable[..., None]
) -> None:
    """What it would say about the other host is not known."""

    class Pinning(ssl.SSLContext):
        pass

    def wrap_socket(*args: Any, server_hostname: str, **options: Any) -> Any:
        if server_hostname != ONE:
            raise ssl.SSLError("not pinned")
        sock = args[-1]
        return ssl.SSLContext.wrap_socket(context, sock, server_hostname=ONE, **options)

    context = Pinning(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certs.ca_path)
    by(context, "wrap_socket", wrap_socket)
    session, started = make_session(coalesce=True, ssl_context=context), peer(ordinary)
    get(session, ONE, started)
    with pytest.raises(requests.exceptions.SSLError, match="not pinned"):
        get(session, TWO, started)
    assert len(started.requests) == 1


def test_a_connection_class_that_finds_the_address(
    session: requests.Session, peer: StartPeer
) -> None:
    class Pinned(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return socket.create_connection(("127.0.0.1", self.port), WAIT)

    started = peer(ordinary)
    adapter: Any = session.get_adapter("https://")
    for host in (ONE, TWO):
        request = requests.Request("GET", at(host, started)).prepare()
        pool = adapter.get_connection_with_tls_context(request, session.verify)
        pool.ConnectionCls = Pinned
    separate(session, started)


def test_proxies(session: requests.Session, peer: StartPeer, make_proxy: Any) -> None:
    started = peer(ordinary)
    proxy: Proxy = make_proxy()
    for host in ("127.0.0.1", "localhost"):
        for proxies in ({}, {"https": proxy.url}):
            get(session, host, started, proxies=proxies)
    assert (proxy.accepted, started.accepted) == (2, 3), "the direct ones share"


@pytest.mark.extra("socks")
def test_socks(session: requests.Session, peer: StartPeer, make_socks: Any) -> None:
    started, socks = peer(ordinary), make_socks()
    for host in ("127.0.0.1", "localhost"):
        get(session, host, started, proxies={"https": socks.url("socks5h")})
    assert started.accepted == 2


def test_sessions_share_nothing(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer(ordinary)
    for host in (ONE, TWO):
        get(make_session(coalesce=True), host, started)
    assert started.accepted == 2


def test_a_server_without_http2(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary, alpn=["http/1.1"])
    for host in (ONE, TWO):
        assert get(session, host, started).raw.version == 11
    assert started.accepted == 2


def test_a_connection_that_the_server_retires(
    session: requests.Session, peer: StartPeer, names: Names
) -> None:
    def retiring(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.goaway(request.stream_id)
        conn.respond(request, 200, (), b"last")

    started = peer([retiring, ordinary])
    get(session, ONE, started)
    for host in (TWO, ONE):
        get(session, host, started)
    assert [hosts(conn) for conn in started.connections] == [[ONE], [TWO, ONE]]
    assert names.lookups == [ONE, TWO, ONE], "for two dials, and to use the second's connection"


@pytest.mark.parametrize("limit", [1, 10])
def test_a_connection_without_a_place(
    make_session: MakeSession, peer: StartPeer, limit: int
) -> None:
    """The other host dials, whatever its own limit."""
    session = make_session(coalesce=True, pool_maxsize=limit)
    started = peer([hold, ordinary], settings={"max_concurrent_streams": 1})
    held = background(lambda: get(session, ONE, started))
    first = started.connection(0)
    first.wait_for(SettingsFrame, flags={"ACK"})
    until(lambda: bool(first.requests))
    get(session, TWO, started)
    assert [hosts(conn) for conn in started.connections] == [[ONE], [TWO]]
    first.respond(first.requests[0], 200)
    assert held.result(WAIT).status_code == 200


def test_a_shared_connection_that_becomes_full(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(coalesce=True, pool_maxsize=1)

    def script(conn: PeerConnection) -> None:
        for _ in range(2):
            conn.respond(conn.next_request(), 200)
        conn.linger()

    started = peer([script, ordinary], settings={"max_concurrent_streams": 1})
    for host in (ONE, TWO):
        get(session, host, started)
    first = started.connection(0)
    held = background(lambda: get(session, ONE, started))
    until(lambda: len(first.requests) == 3)
    get(session, TWO, started)
    assert [hosts(conn) for conn in started.connections] == [[ONE, TWO, ONE], [TWO]]
    first.respond(first.requests[2], 200)
    assert held.result(WAIT).status_code == 200


# -- 421 (RFC 9110 section 15.5.20) ---------------------------------------------------------


def only_for(*served: str) -> Callable[[Any], None]:
    """421 for other hosts."""

    def answer(request: Request) -> Any:
        here = request.authority.partition(":")[0] in served
        return (200, {}, bytes(request.body)) if here else (421, {"x": "y"}, b"not here")

    return serve(answer)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_misdirected(session: requests.Session, peer: StartPeer, method: str) -> None:
    """The server has not processed it, so any method is sent again, and once."""
    started = peer([only_for(ONE), ordinary])
    replays = []
    for host in (ONE, TWO, TWO, ONE):
        response = session.request(method, at(host, started), timeout=WAIT)
        assert response.status_code == 200
        assert not response.history
        info: Any = response.raw.connection_info
        assert info.origin == f"{host}:{started.port}"
        replays.append(info.replays)
    assert replays == [0, 1, 0, 0]
    assert [hosts(conn) for conn in started.connections] == [[ONE, TWO, ONE], [TWO, TWO]]


def test_misdirected_leaves_the_others(session: requests.Session, peer: StartPeer) -> None:
    started = peer([only_for(ONE, THREE), ordinary])
    for host in (ONE, TWO, THREE):
        assert get(session, host, started).status_code == 200
    assert [hosts(conn) for conn in started.connections] == [[ONE, TWO, THREE], [TWO]]


def test_misdirected_is_remembered(session: requests.Session, peer: StartPeer) -> None:
    """Also when the host's own connection is gone, and for what it might lend."""

    def once(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.goaway(request.stream_id)
        conn.respond(request, 200)

    started = peer([only_for(ONE), once, ordinary])
    for host in (ONE, TWO, TWO):
        assert get(session, host, started).status_code == 200
    assert [hosts(conn) for conn in started.connections] == [[ONE, TWO], [TWO], [TWO]]


def test_misdirected_everywhere(session: requests.Session, peer: StartPeer) -> None:
    """A 421 of its own connection is an answer as any other."""
    started = peer(only_for(ONE))
    for host in (ONE, TWO, TWO):
        response = get(session, host, started)
    assert (response.status_code, response.content) == (421, b"not here")
    assert [hosts(conn) for conn in started.connections] == [[ONE, TWO], [TWO, TWO]]


@pytest.mark.parametrize("kind", [bytes, io.BytesIO])
def test_misdirected_with_a_body(
    session: requests.Session, peer: StartPeer, kind: Callable[[bytes], Any]
) -> None:
    started = peer([only_for(ONE), only_for(TWO)])
    get(session, ONE, started)
    data = b"x" * 100_000
    response = session.post(at(TWO, started), data=kind(data), timeout=WAIT)
    assert response.content == data


def test_misdirected_with_a_body_that_is_gone(session: requests.Session, peer: StartPeer) -> None:
    """It cannot be sent again, but the next one goes the right way."""
    started = peer([only_for(ONE), only_for(TWO)])
    get(session, ONE, started)

    def post() -> requests.Response:
        return session.post(at(TWO, started), data=iter([b"once"]), timeout=WAIT)

    response = post()
    assert (response.status_code, response.content) == (421, b"not here")
    assert post().content == b"once"
    assert [hosts(conn) for conn in started.connections] == [[ONE, TWO], [TWO]]


def unfinished(status: int) -> Callable[[PeerConnection], None]:
    """Answer a request, and another one without an end."""

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200)
        conn.send_headers(conn.next_request(), status)
        conn.linger()

    return script


def test_misdirected_before_the_end(session: requests.Session, peer: StartPeer) -> None:
    """The rest of the 421 is not wanted: its stream is reset and holds no place."""
    started = peer([unfinished(421), ordinary])
    for host in (ONE, TWO):
        assert get(session, host, started).status_code == 200
    started.connection(0).wait_for(RstStreamFrame, stream_id=3)


def test_misdirected_threads(session: requests.Session, peer: StartPeer) -> None:
    """All of them get there, over one connection more."""

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200)
        for request in conn.next_requests(10):
            conn.respond(request, 421, (), b"not here")

    started = peer([script, ordinary])
    get(session, ONE, started)
    done = together(10, lambda number: get(session, TWO, started).status_code)
    assert done == [200] * 10
    assert started.accepted == 2


def test_a_streamed_response(session: requests.Session, peer: StartPeer) -> None:
    started = peer([only_for(ONE), ordinary])
    get(session, ONE, started)
    with get(session, TWO, started, stream=True) as response:
        assert b"".join(response.iter_content(4)) == f"{TWO}:{started.port}".encode()


# -- whose connection it is ----------------------------------------------------------------


def pool_of(session: requests.Session, host: str, peer: Peer) -> Any:
    adapter: Any = session.get_adapter("https://")
    request = requests.Request("GET", at(host, peer)).prepare()
    return adapter.get_connection_with_tls_context(request, session.verify)


def test_the_borrowers_pool_is_closed(session: requests.Session, peer: StartPeer) -> None:
    """Which is nothing to the lender."""
    started = peer(ordinary)
    for host in (ONE, TWO):
        get(session, host, started)
    pool_of(session, TWO, started).drain("as close() does")
    for host in (ONE, TWO):
        get(session, host, started)
    assert started.accepted == 1


def test_the_lenders_pool_is_closed(session: requests.Session, peer: StartPeer) -> None:
    """What is on the connection goes on to its end; then it is closed."""
    started = peer([unfinished(200), ordinary])
    get(session, ONE, started)
    response = get(session, TWO, started, stream=True)
    pool_of(session, ONE, started).close()
    assert get(session, TWO, started).text == f"{TWO}:{started.port}"
    first = started.connection(0)
    first.send_data(3, b"to the end", end_stream=True)
    assert response.content == b"to the end"
    first.wait_for(GoAwayFrame)
    assert started.accepted == 2


def test_the_lenders_pool_is_evicted(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(coalesce=True, pool_connections=2)
    started = peer([unfinished(200), ordinary])
    get(session, ONE, started)
    response = get(session, TWO, started, stream=True)
    get(session, THREE, started)  # the third pool
    gc.collect()
    first = started.connection(0)
    first.send_data(3, b"to the end", end_stream=True)
    assert response.content == b"to the end"
    for host in (TWO, THREE):
        get(session, host, started)
    assert started.accepted == 2


def test_closing_the_session(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    for host in (ONE, TWO):
        get(session, host, started)
    session.close()
    started.connection(0).wait_eof()
    for host in (TWO, ONE):
        get(session, host, started)
    assert [hosts(conn) for conn in started.connections] == [[ONE, TWO], [TWO, ONE]]


def test_nothing_is_kept(make_adapter: Callable[..., Any], peer: StartPeer, certs: Any) -> None:
    started = peer(ordinary)
    session = requests.Session()
    adapter = make_adapter(coalesce=True)
    session.mount("https://", adapter)
    for host in (ONE, TWO):
        get(session, host, started, verify=certs.ca_path)
    kept = weakref.ref(pool_of(session, TWO, started)), weakref.ref(adapter)
    del session, adapter
    gc.collect()
    started.connection(0).wait_eof()
    assert [each() for each in kept] == [None, None]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_dials(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    for host in (ONE, TWO):
        get(session, host, started)
    assert works_in_child(
        lambda: all(get(session, host, started).text.startswith(host) for host in (TWO, ONE))
    )
    get(session, THREE, started)
    assert [hosts(conn) for conn in started.connections] == [[ONE, TWO, THREE], [TWO, ONE]]


# -- what the caller sees ------------------------------------------------------------------


def test_errors_name_the_host(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200)
        conn.reset(conn.next_request(), 2)
        request = conn.next_request()
        conn.send_headers(request, 200)
        conn.reset(request, 2)
        conn.next_request()
        conn.linger()

    started = peer([script, hold])
    get(session, ONE, started)
    whose = rf"{TWO}:\d+ \(on the connection to {ONE}:\d+\): stream \d"
    with pytest.raises(requests.exceptions.ConnectionError, match=f"{whose}: reset by the server"):
        get(session, TWO, started)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match=whose):
        get(session, TWO, started)
    with pytest.raises(requests.exceptions.ReadTimeout, match=f"host='{TWO}'"):
        get(session, TWO, started, timeout=(WAIT, 0.2))


def test_a_request_that_must_not_be_sent(session: requests.Session, peer: StartPeer) -> None:
    """It is the caller's own affair: others that wait for the host are not told so."""
    started = peer(ordinary, settings={"max_header_list_size": 1000})
    get(session, ONE, started)
    with pytest.raises(requests.exceptions.InvalidHeader, match=rf"{TWO}:\d+ \(on the connection"):
        get(session, TWO, started, headers={"large": "x" * 1000})
    assert get(session, TWO, started).status_code == 200
    assert started.accepted == 1


def test_the_log_names_the_host(
    session: requests.Session, peer: StartPeer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    started = peer([only_for(ONE), ordinary])
    for host in (ONE, TWO):
        get(session, host, started)
    two, one = (f"{host}:{started.port}" for host in (TWO, ONE))
    shared = f"{two} (on the connection to {one})"
    for line in (
        f"{two} uses the connection to {one}",
        f"{shared}: stream 3 opened: GET",
        f"{two}: 421, GET / is sent again",
        f'https://{two} "GET / HTTP/2" 200 {len(two)}',
    ):
        assert line in caplog.messages
    assert not [
        line for line in caplog.messages if "stream 3 opened" in line and shared not in line
    ]


def test_redirects_and_cookies(session: requests.Session, peer: StartPeer) -> None:
    def answer(request: Request) -> Any:
        if request.authority.startswith(ONE):
            there = f"https://{TWO}:{started.port}/there"
            return 302, {"location": there, "set-cookie": "of=one"}, b""
        return 200, {}, request.headers.get("cookie", "none").encode()

    started = peer(serve(answer))
    response = get(session, ONE, started)
    assert (response.text, response.url) == ("none", at(TWO, started, "/there"))
    assert [each.url for each in response.history] == [at(ONE, started)]
    assert [cookie.domain for cookie in session.cookies] == [ONE]
    assert started.accepted == 1


def test_pushes(make_session: MakeSession, peer: StartPeer) -> None:
    """A server may push what any of its hosts has; they are told apart."""

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200)
        asked = conn.next_request()
        for stream, host in ((2, ONE), (4, TWO), (6, "elsewhere.example")):
            pseudo = {"method": "GET", "scheme": "https", "path": "/pushed"}
            pseudo["authority"] = f"{host}:{started.port}"
            conn.push_promise(asked, stream, [(f":{name}", pseudo[name]) for name in pseudo])
        for stream, host in ((2, ONE), (4, TWO)):
            conn.respond(stream, 200, (), f"of {host}".encode())
        conn.respond(asked, 200)
        conn.wait_for(RstStreamFrame, stream_id=6)
        conn.linger()

    started = peer(script)
    session = make_session(coalesce=True, adopt_pushes=True)
    get(session, ONE, started)
    parent = get(session, TWO, started, stream=True)
    for host in (TWO, ONE):
        pushed = session.get(at(host, started, "/pushed"), timeout=WAIT)
        raw: Any = pushed.raw
        assert (pushed.text, raw.pushed) == (f"of {host}", True)
    parent.close()
    assert (started.accepted, len(started.requests)) == (1, 2)


def test_http11_required(session: requests.Session, peer: StartPeer) -> None:
    """Only the host that is told so goes back to HTTP/1.1."""

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200)
        conn.reset(conn.next_request(), 0xD)
        conn.respond(conn.next_request(), 200)
        conn.linger()

    started = peer([script, ordinary])
    versions = [get(session, host, started).raw.version for host in (ONE, TWO, ONE, TWO)]
    assert versions == [20, 11, 20, 11]
    assert started.accepted == 2


def test_ping(session: requests.Session, peer: StartPeer, certs: Certificates) -> None:
    """It asks on the connection that a request would use."""

    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        conn.respond(conn.next_request(), 200)
        conn.ping(conn.expect(PingFrame).opaque_data, ack=True)
        conn.expect(PingFrame)
        conn.abort()

    started = peer([script, hold])
    get(session, ONE, started)
    adapter: Any = session.get_adapter("https://")
    assert adapter.ping(at(TWO, started), timeout=WAIT, verify=certs.ca_path) > 0
    whose = rf"{TWO}:\d+ \(on the connection to {ONE}:\d+\)"
    with pytest.raises(requests.exceptions.ConnectionError, match=whose):
        adapter.ping(at(TWO, started), timeout=WAIT, verify=certs.ca_path)
    assert started.accepted == 1


def test_an_origin_frame_is_ignored(session: requests.Session, peer: StartPeer) -> None:
    """RFC 8336 leaves that to the client; 421 is what counts."""

    def script(conn: PeerConnection) -> None:
        conn.preface()
        entry = at(ONE, started, "").encode()
        payload = len(entry).to_bytes(2, "big") + entry
        conn.send_raw(len(payload).to_bytes(3, "big") + b"\x0c\0\0\0\0\0" + payload)
        ordinary(conn)

    started = peer(script, preface=False)
    for host in (ONE, TWO):
        assert get(session, host, started).status_code == 200
    assert started.accepted == 1


def test_required(make_session: MakeSession, peer: StartPeer) -> None:
    session, started = make_session(coalesce=True, http2="required"), peer(ordinary)
    for host in (ONE, TWO):
        get(session, host, started)
    assert started.accepted == 1


# -- the option ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["yes", None, 1, ONE])
def test_values_that_are_none(make_adapter: Callable[..., Any], value: Any) -> None:
    with pytest.raises(TypeError, match="coalesce"):
        make_adapter(coalesce=value)


@pytest.fixture(params=[copy.deepcopy, lambda adapter: pickle.loads(pickle.dumps(adapter))])
def copied(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_copy_has_it_too(
    session: requests.Session, make_session: MakeSession, peer: StartPeer, copied: Any
) -> None:
    other, started = make_session(), peer(ordinary)
    other.mount("https://", copied(session.get_adapter("https://")))
    for each in (session, other):
        for host in (ONE, TWO):
            get(each, host, started)
    assert [hosts(conn) for conn in started.connections] == [[ONE, TWO]] * 2
