"""``HTTP2Adapter.ping``: one PING (RFC 9113 section 6.7), and what becomes of its answer."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import as_completed
from typing import Any

import pytest
import requests
import urllib3
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, RstStreamFrame
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InsecureRequestWarning

from tests.support.certs import Certificates
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
from tests.support.proxy import Proxy
from tests.support.threads import PROMPT, WAIT, background, together

MIB = 2**20
Ping = Callable[..., float]


def answer(request: Request) -> Any:
    return 200, {}, request.path.encode()


ordinary = serve(answer)


def swallow(conn: PeerConnection) -> None:
    """Read PINGs and answer none; requests get their answer."""
    conn.auto_ping = False
    ordinary(conn)


@pytest.fixture
def ping(session: requests.Session, certs: Certificates) -> Ping:
    return pinging(session, certs)


def pinging(session: requests.Session, certs: Certificates) -> Ping:
    """``ping(peer.url)`` with the session's adapter and CA."""
    adapter: Any = session.get_adapter("https://")

    def ping(url: str, timeout: Any = WAIT, **options: Any) -> float:
        seconds: float = adapter.ping(url, timeout, **{"verify": certs.ca_path, **options})
        return seconds

    return ping


def pings(conn: PeerConnection, count: int) -> list[bytes]:
    """The first ``count`` PINGs, and any more that have come. The peer answers one before it takes
    note of it.
    """
    conn.wait_for(PingFrame, lambda _: len(conn.received(PingFrame)) >= count)
    return [frame.opaque_data for frame in conn.received(PingFrame)]


def test_a_ping_dials(ping: Ping, peer: StartPeer) -> None:
    started = peer(ordinary)
    begin = time.monotonic()
    seconds = ping(started.url)
    assert 0 < seconds <= time.monotonic() - begin
    conn = started.connection()
    assert len(pings(conn, 1)) == 1
    assert conn.requests == []


def test_the_time_is_the_round_trip(ping: Ping, peer: StartPeer) -> None:
    pause = threading.Event()

    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        asked = conn.expect(PingFrame)
        pause.wait(0.2)
        conn.ping(asked.opaque_data, ack=True)

    assert 0.2 <= ping(peer(script).url) < 0.2 + PROMPT


def test_it_uses_the_connection_of_requests(
    session: requests.Session, ping: Ping, peer: StartPeer
) -> None:
    started = peer(ordinary)
    ping(started.url)
    assert session.get(started.url + "/path", timeout=WAIT).content == b"/path"
    ping(started.url + "/any/path?query")
    assert started.accepted == 1
    conn = started.connection()
    assert len(set(pings(conn, 2))) == 2
    assert conn.requests[0].stream_id == 1


def test_it_needs_no_stream(session: requests.Session, ping: Ping, peer: StartPeer) -> None:
    """Nor does it take one: a request beside it finds the only place."""
    answered = threading.Event()

    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        first = conn.expect(PingFrame)
        conn.respond(conn.next_request(), 200, (), b"beside")
        conn.ping(first.opaque_data, ack=True)
        held = conn.next_request()
        conn.send_headers(held)
        second = conn.expect(PingFrame)
        conn.ping(second.opaque_data, ack=True)
        assert answered.wait(WAIT)
        conn.send_data(held, b"held", end_stream=True)

    started = peer(script, settings={"max_concurrent_streams": 1})
    first = background(lambda: ping(started.url))
    started.connection().wait_for(PingFrame)
    assert session.get(started.url, timeout=WAIT).content == b"beside"
    first.result(WAIT)
    held = session.get(started.url, stream=True, timeout=WAIT)
    ping(started.url)
    answered.set()
    assert held.content == b"held"
    assert started.accepted == 1


def test_other_settings_are_another_connection(
    ping: Ping, peer: StartPeer, certs: Certificates
) -> None:
    started = peer(ordinary)
    ping(started.url)
    with pytest.warns(InsecureRequestWarning):
        ping(started.url, verify=False)
    with pytest.warns(InsecureRequestWarning):
        ping(started.url, verify=False)
    assert started.accepted == 2
    ping(started.url)
    assert [len(pings(conn, 2)) for conn in started.connections] == [2, 2]


def test_threads_that_ping_at_once(ping: Ping, peer: StartPeer) -> None:
    """One dial for all of them. The answers come in reverse, and each finds its own thread."""
    late = threading.Event()

    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        asked = [conn.expect(PingFrame).opaque_data for _ in range(8)]
        for data in reversed(asked[1:]):
            conn.ping(data, ack=True)
        assert late.wait(WAIT)
        conn.ping(asked[0], ack=True)

    started = peer(script)
    threads = [background(lambda: ping(started.url)) for _ in range(8)]
    seven = list(itertools.islice(as_completed(threads, WAIT), 7))
    assert len(seven) == 7
    late.set()
    times = sorted(each.result(WAIT) for each in threads)
    assert times[0] > 0
    assert started.accepted == 1
    assert len(set(pings(started.connection(), 8))) == 8


def test_pings_among_requests(session: requests.Session, ping: Ping, peer: StartPeer) -> None:
    started = peer(ordinary)

    def work(number: int) -> bool:
        if number % 2:
            return all(ping(started.url) > 0 for _ in range(20))
        path = f"/{number}"
        return all(session.get(started.url + path).text == path for _ in range(20))

    assert all(together(8, work))
    assert started.accepted == 1


def test_the_pump_is_another_thread(session: requests.Session, ping: Ping, peer: StartPeer) -> None:
    """And goes on after the ping; or leaves before it, and the ping takes over."""
    started = peer(hold)
    conn_ready = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    ping(started.url)
    (first,) = pings(conn, 1)
    conn.auto_ping = False
    asked = background(lambda: ping(started.url))
    second = conn.wait_for(PingFrame, lambda frame: frame.opaque_data != first)
    conn.respond(1, 200, (), b"answer")
    assert conn_ready.result(WAIT) == b"answer"
    conn.ping(second.opaque_data, ack=True)
    asked.result(WAIT)


def test_answers_to_nothing_are_nobodys(ping: Ping, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        asked = conn.expect(PingFrame).opaque_data
        conn.ping(b"not that", ack=True)
        conn.ping(asked)
        assert conn.expect(PingFrame, opaque_data=asked).flags == {"ACK"}
        conn.ping(asked, ack=True)
        conn.ping(asked, ack=True)

    assert ping(peer(script).url) > 0


@pytest.mark.parametrize("timeout", [0.2, (5, 0.2), urllib3.Timeout(connect=5, read=0.2)], ids=str)
def test_no_answer_in_time(
    session: requests.Session, ping: Ping, peer: StartPeer, timeout: Any
) -> None:
    """A server that says nothing at all gets no new request on that connection."""
    started = peer([swallow, ordinary])
    assert session.get(started.url + "/a", timeout=WAIT).content == b"/a"
    with pytest.raises(requests.exceptions.ReadTimeout, match=r"PING.*0\.2") as caught:
        ping(started.url, timeout)
    assert "127.0.0.1" in str(caught.value)
    assert session.get(started.url + "/b", timeout=WAIT).content == b"/b"
    assert started.accepted == 2
    started.connection(0).wait_eof()


def test_no_answer_in_time_on_a_connection_that_lives(
    session: requests.Session, ping: Ping, peer: StartPeer
) -> None:
    """Other streams notice nothing; and as the server goes on talking, it gets more requests."""
    over = threading.Event()

    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        request = conn.next_request()
        conn.send_headers(request)
        while not over.wait(0.02):
            conn.send_data(request, b"x")
            conn.read_available()
        conn.send_data(request, end_stream=True)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    streamed = background(lambda: session.get(started.url, timeout=WAIT).content)
    started.connection().wait_for(HeadersFrame, stream_id=1)
    with pytest.raises(requests.exceptions.ReadTimeout):
        ping(started.url, 0.3)
    over.set()
    assert set(streamed.result(WAIT)) == set(b"x")
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.accepted == 1


def test_no_answer_in_time_and_others_wait(
    session: requests.Session, ping: Ping, peer: StartPeer
) -> None:
    """Theirs may come later: the connection is not lost for them."""

    def silent(conn: PeerConnection) -> None:
        conn.auto_ping = False
        conn.respond(conn.next_request(), 204)
        hold(conn)

    started = peer([silent, ordinary])
    session.get(started.url, timeout=WAIT)
    waiting = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=3)
    with pytest.raises(requests.exceptions.ReadTimeout):
        ping(started.url, 0.2)
    assert session.get(started.url + "/other", timeout=WAIT).content == b"/other"
    conn.respond(3, 200, (), b"late")
    assert waiting.result(WAIT) == b"late"
    assert started.accepted == 2
    assert conn.received(RstStreamFrame) == []


def test_an_answer_that_comes_too_late_is_nobodys(
    session: requests.Session, ping: Ping, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        held = conn.next_request()
        late = conn.expect(PingFrame).opaque_data
        conn.ping()  # which keeps the connection
        asked = conn.wait_for(PingFrame, lambda frame: frame.opaque_data not in (late, b"12345678"))
        conn.ping(late, ack=True)
        conn.ping(asked.opaque_data, ack=True)
        conn.respond(held, 204)

    started = peer(script)
    held = background(lambda: session.get(started.url, timeout=WAIT).status_code)
    started.connection().wait_for(HeadersFrame, stream_id=1)
    with pytest.raises(requests.exceptions.ReadTimeout):
        ping(started.url, 0.3)
    ping(started.url)
    assert held.result(WAIT) == 204
    assert started.accepted == 1


@pytest.mark.parametrize("end", ["close", "cut", "abort", "goaway", "goaway and close"])
def test_the_connection_is_lost(ping: Ping, peer: StartPeer, end: str) -> None:
    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        conn.expect(PingFrame)
        if end.startswith("goaway"):
            conn.goaway(0, 11, b"too_many_pings")
        if end != "goaway":
            getattr(conn, end.rsplit(maxsplit=1)[-1])()

    started = peer([script, ordinary])
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError) as caught:
        ping(started.url)
    assert time.monotonic() - begin < PROMPT
    assert not isinstance(caught.value, requests.Timeout)
    if end.startswith("goaway"):
        assert "too_many_pings" in str(caught.value)
    assert ping(started.url) > 0


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("times", [1, 4])
def test_a_connection_that_retires(ping: Ping, peer: StartPeer, times: int, closes: bool) -> None:
    """As servers do after so many requests: another one is asked, four times in all."""

    def retire(conn: PeerConnection) -> None:
        conn.auto_ping = False
        conn.expect(PingFrame)
        conn.goaway(0)
        if closes:
            conn.close()

    started = peer([*[retire] * times, ordinary])
    if times == 1:
        assert ping(started.url) > 0
        assert started.accepted == 2
    else:
        with pytest.raises(requests.ConnectionError, match="GOAWAY with NO_ERROR"):
            ping(started.url)
        assert started.accepted == 4
    started.connection().wait_eof()


def test_the_peer_breaks_the_protocol(ping: Ping, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        conn.expect(PingFrame)
        conn.send_raw(b"\x00\x00\x07\x06\x01\x00\x00\x00\x001234567")

    with pytest.raises(requests.ConnectionError, match="FRAME_SIZE_ERROR"):
        ping(peer(script).url)


def test_the_session_is_closed_meanwhile(
    session: requests.Session, ping: Ping, peer: StartPeer
) -> None:
    """Who waits for something gets it; then the connection ends."""

    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        asked = conn.expect(PingFrame)
        assert closed.wait(WAIT)
        conn.ping(asked.opaque_data, ack=True)

    closed = threading.Event()
    started = peer(script)
    asked = background(lambda: ping(started.url))
    started.connection().wait_for(PingFrame)
    session.close()
    closed.set()
    assert asked.result(WAIT) > 0
    started.connection().wait_eof()


def test_an_idle_connection_that_ended_is_replaced(ping: Ping, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.expect(PingFrame)
        conn.channel.wait_until_delivered()
        conn.close()
        conn.channel.wait_until_delivered()
        ended.set()

    ended = threading.Event()
    started = peer([script, ordinary])
    ping(started.url)
    assert ended.wait(WAIT)
    ping(started.url)
    assert started.accepted == 2


def test_behind_an_upload_that_the_peer_does_not_read(
    session: requests.Session, ping: Ping, peer: StartPeer
) -> None:
    """The PING waits in the same queue; its timeout harms nobody."""
    go_on = threading.Event()

    def script(conn: PeerConnection) -> None:
        conn.window_update(0, 2**30)
        request = conn.next_request()
        conn.expect(DataFrame)
        assert go_on.wait(WAIT)
        while not request.ended:
            conn.read_frame()
        conn.respond(request, 200, {}, str(request.received).encode())

    started = peer(script, settings={"initial_window_size": 2**30}, keep_data=False)
    upload = background(lambda: session.post(started.url, data=bytes(64 * MIB), timeout=WAIT))
    started.connection().wait_for(DataFrame, stream_id=1)
    with pytest.raises(requests.exceptions.ReadTimeout):
        ping(started.url, 0.3)
    go_on.set()
    assert upload.result(WAIT).text == str(64 * MIB)


# -- without HTTP/2 ------------------------------------------------------------------------


def test_a_server_without_http2(session: requests.Session, ping: Ping, peer: StartPeer) -> None:
    started = peer(ordinary, alpn=("http/1.1",))
    for _ in range(2):
        with pytest.raises(requests.ConnectionError, match=r"HTTP/1\.1"):
            ping(started.url)
    assert session.get(started.url + "/path", timeout=WAIT).content == b"/path"
    assert len(started.requests) == 1


def test_a_server_that_wants_http1(session: requests.Session, ping: Ping, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), 13)

    def plain(conn: Http1Connection) -> None:
        conn.respond(conn.next_request(), 200, {}, b"plain")
        conn.linger()

    started = peer([script, plain])
    assert session.get(started.url, timeout=WAIT).content == b"plain"
    with pytest.raises(requests.ConnectionError, match=r"HTTP/1\.1"):
        ping(started.url)
    assert started.accepted == 2


def test_http2_required(make_session: MakeSession, peer: StartPeer, certs: Certificates) -> None:
    ping = pinging(make_session(http2="required"), certs)
    assert ping(peer(ordinary).url) > 0
    with pytest.raises(requests.ConnectionError, match="HTTP/2"):
        ping(peer(ordinary, alpn=("http/1.1",)).url)


def test_http2_switched_off(
    make_session: MakeSession, peer: StartPeer, certs: Certificates
) -> None:
    started = peer(ordinary)
    with pytest.raises(requests.ConnectionError, match="HTTP/2"):
        pinging(make_session(http2=False), certs)(started.url)
    assert started.accepted == 0


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_http_urls(ping: Ping, peer: StartPeer, scheme: str) -> None:
    started = peer(hold, tls=False)
    with pytest.raises(requests.ConnectionError, match="spoken to https:// URLs"):
        ping(f"{scheme}://127.0.0.1:{started.port}/")
    assert started.accepted == 0


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("127.0.0.1", requests.exceptions.MissingSchema),
        ("https://", requests.exceptions.InvalidURL),
        ("https://[::1", requests.exceptions.InvalidURL),
        (f"https://{'a' * 64}.example/", requests.exceptions.InvalidURL),
        ("ftp://127.0.0.1/", requests.exceptions.InvalidURL),
    ],
)
def test_bad_urls(ping: Ping, url: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ping(url)


# -- dialling ------------------------------------------------------------------------------


def test_nobody_listens(ping: Ping, peer: StartPeer) -> None:
    started = peer(ordinary)
    started.close()
    with pytest.raises(requests.ConnectionError) as caught:
        ping(started.url)
    assert not isinstance(caught.value, requests.Timeout)
    assert isinstance(caught.value.request, requests.PreparedRequest)


def test_a_dial_that_times_out(ping: Ping) -> None:
    proxy = Proxy(None)
    with proxy, pytest.raises(requests.exceptions.ConnectTimeout):
        ping(f"https://127.0.0.1:{proxy.port}", (0.2, 5))


def test_a_certificate_that_is_not_trusted(ping: Ping, peer: StartPeer) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        ping(peer(ordinary).url, verify=True)


def test_the_users_retries_dial_again(
    make_session: MakeSession, peer: StartPeer, certs: Certificates
) -> None:
    """A PING that was sent is not sent again: its time would be no round trip."""
    ping = pinging(make_session(max_retries=2), certs)
    started = peer([swallow, ordinary])
    with pytest.raises(requests.exceptions.ReadTimeout):
        ping(started.url, (WAIT, 0.2))
    assert started.accepted == 1
    assert len(pings(started.connection(), 1)) == 1


# -- proxies -------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_through_a_proxy(session: requests.Session, ping: Ping, peer: StartPeer, tls: bool) -> None:
    started = peer(ordinary)
    with Proxy(tls=tls) as proxy:
        proxies = {"https": proxy.url}
        ping(started.url, proxies=proxies)
        session.proxies = proxies
        assert session.get(started.url + "/path", timeout=WAIT).content == b"/path"
        assert (proxy.accepted, started.accepted) == (1, 1)
        session.close()


def test_through_a_proxy_that_refuses(ping: Ping, peer: StartPeer) -> None:
    started = peer(ordinary)
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    with Proxy(refusal) as proxy, pytest.raises(requests.exceptions.ProxyError):
        ping(started.url, proxies={"https": proxy.url})
    assert started.accepted == 0


def test_through_a_forwarding_proxy(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    """HTTP/1.1 only: nothing is dialled."""
    kind = type(make_adapter())

    class Forwarding(kind):  # type: ignore[misc, valid-type]
        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            return super().proxy_manager_for(proxy, use_forwarding_for_https=True, **kwargs)

    proxy, adapter = peer(ordinary), Forwarding()
    with pytest.raises(requests.ConnectionError, match="HTTP/2"):
        adapter.ping("https://origin.example/", proxies={"https": proxy.url}, verify=certs.ca_path)
    assert proxy.accepted == 0


# -- and the rest of the adapter -----------------------------------------------------------


def test_an_adapter_that_wraps_send(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    """A ping is no request: a subclass that caches or logs requests sees none."""
    sent: list[str] = []
    kind = type(make_adapter())

    class Logging(kind):  # type: ignore[misc, valid-type]
        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
            sent.append(str(request.url))
            return super().send(request, *args, **kwargs)

    adapter = Logging()
    assert isinstance(adapter, HTTPAdapter)
    try:
        assert adapter.ping(peer(ordinary).url, WAIT, verify=certs.ca_path) > 0
    finally:
        adapter.close()
    assert sent == []


def test_settings_of_the_session(
    session: requests.Session, peer: StartPeer, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the documentation has it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certs.ca_path)
    session.verify = True
    started: Peer = peer(ordinary)
    adapter: Any = session.get_adapter("https://")
    settings: Any = session.merge_environment_settings(started.url, {}, None, None, None)
    del settings["stream"]
    assert adapter.ping(started.url, timeout=WAIT, **settings) > 0
    assert session.get(started.url, timeout=WAIT).status_code == 200
    assert started.accepted == 1
