"""The same octets to both engines: above the stream table nobody can tell which one runs.

What they legitimately see differently is a matter of messages (docs/reliability.rst has the list),
so the messages here are well-formed; frames need not be.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .drive import Receive
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    SPLITS,
    WINDOW_UPDATE,
    Split,
    Wire,
    settings_payload,
    u32,
)
from .outcome import Outcome, outcome
from .profile import fuzz

OK = b"\x88"  # :status 200
NOTE = b"\x40\x01n\x01v"  # n: v, into the dynamic table
NOTED = b"\xbe"  # the same, out of it
BIG = 2**31 - 1


def outcome_of(engine: str, data: bytes, split: Split, push: bool = False) -> Outcome:
    return outcome(engine, map(Receive, split.of(data)), push=push)


def answer(stream_id: int, note: bytes = b"", body: bytes = b"body") -> list[Wire]:
    return [
        Wire(HEADERS, END_HEADERS, stream_id, OK + note),
        Wire(DATA, END_STREAM, stream_id, body),
    ]


GREETING = [Wire(SETTINGS), Wire(SETTINGS, ACK)]
CASES: dict[str, list[Wire]] = {
    "answers": [*answer(1, NOTE), *answer(3, NOTED)],
    "HEAD": [Wire(HEADERS, END_HEADERS | END_STREAM, 5, OK)],
    "no body": [Wire(HEADERS, END_HEADERS | END_STREAM, 1, OK)],
    "trailers": [
        Wire(HEADERS, END_HEADERS, 1, OK),
        Wire(DATA, 0, 1, b"body"),
        Wire(HEADERS, END_HEADERS | END_STREAM, 1, NOTE),
    ],
    "informational": [Wire(HEADERS, END_HEADERS, 1, b"\x08\x03103"), *answer(1)],
    "padding": [
        Wire(HEADERS, END_HEADERS | PADDED, 1, b"\x03" + OK + bytes(3)),
        Wire(DATA, PADDED, 1, b"\x02body" + bytes(2)),
        Wire(DATA, PADDED | END_STREAM, 1, b"\x00"),
    ],
    "continuation": [
        Wire(HEADERS, 0, 1, b""),
        Wire(CONTINUATION, 0, 1, OK[:1]),
        Wire(CONTINUATION, END_HEADERS, 1, NOTE),
        *answer(3, NOTED),
    ],
    "ping": [Wire(PING, 0, 0, b"12345678"), Wire(PING, ACK, 0, b"87654321")],
    "resets": [
        Wire(RST_STREAM, 0, 1, u32(7)),
        Wire(RST_STREAM, 0, 3, u32(8)),
        *answer(5, b"", b""),
    ],
    "reset after the end": [*answer(3), Wire(RST_STREAM, 0, 3, u32(0))],
    "reset twice": [Wire(RST_STREAM, 0, 1, u32(8)), Wire(RST_STREAM, 0, 1, u32(8))],
    "late frames": [
        Wire(RST_STREAM, 0, 1, u32(8)),
        Wire(HEADERS, END_HEADERS, 1, OK + NOTE),
        Wire(DATA, 0, 1, b"late"),
        Wire(WINDOW_UPDATE, 0, 1, u32(5)),
        *answer(3, NOTED),
    ],
    "goaway": [Wire(GOAWAY, 0, 0, u32(1) + u32(0) + b"debug"), *answer(1)],
    "goaway, all": [Wire(GOAWAY, 0, 0, u32(BIG) + u32(0)), *answer(1), *answer(3)],
    "goaway, none": [Wire(GOAWAY, 0, 0, u32(0) + u32(11))],
    "goaway, even": [Wire(GOAWAY, 0, 0, u32(2) + u32(0)), *answer(1)],
    "goaway that rises": [
        *(Wire(GOAWAY, 0, 0, u32(last) + u32(0)) for last in (1, 3, BIG)),
        *answer(1),
    ],
    "data before headers": [Wire(DATA, 0, 1, b"early"), *answer(3)],
    "end before headers": [Wire(DATA, END_STREAM, 1), *answer(3)],
    "data after the end": [*answer(3), Wire(DATA, 0, 3, b"late"), *answer(1)],
    "headers after the end": [
        *answer(3),
        Wire(HEADERS, END_HEADERS, 3, OK + NOTE),
        *answer(1, NOTED),
    ],
    "window update by 0": [Wire(WINDOW_UPDATE, 0, 3, u32(0)), *answer(1)],
    "stream window overflows": [Wire(WINDOW_UPDATE, 0, 3, u32(BIG)), *answer(1)],
    "stream window overflows in steps": [
        *(Wire(WINDOW_UPDATE, 0, 3, u32(2**30)) for _ in range(2)),
        *answer(1),
    ],
    "connection window by 0": [Wire(WINDOW_UPDATE, 0, 0, u32(0))],
    "connection window overflows": [Wire(WINDOW_UPDATE, 0, 0, u32(BIG))],
    "settings overflow a window": [
        Wire(WINDOW_UPDATE, 0, 3, u32(BIG - 65_535)),
        Wire(SETTINGS, 0, 0, settings_payload([(4, 65_536)])),
    ],
    "too much data": [
        Wire(HEADERS, END_HEADERS, 1, OK),
        *(Wire(DATA, 0, 1, bytes(16_384)) for _ in range(64)),
        Wire(PING, 0, 0, b"in a row"),  # else the frames count as one
        Wire(DATA, 0, 1, b"x"),
    ],
    "as much as the window takes": [
        Wire(HEADERS, END_HEADERS, 1, OK),
        *(Wire(DATA, 0, 1, bytes(16_384)) for _ in range(64)),
    ],
    "push": [*answer(1), Wire(PUSH_PROMISE, END_HEADERS, 3, u32(2) + b"\x82\x86\x84\x41\x01a")],
    "idle stream": [*answer(1), Wire(HEADERS, END_HEADERS, 7, OK)],
    "data on an idle stream": [*answer(1), Wire(DATA, 0, 7, b"x")],
    "stream of the server": [*answer(1), Wire(HEADERS, END_HEADERS, 2, OK)],
    "stream 0": [*answer(1), Wire(DATA, 0, 0, b"x")],
    "a frame of 16,385 octets": [*answer(1), Wire(DATA, 0, 3, bytes(16_385))],
    "padding longer than the frame": [
        Wire(HEADERS, END_HEADERS, 1, OK),
        Wire(DATA, PADDED, 1, b"\x05abc"),
    ],
    "interrupted block": [Wire(HEADERS, 0, 1, OK), Wire(PING, 0, 0, bytes(8))],
    "naked continuation": [*answer(1), Wire(CONTINUATION, END_HEADERS, 3, OK)],
    "too many continuations": [Wire(HEADERS, 0, 1, OK), *[Wire(CONTINUATION, 0, 1)] * 64],
    "bad index": [*answer(1), Wire(HEADERS, END_HEADERS, 3, b"\xff\x20")],
    "limit of streams": [Wire(SETTINGS, 0, 0, settings_payload([(3, 1), (6, 100)])), *answer(1)],
    "33 settings": [Wire(SETTINGS, 0, 0, settings_payload([(3, 1)] * 33))],
    "illegal frame size": [Wire(SETTINGS, 0, 0, settings_payload([(5, 1)]))],
    "push from a server": [Wire(SETTINGS, 0, 0, settings_payload([(2, 1)]))],
    "unknown frames": [Wire(99, 0xFF, 1, b"x" * 100), Wire(PRIORITY, 0, 1, bytes(5)), *answer(1)],
    "ping first": [Wire(PING, 0, 0, bytes(8))],
    "acknowledgement first": [Wire(SETTINGS, ACK)],
    "headers first": answer(1),
}


@pytest.mark.parametrize("push", [False, True])
@pytest.mark.parametrize("pieces", [1, 3, 1000])
@pytest.mark.parametrize("case", CASES)
def test_both_do_the_same(case: str, pieces: int, push: bool) -> None:
    frames = CASES[case] if "first" in case else GREETING + CASES[case]
    data = b"".join(map(Wire.encode, frames))
    split = Split([number * 1_000_000 // pieces for number in range(pieces)])
    assert outcome_of("nghttp2", data, split, push) == outcome_of("h2", data, split, push)


#: What nghttp2 ends the connection for, and with which error code; h2's engine ignores it.
STRICTER: dict[str, tuple[list[Wire], int]] = {
    "one acknowledgement too many": ([Wire(SETTINGS, ACK)], 1),
    "priorities changed": ([Wire(SETTINGS, 0, 0, settings_payload([(9, 1)]))], 1),
    "CONNECT taken back": (
        [Wire(SETTINGS, 0, 0, settings_payload([(8, value)])) for value in (1, 0)],
        1,
    ),
    "PRIORITY of 4 octets": ([Wire(PRIORITY, 0, 1, bytes(4))], 6),
    "ALTSVC of 1 octet": ([Wire(10, 0, 0, b"x")], 6),
    "PRIORITY_UPDATE": ([Wire(16, 0, 0, u32(1) + b"u=1")], 1),
}


@pytest.mark.parametrize(("frames", "code"), STRICTER.values(), ids=STRICTER)
def test_where_nghttp2_is_stricter(frames: list[Wire], code: int) -> None:
    data = b"".join(map(Wire.encode, [*GREETING, *frames, *answer(1)]))
    assert outcome_of("nghttp2", data, Split([])).failure == code
    told = outcome_of("h2", data, Split([]))
    assert told.failure is None
    assert told.streams[0].ended


BESIDE = ["ping", "goaway, all", "limit of streams"]
ANSWERED = ["answers", "HEAD", "no body", "trailers", "informational", "padding", "continuation"]
ANSWERED += ["resets", "reset after the end", "late frames"]


@fuzz(300)
@given(st.lists(st.sampled_from(BESIDE), max_size=4), st.sampled_from(ANSWERED), SPLITS)
def test_both_do_the_same_however_it_is_cut(beside: list[str], case: str, split: Split) -> None:
    frames = GREETING + [frame for each in (*beside, case) for frame in CASES[each]]
    data = b"".join(map(Wire.encode, frames))
    assert outcome_of("nghttp2", data, split) == outcome_of("h2", data, split)
