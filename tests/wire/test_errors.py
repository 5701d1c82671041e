"""All that can go wrong with a connection or a stream, as exceptions of requests."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
import requests
from hyperframe.frame import DataFrame

from tests.support.peer import PeerConnection, StartPeer, serve
from tests.support.threads import WAIT

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, CANCEL, ENHANCE_YOUR_CALM = 0, 1, 2, 8, 11


# -- before there is a connection ---------------------------------------------------------


def test_refused(session: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(f"https://127.0.0.1:{port}", timeout=5)
    assert not isinstance(caught.value, requests.Timeout)


def test_unknown_name(session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(requests.ConnectionError, match="Name or service not known"):
        session.get("https://nowhere.invalid", timeout=5)


def test_a_failed_dial_is_not_remembered(session: requests.Session, peer: StartPeer) -> None:
    def refuse(conn: Any) -> None:
        conn.abort()

    started = peer([refuse, serve(lambda request: (200, {}, b"ok"))], preface=True)
    with pytest.raises(requests.ConnectionError):
        session.post(started.url, data=b"x", timeout=5)
    assert session.post(started.url, data=b"x", timeout=5).content == b"ok"


# -- resets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (NO_ERROR, "NO_ERROR"),
        (PROTOCOL_ERROR, "PROTOCOL_ERROR"),
        (INTERNAL_ERROR, "INTERNAL_ERROR"),
        (CANCEL, "CANCEL"),
        (ENHANCE_YOUR_CALM, "ENHANCE_YOUR_CALM"),
        (0xBEEF, ""),
    ],
)
def test_reset_before_headers(
    session: requests.Session, peer: StartPeer, code: int, name: str
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), code)

    started = peer(script)
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(started.url, timeout=5)
    assert not isinstance(caught.value, requests.Timeout)
    assert name in str(caught.value)
    assert str(code) in str(caught.value) or f"{code:x}" in str(caught.value).lower()
    assert len(started.requests) == 1


def test_a_reset_harms_nobody_else(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), INTERNAL_ERROR)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    with pytest.raises(requests.ConnectionError):
        session.get(started.url)
    assert session.get(started.url).content == b"next"
    assert started.accepted == 1


@pytest.mark.parametrize("code", [NO_ERROR, INTERNAL_ERROR, CANCEL])
def test_reset_in_the_body(session: requests.Session, peer: StartPeer, code: int) -> None:
    def script(conn: PeerConnection) -> None:
        for _ in range(2):
            request = conn.next_request()
            conn.send_headers(request)
            conn.send_data(request, b"partial")
            conn.reset(request, code)

    started = peer(script)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(started.url)
    response = session.get(started.url, stream=True)
    received: list[bytes] = []
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        received.extend(response.iter_content(100))
    assert started.accepted == 1


def test_what_came_before_a_reset_is_delivered(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"partial")
        conn.reset(request, INTERNAL_ERROR)

    response = session.get(peer(script).url, stream=True)
    chunks = response.iter_content(7)
    assert next(chunks) == b"partial"
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        next(chunks)


def test_a_reset_after_the_end_is_ignored(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.expect(DataFrame)
        conn.respond(request, 200, (), b"whole")
        conn.reset(request, NO_ERROR)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    response = session.post(started.url, data=(bytes(10_000) for _ in range(50)), timeout=WAIT)
    assert response.content == b"whole"
    assert session.get(started.url).content == b"next"
    assert started.accepted == 1


# -- GOAWAY and lost connections ----------------------------------------------------------


def test_goaway_with_an_error(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.goaway(0, ENHANCE_YOUR_CALM, b"too many of you")
        conn.close()

    started = peer(script)
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(started.url, timeout=5)
    assert "ENHANCE_YOUR_CALM" in str(caught.value)
    assert "too many of you" in str(caught.value)
    assert started.accepted == 1


def test_goaway_lets_accepted_streams_finish(session: requests.Session, peer: StartPeer) -> None:
    """Both ways: the upload goes on, and so does the download."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.goaway(2**31 - 1)
        conn.goaway(request.stream_id)
        conn.read_body(request)
        conn.send_headers(request)
        conn.send_body(request, bytes(3_000_000))
        conn.wait_eof()

    started = peer(script)
    data = bytes(300_000)
    response = session.post(started.url, data=data, stream=True, timeout=WAIT)
    assert len(response.content) == 3_000_000
    assert started.request.body == data


@pytest.mark.parametrize("way", ["close", "cut", "abort"])
def test_lost_before_headers(session: requests.Session, peer: StartPeer, way: str) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        getattr(conn, way)()

    started = peer(script)
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(started.url, timeout=WAIT)
    assert not isinstance(caught.value, requests.Timeout)
    assert time.monotonic() - begin < 5
    assert started.accepted == 1


@pytest.mark.parametrize("way", ["close", "cut", "abort"])
def test_lost_in_the_body(session: requests.Session, peer: StartPeer, way: str) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"partial")
        conn.channel.wait_until_delivered()
        getattr(conn, way)()

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(peer(script).url, timeout=WAIT)


def test_a_truncated_frame(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_raw(DataFrame(request.stream_id, b"0123456789").serialize()[:-5])
        conn.close()

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(peer(script).url, timeout=WAIT)


@pytest.mark.parametrize("way", ["close", "cut"])
def test_lost_after_the_end(session: requests.Session, peer: StartPeer, way: str) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200, (), b"whole")
        getattr(conn, way)()

    assert session.get(peer(script).url, timeout=WAIT).content == b"whole"


def test_an_http1_answer_over_h2(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.channel.receive()
        conn.send_raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        while conn.channel.receive():
            pass

    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError, match=r"HTTP/1\.1"):
        session.get(peer(script, preface=False).url, timeout=WAIT)
    assert time.monotonic() - begin < 5


def test_a_broken_frame_ends_the_connection(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.send_raw(b"\x00\x00\x05\x06\x00\x00\x00\x00\x00short")
        conn.wait_eof()

    with pytest.raises(requests.ConnectionError):
        session.post(peer(script).url, data=b"x", timeout=WAIT)
