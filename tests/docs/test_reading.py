"""The blocks of docs/reading.rst."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator

import requests

from tests.support.pages import Example
from tests.support.peer import PeerConnection, StartPeer, serve
from tests.support.threads import WAIT

PAGE = "reading.rst"


def test_in_pieces(example: Example, session: requests.Session, peer: StartPeer) -> None:
    body = bytes(200_000)
    pieces: list[bytes] = []
    example(peer(serve(lambda request: (200, {}, body))).url, session=session, handle=pieces.append)
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) == 65_536


def test_lines(example: Example, session: requests.Session, peer: StartPeer) -> None:
    lines: list[bytes] = []
    parts = [b"one\nt", b"wo\n\nthree\n"]
    started = peer(serve(lambda request: (200, {}, parts)))
    example(started.url, session=session, handle=lines.append)
    assert lines == [b"one", b"two", b"three"]


def test_as_it_arrives(example: Example, session: requests.Session, peer: StartPeer) -> None:
    seen = threading.Semaphore(0)
    events: list[bytes] = []

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for number in range(3):
            conn.send_data(request, b"event %d" % number)
            assert seen.acquire(timeout=WAIT)
        conn.send_data(request, end_stream=True)

    def handle(data: bytes) -> None:
        events.append(data)
        seen.release()

    example(peer(script).url, session=session, handle=handle)
    assert events == [b"event 0", b"event 1", b"event 2"]


def test_frame_by_frame(example: Example, session: requests.Session, peer: StartPeer) -> None:
    body = gzip.compress(b"one two three")
    sent = [body[:10], b"", body[10:]]
    frames: list[bytes] = []

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"content-encoding": "gzip"})
        for number, frame in enumerate(sent, 1):
            conn.send_data(request, frame, end_stream=number == len(sent))

    example(peer(script).url, session=session, handle=frames.append)
    assert frames == sent


ROWS = [b"%d\n" % number for number in range(1000)]


def test_sending_in_pieces(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, bytes(request.body))))
    response = example(started.url, session=session)["response"]
    assert response.content == b"".join(ROWS)
    assert "content-length" not in started.request.headers


def test_both_at_once(example: Example, session: requests.Session, peer: StartPeer) -> None:
    """The server takes no more than its first window before what it has said was read."""
    heard = threading.Event()
    answers: list[bytes] = []

    def rows() -> Iterator[bytes]:
        for _ in range(20):
            yield bytes(10_000)

    def handle(data: bytes) -> None:
        answers.append(data)
        heard.set()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"go on")
        assert heard.wait(WAIT)
        size = len(conn.read_body(request))
        conn.send_data(request, b"%d" % size, end_stream=True)

    example(peer(script).url, session=session, handle=handle, rows=rows)
    assert answers == [b"go on", b"200000"]
