"""What a witness makes of the octets that a socket hands up."""

from __future__ import annotations

import pytest
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from requests_h2.witness import Complaint, Witness


def octets(*frames: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in frames)


FIRST = SettingsFrame(settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 7, 0x99: 1})
SESSION = octets(
    FIRST,
    SettingsFrame(flags=["ACK"]),
    SettingsFrame(settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 8}),
    HeadersFrame(1, b"\x88", flags=["END_HEADERS"]),
    DataFrame(1, b"x" * 1000),
    DataFrame(1, b"y" * 1000),
    PingFrame(opaque_data=b"12345678"),
    RstStreamFrame(3, error_code=7),
    GoAwayFrame(last_stream_id=1, error_code=11, additional_data=b"calm"),
)


@pytest.mark.parametrize("portion", [1, 7, 1000, len(SESSION)])
def test_octets_in_any_portions(portion: int) -> None:
    witness = Witness()
    for start in range(0, len(SESSION), portion):
        witness.received(SESSION[start : start + portion])
    assert witness.settings == {3: 7, 0x99: 1}
    assert witness.complaints == [Complaint("RST_STREAM", 7, b""), Complaint("GOAWAY", 11, b"calm")]


@pytest.mark.parametrize(
    "fault",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        octets(FIRST) + b"\xff" * 9,
        octets(FIRST) + b"\x00\x00\x07\x07\x00\x00\x00\x00\x00" + bytes(7),
        octets(FIRST) + b"\x00\x00\x01\x03\x00\x00\x00\x00\x01" + bytes(1),
        b"\x00\x00\x05\x04\x00\x00\x00\x00\x00" + bytes(5),
    ],
)
def test_what_is_no_http2(fault: bytes) -> None:
    """The engine says so; the witness makes nothing up."""
    witness = Witness()
    witness.received(fault)
    witness.received(octets(PingFrame()))
    assert witness.complaints == []
    assert witness.settings in (None, {3: 7, 0x99: 1})
