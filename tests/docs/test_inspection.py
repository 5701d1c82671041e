"""The blocks of docs/inspection.rst."""

from __future__ import annotations

import pytest
import requests

from tests.support.pages import Example
from tests.support.peer import PeerConnection, StartPeer, hold, serve
from tests.support.threads import WAIT

PAGE = "inspection.rst"

answering = serve(lambda request: (200, {}, b"answer"))


def test_connection_info(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    capsys: pytest.CaptureFixture[str],
    engine: str,
) -> None:
    example(peer(answering).url, session=session)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith(f"HTTP/2 {engine} TLSv1.3 TLS_")
    assert second.endswith("stream 1, reused: False")
    assert third.startswith("0.")


def test_connections(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.goaway(request.stream_id, 11)
        conn.send_data(request, b"x")
        hold(conn)

    started = peer(script)
    with session.get(started.url, stream=True, timeout=WAIT) as response:
        assert response.raw.read(1) == b"x"
        example(started.url, session=session)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].endswith(f"{started.url.removeprefix('https://')}, 0 s old")
    assert shown[1:] == ["  1 of 100 streams", "  retired by the server with error code 11"]
