"""The same octets to both engines: the frame log has the same lines, however the octets are cut."""

from __future__ import annotations

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from requests_h2.engine.choice import engine_class
from requests_h2.flow_control import CONNECTION_WINDOW, STREAM_WINDOW
from requests_h2.frame_log import FrameLog, logged
from requests_h2.frame_text import count_fields
from requests_h2.news import News
from requests_h2.stream import MAX_HEADER_LIST_SIZE
from tests.support.engine_session import FIELDS
from tests.support.frame_lines import frame_lines

from .frames import Split, Wire
from .profile import fuzz
from .test_differential import ANSWERED, CASES, GREETING

TRAILERS = [(b"x-sum", b"1"), (b"x-other", b"2")]


def lines_of(engine: str, data: bytes, split: Split, *, values: bool = False) -> list[str]:
    """What is told of three requests, of which one has trailers, and of these octets."""
    news = News()
    subject = logged(engine_class(engine))(
        stream_window=STREAM_WINDOW,
        connection_window=CONNECTION_WINDOW,
        max_header_list_size=MAX_HEADER_LIST_SIZE,
        enable_push=True,
    )
    subject.frame_log = FrameLog("a:443 #1", values, news)
    with frame_lines() as log:
        for end_stream in (True, False, True):
            subject.open_stream(FIELDS, end_stream)
        subject.send_trailers(3, TRAILERS)
        subject.take_output()
        for piece in split.of(data):
            subject.receive(memoryview(piece))
            subject.take_output()
        news.emit()
        return log.text


def received(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("<")]


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_both_engines_are_told_of_alike(case: str, pieces: int) -> None:
    frames = CASES[case] if "first" in case else GREETING + CASES[case]
    data = b"".join(map(Wire.encode, frames))
    split = Split([number * 1_000_000 // pieces for number in range(pieces)])
    by_h2, by_nghttp2 = (received(lines_of(engine, data, split)) for engine in ("h2", "nghttp2"))
    if case == "33 settings" and pieces > 1:
        # nghttp2 counts them as they come, and what comes after a failure is not looked at.
        assert by_h2.pop().startswith("< SETTINGS MAX_CONCURRENT_STREAMS=1 ")
    assert by_h2 == by_nghttp2
    assert pieces > 1 or len(by_h2) == len(frames) or "16,385" in case


@fuzz(200)
@given(st.lists(st.sampled_from(ANSWERED), max_size=1), st.lists(st.integers(0, 10**6)))
def test_however_it_is_cut(cases: list[str], cuts: list[int]) -> None:
    frames = GREETING + [frame for case in cases for frame in CASES[case]]
    data = b"".join(map(Wire.encode, frames))
    whole = received(lines_of("h2", data, Split([]), values=True))
    assert len(whole) == len(frames)
    for engine in ("h2", "nghttp2"):
        assert received(lines_of(engine, data, Split(cuts), values=True)) == whole


@pytest.mark.parametrize("engine", ["h2", "nghttp2"])
def test_what_is_sent(engine: str) -> None:
    sent = [line for line in lines_of(engine, b"", Split([])) if "SETTINGS" not in line]
    assert [line for line in sent if "DATA" not in line][1:] == [
        "> HEADERS stream=1 END_STREAM 4 fields",
        "> HEADERS stream=3 4 fields",
        "> HEADERS stream=5 END_STREAM 4 fields",
        "> HEADERS stream=3 END_STREAM 2 fields",
    ]


OCTETS = st.binary(max_size=300)


@fuzz(300)
@given(st.lists(st.lists(st.tuples(OCTETS, OCTETS), max_size=8), max_size=4), st.booleans())
def test_fields_are_counted_as_they_were_encoded(
    sections: list[list[tuple[bytes, bytes]]], huffman: bool
) -> None:
    encoder = Encoder()
    encoder.header_table_size = 100  # the first block announces it
    for fields in sections:
        assert count_fields(encoder.encode(fields, huffman=huffman)) == len(fields)


@fuzz(300)
@given(st.binary(max_size=100))
def test_any_octets_may_be_counted(block: bytes) -> None:
    count = count_fields(block)
    assert count is None or 0 <= count <= len(block)
