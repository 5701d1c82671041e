"""The engines alone: whatever comes in, nothing is raised and only HTTP/2 goes out."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ENGINES

from .drive import Act, Drive, Open, Receive, Step
from .frames import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    ITEMS,
    PING,
    PUSHES,
    RST_STREAM,
    SETTINGS,
    SPLITS,
    WINDOW_UPDATE,
    Split,
    Wire,
    sequences,
    settings_payload,
    u32,
)
from .profile import fuzz

# Hypothesis makes hundreds of sessions of each test.
pytestmark = pytest.mark.timeout(300)

ACTS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        Open, st.booleans(), st.sampled_from(["GET", "HEAD", "POST"]), st.text("ab", max_size=3)
    ),
    st.builds(
        Act,
        st.sampled_from(["send", "send", "end", "consume", "close", "drain", "take"]),
        st.integers(0, 9),
        st.sampled_from([0, 1, 16_384, 70_000]),
    ),
)


on_both = pytest.mark.parametrize("engine", ENGINES)


@on_both
@fuzz(500)
@given(
    frames=sequences(),
    split=SPLITS,
    acts=st.lists(st.tuples(st.integers(0, 12), ACTS), max_size=12),
    sending=st.booleans(),
)
def test_frames_and_commands(
    engine: str, frames: list[Wire], split: Split, acts: list[tuple[int, Step]], sending: bool
) -> None:
    steps: list[Step] = [Open(sending), Open(not sending)]
    for number, part in enumerate(split.of(b"".join(map(Wire.encode, frames)))):
        steps.append(Receive(part))
        steps += [act for at, act in acts if at == number]
    Drive(engine).run(steps)


PUSH_ACTS: st.SearchStrategy[Step] = ACTS | st.builds(
    Act,
    st.sampled_from(["push", "no push", "cancel", "credit", "ping", "prioritise", "close"]),
    st.integers(0, 9),
    st.sampled_from([0, 1, 16_384, 70_000]),
)


@on_both
@fuzz(300)
@given(
    frames=sequences(st.one_of(PUSHES, PUSHES, PUSHES, ITEMS)),
    split=SPLITS,
    acts=st.lists(st.tuples(st.integers(0, 12), PUSH_ACTS), max_size=12),
    push=st.sampled_from([True, True, True, False]),
)
def test_pushes_and_commands(
    engine: str, frames: list[Wire], split: Split, acts: list[tuple[int, Step]], push: bool
) -> None:
    steps: list[Step] = [Open(sending=False), Open(sending=True)]
    for number, part in enumerate(split.of(b"".join(map(Wire.encode, frames)))):
        steps.append(Receive(part))
        steps += [act for at, act in acts if at == number]
    Drive(engine, push=push).run(steps)


@on_both
@fuzz(200)
@given(parts=st.lists(st.binary(max_size=300), max_size=6), greeted=st.booleans())
def test_any_bytes(engine: str, parts: list[bytes], greeted: bool) -> None:
    greeting = [Receive(Wire(SETTINGS).encode())] if greeted else []
    Drive(engine).run([Open(sending=False), *greeting, *map(Receive, parts)])


FLOODS = {
    "empty data": [Wire(DATA, 0, 1)],
    "padding": [Wire(DATA, 0x8, 1, bytes((255,)) + bytes(255))],
    "data on a closed stream": [Wire(DATA, 0, 3, b"x" * 100)],
    "pings": [Wire(PING, 0, 0, b"12345678")],
    "window updates": [Wire(WINDOW_UPDATE, 0, 1, u32(1))],
    "settings": [Wire(SETTINGS, 0, 0, settings_payload([(3, 5), (4, 70_000)]))],
    "resets": [Wire(RST_STREAM, 0, 3, u32(8))],
    "goaways": [Wire(GOAWAY, 0, 0, u32(2**31 - 1) + u32(0) + b"x" * 1000)],
    "informational": [Wire(HEADERS, 0x4, 1, b"\x08\x03100")],
    "headers on a closed stream": [Wire(HEADERS, 0x5, 3, b"\x88")],
    "priorities": [Wire(2, 0, 1, b"\0\0\0\0\x10")],
    "unknown": [Wire(99, 0xFF, 1, b"x" * 1000)],
    "continuations": [Wire(HEADERS, 0, 1, b""), *[Wire(CONTINUATION, 0, 1)] * 5000],
}


@on_both
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_costs_no_memory(engine: str, name: str) -> None:
    drive = Drive(engine)
    drive.run([Open(False), Open(False), Receive(Wire(SETTINGS).encode()), Act("close", 1)])
    if name not in ("informational",):
        drive.run([Receive(Wire(HEADERS, 0x4, 1, b"\x88").encode())])
    flood = b"".join(frame.encode() for frame in FLOODS[name])
    part = memoryview(flood * (1 + 30_000 // len(flood)))
    tracemalloc.start()
    try:
        for _ in range(8):
            for event in drive.engine.receive(part):
                drive.table.dispatch(event)
            drive.engine.take_output()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 300_000
    assert peak < 4_000_000
