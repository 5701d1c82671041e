"""``HTTP2Adapter(coalesce=True)`` with the hosts of every server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.names import Names
from tests.support.servers import Can, Server
from tests.support.threads import together

from .support import TIMEOUT, check, client_port, on

ONE, TWO, THREE, APART = (f"{name}.example.com" for name in ("one", "two", "three", "apart"))


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture(autouse=True)
def coalescing(session: requests.Session, make_adapter: Callable[..., Any]) -> None:
    session.mount("https://", make_adapter(coalesce=True))


def get(session: requests.Session, host: str, server: Server) -> requests.Response:
    return check(session.get(f"https://{host}:{server.port}/1k", timeout=TIMEOUT))


@on()
def test_hosts_share_a_connection(
    server: Server, session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "requests_h2")
    bodies = {get(session, host, server).content for host in (ONE, TWO, THREE, ONE)}
    assert len(bodies) == 1
    assert len([line for line in caplog.messages if ": connected, ALPN h2" in line]) == 1
    for host in (TWO, THREE):
        assert f"{host}:{server.port} uses the connection to {ONE}:{server.port}" in caplog.messages


@on()
def test_threads(server: Server, session: requests.Session) -> None:
    def work(number: int) -> None:
        for count in range(10):
            get(session, (ONE, TWO, THREE)[(number + count) % 3], server)

    together(6, work)


@on(Can.MISDIRECTED)
def test_misdirected(
    server: Server, session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    """nginx is told to, Apache does so by itself for a host with other TLS settings."""
    caplog.set_level(logging.DEBUG, "requests_h2")
    shared, own = client_port(get(session, ONE, server)), client_port(get(session, APART, server))
    assert f"{APART}:{server.port}: 421, GET /1k is sent again" in caplog.messages
    assert client_port(get(session, APART, server)) == own != shared
    assert client_port(get(session, TWO, server)) == shared
