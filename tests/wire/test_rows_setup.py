"""Fault table, rows 1-7: connection set-up, TLS, ALPN."""

from __future__ import annotations

import contextlib
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

import requests_h2.connection
from requests_h2.origin import Origin
from tests.support.certs import Certificates
from tests.support.interrupts import interrupting
from tests.support.peer import (
    ALPN_BOTH,
    Closed,
    Http1Connection,
    Peer,
    PeerConnection,
    Request,
    StartPeer,
    hold,
    serve,
)
from tests.support.threads import PROMPT, WAIT, background, together

PROTOCOL_ERROR, CANCEL = 1, 8


def answer(request: Request) -> Any:
    return 200, {"x-method": request.method}, b"answer"


def answer_once(conn: Any) -> None:
    """One response, and no more requests on this connection."""
    request = conn.next_request()
    if isinstance(conn, PeerConnection):
        conn.goaway(request.stream_id)
        conn.respond(request, 200, (), b"answer")
        conn.wait_eof()
    else:
        conn.respond(request, 200, {"connection": "close"}, b"answer")
        conn.close()


def silent_preface(conn: PeerConnection) -> None:
    """Take the client's preface in and say nothing, not even SETTINGS."""
    conn.auto_settings = False
    while len(conn._buffer) < 24:
        conn._fill(WAIT)
    del conn._buffer[:24]


def until_threads_wait_for_a_dial(count: int) -> None:
    """Until so many threads sleep in the pool. Only their stacks tell."""
    pause = threading.Event()
    for _ in range(2000):
        stacks = list(sys._current_frames().values())
        if sum(_sleeps_in_the_pool(frame) for frame in stacks) >= count:
            return
        pause.wait(0.005)
    raise AssertionError(f"never saw {count} threads waiting for a dial")


def _sleeps_in_the_pool(frame: Any) -> bool:
    modules = []
    while frame is not None:
        modules.append(frame.f_globals.get("__name__"))
        frame = frame.f_back
    return modules[0] == "threading" and "requests_h2.origin" in modules


def late_tls(
    context: ssl.SSLContext, start: threading.Event, script: Callable[[PeerConnection], None]
) -> Callable[[Http1Connection], None]:
    """For a peer without TLS: the handshake begins at ``start``, then the script runs."""

    def run(conn: Http1Connection) -> None:
        assert start.wait(WAIT)
        conn.channel.start_tls(context)
        h2 = PeerConnection(conn.channel)
        h2.preface()
        script(h2)

    return run


@contextlib.contextmanager
def promptly(since: list[float] | None = None) -> Iterator[None]:
    """``since`` is where the peer notes the time of the event; else it is now."""
    begin = time.monotonic()
    yield
    assert time.monotonic() - (since[0] if since else begin) < PROMPT


# -- row 1 --------------------------------------------------------------------------------


@pytest.mark.parametrize("alpn", [("http/1.1",), None])
def test_001_fallback_on_the_same_socket(
    session: requests.Session, peer: StartPeer, alpn: Any
) -> None:
    started = peer(serve(answer), alpn=alpn)
    for _ in range(3):
        response = session.post(started.url + "/path", data=iter([b"ab", b"c"]))
        assert (response.raw.version, response.raw.version_string) == (11, "HTTP/1.1")
        assert response.content == b"answer"
        assert response.reason == "Scripted"
    assert started.accepted == 1
    assert started.requests[0].headers["transfer-encoding"] == "chunked"
    assert started.requests[0].headers["host"] == f"127.0.0.1:{started.port}"
    assert started.requests[0].body == b"abc"


def test_001_h2_is_chosen(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(answer))
    for _ in range(3):
        raw = session.get(started.url).raw
        assert (raw.version, raw.version_string) == (20, "HTTP/2")
    assert started.accepted == 1


@pytest.mark.parametrize("threads", [1, 6])
def test_001_each_connection_follows_its_own_alpn(
    session: requests.Session, peer: StartPeer, certs: Certificates, threads: int
) -> None:
    """A rolling deployment, forward and back; the session lives through all of it."""
    context = certs.server_context(("http/1.1",))
    started = peer(answer_once, context=context)
    for alpn in (["http/1.1"], ["h2"], [], ["h2", "http/1.1"], ["h2"], ["http/1.1"]):
        context.set_alpn_protocols(alpn)
        versions = together(threads, lambda _: session.get(started.url, timeout=WAIT).raw.version)
        assert versions == [20 if "h2" in alpn else 11] * threads
    if threads == 1:
        assert started.accepted == 6


def test_001_http1_reconnects_without_end(session: requests.Session, peer: StartPeer) -> None:
    """The wrapped TLS context must not be wrapped again with each dial of one connection."""
    started = peer(answer_once, alpn=("http/1.1",))
    limit = sys.getrecursionlimit()
    for _ in range(200):
        assert session.get(started.url, timeout=WAIT).content == b"answer"
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(depth + 150)
    try:
        assert session.get(started.url, timeout=WAIT).content == b"answer"
    finally:
        sys.setrecursionlimit(limit)


# -- row 2 --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("ending", ["kept open", "closed"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_002_an_http1_answer_to_the_preface(
    session: requests.Session, peer: StartPeer, method: str, ending: str, pieces: int
) -> None:
    text = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad"
    sent: list[float] = []

    def script(conn: PeerConnection) -> None:
        silent_preface(conn)
        conn.wait_for(HeadersFrame, stream_id=1)
        for piece in (text[:4], text[4:8]) if pieces > 1 else ():
            conn.send_raw(piece)
            conn.channel.wait_until_delivered()
        sent.append(time.monotonic())
        conn.send_raw(text[8:] if pieces > 1 else text)
        if ending == "closed":
            conn.close()
        conn.wait_eof()

    started = peer(script, preface=False)
    expected = pytest.raises(requests.ConnectionError, match=r"looks like HTTP/1\.1")
    with expected as caught, promptly(sent):
        session.request(method, started.url, timeout=WAIT)
    assert not isinstance(caught.value, requests.Timeout)
    assert f"127.0.0.1:{started.port}" in str(caught.value)
    conn = started.connection()
    conn.wait_eof()
    assert len(conn.received(HeadersFrame)) == 1
    assert started.accepted == 1


# -- row 3 --------------------------------------------------------------------------------

FIRST_FRAMES: dict[str, Callable[[PeerConnection], None]] = {
    "HEADERS": lambda conn: conn.send_headers(1),
    "PING": lambda conn: conn.ping(),
    "SETTINGS ACK": lambda conn: conn.settings_ack(),
    "GOAWAY": lambda conn: conn.goaway(),
    "unknown": lambda conn: conn.send_raw(b"\0\0\0\x77\0\0\0\0\0"),
}


@pytest.mark.parametrize("first", FIRST_FRAMES.values(), ids=FIRST_FRAMES)
def test_003_the_first_frame_is_not_settings(
    session: requests.Session, peer: StartPeer, first: Callable[[PeerConnection], None]
) -> None:
    sent: list[float] = []

    def script(conn: PeerConnection) -> None:
        silent_preface(conn)
        conn.wait_for(HeadersFrame, stream_id=1)
        first(conn)
        conn.settings()
        sent.append(time.monotonic())
        conn.wait_for(GoAwayFrame, error_code=PROTOCOL_ERROR)
        conn.wait_eof()

    started = peer([script, serve(answer)], preface=False)
    with pytest.raises(requests.ConnectionError, match=r"PROTOCOL_ERROR \(0x1\)"), promptly(sent):
        session.get(started.url, timeout=WAIT)
    assert started.connection().received(PingFrame) == []
    assert started.accepted == 1


def test_003_the_connection_is_dropped(session: requests.Session, peer: StartPeer) -> None:
    def bad(conn: PeerConnection) -> None:
        conn.ping()
        conn.preface()
        conn.wait_eof()

    def good(conn: PeerConnection) -> None:
        conn.preface()
        serve(answer)(conn)

    started = peer([bad, good], preface=False)
    with pytest.raises(requests.ConnectionError):
        session.post(started.url, timeout=WAIT)
    assert session.post(started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == 2


# -- row 4 --------------------------------------------------------------------------------


def test_004_a_silent_server(session: requests.Session, peer: StartPeer) -> None:
    def silent(conn: PeerConnection) -> None:
        silent_preface(conn)
        conn.wait_eof()

    def good(conn: PeerConnection) -> None:
        conn.preface()
        serve(answer)(conn)

    started = peer([silent, good], preface=False)
    begin = time.monotonic()
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(started.url, timeout=0.4)
    assert 0.35 < time.monotonic() - begin < 0.4 + PROMPT
    conn = started.connection()
    # Sent without waiting for SETTINGS, in this order.
    conn.wait_eof()
    assert isinstance(conn.frames[0], SettingsFrame)
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    # Nothing more is entrusted to it.
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == 2
    assert len(conn.requests) == 1


def test_004_others_on_the_silent_connection_keep_their_own_timeouts(
    session: requests.Session, peer: StartPeer
) -> None:
    def slow(conn: PeerConnection) -> None:
        silent_preface(conn)
        conn.wait_for(RstStreamFrame, stream_id=3)
        conn.settings()
        conn.settings_ack()
        conn.respond(1, 200, (), b"patience")

    started = peer(slow, preface=False)
    patient = background(lambda: session.get(started.url, timeout=WAIT).content)
    started.connection().wait_for(HeadersFrame, stream_id=1)
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(started.url, timeout=0.3)
    assert patient.result(WAIT) == b"patience"


@pytest.mark.parametrize("late", [True, False])
def test_004_settings_that_are_never_acknowledged(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    if late:
        monkeypatch.setattr(requests_h2.connection, "_SETTINGS_TIMEOUT", 0.0)

    def script(conn: PeerConnection) -> None:
        conn.auto_settings = False
        conn.preface()
        serve(answer)(conn)

    started = peer(script, preface=False)
    for _ in range(2):
        assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == (2 if late else 1)
    if late:
        started.connection(0).wait_eof()


def test_004_acknowledged_settings_keep_the_connection(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests_h2.connection, "_SETTINGS_TIMEOUT", 0.0)
    started = peer(serve(answer))
    for _ in range(3):
        assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == 1


# -- row 5 --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["wrong_host_pem_path", "expired_pem_path", "unknown CA"])
def test_005_bad_certificates(
    session: requests.Session, peer: StartPeer, certs: Certificates, which: str
) -> None:
    certificate = getattr(certs, which, None)
    started = peer(serve(answer), context=certs.server_context(certificate=certificate))
    if certificate is None:
        session.verify = certs.other_ca_path
    for attempt in (1, 2):  # nothing is pooled, and nothing remembered
        with pytest.raises(requests.exceptions.SSLError, match="certificate"), promptly():
            session.get(started.url, timeout=WAIT)
        # No retry, no downgrade.
        assert started.accepted == attempt
    assert started.requests == []


def alert(conn: Http1Connection) -> None:
    conn.channel.receive()
    conn.send_raw(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal, handshake_failure
    conn.close()


def text(conn: Http1Connection) -> None:
    conn.channel.receive()
    conn.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def eof(conn: Http1Connection) -> None:
    conn.channel.receive()
    conn.close()


def reset(conn: Http1Connection) -> None:
    conn.channel.receive()
    conn.abort()


@pytest.mark.parametrize("script", [alert, text, eof, reset])
def test_005_the_handshake_is_cut(session: requests.Session, peer: StartPeer, script: Any) -> None:
    started = peer(script, tls=False)
    expected = requests.exceptions.SSLError if script in (alert, text) else requests.ConnectionError
    for attempt in (1, 2):
        with pytest.raises(expected) as caught, promptly():
            session.get(f"https://127.0.0.1:{started.port}", timeout=WAIT)
        assert not isinstance(caught.value, requests.Timeout)
        assert started.accepted == attempt


def test_005_the_handshake_stalls(session: requests.Session, peer: StartPeer) -> None:
    started = peer(hold, tls=False)
    for timeout in ((0.3, WAIT), 0.3):
        begin = time.monotonic()
        with pytest.raises(requests.exceptions.ConnectTimeout):
            session.get(f"https://127.0.0.1:{started.port}", timeout=timeout)
        assert time.monotonic() - begin < 0.3 + PROMPT
    assert started.accepted == 2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_005_a_refused_client_certificate(
    session: requests.Session, peer: StartPeer, certs: Certificates, version: ssl.TLSVersion
) -> None:
    """With TLS 1.3 the alert comes when the client's handshake is done."""
    context = certs.server_context(client_certificate=True)
    context.minimum_version = context.maximum_version = version
    started = peer(serve(answer), context=context)
    with pytest.raises(requests.exceptions.SSLError, match=r"(?i)alert"), promptly():
        session.get(started.url, timeout=WAIT)
    assert started.accepted == 1
    assert started.requests == []


@pytest.mark.parametrize("which", ["certificate", "cut"])
def test_005_every_waiter_on_the_dial_gets_the_error(
    session: requests.Session, peer: StartPeer, certs: Certificates, which: str
) -> None:
    start = threading.Event()

    def script(conn: Http1Connection) -> None:
        assert start.wait(WAIT)
        if which == "certificate":
            with contextlib.suppress(OSError):
                context = certs.server_context(certificate=certs.expired_pem_path)
                conn.channel.start_tls(context)
        conn.close()

    started = peer(script, tls=False)
    url = f"https://127.0.0.1:{started.port}"
    waiters = [background(lambda: session.get(url, timeout=WAIT)) for _ in range(6)]
    until_threads_wait_for_a_dial(5)
    with promptly():
        start.set()
        errors = [waiter.exception(WAIT) for waiter in waiters]
    expected = requests.ConnectionError if which == "cut" else requests.exceptions.SSLError
    assert [type(error) for error in errors if not isinstance(error, expected)] == []
    assert started.accepted == 1


# -- row 6 --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["close", "cut", "abort"])
@pytest.mark.parametrize("when", ["TLS", "preface"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_006_eof_at_once(
    session: requests.Session, peer: StartPeer, way: str, when: str, method: str
) -> None:
    recovered = threading.Event()

    def script(conn: PeerConnection) -> None:
        if recovered.is_set():
            conn.preface()
            serve(answer)(conn)
            return
        if when == "preface":
            conn.preface()
        getattr(conn, way)()
        while conn.channel.receive():
            pass
        raise Closed

    started = peer(script, preface=False)
    with pytest.raises(requests.ConnectionError) as caught, promptly():
        session.request(method, started.url, timeout=WAIT)
    assert not isinstance(caught.value, requests.Timeout)
    # A connection that is found dead before HEADERS may be replaced, but not without end.
    dials = started.accepted
    assert dials <= 4
    recovered.set()
    assert session.request(method, started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == dials + 1


@pytest.mark.parametrize("way", ["close", "cut", "abort"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_006_eof_with_requests_queued(
    session: requests.Session, peer: StartPeer, way: str, method: str
) -> None:
    """A connection that never answered anything is not a reused one: nothing is sent again."""
    ended: list[float] = []

    def script(conn: PeerConnection) -> None:
        conn.next_requests(8)
        ended.append(time.monotonic())
        getattr(conn, way)()

    started = peer([script, serve(answer)])

    def work(number: int) -> str:
        try:
            return session.request(method, started.url, timeout=WAIT).text
        except requests.ConnectionError:
            return "lost"

    with promptly(ended):
        outcomes = together(8, work)
    assert outcomes == ["lost"] * 8
    assert started.accepted == 1
    assert session.request(method, started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == 2


# -- row 7 --------------------------------------------------------------------------------


def test_007_one_dial_for_all(
    session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    start = threading.Event()
    started = peer(late_tls(certs.server_context(), start, serve(answer)), tls=False)
    url = f"https://127.0.0.1:{started.port}"
    futures = [background(lambda: session.get(url, timeout=WAIT).raw.version) for _ in range(12)]
    until_threads_wait_for_a_dial(11)
    assert started.accepted == 1
    start.set()
    assert [future.result(WAIT) for future in futures] == [20] * 12
    assert started.accepted == 1


def test_007_no_dial_is_shared_over_http1(session: requests.Session, peer: StartPeer) -> None:
    """Each request in flight has a connection of its own, all at the same time."""
    barrier = threading.Barrier(6)

    def script(conn: Http1Connection) -> None:
        request = conn.next_request()
        barrier.wait(WAIT)
        conn.respond(request, 200, (), b"answer")

    started = peer(script, alpn=("http/1.1",))
    bodies = together(6, lambda _: session.get(started.url, timeout=WAIT).content)
    assert bodies == [b"answer"] * 6
    assert started.accepted == 6


def _stalled_then_good(peer: StartPeer, certs: Certificates) -> Peer:
    start = threading.Event()
    start.set()
    started: Peer = peer(
        [hold, late_tls(certs.server_context(ALPN_BOTH), start, serve(answer))], tls=False
    )
    return started


def test_007_the_leaders_deadline_is_its_own(
    session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    started = _stalled_then_good(peer, certs)
    url = f"https://127.0.0.1:{started.port}"
    leader = background(lambda: session.get(url, timeout=(0.6, WAIT)))
    started.connection()
    followers = [background(lambda: session.get(url, timeout=WAIT).content) for _ in range(4)]
    with pytest.raises(requests.exceptions.ConnectTimeout):
        leader.result(WAIT)
    with promptly():
        assert [each.result(WAIT) for each in followers] == [b"answer"] * 4
    # One of the followers dialled for the rest.
    assert started.accepted == 2


def test_007_a_followers_deadline_is_its_own(
    session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    start = threading.Event()
    started = peer(late_tls(certs.server_context(), start, serve(answer)), tls=False)
    url = f"https://127.0.0.1:{started.port}"
    leader = background(lambda: session.get(url, timeout=WAIT).content)
    started.connection()
    begin = time.monotonic()
    with pytest.raises(requests.exceptions.ConnectTimeout) as caught:
        session.get(url, timeout=(0.3, WAIT))
    assert 0.25 < time.monotonic() - begin < 0.3 + PROMPT
    # It waited for a connection, not for a stream of one that is full.
    assert "full" not in str(caught.value)
    start.set()
    assert leader.result(WAIT) == b"answer"
    assert started.accepted == 1


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_007_the_leader_is_interrupted(
    session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")
    hello, go = threading.Event(), threading.Event()
    go.set()

    def stall(conn: Http1Connection) -> None:
        conn.channel.receive()  # before its ClientHello, a socket of ssl's may not be ours to close
        hello.set()
        hold(conn)

    good = late_tls(certs.server_context(ALPN_BOTH), go, serve(answer))
    started: Peer = peer([stall, good], tls=False)
    url = f"https://127.0.0.1:{started.port}"

    def follow() -> bytes:
        assert hello.wait(WAIT)
        return session.get(url, timeout=WAIT).content

    def disturb() -> None:
        until_threads_wait_for_a_dial(1)
        interrupt()

    handshake = ssl.SSLSocket.do_handshake.__code__
    with interrupting(KeyboardInterrupt, lambda at: at.f_code is handshake) as interrupt:
        follower, disturbance = background(follow), background(disturb)
        with pytest.raises(KeyboardInterrupt):
            session.get(url, timeout=WAIT)
        disturbance.result(WAIT)
    assert follower.result(WAIT) == b"answer"
    assert started.accepted == 2


def test_007_the_leader_is_interrupted_before_it_dials(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others would wait for ever for a dial that nobody makes."""

    def interrupted(*args: Any) -> bool:
        raise KeyboardInterrupt

    started = peer(serve(answer))
    with monkeypatch.context() as patch:
        patch.setattr(Origin, "_lead", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.get(started.url, timeout=WAIT)
    assert session.get(started.url, timeout=PROMPT).content == b"answer"
