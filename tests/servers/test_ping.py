"""``HTTP2Adapter.ping`` over every server."""

from __future__ import annotations

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
