"""What fuzzing found, as small as it gets."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
import requests
from hpack import Decoder
from urllib3.exceptions import InvalidHeader

from requests_h2 import fields
from requests_h2.engine.events import ConnectionFailed
from requests_h2.exceptions import RemoteProtocolError
from requests_h2.flow_control import STREAM_WINDOW
from requests_h2.receive_buffer import SEGMENT_SIZE
from tests.support.engine_session import new_engine

from . import exchange
from .drive import Drive, Open, Receive
from .exchange import Plan
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    SETTINGS,
    Wire,
    settings_payload,
)
from .stub import Portion, Script, StubServers

HEADER_TABLE_SIZE = 1


def receive(drive: Drive, *frames: Wire) -> None:
    drive.run([Receive(frame.encode()) for frame in frames])


def greeted(engine: str) -> Drive:
    drive = Drive(engine)
    drive.run([Open(sending=False), Receive(Wire(SETTINGS).encode())])
    return drive


@pytest.mark.parametrize(
    "block",
    [b"\xff" * 3000 + b"\0", b"\x3f" + b"\xff" * 3000 + b"\0", b"\0\x7f" + b"\xff" * 3000],
    ids=["index", "table size", "length"],
)
def test_an_endless_integer_ends_the_connection_quietly(engine: str, block: bytes) -> None:
    """hpack before 4.2 raised ValueError, or took minutes; its message quotes the block."""
    drive = greeted(engine)
    receive(drive, Wire(HEADERS, END_HEADERS, 1, block))
    assert drive.failure is not None
    assert len(drive.failure.reason) < 200


def test_a_message_never_quotes_a_field_block(engine: str) -> None:
    frames = [Wire(SETTINGS), Wire(HEADERS, 0, 1, b"\0\x7f" + b"\xff" * 16_000)]
    frames += [Wire(CONTINUATION, END_HEADERS, 1, b"\xff" * 16_000)]
    portions = [Portion(b"".join(frame.encode() for frame in frames), 1)]
    servers = StubServers(Script(portions))
    with servers.session(engine=engine) as session:
        result = exchange.perform(session, Plan())
        assert isinstance(result.error, requests.exceptions.ConnectionError)
        assert "\\xff" not in str(result.error)
        exchange.assert_recovers(session, servers)


def test_unknown_settings_are_not_kept(engine: str) -> None:
    """h2 keeps a queue for every identifier: 54 MB for 400 KB."""
    subject = new_engine(engine)
    tracemalloc.start()
    try:
        for first in range(16, 65_536, 320):
            for part in range(first, min(first + 320, 65_536 - 32), 32):
                payload = settings_payload((number, 1) for number in range(part, part + 32))
                events = subject.receive(memoryview(Wire(SETTINGS, 0, 0, payload).encode()))
                assert not any(isinstance(event, ConnectionFailed) for event in events)
            subject.take_output()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000


def test_settings_acknowledgement_with_an_unknown_setting(engine: str) -> None:
    drive = greeted(engine)
    receive(drive, Wire(SETTINGS, ACK, 0, settings_payload([(99, 1)])))
    assert drive.failure is not None


@pytest.mark.parametrize(
    "sizes",
    [[8192, 4096], [8192], [2**32 - 1, 0, 4096], [0, 4096] * 500, [8192, 0], [100, 8192], [0, 0]],
    ids=lambda sizes: "-".join(map(str, sizes[:4])),
)
def test_table_size_changes_stay_within_the_last_settings(engine: str, sizes: list[int]) -> None:
    """RFC 7541 section 4.2: the lowest and the last size; section 6.3: none above the limit."""
    subject = new_engine(engine)
    for size in sizes:
        payload = settings_payload([(HEADER_TABLE_SIZE, size)])
        subject.receive(memoryview(Wire(SETTINGS, 0, 0, payload).encode()))
    subject.take_output()
    request = fields.RequestTarget("https", "a", "/")
    asked = fields.request_fields("GET", request, [], None)
    subject.open_stream(asked, end_stream=True)
    sent = bytes(subject.take_output())
    block = sent[9 : 9 + int.from_bytes(sent[:3], "big")]
    decoder = Decoder()
    decoder.max_allowed_table_size = sizes[-1]
    assert decoder.decode(block, raw=True) == [tuple(field) for field in asked]
    assert len(block) < 200


@pytest.mark.parametrize(
    "late", [Wire(DATA, 0, 1, b"late"), Wire(HEADERS, END_HEADERS, 1, b"\x88")]
)
def test_a_complete_response_stands_whatever_follows_it(engine: str, late: Wire) -> None:
    """While the upload is still open; RFC 9113 section 8.1."""
    drive = Drive(engine)
    drive.run([Open(sending=True), Receive(Wire(SETTINGS).encode())])
    receive(
        drive,
        Wire(HEADERS, END_HEADERS, 1, b"\x88"),
        Wire(DATA, END_STREAM, 1, b"all"),
        late,
    )
    (stream,) = drive.opened
    assert stream.ended
    assert stream.fault is None
    assert stream.buffer.take(9) == b"all"


@pytest.mark.parametrize("value", ["", "x", "+5", "\x0b5", "5\x0c", "5_0", "\xb2"])
def test_content_length_of_a_request_is_digits(value: str) -> None:
    target = fields.RequestTarget("https", "a", "/")
    headers = [("Content-Length", value)]
    with pytest.raises(InvalidHeader):
        fields.declared_length(headers)
    with pytest.raises(InvalidHeader):
        fields.request_fields("POST", target, headers, 5)


def test_content_length_of_a_response_is_no_number_of_5000_digits() -> None:
    with pytest.raises(RemoteProtocolError):
        fields.content_length([("content-length", "9" * 5000)])


def test_the_regressions_build_their_frames_right() -> None:
    assert Wire(SETTINGS, 0, 0, settings_payload([(1, 2)])).encode() == (
        b"\0\0\6\4\0" + struct.pack(">LHL", 0, 1, 2)
    )


def test_octets_in_tiny_frames_are_joined(engine: str) -> None:
    """Two octets a frame, each an object of its own: 23 MiB for a window of 1 MiB."""
    drive = greeted(engine)
    octets = STREAM_WINDOW // 16
    receive(drive, Wire(HEADERS, END_HEADERS, 1, b"\x88"))
    part = Wire(DATA, 0, 1, b"ab").encode() * (octets // 2)
    tracemalloc.start()
    for event in drive.engine.receive(memoryview(part)):
        drive.table.dispatch(event)
    del event
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (stream,) = drive.opened
    # Where each frame ends takes two octets more; the rest are tuples that Python keeps for later.
    assert memory < 4 * octets + SEGMENT_SIZE
    assert stream.buffer.take(octets) == b"ab" * (octets // 2)
