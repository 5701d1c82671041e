"""Responses that break the rules harm one stream, and no other."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from hyperframe.frame import DataFrame, RstStreamFrame

from tests.support.peer import PeerConnection, StartPeer


@pytest.mark.parametrize("at", ["headers", "data", "trailers"])
def test_fewer_bytes_than_content_length(
    session: requests.Session, peer: StartPeer, at: str
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"content-length": "10"}, end_stream=at == "headers")
        if at != "headers":
            conn.send_data(request, b"12345", end_stream=at == "data")
        if at == "trailers":
            conn.send_trailers(request, {"x": "y"})
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(started.url)
    assert session.get(started.url).content == b"next"
    assert started.accepted == 1


def test_more_bytes_than_content_length(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"content-length": "3"})
        conn.send_data(request, b"12345", end_stream=True)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    with pytest.raises(requests.RequestException):
        session.get(started.url)
    assert session.get(started.url).content == b"next"
    assert started.accepted == 1


MALFORMED: dict[str, list[tuple[str | bytes, str | bytes]]] = {
    "no status": [("x", "y")],
    "status not a number": [(":status", "abc")],
    "status of two digits": [(":status", "99")],
    "status of four digits": [(":status", "1000")],
    "switching protocols": [(":status", "101")],
    "two statuses": [(":status", "200"), (":status", "200")],
    "request pseudo-header": [(":status", "200"), (":path", "/")],
    "pseudo-header late": [("x", "y"), (":status", "200")],
    "upper case": [(":status", "200"), ("X-Upper", "y")],
    "space in a name": [(":status", "200"), ("x y", "z")],
    "empty name": [(":status", "200"), ("", "z")],
    "line feed in a value": [(":status", "200"), ("x", "y\nset-cookie: a=b")],
    "carriage return in a value": [(":status", "200"), ("x", "y\rz")],
    "nul in a value": [(":status", "200"), ("x", "y\0z")],
    "connection": [(":status", "200"), ("connection", "close")],
    "transfer-encoding": [(":status", "200"), ("transfer-encoding", "chunked")],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_response_harms_nobody_else(
    session: requests.Session, peer: StartPeer, fields: Any
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.send_headers(conn.next_request(), None, fields, end_stream=True)
        conn.respond(conn.next_request(), 200, {"x": "y"}, b"next")

    started = peer(script)
    with pytest.raises(requests.ConnectionError):
        session.get(started.url, timeout=5)
    assert session.get(started.url).content == b"next"
    assert started.accepted == 1


def test_too_large_a_header_list_harms_nobody_else(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        headers = {f"x-{number}": "~" * 10_000 for number in range(30)}
        conn.send_headers(conn.next_request(), 200, headers)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    with pytest.raises(requests.ConnectionError):
        session.get(started.url, timeout=5)
    started.connection().wait_for(RstStreamFrame, stream_id=1)
    assert session.get(started.url).content == b"next"
    assert started.accepted == 1


def test_data_before_headers(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.send(DataFrame(conn.next_request().stream_id, b"early"))
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    with pytest.raises(requests.ConnectionError):
        session.get(started.url, timeout=5)
    assert session.get(started.url).content == b"next"
    assert started.accepted == 1
