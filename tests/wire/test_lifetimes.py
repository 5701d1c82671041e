"""Who closes what, and when."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hyperframe.frame import GoAwayFrame, RstStreamFrame

from tests.support.certs import Certificates
from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, serve
from tests.support.threads import WAIT

CANCEL = 8
BODY = bytes(3_000_000)


def large(request: Request) -> Any:
    return (200, {}, BODY) if request.path == "/large" else (200, {}, b"small")


def test_leaving_a_session_closes_its_connections(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    started = peer(serve(large))
    with requests.Session() as session:
        session.mount("https://", make_adapter())
        session.get(started.url, verify=certs.ca_path)
    conn = started.connection()
    conn.wait_eof()
    assert conn.received(GoAwayFrame)[-1].error_code == 0
    assert conn.received(RstStreamFrame) == []


def test_an_early_close_ends_only_the_stream(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(large))
    with session.get(started.url + "/large", stream=True) as response:
        next(response.iter_content(100))
    conn = started.connection()
    conn.wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    assert session.get(started.url).content == b"small"
    assert started.accepted == 1


def test_a_dropped_response_is_reset(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(large))
    response: Any = session.get(started.url + "/large", stream=True)
    next(response.iter_content(100))
    del response
    gc.collect()
    assert session.get(started.url).content == b"small"
    started.connection().wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    assert started.accepted == 1


@pytest.mark.parametrize("way", ["close", "raw.close", "raw.release_conn"])
def test_ways_to_let_go(session: requests.Session, peer: StartPeer, way: str) -> None:
    started = peer(serve(large))
    response = session.get(started.url + "/large", stream=True)
    {
        "close": response.close,
        "raw.close": response.raw.close,
        "raw.release_conn": response.raw.release_conn,
    }[way]()
    del response
    gc.collect()
    assert session.get(started.url).content == b"small"
    started.connection().wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    assert started.accepted == 1


def test_a_complete_response_is_not_reset(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(large))
    for _ in range(2):
        response = session.get(started.url)
        response.close()
        response.close()
    with session.get(started.url, stream=True) as response:
        response.raw.read()
    session.get(started.url)
    assert started.connection().received(RstStreamFrame) == []


def test_early_closes_return_the_slot_and_the_bytes(
    make_session: MakeSession, peer: StartPeer
) -> None:
    session = make_session(pool_maxsize=1)
    started = peer(serve(large), settings={"max_concurrent_streams": 1})
    for _ in range(30):
        with session.get(started.url + "/large", stream=True, timeout=WAIT) as response:
            next(response.iter_content(100))
    assert session.get(started.url, timeout=WAIT).content == b"small"
    assert started.accepted == 1


def test_a_reset_stream_does_not_count(make_session: MakeSession, peer: StartPeer) -> None:
    """Late frames of a closed stream are nobody's."""

    def script(conn: PeerConnection) -> None:
        first = conn.next_request()
        conn.send_headers(first, 200, {"x": "first"})
        conn.expect(RstStreamFrame, stream_id=first.stream_id)
        second = conn.next_request()
        conn.send_data(first, b"late " * 1000)
        conn.send_trailers(first, {"x-late": "yes"})
        conn.respond(second, 200, {"x": "second"}, b"second")

    started = peer(script, settings={"max_concurrent_streams": 1})
    session = make_session(pool_maxsize=1)
    session.get(started.url, stream=True).close()
    response = session.get(started.url, timeout=WAIT)
    assert (response.headers["x"], response.content) == ("second", b"second")
    assert started.accepted == 1


@pytest.mark.parametrize("way", ["session", "adapter"])
def test_a_response_in_flight_survives_the_close(
    session: requests.Session, peer: StartPeer, way: str
) -> None:
    started = peer(serve(large))
    response = session.get(started.url + "/large", stream=True)
    assert response.raw.read(10) == BODY[:10]
    if way == "session":
        session.close()
    else:
        session.get_adapter(started.url).close()
    assert len(response.raw.read()) == len(BODY) - 10
    started.connection(0).wait_eof()
    # And a new request dials again.
    assert session.get(started.url).content == b"small"
    assert started.accepted == 2


def test_a_closed_session_dials_again_beside_the_one_in_flight(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(serve(large))
    response = session.get(started.url + "/large", stream=True)
    session.close()
    assert session.get(started.url).content == b"small"
    assert started.accepted == 2
    assert len(started.connection(0).requests) == 1
    response.close()
    started.connection(0).wait_eof()


def test_pool_connections_evicts_the_oldest_origin(
    make_session: MakeSession, peer: StartPeer
) -> None:
    session = make_session(pool_connections=1)
    first, second = peer(serve(large)), peer(serve(large))
    session.get(first.url)
    session.get(second.url)
    first.connection().wait_eof()
    session.get(first.url)
    assert (first.accepted, second.accepted) == (2, 1)


def test_a_pickled_adapter_works(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    started = peer(serve(large))
    with requests.Session() as session:
        session.mount("https://", pickle.loads(pickle.dumps(make_adapter(pool_maxsize=3))))
        assert session.get(started.url, verify=certs.ca_path).raw.version == 20
