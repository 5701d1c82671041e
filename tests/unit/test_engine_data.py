"""What an engine tells of DATA frames: content, boundaries and sizes."""

from __future__ import annotations

import pytest

from requests_h2.engine.events import DataReceived, Event
from tests.fuzz.frames import DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, RST_STREAM, Wire, u32
from tests.support.engine_session import EngineSession

OK = b"\x88"
CANCEL = 8


@pytest.fixture
def session(engine: str) -> EngineSession:
    session = EngineSession(engine)
    session.request()
    session.receive(Wire(HEADERS, END_HEADERS, 1, OK))
    return session


def frames(events: list[Event], stream_id: int = 1) -> list[int]:
    """The sizes of the frames of one stream."""
    return [
        size
        for event in events
        if isinstance(event, DataReceived) and event.stream_id == stream_id
        for size in event.frames
    ]


def flow_size(events: list[Event]) -> int:
    return sum(event.flow_size for event in events if isinstance(event, DataReceived))


DATA_FRAMES = [
    Wire(DATA, 0, 1),
    Wire(DATA, 0, 1, b"abc"),
    Wire(DATA, 0, 1),
    Wire(DATA, PADDED, 1, b"\x02padded" + bytes(2)),
    Wire(DATA, PADDED, 1, b"\x03" + bytes(3)),
    Wire(DATA, 0, 1, bytes(16_384)),
    Wire(DATA, 0, 1, b"z"),
    Wire(DATA, END_STREAM, 1),
]
SIZES = [0, 3, 0, 6, 0, 16_384, 1, 0]


@pytest.mark.parametrize("portion", [1, 7, 1000, 100_000])
def test_the_sizes_of_frames_are_told_however_they_are_cut(
    session: EngineSession, portion: int
) -> None:
    data = b"".join(map(Wire.encode, DATA_FRAMES))
    events: list[Event] = []
    for at in range(0, len(data), portion):
        told = session.engine.receive(memoryview(data[at : at + portion]))
        assert frames(told) == SIZES[len(frames(events)) :][: len(frames(told))]
        events += told
    assert frames(events) == SIZES
    assert flow_size(events) == sum(len(frame.payload) for frame in DATA_FRAMES)


def test_frames_of_several_streams_take_turns(session: EngineSession) -> None:
    session.request()
    events = session.receive(
        Wire(HEADERS, END_HEADERS, 3, OK),
        *(Wire(DATA, 0, 1 + 2 * (number % 2), bytes(number)) for number in range(6)),
    )
    assert frames(events, 1) == [0, 2, 4]
    assert frames(events, 3) == [1, 3, 5]


def test_data_of_a_stream_that_is_over_is_no_frame(session: EngineSession) -> None:
    session.request()
    session.engine.reset_stream(3, CANCEL)
    events = session.receive(
        Wire(DATA, 0, 3, b"late"),
        Wire(DATA, 0, 1, b"a"),
        Wire(DATA, 0, 3),
        Wire(RST_STREAM, 0, 1, u32(CANCEL)),
        Wire(DATA, 0, 1, b"late"),
    )
    assert frames(events) == [1]
    assert frames(events, 3) == []
    assert flow_size(events) == 9


def test_a_frame_whose_stream_is_closed_before_its_end_is_none(session: EngineSession) -> None:
    octets = Wire(DATA, 0, 1, bytes(1000)).encode()
    assert session.engine.receive(memoryview(octets[:500])) == []
    session.engine.reset_stream(1, CANCEL)
    events = session.engine.receive(memoryview(octets[500:]))
    assert frames(events) == []
    assert flow_size(events) == 1000


@pytest.mark.parametrize("early", [b"", b"early"])
def test_data_out_of_turn_is_no_frame(session: EngineSession, early: bytes) -> None:
    session.request()
    events = session.receive(
        Wire(DATA, 0, 3, early),
        Wire(DATA, END_STREAM, 1, b"end"),
        Wire(DATA, 0, 1, b"late"),
    )
    assert frames(events) == [3]
    assert frames(events, 3) == []
    assert flow_size(events) == len(early) + 7
