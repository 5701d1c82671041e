"""Where frames end in what is received and unread, compared with a list of whole frames."""

from __future__ import annotations

import io
import random
import tracemalloc

import pytest

from requests_h2.frame_sizes import MAX_FRAMES, FrameSizes
from requests_h2.receive_buffer import ReceiveBuffer, Segments


def rest(sizes: FrameSizes) -> list[int]:
    """What reading frame by frame gives from here."""
    found = []
    while sizes:
        found.append(sizes.rest_of_first())
        sizes.read_of_first(found[-1])
    return found


def test_frames_end_where_they_were_sent() -> None:
    sizes = FrameSizes()
    assert not sizes
    sizes.add([3, 0, 5])
    assert sizes
    sizes.read(2)
    assert sizes.rest_of_first() == 1
    sizes.read_of_first(1)
    assert rest(sizes) == [0, 5]
    assert not sizes


def test_a_frame_in_parts() -> None:
    sizes = FrameSizes()
    sizes.add([5, 2])
    sizes.read_of_first(4)
    assert sizes.rest_of_first() == 1
    sizes.read_of_first(0)
    assert rest(sizes) == [1, 2]


def test_empty_frames_are_read_with_what_is_around_them() -> None:
    sizes = FrameSizes()
    sizes.add([0, 0, 4, 0, 1])
    sizes.read(4)
    assert rest(sizes) == [1]
    sizes.add([0, 0, 4, 0])
    assert rest(sizes) == [0, 0, 4, 0]
    sizes.add([0, 4, 0])
    sizes.clear()
    assert not sizes


def test_too_many_are_joined_and_none_of_their_octets_lost() -> None:
    sizes = FrameSizes()
    for _ in range(300):
        sizes.add([1] * 1000)
    assert sum(rest(sizes)) == 300_000
    sizes.add([1] * MAX_FRAMES)
    sizes.add([16_384] * 10)
    assert rest(sizes) == [1] * (MAX_FRAMES - 1) + [65_535, 65_535, 32_771]


def test_reading_makes_room_for_more() -> None:
    """What is read does not count, so that frames of a reader that keeps up stay apart."""
    sizes = FrameSizes()
    sizes.add([2] * 40_000)
    for _ in range(100):
        sizes.add([2] * 10_000)
        sizes.read(20_000)
    assert rest(sizes) == [2] * 40_000


def test_a_flood_needs_little_memory() -> None:
    sizes = FrameSizes()
    tracemalloc.start()
    for _ in range(1000):
        sizes.add(bytes(1000))
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert memory < 3 * MAX_FRAMES


@pytest.mark.parametrize("seed", range(20))
def test_a_buffer_gives_what_a_list_of_frames_gives(seed: int) -> None:
    chance = random.Random(seed)
    buffer = ReceiveBuffer(Segments(), frames=True)
    unread: list[bytes] = []
    for _ in range(500):
        step = chance.randrange(6)
        if step < 2:
            sizes = [chance.choice([0, 0, 1, 7, 600, 16_384]) for _ in range(chance.randrange(4))]
            frames = [chance.randbytes(size) for size in sizes]
            unread += frames
            buffer.add([memoryview(frame) for frame in frames], sum(sizes))
        elif step == 2:
            chance.choice([buffer.keep, buffer.own])()
        elif step == 3:
            limit = chance.choice([1, 5, 1000, 100_000])
            content = b"".join(unread)
            assert buffer.take(limit) == content[:limit]
            while unread and len(unread[0]) <= limit:
                limit -= len(unread.pop(0))
            if unread:
                unread[0] = unread[0][limit:]
        elif step == 4 and unread:
            assert buffer.has_frame
            limit = chance.choice([None, 0, 1, 1000])
            frame = unread.pop(0)
            assert buffer.take_frame(limit) == (frame if limit is None else frame[:limit])
            if limit is not None and len(frame) > limit:
                unread.insert(0, frame[limit:])
        elif step == 5 and chance.random() < 0.1:
            sink = io.BytesIO()
            buffer.move_to(sink)
            assert sink.getvalue() == b"".join(unread)
            unread.clear()
        assert buffer.size == sum(map(len, unread))
        assert buffer.has_frame == bool(unread)


def test_a_buffer_without_frames() -> None:
    buffer = ReceiveBuffer(Segments(), frames=False)
    assert not buffer.has_frame
    buffer.add([b"one", b"", b"two"], 6)
    assert buffer.has_frame
    assert buffer.take_frame(4) == b"onet"
    assert buffer.take_frame(None) == b"wo"
    assert not buffer.has_frame
