"""``HTTP2Adapter(uds=path)``: Unix domain sockets, with and without TLS."""

from __future__ import annotations

import concurrent.futures
import pathlib
import pickle
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import ProxyManager
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from tests.support.certs import Certificates
from tests.support.peer import MakeSession, Peer, Request, StartPeer, hold, serve
from tests.support.proxy import MakeProxy
from tests.support.socks import MakeSocks
from tests.support.threads import WAIT, background, together

PROMPT = 3.0  # seconds: far below WAIT, with room for a busy machine
MIB = 2**20


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or request.path.encode()


ordinary = serve(answer)


@pytest.fixture
def path() -> Iterator[str]:
    """Where a socket may be: pytest's own folders have long names."""
    with tempfile.TemporaryDirectory(prefix="h2-") as folder:
        yield f"{folder}/sock"


@pytest.fixture
def unix(make_http_session: MakeSession, path: str) -> MakeSession:
    """``unix(prior_knowledge=True)``: a session that sends everything to the socket."""
    return lambda **options: make_http_session(**{"uds": path, **options})


@pytest.fixture
def listening(peer: StartPeer, path: str) -> StartPeer:
    """A peer on the socket."""

    def start(script: Any, **options: Any) -> Peer:
        started: Peer = peer(script, uds=path, **options)
        return started

    return start


# -- what is spoken ------------------------------------------------------------------------

HTTP1_ONLY = ("http/1.1",)


@pytest.mark.parametrize(
    ("options", "there", "version"),
    [
        ({}, {}, 20),
        ({}, {"alpn": HTTP1_ONLY}, 11),
        ({"http2": False}, {}, 11),
        ({}, {"tls": False}, 11),
        ({"http2": False}, {"tls": False}, 11),
        ({"prior_knowledge": True}, {"tls": False, "h2c": True}, 20),
    ],
)
def test_protocols(
    unix: MakeSession, listening: StartPeer, options: Any, there: Any, version: int
) -> None:
    started, session = listening(ordinary, **there), unix(**options)
    for body in (b"x" * MIB, b"y"):
        response = session.post(started.url + "/path", data=body, timeout=WAIT)
        assert (response.raw.version, response.content) == (version, body)
    assert [request.authority for request in started.requests] == ["localhost"] * 2
    assert started.accepted == 1


def test_the_url_names_host_and_certificate(
    unix: MakeSession, listening: StartPeer, certs: Certificates
) -> None:
    context = certs.server_context(certificate=certs.wrong_host_pem_path)
    started, session = listening(ordinary, context=context), unix()
    url = "https://elsewhere.example:8443/"
    assert session.get(url, timeout=WAIT).raw.version == 20
    assert started.server_names == ["elsewhere.example"]
    assert started.request.authority == "elsewhere.example:8443"
    with pytest.raises(requests.exceptions.SSLError):
        session.get("https://localhost/", timeout=WAIT)


def test_origins_have_connections_of_their_own(unix: MakeSession, listening: StartPeer) -> None:
    started, session = listening(ordinary, tls=False, h2c=True), unix(prior_knowledge=True)
    for host in ("one.example", "two.example", "one.example", "no-host-at-all"):
        assert session.get(f"http://{host}/", timeout=WAIT).raw.version == 20
    assert started.accepted == 3


def test_coalescing_is_not_for_paths(unix: MakeSession, listening: StartPeer) -> None:
    """The host's address, which would have to be the same, is nobody's here."""
    started, session = listening(ordinary), unix(coalesce=True)
    for host in ("localhost", "127.0.0.1"):
        assert session.get(f"https://{host}/", timeout=WAIT).raw.version == 20
    assert started.accepted == 2


def test_threads_share_one_connection(unix: MakeSession, listening: StartPeer) -> None:
    started, session = listening(ordinary), unix()
    bodies = together(10, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [f"/{number}".encode() for number in range(10)]
    assert started.accepted == 1


def test_timeouts_and_ping(unix: MakeSession, listening: StartPeer) -> None:
    started, session = listening(hold, tls=False, h2c=True), unix(prior_knowledge=True)
    with pytest.raises(requests.ReadTimeout):
        session.get(started.url, timeout=(WAIT, 0.2))
    adapter: Any = session.get_adapter(started.url)
    assert adapter.ping(started.url, timeout=WAIT, verify=session.verify) < WAIT
    assert started.accepted == 1


def test_http2_required(unix: MakeSession, listening: StartPeer) -> None:
    started = listening(ordinary, alpn=HTTP1_ONLY)
    with pytest.raises(requests.ConnectionError, match="does not speak HTTP/2"):
        unix(http2="required").get(started.url, timeout=WAIT)
    with pytest.raises(requests.ConnectionError, match="prior_knowledge"):
        unix(http2="required").get("http://localhost/", timeout=WAIT)
    assert not started.requests


def test_an_http1_server_is_not_taken_for_http2(unix: MakeSession, listening: StartPeer) -> None:
    def script(conn: Any) -> None:
        conn._buffer.clear()
        conn.send_raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        conn.close()

    started = listening(script, tls=False, h2c=True, preface=False)
    with pytest.raises(requests.ConnectionError, match=r"looks like HTTP/1\.1.*prior_"):
        unix(prior_knowledge=True).get(started.url, timeout=WAIT)


def test_a_path_object_and_copies(
    unix: MakeSession, listening: StartPeer, path: str, make_adapter: Callable[..., Any]
) -> None:
    started, session = listening(ordinary), unix(uds=pathlib.Path(path))
    copied = pickle.loads(pickle.dumps(session.get_adapter("https://")))
    with copied:
        session.mount("https://copied.example", copied)
        for host in ("localhost", "127.0.0.1"):
            assert session.get(f"https://{host}/", timeout=WAIT).raw.version == 20
        with pytest.raises(requests.exceptions.SSLError):
            session.get("https://copied.example/", timeout=WAIT)
    assert started.accepted == 3


def test_a_manager_that_was_anothers(
    unix: MakeSession, listening: StartPeer, make_adapter: Callable[..., Any], path: str
) -> None:
    """Its pools are made by the options of the adapter that has it now."""
    started = listening(ordinary)
    session = unix()
    with make_adapter(uds=path + "-of-another") as other:
        adapter: Any = session.get_adapter("https://")
        adapter.poolmanager = other.poolmanager
        assert session.get(started.url, timeout=WAIT).raw.version == 20


def test_a_tool_that_wants_to_see_exchanges(
    unix: MakeSession, listening: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees those of open pools, too, and none afterwards, as over TCP."""
    seen = []

    class Recording(HTTPConnection):
        def getresponse(self) -> Any:
            seen.append(self.host)
            return super().getresponse()

    started = listening(ordinary, tls=False, h2c=True)
    session = unix(prior_knowledge=True)
    session.get(started.url, timeout=WAIT)
    with monkeypatch.context() as patch:
        patch.setattr(HTTPConnectionPool, "ConnectionCls", Recording)
        session.get(started.url, timeout=WAIT)
        session.get("http://made-meanwhile.example/", timeout=WAIT)
    for url in (started.url, "http://made-meanwhile.example/"):
        assert session.get(url, timeout=WAIT).raw.version == 20
    assert seen == ["localhost", "made-meanwhile.example"]


# -- what is no path -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uds", "error", "text"),
    [
        (7, TypeError, "uds must be a str or an os.PathLike of one, not 7"),
        (b"/tmp/x", TypeError, "os.PathLike"),
        (True, TypeError, "os.PathLike"),
        ("", ValueError, "no path"),
        ("/tmp/a\0b", ValueError, "no path"),
        ("/" + "x" * 200, ValueError, "uds has 201 octets"),
        ("/" + "\u00e9" * 60, ValueError, "uds has 121 octets"),
    ],
)
def test_bad_paths(
    make_adapter: Callable[..., Any], uds: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make_adapter(uds=uds)


def test_the_longest_path(unix: MakeSession, peer: StartPeer, path: str) -> None:
    """The same limit as the operating system's."""
    longest = path + "x" * (107 - len(path))
    started = peer(ordinary, uds=longest)
    assert unix(uds=longest).get(started.url, timeout=WAIT).raw.version == 20


def test_a_name_of_the_abstract_namespace(unix: MakeSession, peer: StartPeer, path: str) -> None:
    started = peer(ordinary, uds="\0" + path)
    assert unix(uds="\0" + path).get(started.url, timeout=WAIT).raw.version == 20


# -- what is not there ---------------------------------------------------------------------

schemes = pytest.mark.parametrize("scheme", ["http", "https"])
ways = pytest.mark.parametrize("options", [{}, {"prior_knowledge": True}, {"http2": False}])


@schemes
@ways
@pytest.mark.parametrize("fault", ["No such file", "refused", "Permission"])
def test_a_socket_that_cannot_be_connected_to(
    unix: MakeSession,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    options: Any,
    fault: str,
) -> None:
    if fault == "refused":
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(path)
    elif fault == "Permission":  # which root does not meet

        def connect(sock: socket.socket, address: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(socket.socket, "connect", connect)
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError, match=fault) as caught:
        unix(**options).get(f"{scheme}://localhost/", timeout=WAIT)
    assert type(caught.value) is requests.ConnectionError
    assert repr(path) in str(caught.value)
    assert time.monotonic() - begin < PROMPT


@pytest.fixture
def full(path: str) -> Iterator[socket.socket]:
    """A listener whose queue is full."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(path)
        listener.listen(0)
        waiting.connect(path)
        yield listener


@schemes
@ways
def test_connect_timeout(
    unix: MakeSession, full: socket.socket, path: str, scheme: str, options: Any
) -> None:
    begin = time.monotonic()
    with pytest.raises(requests.ConnectTimeout, match=r"connect timeout=0\.3") as caught:
        unix(**options).get(f"{scheme}://localhost/", timeout=(0.3, WAIT))
    assert 0.3 <= time.monotonic() - begin < PROMPT
    assert repr(path) in str(caught.value)


def test_a_full_queue_is_waited_for(unix: MakeSession, full: socket.socket) -> None:
    future = background(
        lambda: unix(http2=False).get("http://localhost/", timeout=(WAIT, WAIT)).content
    )
    with pytest.raises(concurrent.futures.TimeoutError):  # another one in Python 3.10
        future.result(0.1)
    full.accept()[0].close()
    sock = full.accept()[0]
    with sock:
        assert sock.recv(4096).startswith(b"GET / HTTP/1.1")
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        assert future.result(WAIT) == b"ok"


def test_a_handshake_that_stalls(unix: MakeSession, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        with pytest.raises(requests.ConnectTimeout):
            unix().get("https://localhost/", timeout=(0.3, WAIT))


# -- proxies -------------------------------------------------------------------------------


@schemes
@ways
@pytest.mark.parametrize("kind", ["http", "https", "socks5h", "all"])
def test_a_proxy_is_refused(
    unix: MakeSession,
    listening: StartPeer,
    make_proxy: MakeProxy,
    make_socks: MakeSocks,
    scheme: str,
    options: Any,
    kind: str,
) -> None:
    started = listening(ordinary, tls=scheme == "https")
    if kind == "socks5h":
        socks = make_socks()
        proxies = {scheme: socks.url("socks5h", "user:secret")}
    else:
        socks = make_proxy(tls=kind == "https")
        proxies = {"all" if kind == "all" else scheme: socks.url_for("user:secret")}
    session = unix(**options)
    with pytest.raises(requests.exceptions.ProxyError, match="uds=") as caught:
        session.get(started.url, proxies=proxies, timeout=WAIT)
    assert "secret" not in str(caught.value)
    adapter: Any = session.get_adapter(started.url)
    with pytest.raises(requests.exceptions.ProxyError, match="uds="):
        adapter.ping(started.url, proxies=proxies, timeout=WAIT)
    assert (socks.accepted, started.accepted) == (0, 0)


@schemes
@pytest.mark.parametrize("variable", ["{scheme}_proxy", "all_proxy"])
def test_a_proxy_of_the_environment_is_for_the_network(
    unix: MakeSession,
    listening: StartPeer,
    make_proxy: MakeProxy,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    variable: str,
) -> None:
    started, proxy = listening(ordinary, tls=scheme == "https"), make_proxy()
    monkeypatch.setenv(variable.format(scheme=scheme), proxy.url)
    session = unix()
    response = session.get(started.url + "/path", timeout=WAIT)
    assert response.content == b"/path"
    # In the form of requests to servers.
    assert started.request.path == "/path"
    with pytest.raises(requests.exceptions.ProxyError, match="uds="):
        session.get(started.url, proxies={scheme: "http://127.0.0.1:9"}, timeout=WAIT)
    assert proxy.accepted == 0


def test_the_password_of_the_environments_proxy_stays_here(
    unix: MakeSession, listening: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests adds it to what follows a redirect."""

    def redirect(request: Request) -> Any:
        return (302, {"location": "/there"}, b"") if request.path == "/" else (200, {}, b"there")

    started = listening(serve(redirect), tls=False)
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:9")
    assert unix().get(started.url, timeout=WAIT).content == b"there"
    assert "proxy-authorization" not in started.requests[1].headers


@pytest.mark.parametrize(
    "make_manager",
    [
        lambda: ProxyManager("http://127.0.0.1:9"),
        pytest.param(
            lambda: requests.adapters.SOCKSProxyManager("socks5://127.0.0.1:9"),
            marks=pytest.mark.extra("socks"),
        ),
    ],
    ids=["http", "socks"],
)
def test_a_manager_of_a_proxy_is_refused(
    make_adapter: Callable[..., Any], path: str, make_manager: Callable[[], Any]
) -> None:
    with make_adapter(uds=path) as adapter, pytest.raises(ValueError, match="ProxyManager"):
        adapter.poolmanager = make_manager()


# -- socket options ------------------------------------------------------------------------


def test_socket_options_that_a_unix_socket_has(
    make_adapter: Callable[..., Any], session: requests.Session, listening: StartPeer, path: str
) -> None:
    class Adapter(type(make_adapter())):  # type: ignore[misc]
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            kwargs["socket_options"] = [
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_SNDBUF, 123_456),
            ]
            super().init_poolmanager(*args, **kwargs)

    started = listening(ordinary)
    session.mount("https://", Adapter(uds=path))
    with session.get(started.url, stream=True, timeout=WAIT) as response:
        sock = response.raw.reader.connection.sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 123_456


def test_the_stock_adapter_is_as_it_was(
    unix: MakeSession, listening: StartPeer, peer: StartPeer, certs: Certificates
) -> None:
    started, other = listening(ordinary), peer(ordinary)
    with requests.Session() as stock:
        stock.mount("https://", HTTPAdapter())
        assert unix().get(started.url, timeout=WAIT).raw.version == 20
        assert stock.get(other.url, verify=certs.ca_path, timeout=WAIT).raw.version == 11
