"""``HTTP2Adapter.ping`` and ``ping_interval`` over every server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.servers import Can, Server
from tests.support.threads import together

from .support import TIMEOUT, check, client_port, has_client_port, on


def ping(session: requests.Session, url: str) -> float:
    adapter: Any = session.get_adapter(url)
    seconds: float = adapter.ping(url, timeout=TIMEOUT, verify=session.verify)
    return seconds


@on()
def test_pings_beside_requests(server: Server, session: requests.Session) -> None:
    assert 0 < ping(session, server.url) < TIMEOUT
    first = check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    assert 0 < ping(session, server.url) < TIMEOUT
    second = check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    if has_client_port(server):
        assert client_port(first) == client_port(second)


@on()
def test_threads_that_ping_and_get(server: Server, session: requests.Session) -> None:
    def work(number: int) -> None:
        for _ in range(10):
            if number % 2:
                assert ping(session, server.url) < TIMEOUT
            else:
                check(session.get(f"{server.url}/1k", timeout=TIMEOUT))

    together(6, work)


@on(Can.HTTP11_ONLY)
def test_a_server_without_http2(server: Server, session: requests.Session) -> None:
    with pytest.raises(requests.ConnectionError, match="PING"):
        ping(session, server.http11_url)


@on(Can.RETIRE)
def test_connections_that_retire(server: Server, session: requests.Session) -> None:
    """Each after ten requests, which is no failure of a ping."""

    def work(number: int) -> None:
        for _ in range(15):
            if number % 2:
                assert ping(session, server.retiring_url) < TIMEOUT
            else:
                check(session.get(f"{server.retiring_url}/1k", timeout=TIMEOUT))

    together(4, work)


@on(Can.DYNAMIC)
def test_keepalive(
    server: Server, session: requests.Session, make_adapter: Callable[..., Any]
) -> None:
    """PINGs beside responses that are late, and before requests after a silence."""
    session.mount("https://", make_adapter(ping_interval=0.05, ping_timeout=TIMEOUT))
    for _ in range(3):
        response = check(session.get(f"{server.url}/delay?ms=300", timeout=TIMEOUT))
        assert response.content == b"late"
        threading.Event().wait(0.1)
