"""Which connection carries a request: rows 90, 91, 92 and 96 of the fault table."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from hyperframe.frame import GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame
from urllib3.exceptions import InsecureRequestWarning

from tests.support.certs import Certificates
from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, hold, serve
from tests.support.proxy import Proxy
from tests.support.threads import PROMPT, WAIT, background, together, until

NO_ERROR = 0


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or request.path.encode()


ordinary = serve(answer)


# -- 90: one connection, more only past the stream limit -----------------------------------


def test_090_sequential_requests_share_one_connection(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(ordinary)
    for method in ("GET", "POST", "HEAD", "DELETE", "OPTIONS") * 4:
        session.request(method, started.url, timeout=WAIT)
    assert started.accepted == 1
    assert [request.stream_id for request in started.requests] == list(range(1, 40, 2))


@pytest.mark.parametrize(
    "options",
    [{}, {"pool_maxsize": 1}, {"pool_maxsize": 1, "pool_block": True}, {"pool_connections": 1}],
    ids=str,
)
def test_090_parallel_requests_share_one_connection(
    make_session: MakeSession, peer: StartPeer, options: dict[str, Any]
) -> None:
    """All of them open at once, so no limit but the peer's held one back."""
    session = make_session(**options)

    def script(conn: PeerConnection) -> None:
        for request in conn.next_requests(30):
            conn.respond(request, 200, (), request.path.encode())

    started = peer(script)
    bodies = together(30, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [f"/{number}".encode() for number in range(30)]
    assert started.accepted == 1


def test_090_many_requests_of_many_threads(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)

    def work(number: int) -> bool:
        paths = [f"/{number}/{count}" for count in range(25)]
        return all(session.get(started.url + path).content == path.encode() for path in paths)

    assert all(together(16, work))
    assert started.accepted == 1
    assert len(started.requests) == 400


def test_090_another_connection_only_past_the_stream_limit(
    make_session: MakeSession, peer: StartPeer
) -> None:
    session = make_session(pool_maxsize=3)
    started = peer(hold, settings={"max_concurrent_streams": 2})
    futures = []
    for index in (0, 1):
        for stream_id in (1, 3):
            futures.append(background(lambda: session.get(started.url, timeout=WAIT).content))
            conn = started.connection(index)
            conn.wait_for(HeadersFrame, stream_id=stream_id)
            conn.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)
            assert started.accepted == index + 1
    for conn in started.connections:
        for stream_id in (1, 3):
            conn.respond(stream_id, 200, (), b"answer")
    assert [future.result(WAIT) for future in futures] == [b"answer"] * 4
    assert started.accepted == 2


@pytest.mark.parametrize("maxsize", [1, 2])
@pytest.mark.parametrize("block", [False, True])
def test_090_never_past_pool_maxsize(
    make_session: MakeSession, peer: StartPeer, maxsize: int, block: bool
) -> None:
    session = make_session(pool_maxsize=maxsize, pool_block=block)
    started = peer(ordinary, settings={"max_concurrent_streams": 1})

    def work(number: int) -> int:
        paths = [f"/{number}/{count}" for count in range(5)]
        return sum(session.get(started.url + path).content == path.encode() for path in paths)

    assert together(10, work) == [5] * 10
    assert 1 <= started.accepted <= maxsize


def test_090_connections_that_ended_leave_their_places(
    make_session: MakeSession, peer: StartPeer
) -> None:
    """A pool that blocks would soon wait for ever if they kept them."""
    session = make_session(pool_maxsize=1, pool_block=True)
    started = peer(ordinary)
    for number in range(6):
        assert session.post(started.url, data=b"body", timeout=WAIT).content == b"body"
        conn = started.connection(number)
        conn.close()
        conn.channel.wait_until_delivered()
    assert started.accepted == 6


def test_090_failed_dials_leave_their_places(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=1, pool_block=True)

    def refuse(conn: Any) -> None:
        conn.channel.receive()
        conn.abort()

    started = peer(refuse, tls=False)
    for _ in range(4):
        with pytest.raises(requests.ConnectionError) as caught:
            session.get(f"https://127.0.0.1:{started.port}", timeout=WAIT)
        assert "EmptyPool" not in str(caught.value)
    assert started.accepted == 4


@pytest.fixture
def out_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> list[OSError]:
    """What is raised, once each, where a connection wants descriptors beside its socket."""
    errors: list[OSError] = []

    def socketpair() -> Any:
        if errors:
            raise errors.pop()
        return socket.socketpair()

    monkeypatch.setattr("requests_h2.poller.socket", SimpleNamespace(socketpair=socketpair))
    return errors


def test_090_without_descriptors_it_is_a_failed_dial(
    make_session: MakeSession, peer: StartPeer, out_of_descriptors: list[OSError]
) -> None:
    """Though TLS was there: the socket is closed, and the place given back."""
    session = make_session(pool_maxsize=1, pool_block=True)
    started = peer(ordinary)
    out_of_descriptors.append(OSError(errno.EMFILE, "Too many open files"))
    with pytest.raises(requests.ConnectionError, match="Too many open") as caught:
        session.get(started.url, timeout=WAIT)
    assert "Failed to establish a new connection" in str(caught.value)
    channel = started.connection().channel
    until(lambda: channel.eof or channel.closed)  # it ends its side when it cannot send
    later = background(lambda: session.get(f"{started.url}/later", timeout=WAIT).content)
    assert later.result(WAIT) == b"/later"


def test_090_without_descriptors_it_is_dialled_again_as_often_as_is_said(
    make_session: MakeSession, peer: StartPeer, out_of_descriptors: list[OSError]
) -> None:
    session = make_session(max_retries=1, pool_maxsize=1, pool_block=True)
    started = peer(ordinary)
    out_of_descriptors.append(OSError(errno.EMFILE, "Too many open files"))
    later = background(lambda: session.post(started.url, data=b"body", timeout=WAIT).content)
    assert later.result(WAIT) == b"body"
    assert started.accepted == 2


def test_090_pool_connections_evicts_the_oldest_origin(
    make_session: MakeSession, peer: StartPeer
) -> None:
    session = make_session(pool_connections=1)
    first, second = peer(ordinary), peer(ordinary)
    session.get(first.url)
    session.get(second.url)
    first.connection().wait_eof()
    session.get(first.url)
    assert (first.accepted, second.accepted) == (2, 1)


def test_090_an_evicted_origin_finishes_what_it_has(
    make_session: MakeSession, peer: StartPeer
) -> None:
    session = make_session(pool_connections=1)
    first, second = peer(hold), peer(ordinary)
    response = background(lambda: session.get(first.url, timeout=WAIT).content)
    conn = first.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    session.get(second.url, timeout=WAIT)
    conn.respond(1, 200, (), b"late")
    assert response.result(WAIT) == b"late"
    conn.wait_eof()


def test_090_http1_follows_pool_block(make_session: MakeSession, peer: StartPeer) -> None:
    """One connection a request, and with pool_block no more of them than pool_maxsize."""
    session = make_session(pool_maxsize=2, pool_block=True)
    started = peer(serve(answer), alpn=("http/1.1",))
    bodies = together(8, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [f"/{number}".encode() for number in range(8)]
    assert started.accepted <= 2


# -- 91: what never shares a connection ----------------------------------------------------


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_091_different_tls_settings_never_share(
    session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    started = peer(serve(answer))
    settings: list[dict[str, Any]] = [
        {"verify": certs.ca_path},
        {"verify": certs.ca_folder},
        {"verify": False},
        {"verify": certs.ca_path, "cert": certs.client_pem_path},
        {"verify": certs.ca_path, "cert": (certs.client_cert_path, certs.client_key_path)},
    ]
    for _ in range(2):
        for options in settings:
            session.get(started.url, timeout=WAIT, **options)
    assert started.accepted == len(settings)
    assert [len(conn.requests) for conn in started.connections] == [2] * len(settings)
    for verify in (True, certs.other_ca_path):
        with pytest.raises(requests.exceptions.SSLError):
            session.get(started.url, timeout=WAIT, verify=verify)
    assert len(started.requests) == 2 * len(settings)


def test_091_an_unverified_connection_serves_no_verified_request(
    session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    """CVE-2024-35195, in its order: verify=False comes first."""
    started = peer(ordinary, context=certs.server_context(certificate=certs.wrong_host_pem_path))
    with pytest.warns(InsecureRequestWarning):
        assert session.get(started.url, verify=False, timeout=WAIT).raw.version == 20
    with pytest.raises(requests.exceptions.SSLError):
        session.get(started.url, timeout=WAIT)
    assert len(started.requests) == 1


def test_091_another_port_or_scheme_is_another_origin(
    session: requests.Session, make_adapter: Callable[..., Any], peer: StartPeer
) -> None:
    session.mount("http://", make_adapter())
    secure, other, plain = peer(ordinary), peer(ordinary), peer(ordinary, tls=False)
    for _ in range(2):
        versions = [session.get(each.url).raw.version for each in (secure, other, plain)]
        assert versions == [20, 20, 11]
    assert [each.accepted for each in (secure, other, plain)] == [1, 1, 1]


def test_091_hosts_of_one_address_and_certificate_are_not_coalesced(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(ordinary)
    for _ in range(2):
        for host in ("127.0.0.1", "localhost"):
            assert session.get(f"https://{host}:{started.port}", timeout=WAIT).raw.version == 20
    assert started.accepted == 2
    for conn in started.connections:
        assert len({request.authority for request in conn.requests}) == 1


def test_091_spellings_of_one_host_share(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    for host in ("localhost", "LOCALHOST"):
        session.get(f"https://{host}:{started.port}", timeout=WAIT)
    assert started.accepted == 1


def test_091_a_proxied_connection_is_another(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    with Proxy() as proxy:
        for _ in range(2):
            for proxies in ({}, {"https": proxy.url}):
                session.get(started.url, proxies=proxies, timeout=WAIT)
        assert (proxy.accepted, started.accepted) == (1, 2)
        session.close()


def test_091_sessions_share_nothing(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer(ordinary)
    for session in (make_session(), make_session()):
        session.get(started.url, timeout=WAIT)
    assert started.accepted == 2


def test_091_misdirected_request_is_returned_as_it_is(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(serve(lambda request: (421, {"x": "y"}, b"not here")))
    for _ in range(2):
        response = session.get(started.url, timeout=WAIT)
        assert (response.status_code, response.reason) == (421, "Misdirected Request")
        assert response.content == b"not here"
    assert len(started.requests) == 2
    assert started.accepted == 1


# -- 92: a look at the idle connection before it is used again ------------------------------


class Clock:
    """The wall clock, as a suspended host finds it when it wakes. The monotonic one stood still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.ahead)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize("ahead", [119.0, 86_400.0, -3600.0], ids=str)
def test_092_idle_for_too_long_by_the_wall_clock(
    session: requests.Session, peer: StartPeer, clock: Clock, ahead: float
) -> None:
    started = peer(ordinary)
    session.get(started.url, timeout=WAIT)
    clock.ahead = ahead
    assert session.post(started.url, data=iter([b"once"]), timeout=WAIT).content == b"once"
    first = started.connection(0)
    first.wait_eof()
    assert first.received(GoAwayFrame)[-1].error_code == NO_ERROR
    assert [len(conn.requests) for conn in started.connections] == [1, 1]


def test_092_idle_for_a_while_is_no_reason(
    session: requests.Session, peer: StartPeer, clock: Clock
) -> None:
    started = peer(ordinary)
    for _ in range(4):
        session.get(started.url, timeout=WAIT)
        clock.ahead += 100
    assert started.accepted == 1


def test_092_a_connection_in_use_is_not_idle(
    session: requests.Session, peer: StartPeer, clock: Clock
) -> None:
    def script(conn: PeerConnection) -> None:
        long = conn.next_request()
        conn.send_headers(long)
        conn.respond(conn.next_request(), 200, (), b"beside")
        conn.send_data(long, b"long", end_stream=True)

    started = peer(script)
    with session.get(started.url, stream=True, timeout=WAIT) as response:
        clock.ahead = 3600
        assert session.get(started.url, timeout=WAIT).content == b"beside"
        assert response.content == b"long"
    assert started.accepted == 1


def test_092_readable_is_not_dead(session: requests.Session, peer: StartPeer) -> None:
    """PING and SETTINGS that wait in the socket are answered, before the request goes out."""
    started = peer(ordinary)
    session.get(started.url)
    conn = started.connection()
    conn.ping(b"are you?")
    conn.settings(max_concurrent_streams=50)
    conn.window_update(0, 1000)
    conn.send_raw(b"\x00\x00\x04\xee\x00\x00\x00\x00\x00what")  # of an unknown type
    conn.channel.wait_until_delivered()
    session.get(started.url)
    ack = conn.wait_for(PingFrame, lambda frame: "ACK" in frame.flags)
    assert ack.opaque_data == b"are you?"
    second = conn.wait_for(HeadersFrame, stream_id=3)
    acks = [frame for frame in conn.received(SettingsFrame) if "ACK" in frame.flags]
    assert conn.frames.index(ack) < conn.frames.index(second)
    assert conn.frames.index(acks[1]) < conn.frames.index(second)
    assert started.accepted == 1


def test_092_settings_that_wait_are_obeyed(session: requests.Session, peer: StartPeer) -> None:
    """No stream may be opened here any more, and that was known in time."""
    started = peer(ordinary)
    session.get(started.url)
    conn = started.connection()
    conn.settings(max_concurrent_streams=0)
    conn.channel.wait_until_delivered()
    assert session.post(started.url, data=iter([b"once"]), timeout=WAIT).content == b"once"
    assert [len(each.requests) for each in started.connections] == [1, 1]


def _goaway_later(conn: PeerConnection) -> None:
    conn.ping(b"are you?")
    conn.goaway(1)


def _broken(conn: PeerConnection) -> None:
    conn.send_raw(b"\x00\x00\x05\x06\x00\x00\x00\x00\x00short")


@pytest.mark.parametrize(
    "end",
    [
        PeerConnection.goaway,
        lambda conn: conn.goaway(2**31 - 1),
        lambda conn: conn.goaway(1, 11, b"too many of you"),
        _goaway_later,
        PeerConnection.close,
        PeerConnection.cut,
        _broken,
    ],
    ids=["goaway", "warning", "goaway-error", "ping-goaway", "close", "cut", "broken"],
)
def test_092_goaway_and_eof_are_dead(
    session: requests.Session, peer: StartPeer, end: Callable[[PeerConnection], None]
) -> None:
    """Seen before anything is sent: not even a body that cannot be sent twice is lost."""
    started = peer(ordinary)
    session.get(started.url)
    conn = started.connection()
    end(conn)
    conn.channel.wait_until_delivered()
    assert session.post(started.url, data=iter([b"once"]), timeout=WAIT).content == b"once"
    assert [len(each.requests) for each in started.connections] == [1, 1]
    conn.wait_eof()
    # And the new one stays.
    session.get(started.url)
    assert started.accepted == 2


def test_092_reset_is_dead(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    session.get(started.url)
    started.connection().abort()
    assert session.post(started.url, data=iter([b"once"]), timeout=WAIT).content == b"once"
    assert [len(each.requests) for each in started.connections] == [1, 1]


def test_092_among_several_the_dead_one_is_left(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=2)

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200, (), b"answer")
        ordinary(conn)

    started = peer([hold, script], settings={"max_concurrent_streams": 1})
    slow = background(lambda: session.get(started.url, timeout=WAIT).content)
    first = started.connection(0)
    first.wait_for(HeadersFrame)
    first.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    first.respond(1, 200, (), b"slow")
    assert slow.result(WAIT) == b"slow"
    first.close()
    first.channel.wait_until_delivered()
    for _ in range(2):
        assert session.get(started.url + "/x", timeout=WAIT).content == b"/x"
    assert [len(each.requests) for each in started.connections] == [1, 3]


# -- 96: Connection: close -----------------------------------------------------------------


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, close"])
def test_096_connection_close(session: requests.Session, peer: StartPeer, value: str) -> None:
    started = peer(ordinary)
    for number in range(3):
        response = session.get(
            f"{started.url}/{number}", headers={"Connection": value}, timeout=WAIT
        )
        assert response.content == f"/{number}".encode()
        conn = started.connection(number)
        conn.wait_eof()
        assert conn.received(GoAwayFrame)[-1].error_code == NO_ERROR
    assert started.accepted == 3
    assert all("connection" not in request.headers for request in started.requests)


def test_096_keep_alive_disabled_for_a_session(session: requests.Session, peer: StartPeer) -> None:
    session.headers["Connection"] = "close"
    started = peer(ordinary)
    assert together(6, lambda number: session.get(f"{started.url}/{number}").content) == [
        f"/{number}".encode() for number in range(6)
    ]
    for conn in started.connections:
        conn.wait_eof()
    session.headers["Connection"] = "keep-alive"
    for _ in range(2):
        assert session.get(started.url + "/last", timeout=WAIT).content == b"/last"
    assert len(started.connections[-1].requests) == 2


def test_096_siblings_finish_first(session: requests.Session, peer: StartPeer) -> None:
    started = peer([hold, ordinary])
    sibling = background(lambda: session.get(started.url + "/sibling", timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    last = background(
        lambda: session.get(started.url, headers={"Connection": "close"}, timeout=WAIT).content
    )
    conn.wait_for(HeadersFrame, stream_id=3)
    conn.respond(3, 200, (), b"last")
    assert last.result(WAIT) == b"last"
    # The next request does not wait for them.
    begin = time.monotonic()
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    assert time.monotonic() - begin < PROMPT
    conn.respond(1, 200, (), b"sibling")
    assert sibling.result(WAIT) == b"sibling"
    conn.wait_eof()
    assert len(conn.requests) == 2


def test_096_with_an_unread_response(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"x" * 200_000)))
    response = session.get(started.url, headers={"Connection": "close"}, stream=True, timeout=WAIT)
    assert len(response.content) == 200_000
    started.connection().wait_eof()
    with session.get(started.url, headers={"Connection": "close"}, stream=True, timeout=WAIT):
        pass
    started.connection(1).wait_eof()
    assert started.accepted == 2


def test_096_a_failed_request_closes_too(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), 2)
        conn.wait_eof()

    started = peer([script, ordinary])
    with pytest.raises(requests.ConnectionError):
        session.get(started.url, headers={"Connection": "close"}, timeout=WAIT)
    assert session.get(started.url + "/next", timeout=WAIT).content == b"/next"
    assert started.accepted == 2
