"""HTTP/2 with prior knowledge over ``http://`` (RFC 9113 section 3.3)."""

from __future__ import annotations

import io
import pathlib
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hyperframe.frame import HeadersFrame, PingFrame, RstStreamFrame
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

import requests_h2
from tests.support.peer import (
    Http1Connection,
    MakeSession,
    Peer,
    PeerConnection,
    Request,
    StartPeer,
    hold,
    serve,
)
from tests.support.proxy import MakeProxy
from tests.support.socks import MakeSocks
from tests.support.threads import WAIT, background, together

PROTOCOL_ERROR, REFUSED_STREAM, HTTP_1_1_REQUIRED = 1, 7, 13
PROMPT = 3.0  # seconds: far below WAIT, with room for a busy machine
MIB = 2**20
ROOT = pathlib.Path(__file__).parents[2]


def answer(request: Request) -> Any:
    return 200, {"x-method": request.method}, bytes(request.body) or request.path.encode()


ordinary = serve(answer)


@pytest.fixture
def prior(make_http_session: MakeSession) -> MakeSession:
    """``prior(max_retries=2)``: a session that knows what ``http://`` servers speak."""
    return lambda **options: make_http_session(**{"prior_knowledge": True, **options})


@pytest.fixture
def h2c(peer: StartPeer) -> StartPeer:
    """A peer without TLS that speaks HTTP/2 to those who begin with it."""

    def start(script: Any, **options: Any) -> Peer:
        started: Peer = peer(script, tls=False, h2c=True, **options)
        return started

    return start


# -- requests ------------------------------------------------------------------------------


def test_the_preface_comes_first(prior: MakeSession, h2c: StartPeer) -> None:
    started, session = h2c(ordinary), prior()
    for path in ("/a?b=c", "/d"):
        response = session.get(started.url + path, timeout=WAIT)
        assert (response.raw.version, response.raw.version_string) == (20, "HTTP/2")
        assert response.content == path.encode()
        assert response.reason == "OK"
    first = started.requests[0]
    assert (first.pseudo(":scheme"), first.path) == ("http", "/a?b=c")
    assert first.authority == f"127.0.0.1:{started.port}"
    assert not {"host", "connection", "upgrade", "http2-settings"} & set(first.headers)
    assert started.accepted == 1


def test_the_default_port_is_left_out(
    prior: MakeSession, h2c: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = h2c(ordinary)
    connect = socket.socket.connect

    def to_the_peer(sock: socket.socket, address: Any) -> None:
        assert address[1] == 80
        connect(sock, ("127.0.0.1", started.port))

    monkeypatch.setattr(socket.socket, "connect", to_the_peer)
    session = prior()
    for url in ("http://127.0.0.1/", "http://127.0.0.1:80/"):
        assert session.get(url, timeout=WAIT).raw.version == 20
    assert [request.authority for request in started.requests] == ["127.0.0.1"] * 2
    assert started.accepted == 1


@pytest.mark.parametrize("body", ["bytes", "file", "generator"])
def test_uploads(prior: MakeSession, h2c: StartPeer, body: str) -> None:
    data = bytes(range(256)) * 4096 * 3
    made: Any = {
        "bytes": data,
        "file": io.BytesIO(data),
        "generator": (data[at : at + 70_000] for at in range(0, len(data), 70_000)),
    }[body]
    started = h2c(ordinary)
    response = prior().post(started.url, data=made, timeout=WAIT)
    assert response.content == data
    declared = started.request.headers.get("content-length")
    assert declared == (None if body == "generator" else str(len(data)))


def test_threads_share_one_connection(prior: MakeSession, h2c: StartPeer) -> None:
    started, session = h2c(ordinary), prior()
    bodies = together(12, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [f"/{number}".encode() for number in range(12)]
    assert started.accepted == 1


def test_streams_are_read_as_they_come(prior: MakeSession, h2c: StartPeer) -> None:
    """Larger than all windows and socket buffers, beside a response that nobody reads."""
    started = h2c(serve(lambda request: (200, {}, (bytes(MIB) for _ in range(24)))))
    session = prior()
    with session.get(started.url, stream=True, timeout=WAIT):
        response = session.get(started.url, stream=True, timeout=WAIT)
        assert sum(map(len, response.iter_content(100_000))) == 24 * MIB
        assert session.get(started.url, stream=True, timeout=WAIT).raw.read(10) == bytes(10)
    assert started.accepted == 1


def test_trailers_both_ways_and_hints(prior: MakeSession, h2c: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        assert conn.read_body(request) == b"abc"
        assert request.trailers == [(b"x-digest", b"d")]
        conn.informational(request, 103, {"link": "</a>"})
        conn.respond(request, 200, {}, b"body", trailers={"x-sum": "4"})
        hold(conn)

    started = h2c(script)
    body = requests_h2.BodyWithTrailers([b"abc"], {"x-digest": "d"})
    response = prior().post(started.url, data=body, timeout=WAIT)
    assert response.content == b"body"
    assert response.raw.trailers["x-sum"] == "4"
    assert [each.status for each in response.raw.informational] == [103]


def test_a_redirect_to_https_goes_by_alpn(
    prior: MakeSession, h2c: StartPeer, peer: StartPeer
) -> None:
    """``https://`` is not concerned by the option, on the same adapter."""
    for alpn, version in ((("h2", "http/1.1"), 20), (("http/1.1",), 11)):
        secure = peer(ordinary, alpn=alpn)
        first = h2c(serve(lambda request, to=secure.url: (302, {"location": to + "/there"}, b"")))
        response = prior().get(first.url, timeout=WAIT)
        assert (response.raw.version, response.content) == (version, b"/there")
        assert response.history[0].raw.version == 20
        assert secure.connection().channel.alpn == alpn[0]


# -- options -------------------------------------------------------------------------------


def test_without_the_option_http_is_http1(
    make_adapter: Callable[..., Any], session: requests.Session, h2c: StartPeer
) -> None:
    started = h2c(ordinary)
    session.mount("http://", make_adapter())
    assert session.get(started.url, timeout=WAIT).raw.version == 11
    assert started.request.request_line == "GET / HTTP/1.1"


def test_http2_false_contradicts_it(make_adapter: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"prior_knowledge.*http2=False"):
        make_adapter(http2=False, prior_knowledge=True)


def test_http2_required_is_satisfied_by_it(prior: MakeSession, h2c: StartPeer) -> None:
    started = h2c(ordinary)
    assert prior(http2="required").get(started.url, timeout=WAIT).raw.version == 20


def test_pickled_and_copied_adapters_know_it_too(prior: MakeSession, h2c: StartPeer) -> None:
    started, session = h2c(ordinary), prior()
    adapter = pickle.loads(pickle.dumps(session.get_adapter(started.url)))
    session.mount("http://", adapter)
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    adapter.close()


# -- what is wrong with the server ---------------------------------------------------------

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad"


def silent_preface(conn: PeerConnection) -> None:
    """Take the client's preface in and say nothing, not even SETTINGS."""
    conn.auto_settings = False
    while len(conn._buffer) < 24:
        conn._fill(WAIT)
    del conn._buffer[:24]


@pytest.mark.parametrize("ending", ["closed", "open"])
def test_002_an_http1_server(prior: MakeSession, h2c: StartPeer, ending: str) -> None:
    def script(conn: PeerConnection) -> None:
        silent_preface(conn)
        conn.wait_for(HeadersFrame, stream_id=1)
        conn.send_raw(BAD_REQUEST)
        if ending == "closed":
            conn.close()
        conn.wait_eof()

    started = h2c(script, preface=False)
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError, match=r"looks like HTTP/1\.1") as caught:
        prior(max_retries=0).get(started.url, timeout=WAIT)
    assert not isinstance(caught.value, requests.Timeout)
    assert "check that the server expects it" in str(caught.value)
    assert "prior_knowledge=True" in str(caught.value)
    assert f"127.0.0.1:{started.port}" in str(caught.value)
    assert time.monotonic() - begin < PROMPT
    assert started.accepted == 1


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_server_that_hangs_up_on_the_preface(
    prior: MakeSession, h2c: StartPeer, how: str
) -> None:
    def script(conn: PeerConnection) -> None:
        silent_preface(conn)
        getattr(conn, how)()

    started = h2c(script, preface=False)
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError, match="prior_knowledge=True") as caught:
        prior().post(started.url, data=iter([b"once"]), timeout=WAIT)
    assert not isinstance(caught.value, requests.Timeout)
    assert time.monotonic() - begin < PROMPT


def test_the_option_is_not_blamed_by_a_server_that_speaks_http2(
    prior: MakeSession, h2c: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), 2)
        hold(conn)

    with pytest.raises(requests.ConnectionError, match="INTERNAL_ERROR") as caught:
        prior().get(h2c(script).url, timeout=WAIT)
    assert "prior_knowledge" not in str(caught.value)


def test_http_1_1_required(prior: MakeSession, h2c: StartPeer) -> None:
    """Once over HTTP/1.1, as with TLS; the server is remembered."""

    def script(conn: Any) -> None:
        if isinstance(conn, Http1Connection):
            ordinary(conn)
        else:
            conn.reset(conn.next_request(), HTTP_1_1_REQUIRED)
            hold(conn)

    started, session = h2c(script), prior()
    for path in ("/a", "/b"):
        response = session.post(started.url + path, data=b"body", timeout=WAIT)
        assert (response.raw.version, response.content) == (11, b"body")
    assert started.accepted == 2
    with pytest.raises(requests.ConnectionError, match="HTTP_1_1_REQUIRED"):
        prior(http2="required").get(started.url, timeout=WAIT)


# -- timeouts, ends ------------------------------------------------------------------------


def test_read_timeout_ends_the_stream_only(prior: MakeSession, h2c: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.expect(RstStreamFrame, stream_id=conn.next_request().stream_id)
        ordinary(conn)

    started, session = h2c(script), prior()
    with pytest.raises(requests.ReadTimeout):
        session.get(started.url, timeout=(WAIT, 0.2))
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    assert started.accepted == 1


def test_connect_timeout(prior: MakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(sock: socket.socket, address: Any) -> None:
        assert sock.gettimeout() == 0.25
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(requests.ConnectTimeout, match=r"connect timeout=0\.25"):
        prior().get("http://127.0.0.1:9/", timeout=(0.25, WAIT))


def test_nobody_listens(prior: MakeSession, h2c: StartPeer) -> None:
    started = h2c(ordinary)
    started.stop_listening()
    with pytest.raises(requests.ConnectionError, match=r"^HTTPConnectionPool\(.*refused"):
        prior().get(started.url, timeout=WAIT)


def test_goaway_and_refusals_are_replayed(prior: MakeSession, h2c: StartPeer) -> None:
    def goes(conn: PeerConnection) -> None:
        conn.next_request()
        conn.goaway(0)
        conn.close()

    def refuses(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), REFUSED_STREAM)
        ordinary(conn)

    started = h2c([goes, refuses])
    response = prior().post(started.url, data=b"body", timeout=WAIT)
    assert (response.raw.version, response.content) == (20, b"body")
    assert started.accepted == 2


def test_a_connection_lost_while_idle_is_replaced(prior: MakeSession, h2c: StartPeer) -> None:
    started, session = h2c(ordinary), prior()
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    started.connection().cut()
    started.connection().channel.wait_until_delivered()
    assert session.post(started.url, data=iter([b"once"]), timeout=WAIT).content == b"once"


def test_an_early_close_ends_the_stream_only(prior: MakeSession, h2c: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"begin")
        conn.expect(RstStreamFrame, stream_id=request.stream_id, error_code=8)
        ordinary(conn)

    started, session = h2c(script), prior()
    session.get(started.url, stream=True, timeout=WAIT).close()
    assert session.get(started.url, timeout=WAIT).content == b"/"
    session.close()
    started.connection().wait_eof()
    assert started.accepted == 1


FORKING = """
import os, sys
import requests
import requests_h2

url, engine = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.mount("http://", requests_h2.HTTP2Adapter(prior_knowledge=True, engine=engine))
assert session.get(url + "/before", timeout=10).text == "/before"
child = os.fork()
if child == 0:
    assert session.get(url + "/child", timeout=10).text == "/child"
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert session.get(url + "/after", timeout=10).text == "/after"
"""


def test_a_forked_child_dials_for_itself(h2c: StartPeer, engine: str) -> None:
    started = h2c(ordinary)
    program = [sys.executable, "-c", FORKING, started.url, engine]
    done = subprocess.run(
        program, cwd=ROOT, capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    parent, child = ([request.path for request in each.requests] for each in started.connections)
    assert (parent, child) == (["/before", "/after"], ["/child"])


# -- PING ----------------------------------------------------------------------------------


def test_ping(prior: MakeSession, h2c: StartPeer) -> None:
    started, session = h2c(ordinary), prior()
    adapter: Any = session.get_adapter(started.url)
    assert 0 < adapter.ping(started.url, timeout=WAIT, verify=session.verify) < WAIT
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    assert len(started.connection().received(PingFrame)) == 1
    assert started.accepted == 1


def test_ping_without_the_option(make_adapter: Callable[..., Any], h2c: StartPeer) -> None:
    started = h2c(ordinary)
    with make_adapter() as adapter, pytest.raises(requests.ConnectionError, match="prior_know"):
        adapter.ping(started.url, timeout=WAIT)
    assert started.accepted == 0


# -- push ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "authority", "taken"),
    [
        ("http", "127.0.0.1:{port}", True),
        ("https", "127.0.0.1:{port}", False),
        ("http", "127.0.0.1", False),
        ("http", "localhost:{port}", False),
    ],
)
def test_only_the_servers_own_origin_may_be_pushed(
    prior: MakeSession, h2c: StartPeer, scheme: str, authority: str, taken: bool
) -> None:
    """There is no certificate that would name another (RFC 9113 section 10.1)."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        fields = [
            (":method", "GET"),
            (":scheme", scheme),
            (":authority", authority.format(port=started.port)),
            (":path", "/pushed"),
        ]
        promised = conn.push_promise(request, 2, fields)
        if taken:
            conn.respond(promised, 200, {}, b"pushed body")
        else:
            conn.wait_for(RstStreamFrame, stream_id=2, error_code=PROTOCOL_ERROR)
        conn.respond(request, 200, {}, b"body")
        hold(conn)

    started = h2c(script)
    response = prior(enable_push=True).get(started.url, timeout=WAIT)
    pushes = list(requests_h2.get_pushes(response, capture_all=True))
    assert [push.url for push in pushes] == ([started.url + "/pushed"] if taken else [])
    assert [push.response(timeout=WAIT).content for push in pushes] == [b"pushed body"] * taken
    assert response.content == b"body"


# -- proxies -------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [True, "required"])
@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("tls", [False, True])
def test_an_http_proxy_is_refused(
    prior: MakeSession,
    h2c: StartPeer,
    make_proxy: MakeProxy,
    tls: bool,
    block: bool,
    http2: Any,
) -> None:
    """It would have to be spoken to in HTTP/1.1. Nothing goes direct, and nothing is downgraded."""
    started, proxy = h2c(ordinary), make_proxy(tls=tls)
    session = prior(max_retries=3, pool_block=block, pool_maxsize=1, http2=http2)
    session.proxies = {"http": proxy.url_for("user:secret")}
    for _ in range(2):
        with pytest.raises(requests.exceptions.ProxyError, match="prior_knowledge") as caught:
            session.get(started.url, timeout=WAIT)
        assert "secret" not in str(caught.value)
    adapter: Any = session.get_adapter(started.url)
    with pytest.raises(requests.exceptions.ProxyError, match="prior_knowledge"):
        adapter.ping(started.url, timeout=WAIT, proxies=session.proxies)
    assert (proxy.accepted, started.accepted) == (0, 0)


def test_an_http_proxy_of_the_environment_is_refused_too(
    prior: MakeSession, h2c: StartPeer, monkeypatch: pytest.MonkeyPatch, make_proxy: MakeProxy
) -> None:
    started, proxy, session = h2c(ordinary), make_proxy(), prior()
    monkeypatch.setenv("http_proxy", proxy.url)
    with pytest.raises(requests.exceptions.ProxyError, match="no_proxy"):
        session.get(started.url, timeout=WAIT)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    assert proxy.accepted == 0


def test_https_goes_through_the_proxy_as_ever(
    prior: MakeSession, peer: StartPeer, make_proxy: MakeProxy
) -> None:
    started, proxy, session = peer(ordinary), make_proxy(), prior()
    session.proxies = {"https": proxy.url}
    assert session.get(started.url, timeout=WAIT).raw.version == 20
    assert proxy.accepted == 1


@pytest.mark.extra("socks")
@pytest.mark.parametrize("scheme", ["socks4", "socks5", "socks5h"])
def test_socks(prior: MakeSession, h2c: StartPeer, make_socks: MakeSocks, scheme: str) -> None:
    started, socks, session = h2c(ordinary), make_socks(), prior()
    session.proxies = {"http": socks.url(scheme)}
    for body in (b"x" * MIB, b"y"):
        response = session.post(started.url, data=body, timeout=WAIT)
        assert (response.raw.version, response.content) == (20, body)
    with pytest.raises(requests.ReadTimeout):
        prior().get(h2c(hold).url, proxies=session.proxies, timeout=(WAIT, 0.2))
    assert (socks.accepted, started.accepted) == (2, 1)


@pytest.mark.extra("socks")
def test_a_proxys_password_does_not_get_to_the_server(
    prior: MakeSession, h2c: StartPeer, make_socks: MakeSocks
) -> None:
    """requests adds it to what follows a redirect."""

    def redirect(request: Request) -> Any:
        return (302, {"location": "/there"}, b"") if request.path == "/" else (200, {}, b"there")

    started, session = h2c(serve(redirect)), prior()
    session.proxies = {"http": make_socks().url("socks5", "user:secret")}
    assert session.get(started.url, timeout=WAIT).content == b"there"
    assert [request.path for request in started.requests] == ["/", "/there"]
    assert "proxy-authorization" not in started.requests[1].headers


def test_a_tool_that_wants_to_see_exchanges_gets_http1(
    prior: MakeSession, h2c: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As vcrpy's connections, over TLS as well; ``"required"`` refuses that."""

    class Recording(HTTPConnection):
        def getresponse(self) -> Any:
            return super().getresponse()

    started = h2c(ordinary)
    monkeypatch.setattr(HTTPConnectionPool, "ConnectionCls", Recording)
    assert prior().get(started.url, timeout=WAIT).raw.version == 11
    with pytest.raises(requests.ConnectionError, match="Recording"):
        prior(http2="required").get(started.url, timeout=WAIT)


def test_a_response_that_waits_is_ended_with_the_connection(
    prior: MakeSession, h2c: StartPeer
) -> None:
    started, session = h2c(hold), prior()
    future = background(lambda: session.get(started.url, timeout=WAIT))
    started.connection().wait_for(HeadersFrame, stream_id=1)
    started.connection().cut()
    with pytest.raises(requests.ConnectionError, match="closed the connection"):
        future.result(WAIT)
