"""Streamed responses: what arrives when, and who pays for what nobody reads."""

from __future__ import annotations

import pathlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import RstStreamFrame, SettingsFrame, WindowUpdateFrame

from tests.support.peer import Peer, PeerConnection, StartPeer, serve
from tests.support.threads import WAIT

MIB = 2**20


def test_the_preface(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"")))
    session.get(started.url)
    conn = started.connection()
    assert conn.client_settings[SettingsFrame.ENABLE_PUSH] == 0
    assert conn.client_settings[SettingsFrame.INITIAL_WINDOW_SIZE] == MIB
    assert conn.client_settings[SettingsFrame.MAX_HEADER_LIST_SIZE] > 0
    update = conn.wait_for(WindowUpdateFrame, stream_id=0)
    assert 65_535 + update.window_increment == 2**30
    # Both belong to the first flight, before any request.
    assert conn.frames.index(update) <= 2


def test_send_returns_with_the_headers(session: requests.Session, peer: StartPeer) -> None:
    returned = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"x": "y"})
        assert returned.wait(WAIT)
        conn.send_data(request, b"later", end_stream=True)

    response = session.get(peer(script).url, stream=True, timeout=WAIT)
    assert response.headers["x"] == "y"
    returned.set()
    assert response.content == b"later"


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


@pytest.mark.parametrize("size", [1, 7, 1000, 16_384, 100_000])
def test_chunks_are_exact_with_content_length(
    session: requests.Session, peer: StartPeer, size: int
) -> None:
    data = bytes(range(250)) * 100
    response = session.get(peer(serve(lambda request: (200, {}, data))).url, stream=True)
    chunks = list(response.iter_content(size))
    assert b"".join(chunks) == data
    assert {len(chunk) for chunk in chunks[:-1]} <= {size}


def test_chunk_size_none(session: requests.Session, peer: StartPeer) -> None:
    data = bytes(100_000)
    response = session.get(peer(serve(lambda request: (200, {}, data))).url, stream=True)
    assert b"".join(response.iter_content(None)) == data


def test_an_unread_response_holds_its_window_and_slows_nobody(
    session: requests.Session, peer: StartPeer
) -> None:
    def handler(request: Any) -> Any:
        return 200, {}, bytes(4 * MIB) if request.path == "/held" else bytes(3 * MIB)

    started = peer(serve(handler))
    held = session.get(started.url + "/held", stream=True)
    for _ in range(3):
        assert len(session.get(started.url + "/other", timeout=WAIT).content) == 3 * MIB
    conn = started.connection()
    assert conn.received(WindowUpdateFrame, stream_id=1) == []
    assert conn.window_of(1) >= 0
    assert len(held.content) == 4 * MIB
    assert started.accepted == 1


def test_credit_follows_the_reader_in_batches(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, bytes(8 * MIB))))
    response = session.get(started.url, stream=True)
    assert sum(len(chunk) for chunk in response.iter_content(10_000)) == 8 * MIB
    updates = started.connection().received(WindowUpdateFrame, stream_id=1)
    assert sum(update.window_increment for update in updates) >= 7 * MIB - MIB // 2
    assert len(updates) <= 20


def test_padding_is_credited(session: requests.Session, peer: StartPeer) -> None:
    """Five windows of nearly nothing but padding: without credit for it the stream stops."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for _ in range(5 * MIB // 256):
            while conn.window_of(request.stream_id) < 257:
                conn.read_frame()
            conn.send_data(request, b"x", padding=255)
        conn.send_data(request, end_stream=True)

    started = peer(script)
    response = session.get(started.url, stream=True, timeout=WAIT)
    assert sum(map(len, response.iter_content(1000))) == 5 * MIB // 256


def test_empty_data_earns_no_credit(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for _ in range(100):
            conn.send_data(request)
        conn.send_data(request, b"end", end_stream=True)
        conn.respond(conn.next_request())

    started = peer(script)
    assert session.get(started.url).content == b"end"
    session.get(started.url)
    conn = started.connection()
    assert len(conn.received(WindowUpdateFrame)) == 1
    assert conn.received(RstStreamFrame) == []


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


@pytest.mark.parametrize("size", [1, 10 * MIB])
def test_any_chunk_size_is_linear(session: requests.Session, peer: StartPeer, size: int) -> None:
    """Quadratic behaviour would need hours for the smallest, not the seconds of the time limit."""
    total = 500_000 if size == 1 else 32 * MIB
    response = session.get(peer(serve(lambda request: (200, {}, bytes(total)))).url, stream=True)
    assert sum(map(len, response.iter_content(size))) == total
