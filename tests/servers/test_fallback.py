"""HTTP/1.1: chosen by the server, or by the user."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.support.servers import Can, Document, Server

from .support import MIB, TIMEOUT, check, client_port, on, sha256


@on(Can.HTTP11_ONLY)
def test_server_without_http2(
    server: Server, session: requests.Session, documents: dict[str, Document]
) -> None:
    ports = set()
    for _ in range(5):
        response = check(session.get(f"{server.http11_url}/1k", timeout=TIMEOUT), version=11)
        assert sha256([response.content]) == (1024, documents["1k"].sha256)
        ports.add(client_port(response))
    assert response.raw.version_string == "HTTP/1.1"
    # Kept alive, as with the stock adapter.
    assert len(ports) == 1


@on(Can.HTTP11_ONLY)
def test_bodies_without_http2(
    server: Server, session: requests.Session, documents: dict[str, Document]
) -> None:
    posted = session.post(f"{server.http11_url}/echo", json={"a": 1}, timeout=TIMEOUT)
    assert check(posted, version=11).json()["body"] == '{"a": 1}'

    block = bytes(range(256)) * 4096
    assert len(block) == MIB
    uploaded = session.post(
        f"{server.http11_url}/upload", data=(block for _ in range(10)), timeout=TIMEOUT
    )
    expected = sha256(block for _ in range(10))
    result = check(uploaded, version=11).json()
    assert (result["length"], result["sha256"]) == expected

    with session.get(f"{server.http11_url}/100m", stream=True, timeout=TIMEOUT) as response:
        check(response, version=11)
        document = documents["100m"]
        assert sha256(response.iter_content(65536)) == (document.size, document.sha256)


@on(Can.HTTP11_ONLY)
def test_redirects_and_cookies_without_http2(server: Server, session: requests.Session) -> None:
    url = server.http11_url
    check(session.get(f"{url}/redirect/2", timeout=TIMEOUT), version=11)
    check(session.get(f"{url}/cookies/set", timeout=TIMEOUT), version=11)
    sent = check(session.get(f"{url}/cookies", timeout=TIMEOUT), version=11)
    assert sent.json() == {"first": "1", "second": "two"}


@on(Can.HTTP11_ONLY)
def test_threads_without_http2(server: Server, session: requests.Session) -> None:
    def work(_: int) -> int:
        response = session.get(f"{server.http11_url}/1k", timeout=TIMEOUT)
        return len(check(response, version=11).content)

    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(work, range(80))) == [1024] * 80


@on(Can.HTTP11_ONLY)
def test_both_protocols_in_one_session(server: Server, session: requests.Session) -> None:
    for _ in range(3):
        check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
        check(session.get(f"{server.http11_url}/1k", timeout=TIMEOUT), version=11)


@on(Can.HTTP11)
def test_http2_switched_off_by_the_user(
    server: Server, session: requests.Session, make_adapter: Callable[..., Any]
) -> None:
    session.mount("https://", make_adapter(http2=False))
    check(session.get(f"{server.url}/1k", timeout=TIMEOUT), version=11)


@on(Can.HTTP11_ONLY)
def test_http2_required(
    server: Server, session: requests.Session, make_adapter: Callable[..., Any]
) -> None:
    session.mount("https://", make_adapter(http2="required"))
    check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    with pytest.raises(requests.ConnectionError, match="HTTP/2"):
        session.get(f"{server.http11_url}/1k", timeout=TIMEOUT)
