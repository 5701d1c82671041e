"""``HTTP2Adapter(ping_interval=, ping_timeout=)``: PINGs that nobody asked for one by one."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame
from urllib3.connection import HTTPConnection

from tests.support.certs import Certificates
from tests.support.exchanges import in_one_write, start
from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, hold, serve
from tests.support.proxy import Proxy
from tests.support.threads import PROMPT, WAIT, background, together

#: An interval that ends in a test, and one that does not.
SOON, NEVER = 0.1, 300.0
MIB = 2**20


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or request.path.encode()


ordinary = serve(answer)


def mute(conn: PeerConnection) -> None:
    """Requests get their answer until one asks for /silence; PINGs get none."""
    conn.auto_ping = False
    while True:
        request = conn.next_request(3600)
        if request.path == "/silence":
            hold(conn)
        else:
            conn.respond(request, 200, (), request.path.encode())


def asked(conn: PeerConnection) -> list[bytes]:
    """The PINGs that came, without answers."""
    return [each.opaque_data for each in conn.received(PingFrame) if "ACK" not in each.flags]


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


# -- options -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "30", True, False])
@pytest.mark.parametrize("name", ["ping_interval", "ping_timeout"])
def test_options_are_checked(make_adapter: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        make_adapter(**{name: value})


def test_a_timeout_is_needed(make_adapter: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="ping_timeout must be"):
        make_adapter(ping_timeout=None)


def test_options_survive_pickling(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    started = peer(mute)
    adapter = pickle.loads(pickle.dumps(make_adapter(ping_interval=SOON, ping_timeout=0.2)))
    with requests.Session() as session:
        session.mount("https://", adapter)
        with pytest.raises(requests.ConnectionError, match="PING"):
            session.get(started.url + "/silence", verify=certs.ca_path)


# -- while a response is awaited -----------------------------------------------------------


def test_pings_while_a_response_is_awaited(make_session: MakeSession, peer: StartPeer) -> None:
    """Each after the answer to the one before, and none like another."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        seen = {conn.expect(PingFrame).opaque_data for _ in range(3)}
        assert len(seen) == 3
        conn.respond(request, 200, (), b"at last")

    started = peer(script)
    session = make_session(ping_interval=SOON)
    assert session.get(started.url).content == b"at last"
    assert started.accepted == 1


def test_pings_while_a_body_is_awaited(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.expect(PingFrame)
        conn.send_data(request, b"some")
        conn.expect(PingFrame)
        conn.send_data(request, b" more", end_stream=True)

    session = make_session(ping_interval=SOON)
    assert session.get(peer(script).url, timeout=WAIT).content == b"some more"


def test_pings_while_a_window_is_awaited(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < 65_535:
            conn.expect(DataFrame)
        conn.expect(PingFrame)
        conn.credit(request, 100_000)
        conn.read_body(request)
        conn.respond(request, 200, (), b"thanks")

    session = make_session(ping_interval=SOON)
    assert session.post(peer(script).url, data=bytes(100_000)).content == b"thanks"


def test_pings_while_a_place_is_awaited(make_session: MakeSession, peer: StartPeer) -> None:
    """The response that takes it is held by nobody who waits."""

    def script(conn: PeerConnection) -> None:
        held = conn.next_request()
        conn.send_headers(held)
        conn.expect(PingFrame)
        conn.send_data(held, end_stream=True)
        conn.respond(conn.next_request(), 200, (), b"place")

    session = make_session(ping_interval=SOON, pool_maxsize=1)
    started = peer(script, settings={"max_concurrent_streams": 1})
    held = session.get(started.url, stream=True)
    assert session.get(started.url, timeout=WAIT).content == b"place"
    assert held.content == b""


def test_no_ping_while_something_comes(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for _ in range(20):
            conn.send_data(request, b"x")
            pause(0.05)
        conn.send_data(request, end_stream=True)

    started = peer(script)
    session = make_session(ping_interval=0.9)
    assert session.get(started.url).content == b"x" * 20
    assert asked(started.connection()) == []


def test_whoever_reads_sends(make_session: MakeSession, peer: StartPeer) -> None:
    """Many threads wait, and PINGs do not become more for it."""
    started = peer(hold)
    session = make_session(ping_interval=0.3)
    futures = [start(session, started, "/", stream_id=2 * n + 1) for n in range(8)]
    conn = started.connection()
    begin = time.monotonic()
    conn.wait_for(PingFrame, lambda _: len(asked(conn)) == 3)
    assert len(asked(conn)) <= (time.monotonic() - begin) / 0.3 + 1
    for n in range(8):
        conn.respond(2 * n + 1, 204)
    assert [each.result(WAIT).status_code for each in futures] == [204] * 8


def test_a_held_response_sends_none(make_session: MakeSession, peer: StartPeer) -> None:
    """Nobody waits, so nobody would hear the answer. What came meanwhile needs no question."""
    started = peer(hold)
    session = make_session(ping_interval=SOON, ping_timeout=0.2)
    future = background(lambda: session.get(started.url, stream=True))
    conn = started.connection()
    conn.wait_for(HeadersFrame)
    conn.send_headers(1)
    held = future.result(WAIT)
    before = asked(conn)
    pause(0.5)
    conn.send_data(1, b"held", end_stream=True)
    assert held.content == b"held"
    assert asked(conn) == before


# -- no answer -----------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [None, WAIT])
def test_no_answer_is_a_lost_connection(
    make_session: MakeSession, peer: StartPeer, timeout: Any
) -> None:
    started = peer([mute, ordinary])
    session = make_session(ping_interval=SOON, ping_timeout=0.3)
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError, match=r"did not answer PING within 0\.3 s") as no:
        session.get(started.url + "/silence", timeout=timeout)
    assert 0.4 <= time.monotonic() - begin < 0.4 + PROMPT
    assert not isinstance(no.value, requests.Timeout)
    assert "127.0.0.1" in str(no.value)
    assert len(asked(started.connection(0))) == 1
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    assert started.accepted == 2


def test_every_thread_hears_of_it(make_session: MakeSession, peer: StartPeer) -> None:
    """For headers, a body, a window, a place; none has a timeout."""

    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        hold(conn)

    started = peer([script, ordinary], settings={"max_concurrent_streams": 3})
    session = make_session(ping_interval=0.3, ping_timeout=0.5, pool_maxsize=1)
    url = started.url
    futures: list[Any] = [
        start(session, started, "/", stream_id=1, timeout=None),
        start(session, started, "/", stream_id=3, timeout=None, method="POST", data=bytes(MIB)),
        background(lambda: session.get(url, stream=True).content),
    ]
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=5)
    conn.send_headers(5)
    for_a_place = background(lambda: session.post(url + "/place"))
    for each in futures:
        with pytest.raises(requests.RequestException, match="did not answer PING") as no:
            each.result(WAIT)
        assert not isinstance(no.value, requests.Timeout)
    assert for_a_place.result(WAIT).content == b"/place"
    assert len(asked(conn)) == 1


def test_a_lost_connection_is_replaced_once(make_session: MakeSession, peer: StartPeer) -> None:
    """By the table of replays: it had answered before, and a GET may be sent again."""
    started = peer([mute, ordinary, mute, ordinary])
    session = make_session(ping_interval=0.2, ping_timeout=0.3)
    url = started.url
    assert session.get(url + "/first").content == b"/first"
    assert session.get(url + "/silence").content == b"/silence"
    assert started.accepted == 2


def test_a_post_is_not_sent_again(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer([mute, ordinary])
    session = make_session(ping_interval=0.2, ping_timeout=0.3)
    assert session.get(started.url + "/first").content == b"/first"
    with pytest.raises(requests.ConnectionError, match="did not answer PING"):
        session.post(started.url + "/silence", data=b"once")
    assert started.accepted == 1


def test_in_the_middle_of_a_body(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"some")
        hold(conn)

    session = make_session(ping_interval=SOON, ping_timeout=0.2)
    chunks = session.get(peer(script).url, stream=True).iter_content(4)
    assert next(chunks) == b"some"
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="did not answer PING"):
        next(chunks)


def test_a_server_that_has_never_said_anything(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.channel.wait_until_delivered()
        while conn.channel.receive(timeout=WAIT):
            pass

    session = make_session(ping_interval=SOON, ping_timeout=0.2)
    with pytest.raises(requests.ConnectionError, match="did not answer PING"):
        session.get(peer(script, preface=False).url)


def test_any_octet_is_an_answer(make_session: MakeSession, peer: StartPeer) -> None:
    """The server does not answer PING, which it must, but it does live."""

    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        request = conn.next_request()
        for _ in range(3):
            conn.expect(PingFrame)
            conn.window_update(0, 1)
        conn.respond(request, 200, (), b"alive")

    started = peer(script)
    session = make_session(ping_interval=SOON, ping_timeout=1)
    assert session.get(started.url).content == b"alive"
    assert started.accepted == 1


def test_a_peer_that_reads_nothing(make_session: MakeSession, peer: StartPeer) -> None:
    """PING cannot even leave, and no timeout would end it."""
    over = threading.Event()

    def script(conn: PeerConnection) -> None:
        conn.window_update(0, 2**30)
        conn.next_request()
        conn.expect(DataFrame)
        assert over.wait(WAIT)

    started = peer(script, settings={"initial_window_size": 2**30}, keep_data=False)
    session = make_session(ping_interval=0.3, ping_timeout=0.5)
    adapter: Any = session.get_adapter("https://")
    small = (socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    adapter.init_poolmanager(10, 10, socket_options=[*HTTPConnection.default_socket_options, small])
    with pytest.raises(requests.ConnectionError, match="did not answer PING"):
        session.post(started.url, data=bytes(16 * MIB))
    over.set()


# -- before a request is entrusted to a silent connection ----------------------------------


def frames_since(conn: PeerConnection, stream_id: int) -> list[type[Frame]]:
    """What came before the HEADERS of a stream, back to those of the stream before it."""
    conn.wait_for(HeadersFrame, stream_id=stream_id)
    kinds: list[type[Frame]] = []
    for frame in conn.frames:
        if isinstance(frame, HeadersFrame):
            if frame.stream_id == stream_id:
                break
            kinds.clear()
        elif not (isinstance(frame, PingFrame) and "ACK" in frame.flags):
            kinds.append(type(frame))
    return [kind for kind in kinds if kind is PingFrame]


def test_an_idle_connection_is_asked_first(make_session: MakeSession, peer: StartPeer) -> None:
    """Once for each request that comes after such a silence; never without one."""
    started = peer(ordinary)
    session = make_session(ping_interval=SOON)
    for number in range(3):
        path = f"/{number}"
        assert session.post(started.url + path, timeout=WAIT).content == path.encode()
        before = len(asked(started.connection()))
        pause(3 * SOON)
        assert len(asked(started.connection())) == before
    assert started.accepted == 1
    conn = started.connection()
    assert frames_since(conn, 3) == frames_since(conn, 5) == [PingFrame]


def test_a_connection_that_was_used_lately_is_not(
    make_session: MakeSession, peer: StartPeer
) -> None:
    started = peer(ordinary)
    session = make_session(ping_interval=NEVER)
    for _ in range(3):
        session.get(started.url, timeout=WAIT)
    assert asked(started.connection()) == []


@pytest.mark.parametrize("timeout", [None, WAIT, (0.8, WAIT)], ids=str)
def test_an_idle_connection_that_is_dead(
    make_session: MakeSession, peer: StartPeer, timeout: Any
) -> None:
    """It costs some time, and no request. Half of the connect timeout is left for a dial."""
    started = peer([mute, ordinary])
    patience = WAIT if isinstance(timeout, tuple) else 0.3
    session = make_session(ping_interval=SOON, ping_timeout=patience)
    session.get(started.url, timeout=WAIT)
    pause(2 * SOON)
    begin = time.monotonic()
    response = session.post(started.url, data=b"precious", timeout=timeout)
    assert response.content == b"precious"
    assert 0.3 <= time.monotonic() - begin < 0.4 + PROMPT
    assert started.accepted == 2
    conn = started.connection(0)
    conn.wait_eof()
    assert len(conn.requests) == 1
    assert len(asked(conn)) == 1


def test_threads_at_an_idle_connection(make_session: MakeSession, peer: StartPeer) -> None:
    """One PING for all of them, and one connection."""
    started = peer(ordinary)
    session = make_session(ping_interval=1.0)
    session.get(started.url, timeout=WAIT)
    pause(1.2)
    paths = together(8, lambda n: session.get(f"{started.url}/{n}", timeout=WAIT).text)
    assert paths == [f"/{n}" for n in range(8)]
    assert started.accepted == 1
    assert len(asked(started.connection())) == 1


def test_threads_at_a_dead_connection(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer([mute, ordinary])
    session = make_session(ping_interval=0.3, ping_timeout=0.3)
    session.get(started.url, timeout=WAIT)
    pause(0.4)
    paths = together(8, lambda n: session.post(f"{started.url}/{n}").text)
    assert paths == [f"/{n}" for n in range(8)]
    assert started.accepted == 2
    assert len(asked(started.connection(0))) == 1


def test_readable_is_not_dead(make_session: MakeSession, peer: StartPeer) -> None:
    """What waits in the socket is read first, and is a sign of life."""
    started = peer(ordinary)
    session = make_session(ping_interval=0.5)
    session.get(started.url, timeout=WAIT)
    pause(0.6)
    conn = started.connection()
    conn.ping()
    conn.channel.wait_until_delivered()
    assert session.get(started.url, timeout=WAIT).content == b"/"
    assert frames_since(conn, 3) == []
    assert started.accepted == 1


@pytest.mark.parametrize("end", ["goaway", "close"])
def test_an_end_in_the_socket_needs_no_question(
    make_session: MakeSession, peer: StartPeer, end: str
) -> None:
    started = peer(ordinary)
    session = make_session(ping_interval=SOON)
    session.get(started.url, timeout=WAIT)
    pause(2 * SOON)
    conn = started.connection(0)
    if end == "goaway":
        conn.goaway(1)
    else:
        conn.close()
    conn.channel.wait_until_delivered()
    assert session.post(started.url, timeout=WAIT).content == b"/"
    assert asked(conn) == []
    assert started.accepted == 2


def test_the_end_comes_instead_of_an_answer(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        conn.respond(conn.next_request(), 204)
        conn.expect(PingFrame)
        conn.abort()

    started = peer([script, ordinary])
    session = make_session(ping_interval=SOON)
    session.get(started.url, timeout=WAIT)
    pause(2 * SOON)
    assert session.post(started.url, data=b"precious").content == b"precious"
    assert started.accepted == 2


# -- after a stream has timed out (row 80) -------------------------------------------------


def time_out(session: requests.Session, url: str) -> None:
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(url + "/silence", timeout=0.2)


def test_a_timeout_asks_a_server_that_lives(make_session: MakeSession, peer: StartPeer) -> None:
    """PING comes while the stream is open, so that nobody counts it as abuse; and no second one
    within the interval.
    """

    def slow(conn: PeerConnection) -> None:
        while True:
            request = conn.next_request(3600)
            if request.path != "/silence":
                conn.respond(request, 200, (), request.path.encode())

    started = peer(slow)
    session = make_session(ping_interval=NEVER)
    session.get(started.url, timeout=WAIT)
    for _ in range(3):
        time_out(session, started.url)
        assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    conn = started.connection()
    assert started.accepted == 1
    assert len(asked(conn)) == 1
    order = [type(each) for each in conn.frames if isinstance(each, PingFrame | RstStreamFrame)]
    assert order[:2] == [PingFrame, RstStreamFrame]


def test_a_timeout_asks_a_server_that_is_gone(make_session: MakeSession, peer: StartPeer) -> None:
    """No other request is entrusted to it."""
    started = peer([mute, ordinary])
    session = make_session(ping_interval=NEVER, ping_timeout=0.3)
    session.get(started.url, timeout=WAIT)
    time_out(session, started.url)
    assert session.post(started.url, data=b"precious").content == b"precious"
    assert started.accepted == 2
    assert len(started.connection(0).requests) == 2


def test_who_waits_beside_it_hears_in_time(make_session: MakeSession, peer: StartPeer) -> None:
    """Though the thread that reads meant to look again at the end of the interval."""
    started = peer([mute, ordinary])
    session = make_session(ping_interval=NEVER, ping_timeout=0.3)
    session.get(started.url, timeout=WAIT)
    patient = start(session, started, "/silence", method="POST", stream_id=3, timeout=None)
    time_out(session, started.url)
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError, match="did not answer PING"):
        patient.result(WAIT)
    assert time.monotonic() - begin < 0.3 + PROMPT


# -- together with the rest ----------------------------------------------------------------


def test_a_ping_of_the_callers_is_a_question_too(
    make_session: MakeSession, peer: StartPeer, certs: Certificates
) -> None:
    """Without a timeout of its own it ends with the keepalive's."""

    session = make_session(ping_interval=SOON, ping_timeout=0.3)
    started = peer(mute)
    adapter: Any = session.get_adapter("https://")
    asking = background(lambda: adapter.ping(started.url, verify=certs.ca_path))
    with pytest.raises(requests.ConnectionError, match="did not answer PING"):
        asking.result(WAIT)


def test_through_a_proxy(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer([mute, ordinary])
    session = make_session(ping_interval=0.2, ping_timeout=0.3)
    with Proxy() as proxy:
        session.proxies = {"https": proxy.url}
        session.get(started.url)
        pause(0.3)
        assert session.post(started.url, data=b"precious").content == b"precious"
        assert (proxy.accepted, started.accepted) == (2, 2)
        session.close()


def test_over_http1_nothing_is_different(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer(ordinary, alpn=("http/1.1",))
    session = make_session(ping_interval=SOON, ping_timeout=0.1)
    assert session.get(started.url, timeout=WAIT).content == b"/"
    pause(2 * SOON)
    assert session.get(started.url, timeout=WAIT).content == b"/"


def test_an_answer_together_with_the_response(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.auto_ping = False
        for _ in range(3):
            request = conn.next_request()
            question = conn.expect(PingFrame)
            with in_one_write(conn):
                conn.ping(question.opaque_data, ack=True)
                conn.respond(request, 200, (), request.path.encode())

    started = peer(script)
    session = make_session(ping_interval=0.2)
    for path in ("/a", "/b", "/c"):
        assert session.get(started.url + path).content == path.encode()
    assert started.accepted == 1


def test_many_threads_and_pauses(make_session: MakeSession, peer: StartPeer) -> None:
    """Requests, silences and questions in any order: all are answered, on one connection."""

    def slow(request: Request) -> Any:
        pause(0.03)
        return answer(request)

    started = peer(serve(slow))
    session = make_session(ping_interval=0.02)

    def work(number: int) -> bool:
        for count in range(8):
            path = f"/{number}/{count}"
            assert session.get(started.url + path, timeout=WAIT).text == path
            pause(0.01 * number)
        return True

    assert all(together(6, work))
    assert started.accepted == 1
    assert asked(started.connection())
