"""Who closes what, and when."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

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


def test_a_pickled_adapter_works(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    started = peer(serve(large))
    with requests.Session() as session:
        session.mount("https://", pickle.loads(pickle.dumps(make_adapter(pool_maxsize=3))))
        assert session.get(started.url, verify=certs.ca_path).raw.version == 20
