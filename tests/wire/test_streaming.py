"""Streamed responses: what arrives when, and who pays for what nobody reads."""

from __future__ import annotations

import pathlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import RstStreamFrame

from tests.support.peer import Peer, PeerConnection, StartPeer, serve
from tests.support.threads import WAIT

MIB = 2**20


def test_lines_arrive_as_they_are_sent(session: requests.Session, peer: StartPeer) -> None:
    seen = [threading.Event() for _ in range(5)]

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"content-type": "text/event-stream"})
        for number, event in enumerate(seen):
            conn.send_data(request, f"data: {number}\n".encode())
            assert event.wait(WAIT)
        conn.send_data(request, end_stream=True)

    response = session.get(peer(script).url, stream=True, timeout=WAIT)
    lines = []
    for number, line in enumerate(response.iter_lines()):
        lines.append(line)
        seen[number].set()
    assert lines == [f"data: {number}".encode() for number in range(5)]


def test_chunks_arrive_as_they_are_sent(session: requests.Session, peer: StartPeer) -> None:
    """Without Content-Length a chunk is what there is, at most the size asked for."""
    taken = threading.Semaphore(0)

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for piece in (b"a", b"bb", b"ccc"):
            conn.send_data(request, piece)
            assert taken.acquire(timeout=WAIT)
        conn.send_data(request, b"x" * 250, end_stream=True)

    response = session.get(peer(script).url, stream=True, timeout=WAIT)
    chunks = []
    for chunk in response.iter_content(100):
        chunks.append(chunk)
        taken.release()
    assert chunks[:3] == [b"a", b"bb", b"ccc"]
    assert b"".join(chunks[3:]) == b"x" * 250
    assert max(map(len, chunks)) == 100


class Overhearing:
    """A file before the file, as CacheControl's, which hears of nothing but ``read``."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.heard: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, amount: int | None = None) -> bytes:
        data: bytes = self._file.read(amount)
        self.heard.append(data)
        return data


@pytest.mark.parametrize("size", [100, None])
def test_who_overhears_a_response_misses_nothing(
    session: requests.Session, peer: StartPeer, size: int | None
) -> None:
    """And holds nothing up: the chunks arrive as they are sent."""
    taken = threading.Semaphore(0)

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for piece in (b"a", b"bb", b"ccc"):
            conn.send_data(request, piece)
            assert taken.acquire(timeout=WAIT)
        conn.send_data(request, b"x" * 50, end_stream=True)

    response = session.get(peer(script).url, stream=True, timeout=WAIT)
    response.raw._fp = overhearing = Overhearing(response.raw._fp)
    chunks = []
    for chunk in response.iter_content(size):
        chunks.append(chunk)
        taken.release()
    assert chunks == [b"a", b"bb", b"ccc", b"x" * 50]
    assert overhearing.heard == [*chunks, b""]


def test_who_overhears_a_response_of_known_length(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(serve(lambda request: (200, {"content-length": "200"}, b"x" * 200)))
    for size in (150, None):
        response = session.get(started.url, stream=True, timeout=WAIT)
        response.raw._fp = overhearing = Overhearing(response.raw._fp)
        assert b"".join(response.iter_content(size)) == b"x" * 200
        assert b"".join(overhearing.heard) == b"x" * 200
        assert overhearing.closed


def test_who_overhears_a_response_that_fails(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"a")
        conn.reset(request, 2)
        silent = conn.next_request()
        conn.send_headers(silent)
        conn.expect(RstStreamFrame, stream_id=silent.stream_id)

    started = peer(script)
    response = session.get(started.url, stream=True, timeout=WAIT)
    response.raw._fp = Overhearing(response.raw._fp)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="INTERNAL_ERROR"):
        list(response.iter_content(100))
    response = session.get(started.url, stream=True, timeout=0.2)
    response.raw._fp = Overhearing(response.raw._fp)
    with pytest.raises(requests.exceptions.ConnectionError, match="timed out"):
        list(response.iter_content(100))


def test_chunk_size_none(session: requests.Session, peer: StartPeer) -> None:
    data = bytes(100_000)
    response = session.get(peer(serve(lambda request: (200, {}, data))).url, stream=True)
    assert b"".join(response.iter_content(None)) == data


def resident_bytes() -> int:
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_stream_needs_no_memory(session: requests.Session, peer: StartPeer) -> None:
    piece, count = bytes(MIB), 256

    def body() -> Iterator[bytes]:
        for _ in range(count):
            yield piece

    started: Peer = peer(serve(lambda request: (200, {}, body())))
    session.get(started.url, stream=True).close()
    before = resident_bytes()
    total = highest = 0
    with session.get(started.url, stream=True) as response:
        for chunk in response.iter_content(65_536):
            total += len(chunk)
            if total % (8 * MIB) < 65_536:
                highest = max(highest, resident_bytes())
    assert total == count * MIB
    assert highest - before < 40 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_upload_needs_no_memory(session: requests.Session, peer: StartPeer) -> None:
    piece, count = bytes(MIB), 64
    highest = 0

    def body() -> Iterator[bytes]:
        nonlocal highest
        for _ in range(count):
            highest = max(highest, resident_bytes())
            yield piece

    started = peer(serve(lambda request: (200, {}, b"ok")), keep_data=False)
    session.post(started.url, data=iter([piece]))
    before = resident_bytes()
    assert session.post(started.url, data=body()).content == b"ok"
    assert started.requests[1].received == count * MIB
    assert highest - before < 40 * MIB
