"""All that can go wrong with a connection or a stream, as exceptions of requests."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
import requests

from tests.support.peer import PeerConnection, StartPeer, serve
from tests.support.threads import WAIT

# -- before there is a connection ---------------------------------------------------------


def test_refused(session: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(f"https://127.0.0.1:{port}", timeout=5)
    assert not isinstance(caught.value, requests.Timeout)
    with requests.Session() as stock, pytest.raises(requests.ConnectionError) as expected:
        stock.get(f"https://127.0.0.1:{port}", timeout=5)
    # "HTTPSConnectionPool(host='127.0.0.1', port=...): Max retries exceeded": logs are searched.
    assert pool_of(caught) == pool_of(expected)


def pool_of(caught: pytest.ExceptionInfo[requests.ConnectionError]) -> str:
    return str(caught.value).partition(":")[0]


def test_unknown_name(session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(requests.ConnectionError, match="Name or service not known"):
        session.get("https://nowhere.invalid", timeout=5)


def test_a_failed_dial_is_not_remembered(session: requests.Session, peer: StartPeer) -> None:
    """Nor is it repeated for long: a server that ends each new connection is an error."""
    recovered = threading.Event()

    def script(conn: Any) -> None:
        if recovered.is_set():
            serve(lambda request: (200, {}, b"ok"))(conn)
        else:
            conn.abort()

    started = peer(script)
    with pytest.raises(requests.ConnectionError):
        session.post(started.url, data=b"x", timeout=5)
    recovered.set()
    assert session.post(started.url, data=b"x", timeout=5).content == b"ok"


# -- lost connections ---------------------------------------------------------------------


def test_a_broken_frame_ends_the_connection(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.send_raw(b"\x00\x00\x05\x06\x00\x00\x00\x00\x00short")
        conn.wait_eof()

    with pytest.raises(requests.ConnectionError):
        session.post(peer(script).url, data=b"x", timeout=WAIT)
