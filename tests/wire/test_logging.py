"""What the logger "requests_h2" tells at DEBUG, and what it never does."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import requests

from tests.support.peer import PeerConnection, StartPeer, serve
from tests.support.threads import WAIT

REFUSED_STREAM = 7


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="requests_h2")
    return caplog


def ours(log: pytest.LogCaptureFixture) -> str:
    records = [record for record in log.records if record.name.split(".")[0] == "requests_h2"]
    assert all(record.levelno == logging.DEBUG for record in records)
    return "\n".join(record.getMessage() for record in records)


def test_connection_and_stream(
    session: requests.Session, peer: StartPeer, log: pytest.LogCaptureFixture
) -> None:
    started = peer(serve(lambda request: (201, {}, b"x" * 1234)))
    session.get(started.url)
    text = ours(log)
    opened, *_ = [line for line in text.splitlines() if "127.0.0.1" in line]
    assert str(started.port) in opened
    assert "h2" in opened
    assert "TLSv1.3" in opened
    assert any("201" in line and "1234" in line for line in text.splitlines())


def test_goaway_replay_and_retirement(
    session: requests.Session, peer: StartPeer, log: pytest.LogCaptureFixture
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.goaway(0, 0, b"maintenance")
        conn.wait_eof()

    started = peer([script, serve(lambda request: (200, {}, b""))])
    session.get(started.url, timeout=WAIT)
    text = ours(log)
    assert "GOAWAY" in text
    assert "NO_ERROR" in text
    assert "again" in text or "replay" in text


def test_refused_stream_replay(
    session: requests.Session, peer: StartPeer, log: pytest.LogCaptureFixture
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), REFUSED_STREAM)
        conn.respond(conn.next_request())

    session.get(peer(script).url, timeout=WAIT)
    assert "REFUSED_STREAM" in ours(log)


def test_neither_values_nor_bodies(
    session: requests.Session, peer: StartPeer, log: pytest.LogCaptureFixture
) -> None:
    secrets = {"Authorization": "Bearer sesame-one", "X-Custom": "sesame-two"}

    def handler(request: Any) -> Any:
        return 200, {"set-cookie": "c=sesame-three"}, b"sesame-four"

    started = peer(serve(handler))
    for _ in range(2):
        session.post(started.url, headers=secrets, data=b"sesame-five", params={"q": "sesame-six"})
    session.close()
    assert {"requests_h2.frames", "requests_h2.origin"} < {record.name for record in log.records}
    assert "sesame" not in ours(log)


def test_quiet_by_default(
    session: requests.Session, peer: StartPeer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    session.get(peer(serve(lambda request: (200, {}, b""))).url)
    assert [record for record in caplog.records if record.name.startswith("requests_h2")] == []
