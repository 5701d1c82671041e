"""Fixtures of several modules of wire tests."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from urllib3.connection import HTTPConnection

from tests.support.peer import MakeSession
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


@pytest.fixture
def make_http_session(make_session: MakeSession) -> MakeSession:
    """As ``make_session``; the adapter of https:// is that of http://, too."""

    def make(**options: Any) -> requests.Session:
        session = make_session(**options)
        session.mount("http://", session.get_adapter("https://"))
        return session

    return make


@pytest.fixture
def small_send_buffer(session: requests.Session) -> None:
    """The client's TCP buffer for sending: what the peer does not read piles up here."""
    options = [
        *HTTPConnection.default_socket_options,
        (socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384),
    ]
    adapter: Any = session.get_adapter("https://")
    adapter.init_poolmanager(10, 10, socket_options=options)
