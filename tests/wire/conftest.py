"""Fixtures of the wire tests that are about proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.proxy import Proxy
from tests.support.socks import SocksServer


@pytest.fixture
def make_proxy() -> Iterator[Callable[..., Proxy]]:
    """``make_proxy(answers, tls=True)``: a started Proxy, ended with the test."""
    proxies: list[Proxy] = []

    def make(*args: Any, **options: Any) -> Proxy:
        proxies.append(Proxy(*args, **options))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def make_socks() -> Iterator[Callable[..., SocksServer]]:
    """``make_socks(answers, credentials=...)``: a started SocksServer, ended with the test."""
    servers: list[SocksServer] = []

    def make(*args: Any, **options: Any) -> SocksServer:
        servers.append(SocksServer(*args, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()
