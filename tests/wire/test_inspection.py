"""``response.raw.connection_info`` and ``HTTP2Adapter.connections()``."""

from __future__ import annotations

import dataclasses
import os
import pickle
import socket
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame

import requests_h2
from requests_h2 import ConnectionInfo, GoAway, HTTP2Adapter, OpenConnection
from tests.support.certs import Certificates
from tests.support.forks import works_in_child
from tests.support.peer import (
    Http1Connection,
    MakeSession,
    PeerConnection,
    Request,
    StartPeer,
    hold,
    promise,
    serve,
)
from tests.support.proxy import MakeProxy
from tests.support.threads import WAIT, together, until

REFUSED_STREAM = 7
KIB = 1024


def answer(request: Request) -> Any:
    return 200, {}, b"body of " + request.path.encode()


ordinary = serve(answer)


def info(response: requests.Response) -> ConnectionInfo:
    taken: ConnectionInfo = response.raw.connection_info
    return taken


def connections(session: requests.Session) -> list[OpenConnection]:
    adapter: Any = session.get_adapter("https://")
    listed: list[OpenConnection] = adapter.connections()
    return listed


def size(frames: list[Any]) -> int:
    return sum(9 + frame.body_len for frame in frames)


class Sent:
    """What a scripted connection sends from now on, by frames."""

    def __init__(self, conn: PeerConnection) -> None:
        self.frames: list[Frame] = []
        conn.send = self._send  # type: ignore[method-assign]
        self._conn = conn

    def _send(self, *frames: Frame) -> None:
        self.frames += frames
        self._conn.send_raw(b"".join(frame.serialize() for frame in frames))


# -- one exchange --------------------------------------------------------------------------


def test_of_a_new_connection(session: requests.Session, peer: StartPeer, engine: str) -> None:
    started = peer(ordinary)
    response = session.get(started.url, timeout=WAIT)
    seen = info(response)
    conn = started.connection()
    assert seen.peer_address == ("127.0.0.1", started.port)
    assert seen.local_address == conn.channel.client_address
    assert (seen.origin, seen.http_version) == (f"127.0.0.1:{started.port}", "HTTP/2")
    assert (seen.engine, seen.alpn, seen.tls_version) == (engine, "h2", "TLSv1.3")
    assert seen.cipher == conn.channel.tls.cipher()[0]
    assert (seen.stream_id, seen.reused, seen.replays) == (1, False, 0)
    assert seen.dial_time is not None
    assert seen.handshake_time is not None
    assert seen.time_to_first_byte is not None
    assert 0 < seen.dial_time < WAIT
    assert 0 < seen.handshake_time < WAIT
    assert 0 < seen.time_to_first_byte <= response.elapsed.total_seconds()


def test_of_a_reused_connection(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    first = info(session.get(started.url, timeout=WAIT))
    second = info(session.get(started.url, timeout=WAIT))
    assert (second.stream_id, second.reused) == (3, True)
    of_exchange = {"stream_id", "reused", "time_to_first_byte", "bytes_sent", "bytes_received"}
    for field in dataclasses.fields(ConnectionInfo):
        if field.name not in of_exchange:
            assert getattr(first, field.name) == getattr(second, field.name)


def test_it_cannot_be_changed(session: requests.Session, peer: StartPeer) -> None:
    seen = info(session.get(peer(ordinary).url, timeout=WAIT))
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen.replays = 1  # type: ignore[misc]


def test_connections_have_numbers_of_their_own(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer(ordinary)
    numbers = [info(make_session().get(started.url, timeout=WAIT)).connection_id for _ in range(3)]
    assert numbers == sorted(set(numbers))


def test_octets_of_the_frames(session: requests.Session, peer: StartPeer) -> None:
    """All frames of the message, each with its 9 octets, and no others."""
    logs: list[Sent] = []
    kinds = (HeadersFrame, ContinuationFrame, DataFrame)

    def script(conn: PeerConnection) -> None:
        for _ in range(2):
            request = conn.next_request()
            conn.read_body(request)
            logs.append(Sent(conn))
            conn.ping()
            conn.informational(request, 103, {"link": "</a>"})
            conn.send_headers(request, 200, {"x-long": "y" * 40_000})
            conn.send_data(request, b"x" * 20 * KIB, padding=20, frame_size=KIB)
            conn.send_data(request)
            conn.window_update(request, 1000)
            conn.send_trailers(request, {"x-trailer": "value"})
        hold(conn)

    started = peer(script)
    for number, stream_id in enumerate((1, 3)):
        response = session.post(
            started.url, data=b"x" * 70 * KIB, headers={"x-long": "z" * 20_000}, timeout=WAIT
        )
        received = [
            frame
            for kind in kinds
            for frame in started.connection().received(kind, stream_id=stream_id)
        ]
        seen = info(response)
        assert seen.bytes_sent == size(received)
        sent = [frame for frame in logs[number].frames if isinstance(frame, kinds)]
        assert seen.bytes_received == size(sent)


def test_octets_grow_while_the_body_is_read(session: requests.Session, peer: StartPeer) -> None:
    read = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        assert read.wait(WAIT)
        conn.send_data(request, b"x" * KIB, end_stream=True)
        hold(conn)

    with session.get(peer(script).url, stream=True, timeout=WAIT) as response:
        before = info(response).bytes_received
        read.set()
        assert len(response.content) == KIB
        after = info(response).bytes_received
    assert before is not None
    assert after == before + KIB + 9


def test_it_outlives_the_connection(make_session: MakeSession, peer: StartPeer) -> None:
    started, session = peer(ordinary), make_session()
    response = session.get(started.url, timeout=WAIT)
    before = info(response)
    session.close()
    started.connection().wait_eof()
    assert connections(session) == []
    assert info(response) == before


def test_replays_are_counted(session: requests.Session, peer: StartPeer) -> None:
    def refuse(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), REFUSED_STREAM)
        ordinary(conn)

    seen = info(session.get(peer(refuse).url, timeout=WAIT))
    assert (seen.replays, seen.stream_id) == (1, 3)


def test_a_replay_over_http1_is_counted(session: requests.Session, peer: StartPeer) -> None:
    def require_http1(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), 0xD)
        hold(conn)

    seen = info(session.get(peer([require_http1, ordinary]).url, timeout=WAIT))
    assert (seen.replays, seen.http_version) == (1, "HTTP/1.1")


# -- HTTP/1.1 ------------------------------------------------------------------------------


@pytest.mark.parametrize("alpn", [["http/1.1"], None])
def test_over_http1(session: requests.Session, peer: StartPeer, alpn: Any) -> None:
    started = peer(ordinary, alpn=alpn)
    first, second = (info(session.get(started.url, timeout=WAIT)) for _ in range(2))
    assert (first.http_version, first.engine, first.stream_id) == ("HTTP/1.1", None, None)
    assert (first.bytes_sent, first.bytes_received, first.replays) == (None, None, 0)
    assert (first.alpn, first.tls_version) == (alpn and alpn[0], "TLSv1.3")
    assert first.peer_address == ("127.0.0.1", started.port)
    assert first.local_address == started.connection().channel.client_address
    for time in (first.dial_time, first.handshake_time, first.time_to_first_byte):
        assert time is not None
        assert 0 < time < WAIT
    assert (first.reused, second.reused) == (False, True)
    assert first.connection_id == second.connection_id


def test_over_http1_that_ends_with_the_response(session: requests.Session, peer: StartPeer) -> None:
    """http.client has given the socket away by then."""
    started = peer(serve(lambda request: (200, {"connection": "close"}, b"")), alpn=None)
    first, second = (info(session.get(started.url, timeout=WAIT)) for _ in range(2))
    assert first.peer_address == second.peer_address == ("127.0.0.1", started.port)
    assert not second.reused
    assert second.connection_id > first.connection_id
    assert connections(session) == []


def test_a_server_of_http_1_0(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: Http1Connection) -> None:
        conn.next_request()
        conn.send_raw(b"HTTP/1.0 200 OK\r\n\r\nold")
        conn.close()

    with requests_h2.record(session) as recording:
        response = session.get(peer(script, alpn=None).url, timeout=WAIT)
    assert response.content == b"old"
    assert info(response).http_version == "HTTP/1.0"
    assert [entry.http_version for entry in recording.entries] == ["HTTP/1.0"]


def test_in_cleartext(
    make_adapter: Callable[..., HTTP2Adapter], session: requests.Session, peer: StartPeer
) -> None:
    started = peer(ordinary, tls=False)
    adapter = make_adapter()
    session.mount("http://", adapter)
    first, second = (info(session.get(started.url, timeout=WAIT)) for _ in range(2))
    assert (first.alpn, first.tls_version, first.cipher) == (None, None, None)
    assert (first.dial_time, first.handshake_time, first.time_to_first_byte) == (None, None, None)
    assert first.peer_address == ("127.0.0.1", started.port)
    assert first.local_address == started.connection().channel.client_address
    assert (first.http_version, first.reused, second.reused) == ("HTTP/1.1", False, True)
    (listed,) = adapter.connections()
    assert (listed.connection_id, listed.streams_opened) == (first.connection_id, 2)


def test_with_prior_knowledge(make_session: MakeSession, peer: StartPeer) -> None:
    started, session = peer(ordinary, tls=False, h2c=True), make_session(prior_knowledge=True)
    session.mount("http://", session.get_adapter("https://"))
    first, second = (info(session.get(started.url, timeout=WAIT)) for _ in range(2))
    assert (first.http_version, first.stream_id, second.stream_id) == ("HTTP/2", 1, 3)
    assert (first.alpn, first.tls_version, first.cipher) == (None, None, None)
    assert (first.handshake_time, second.reused) == (None, True)
    assert first.dial_time is not None
    assert first.peer_address == ("127.0.0.1", started.port)
    (listed,) = connections(session)
    assert (listed.http_version, listed.connection_id) == ("HTTP/2", first.connection_id)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix domain sockets here")
@pytest.mark.parametrize("alpn", [["h2"], None])
def test_over_a_unix_socket(make_session: MakeSession, peer: StartPeer, alpn: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="h2-") as folder:
        path = f"{folder}/sock"
        started = peer(ordinary, uds=path, alpn=alpn)
        seen = info(make_session(uds=path).get(started.url, timeout=WAIT))
    assert (seen.peer_address, seen.local_address) == (path, None)
    assert (seen.alpn, seen.tls_version) == (alpn and alpn[0], "TLSv1.3")


def test_as_the_stock_adapter(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer(ordinary)
    seen = info(make_session(http2=False).get(started.url, timeout=WAIT))
    assert (seen.http_version, seen.alpn, seen.tls_version) == ("HTTP/1.1", "http/1.1", "TLSv1.3")


# -- proxies -------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_the_peer_is_the_proxy(
    session: requests.Session, peer: StartPeer, make_proxy: MakeProxy, tls: bool
) -> None:
    started, proxy = peer(ordinary), make_proxy(tls=tls)
    response = session.get(started.url, proxies={"https": proxy.url}, timeout=WAIT)
    seen = info(response)
    assert seen.peer_address == ("127.0.0.1", proxy.port)
    assert seen.origin == f"127.0.0.1:{started.port}"
    assert (seen.alpn, seen.http_version) == ("h2", "HTTP/2")
    assert seen.cipher == started.connection().channel.tls.cipher()[0]


@pytest.mark.extra("socks")
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_the_peer_is_the_socks_proxy(
    session: requests.Session, peer: StartPeer, make_socks: Any, make_adapter: Any, scheme: str
) -> None:
    session.mount("http://", make_adapter())
    for started in (peer(ordinary), peer(ordinary, tls=False)):
        proxy = make_socks()
        proxies = {"all": proxy.url(scheme)}
        seen = info(session.get(started.url, proxies=proxies, timeout=WAIT))
        assert seen.peer_address == ("127.0.0.1", proxy.port)


# -- pushes --------------------------------------------------------------------------------


def pushing(conn: PeerConnection) -> None:
    request = conn.next_request()
    conn.send_headers(request)
    pushed = promise(conn, request, 2, "/pushed")
    conn.respond(pushed, 200, (), b"pushed")
    conn.send_data(request, b"parent", end_stream=True)
    hold(conn)


def test_of_a_pushed_response(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(enable_push=True)
    parent = session.get(peer(pushing).url, timeout=WAIT)
    (push,) = requests_h2.get_pushes(parent)
    seen = info(push.response())
    assert (seen.stream_id, seen.reused, seen.bytes_sent) == (2, True, 0)
    assert seen.connection_id == info(parent).connection_id
    assert seen.bytes_received is not None
    assert seen.bytes_received >= len(b"pushed") + 2 * 9
    assert seen.time_to_first_byte is not None
    assert seen.time_to_first_byte >= 0


def test_a_promise_counts_for_its_parent(make_session: MakeSession, peer: StartPeer) -> None:
    logs: list[Sent] = []

    def script(conn: PeerConnection) -> None:
        logs.append(Sent(conn))
        pushing(conn)

    session = make_session(enable_push=True)
    parent = session.get(peer(script).url, timeout=WAIT)
    frames = [frame for frame in logs[0].frames if frame.stream_id == 1]
    assert info(parent).bytes_received == size(frames)


def test_of_an_adopted_push(make_session: MakeSession, peer: StartPeer) -> None:
    started, session = peer(pushing), make_session(adopt_pushes=True)
    with session.get(started.url, stream=True, timeout=WAIT) as parent:
        assert parent.raw.read(6) == b"parent"
        response = session.get(f"{started.url}/pushed", timeout=WAIT)
    assert response.raw.pushed
    assert info(response).stream_id == 2


# -- the connections -----------------------------------------------------------------------


def test_connections_of_an_adapter(session: requests.Session, peer: StartPeer, engine: str) -> None:
    assert connections(session) == []
    started = peer(hold_second, settings={"MAX_CONCURRENT_STREAMS": 7})
    first = session.get(started.url, timeout=WAIT)
    with session.get(started.url, stream=True, timeout=WAIT):
        (seen,) = connections(session)
    of_first = info(first)
    for field in dataclasses.fields(of_first):
        if hasattr(seen, field.name) and not field.name.startswith("bytes"):
            assert getattr(seen, field.name) == getattr(of_first, field.name)
    assert 0 < seen.age < WAIT
    assert seen.takes_requests
    assert (seen.streams_opened, seen.streams_active, seen.stream_limit) == (2, 1, 7)
    assert seen.goaway is None
    assert seen.bytes_sent is not None
    assert seen.bytes_received is not None
    assert of_first.bytes_sent is not None
    assert of_first.bytes_received is not None
    assert seen.bytes_sent > of_first.bytes_sent
    assert seen.bytes_received > of_first.bytes_received


def hold_second(conn: PeerConnection) -> None:
    conn.respond(conn.next_request(), 200, (), b"first")
    conn.send_headers(conn.next_request(), 200)
    hold(conn)


def test_windows(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"x" * KIB)
        conn.wait_for(DataFrame, lambda frame: "END_STREAM" in frame.flags)
        conn.window_update(0, 5)
        conn.send_data(request, b"y")
        hold(conn)

    with session.post(peer(script).url, data=b"z" * 100, stream=True, timeout=WAIT) as response:
        assert response.raw.read(KIB + 1) == b"x" * KIB + b"y"
        (seen,) = connections(session)
    assert seen.send_window == 65_535 - 100 + 5
    assert seen.receive_window == 2**30 - KIB - 1


def test_one_that_the_server_retires(session: requests.Session, peer: StartPeer) -> None:
    end = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"x")
        conn.goaway(request.stream_id, 11)
        conn.send_data(request, b"y")
        assert end.wait(WAIT)
        conn.send_data(request, b"z", end_stream=True)
        hold(conn)

    started = peer([script, ordinary])
    with session.get(started.url, stream=True, timeout=WAIT) as response:
        assert response.raw.read(2) == b"xy"
        (retired,) = connections(session)
        assert (retired.takes_requests, retired.goaway) == (False, GoAway(1, 11))
        session.get(started.url, timeout=WAIT)
        assert [each.takes_requests for each in connections(session)] == [False, True]
        end.set()
        assert response.raw.read() == b"z"
    until(lambda: len(connections(session)) == 1)


def test_one_of_a_closed_adapter_is_listed_until_it_ends(
    make_session: MakeSession, peer: StartPeer
) -> None:
    session = make_session()
    with session.get(peer(hold_second).url, timeout=WAIT) as first:
        second = session.get(str(first.url), stream=True, timeout=WAIT)
        session.close()
        (seen,) = connections(session)
        assert not seen.takes_requests
        second.close()
    assert connections(session) == []


def test_over_http1_and_other_origins(session: requests.Session, peer: StartPeer) -> None:
    http2, http1 = peer(ordinary), peer(ordinary, alpn=None)
    for started in (http1, http2, http1):
        session.get(started.url, timeout=WAIT)
    first, second = connections(session)
    assert (first.http_version, second.http_version) == ("HTTP/1.1", "HTTP/2")
    assert first.origin == f"127.0.0.1:{http1.port}"
    assert (first.streams_opened, first.streams_active, first.stream_limit) == (2, None, None)
    assert (first.send_window, first.receive_window, first.goaway) == (None, None, None)
    assert first.takes_requests
    assert 0 < first.age < WAIT
    session.close()
    assert connections(session) == []


def test_while_threads_use_it(session: requests.Session, peer: StartPeer) -> None:
    started, over_http1 = peer(ordinary), peer(ordinary, alpn=None)

    def work(number: int) -> int:
        for _ in range(20):
            session.get((started, over_http1)[number % 2].url, timeout=WAIT)
            seen = connections(session)
            assert seen
        return len(seen)

    assert min(together(8, work)) >= 1


def test_adapters_know_their_own(
    make_session: MakeSession, peer: StartPeer, certs: Certificates
) -> None:
    started, session = peer(ordinary), make_session()
    session.get(started.url, timeout=WAIT)
    copied = pickle.loads(pickle.dumps(session.get_adapter("https://")))
    assert copied.connections() == []
    with requests.Session() as other:
        other.mount("https://", copied)
        other.get(started.url, timeout=WAIT, verify=certs.ca_path)
        assert len(copied.connections()) == len(connections(session)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_none(session: requests.Session, peer: StartPeer) -> None:
    for started in (peer(ordinary), peer(ordinary, alpn=None)):
        session.get(started.url, timeout=WAIT)
    assert works_in_child(lambda: connections(session) == [])
    assert len(connections(session)) == 2
