"""The blocks of docs/reading.rst."""

from __future__ import annotations

import gzip
import threading

import requests

from tests.support.pages import Example
from tests.support.peer import PeerConnection, StartPeer
from tests.support.threads import WAIT

PAGE = "reading.rst"


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
