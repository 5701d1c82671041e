"""Idle connections, GOAWAY, refused streams: what is sent again, and what never is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import HeadersFrame, PingFrame, SettingsFrame

from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, serve
from tests.support.threads import WAIT, together

REFUSED_STREAM, INTERNAL_ERROR, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 7, 2, 11, 13


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or b"answer"


ordinary = serve(answer)


def test_one_connection_for_all(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    for _ in range(20):
        session.get(started.url)
    assert started.accepted == 1


# -- idle connections ----------------------------------------------------------------------


def test_an_idle_ping_is_answered_first(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    session.get(started.url)
    conn = started.connection()
    conn.ping(b"are you?")
    conn.settings(max_concurrent_streams=50)
    conn.channel.wait_until_delivered()
    session.get(started.url)
    ack = conn.wait_for(PingFrame, lambda frame: "ACK" in frame.flags)
    assert ack.opaque_data == b"are you?"
    second = conn.wait_for(HeadersFrame, stream_id=3)
    acks = [frame for frame in conn.received(SettingsFrame) if "ACK" in frame.flags]
    assert conn.frames.index(ack) < conn.frames.index(second)
    assert conn.frames.index(acks[1]) < conn.frames.index(second)
    assert started.accepted == 1


@pytest.mark.parametrize("way", ["goaway", "close", "cut"])
def test_an_ended_idle_connection_costs_nothing(
    session: requests.Session, peer: StartPeer, way: str
) -> None:
    """Not even a POST whose body cannot be sent twice."""
    started = peer(ordinary)
    session.get(started.url)
    conn = started.connection()
    getattr(conn, way)()
    conn.channel.wait_until_delivered()
    assert session.post(started.url, data=iter([b"once"]), timeout=WAIT).content == b"once"
    assert started.accepted == 2
    assert len(conn.requests) == 1


@pytest.mark.parametrize("requests_a_connection", [1, 10])
def test_a_server_that_ends_connections_every_few_requests(
    session: requests.Session, peer: StartPeer, requests_a_connection: int
) -> None:
    def script(conn: PeerConnection) -> None:
        for number in range(requests_a_connection):
            request = conn.next_request()
            conn.read_body(request)
            if number == requests_a_connection - 1:
                conn.goaway(request.stream_id)
            conn.respond(request, 200, (), bytes(request.body))
        conn.close()

    started = peer(script)
    for number in range(30):
        body = str(number).encode()
        assert session.post(started.url, data=body, timeout=WAIT).content == body
    assert started.accepted == 30 // requests_a_connection


def test_such_a_server_and_threads(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        for _ in range(10):
            request = conn.next_request()
            conn.read_body(request)
            conn.respond(request, 200, (), bytes(request.body))
        conn.goaway(request.stream_id)

    started = peer(script)

    def work(number: int) -> int:
        answered = 0
        for count in range(15):
            body = f"{number} {count}".encode()
            answered += session.post(started.url, data=body, timeout=WAIT).content == body
        return answered

    assert together(6, work) == [15] * 6


# -- GOAWAY --------------------------------------------------------------------------------


def goaway_below(code: int = 0) -> Any:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.goaway(0, code)
        conn.wait_eof()

    return script


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_goaway_below_us_is_replayed(
    session: requests.Session, peer: StartPeer, method: str
) -> None:
    started = peer([goaway_below(), ordinary])
    response = session.request(method, started.url, data=b"body", timeout=WAIT)
    assert response.content == b"body"
    assert started.accepted == 2


def test_a_replayed_file_starts_where_it_started(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer([goaway_below(), ordinary])
    file = io.BytesIO(b"0123456789")
    file.seek(4)
    assert session.put(started.url, data=file, timeout=WAIT).content == b"456789"


def test_a_generator_is_not_replayed(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.read_body(conn.next_request())
        conn.goaway(0)
        conn.wait_eof()

    started = peer([script, ordinary])
    with pytest.raises(requests.ConnectionError):
        session.post(started.url, data=iter([b"once"]), timeout=WAIT)
    assert started.accepted == 1


def test_goaway_for_ever(session: requests.Session, peer: StartPeer) -> None:
    started = peer(goaway_below())
    with pytest.raises(requests.ConnectionError):
        session.get(started.url, timeout=WAIT)
    assert started.accepted == 4


def test_goaway_with_an_error_at_the_first_request(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer([goaway_below(ENHANCE_YOUR_CALM), ordinary])
    with pytest.raises(requests.ConnectionError, match="ENHANCE_YOUR_CALM"):
        session.get(started.url, timeout=WAIT)
    assert started.accepted == 1


def test_goaway_with_an_error_at_a_later_request(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        conn.next_request()
        conn.goaway(1, ENHANCE_YOUR_CALM)
        conn.wait_eof()

    started = peer([script, ordinary])
    session.get(started.url)
    assert session.post(started.url, data=b"body", timeout=WAIT).content == b"body"
    assert started.accepted == 2


# -- REFUSED_STREAM ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refused_stream_is_replayed(
    session: requests.Session, peer: StartPeer, method: str
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.read_body(request)
        conn.reset(request, REFUSED_STREAM)
        ordinary(conn)

    started = peer(script)
    assert session.request(method, started.url, data=b"body", timeout=WAIT).content == b"body"
    assert [request.stream_id for request in started.requests] == [1, 3]
    assert started.accepted == 1


def test_a_second_refusal_retires_the_connection(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        for _ in range(2):
            conn.reset(conn.next_request(), REFUSED_STREAM)

    started = peer([script, ordinary])
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == 2
    assert len(started.connection(0).requests) == 2


def test_refused_for_ever(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        while True:
            conn.reset(conn.next_request(), REFUSED_STREAM)

    started = peer(script)
    with pytest.raises(requests.ConnectionError, match="REFUSED_STREAM"):
        session.get(started.url, timeout=WAIT)
    assert len(started.requests) == 4


def test_a_refused_generator(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.read_body(request)
        conn.reset(request, REFUSED_STREAM)

    started = peer(script)
    with pytest.raises(requests.ConnectionError, match="REFUSED_STREAM"):
        session.post(started.url, data=iter([b"once"]), timeout=WAIT)
    assert len(started.requests) == 1


def test_refusal_after_headers_is_final(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.reset(request, REFUSED_STREAM)

    started = peer(script)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(started.url, timeout=WAIT)
    assert len(started.requests) == 1


# -- HTTP_1_1_REQUIRED ---------------------------------------------------------------------


@pytest.mark.parametrize("by", ["reset", "goaway"])
def test_http_1_1_required(session: requests.Session, peer: StartPeer, by: str) -> None:
    def script(conn: Any) -> None:
        if conn.version == 20:
            conn.read_body(conn.next_request())
            if by == "reset":
                conn.reset(1, HTTP_1_1_REQUIRED)
            else:
                conn.goaway(0, HTTP_1_1_REQUIRED)
        else:
            ordinary(conn)

    started = peer(script)
    response = session.post(started.url, data=b"body", timeout=WAIT)
    assert (response.raw.version, response.content) == (11, b"body")
    # The origin is remembered.
    assert session.get(started.url, timeout=WAIT).raw.version == 11
    assert [conn.version for conn in started.connections] == [20, 11]


def test_http_1_1_required_but_h2_required(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), HTTP_1_1_REQUIRED)

    started = peer(script)
    with pytest.raises(requests.ConnectionError):
        make_session(http2="required").get(started.url, timeout=WAIT)
    assert len(started.requests) == 1


# -- lost connections ----------------------------------------------------------------------


def answers_once_then(way: str) -> Any:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        conn.read_body(conn.next_request())
        getattr(conn, way)()

    return script


@pytest.mark.parametrize("way", ["close", "cut", "abort"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_reused_connection_lost_is_replayed_once(
    session: requests.Session, peer: StartPeer, method: str, way: str
) -> None:
    started = peer([answers_once_then(way), ordinary])
    session.get(started.url)
    assert session.request(method, started.url, data=b"body", timeout=WAIT).content == b"body"
    assert started.accepted == 2


def test_a_reused_connection_lost_is_not_replayed_for_a_post(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer([answers_once_then("cut"), ordinary])
    session.get(started.url)
    with pytest.raises(requests.ConnectionError):
        session.post(started.url, data=b"body", timeout=WAIT)
    assert started.accepted == 1


def test_a_reused_connection_lost_after_an_interim_answer_is_not_replayed(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        conn.informational(conn.next_request(), 103, {"link": "</x>"})
        conn.channel.wait_until_delivered()
        conn.close()

    started = peer([script, ordinary])
    session.get(started.url)
    with pytest.raises(requests.ConnectionError):
        session.get(started.url, timeout=WAIT)


def test_internal_error_is_never_replayed(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        conn.reset(conn.next_request(), INTERNAL_ERROR)

    started = peer(script)
    session.get(started.url)
    with pytest.raises(requests.ConnectionError):
        session.get(started.url, timeout=WAIT)
    assert len(started.requests) == 2


def test_a_body_is_not_touched_before_a_connection_stands(
    session: requests.Session, peer: StartPeer
) -> None:
    """The first connection is found dead; the generator must still be whole for the second."""
    taken = []

    def body() -> Iterator[bytes]:
        taken.append(started.accepted)
        yield b"once"

    started = peer(ordinary)
    session.get(started.url)
    conn = started.connection()
    conn.goaway(1)
    conn.close()
    conn.channel.wait_until_delivered()
    assert session.post(started.url, data=body(), timeout=WAIT).content == b"once"
    assert taken == [2]
