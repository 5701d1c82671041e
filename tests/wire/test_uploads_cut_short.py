"""Answers before the end of a body, bodies that fail, bodies that are sent again."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import DataFrame, RstStreamFrame

from tests.support.peer import PeerConnection, Request, StartPeer, serve
from tests.support.threads import WAIT

CANCEL = 8


def ok(request: Request) -> Any:
    return 200, {}, b"ok"


class Unsized:
    """A file of which nothing is known but ``read``."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.taken += len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(8192), b"")


@pytest.mark.parametrize("status", [307, 401, 413, 500])
def test_a_final_answer_stops_the_upload(
    session: requests.Session, peer: StartPeer, status: int
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.expect(DataFrame)
        conn.respond(1, status, {}, b"no")
        request = conn.next_request()
        conn.respond(request, 200, {}, b"next")

    taken = []

    def body() -> Iterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield bytes(16_000)

    started = peer(script)
    response = session.post(started.url, data=body(), allow_redirects=False, timeout=WAIT)
    assert (response.status_code, response.content) == (status, b"no")
    assert len(taken) < 1000
    reset = started.connection().wait_for(RstStreamFrame, stream_id=1)
    assert reset.error_code in (0, CANCEL)
    assert session.get(started.url).content == b"next"
    assert started.accepted == 1


def test_a_2xx_answer_does_not_stop_the_upload(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.expect(DataFrame)
        conn.send_headers(request, 200)
        body = conn.read_body(request)
        conn.send_data(request, str(len(body)).encode(), end_stream=True)

    started = peer(script)
    response = session.post(started.url, data=(bytes(10_000) for _ in range(50)), timeout=WAIT)
    assert response.content == b"500000"


def test_both_directions_at_once(session: requests.Session, peer: StartPeer) -> None:
    """The server reads more of the upload only while its own data is being read."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200)
        echoed = 0
        while not request.ended or echoed < len(request.body):
            if piece := bytes(request.body[echoed:]):
                echoed += len(piece)
                conn.credit(request, len(piece))
                conn.send_body(request, piece, end_stream=False)
            else:
                conn.read_frame()
        conn.send_data(request, end_stream=True)

    started = peer(script)
    data = bytes(range(256)) * 20_000
    pieces = (data[at : at + 50_000] for at in range(0, len(data), 50_000))
    response = session.post(started.url, data=pieces, stream=True, timeout=WAIT)
    assert b"".join(response.iter_content(65_536)) == data


# -- bodies that fail, bodies that are sent again ------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("mine"), OSError(5, "mine")])
def test_the_iterators_own_exception(
    session: requests.Session, peer: StartPeer, error: Exception
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.expect(DataFrame)
        conn.expect(RstStreamFrame, stream_id=1, error_code=CANCEL)
        conn.respond(conn.next_request(), 200, {}, b"next")

    def body() -> Iterator[bytes]:
        yield b"some"
        raise error

    started = peer(script)
    with pytest.raises(type(error)) as caught:
        session.post(started.url, data=body())
    assert caught.value is error
    started.connection().wait_for(RstStreamFrame, stream_id=1)
    assert not started.requests[0].ended
    assert session.get(started.url).content == b"next"
    assert started.accepted == 1


def test_a_failing_file(session: requests.Session, peer: StartPeer) -> None:
    class Failing(Unsized):
        def read(self, size: int = -1) -> bytes:
            if self.taken:
                raise OSError(5, "disk")
            return super().read(min(size, 10) if size > 0 else 10)

    started = peer(serve(ok))
    with pytest.raises(OSError, match="disk") as caught:
        session.post(started.url, data=Failing(b"x" * 100))
    assert not isinstance(caught.value, requests.RequestException)
    started.connection().wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    assert session.get(started.url).content == b"ok"


def redirect(status: int) -> Any:
    def handler(request: Request) -> Any:
        return (status, {"location": "/there"}, b"") if request.path == "/" else (200, {}, b"ok")

    return handler


def test_redirects_send_the_body_again(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(redirect(307)))
    file = io.BytesIO(b"0123456789")
    file.seek(2)
    session.post(started.url, data=b"bytes")
    session.post(started.url, data=file)
    assert [(each.method, bytes(each.body)) for each in started.requests] == [
        ("POST", b"bytes"),
        ("POST", b"bytes"),
        ("POST", b"23456789"),
        ("POST", b"23456789"),
    ]


def test_redirects_cannot_rewind_a_pipe(session: requests.Session, peer: StartPeer) -> None:
    class Pipe(Unsized):
        def tell(self) -> int:
            raise OSError("a pipe")

    started = peer(serve(redirect(307)))
    with pytest.raises(requests.exceptions.UnrewindableBodyError):
        session.post(started.url, data=Pipe(b"once"))


def test_see_other_drops_the_body(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(redirect(303)))
    session.post(started.url, data=b"body")
    assert [each.method for each in started.requests] == ["POST", "GET"]
    assert started.requests[1].body == b""
    assert "content-length" not in started.requests[1].headers
