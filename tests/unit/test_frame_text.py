"""Frames as text, wrong ones too."""

from __future__ import annotations

import pytest

from requests_h2.engine.frames import RawFrame
from requests_h2.frame_text import fields_text, frame_text, oversized_text

U32 = bytes(4)


@pytest.mark.parametrize(
    ("kind", "flags", "stream_id", "payload", "text"),
    [
        (0, 0x1, 5, b"abc", "DATA stream=5 3 octets END_STREAM"),
        (0, 0x8, 5, b"\x00abc", "DATA stream=5 3 octets padding=0"),
        (0, 0x8, 5, b"\x04abc", "DATA stream=5 malformed, 4 octets"),
        (0, 0x8, 5, b"", "DATA stream=5 malformed, 0 octets"),
        (0, 0, 0, b"abc", "DATA stream=0 3 octets"),
        (2, 0, 1, b"\x80\x00\x00\x03\xff", "PRIORITY stream=1 dependency=3 weight=256"),
        (2, 0, 1, U32, "PRIORITY stream=1 malformed, 4 octets"),
        (3, 0, 3, b"\x00\x00\x00\x07", "RST_STREAM stream=3 REFUSED_STREAM(7)"),
        (3, 0, 3, b"\x00\x00\x12\x34", "RST_STREAM stream=3 UNKNOWN(4660)"),
        (3, 0, 3, b"", "RST_STREAM stream=3 malformed, 0 octets"),
        (4, 0, 0, b"", "SETTINGS"),
        (4, 1, 0, b"", "SETTINGS ACK"),
        (4, 1, 0, bytes(6), "SETTINGS ACK 6 octets"),
        (4, 0, 0, b"\x00\x04\x00\x01\x00\x00\x42\x42\x00\x00\x00\x09",
         "SETTINGS INITIAL_WINDOW_SIZE=65536 0x4242=9"),
        (4, 0, 1, bytes(5), "SETTINGS stream=1 malformed, 5 octets"),
        (6, 0, 0, b"\x00\x01abcdef", "PING 0001616263646566"),
        (6, 1, 0, bytes(8), "PING ACK 0000000000000000"),
        (7, 0, 0, b"\x00\x00\x00\x07" + U32, "GOAWAY last=7 NO_ERROR(0)"),
        (7, 0, 0, U32 + b"\x00\x00\x00\x0b\x1b[2J", 'GOAWAY last=0 ENHANCE_YOUR_CALM(11) '
         'debug="\\x1b[2J"'),
        (7, 0, 0, U32, "GOAWAY malformed, 4 octets"),
        (8, 0, 0, b"\x80\x10\x00\x00", "WINDOW_UPDATE stream=0 +1048576"),
        (8, 0, 1, b"", "WINDOW_UPDATE stream=1 malformed, 0 octets"),
        (16, 0, 0, b"\x00\x00\x00\x05u=1", "PRIORITY_UPDATE prioritized=5 3 octets"),
        (16, 0, 0, b"\x00", "PRIORITY_UPDATE malformed, 1 octets"),
        (10, 0, 0, b"x" * 20, "type=0xa stream=0 flags=0x0 20 octets"),
    ],
)  # fmt: skip
def test_a_frame(kind: int, flags: int, stream_id: int, payload: bytes, text: str) -> None:
    assert frame_text(RawFrame(kind, flags, stream_id, memoryview(payload))) == text


def test_values_are_shown_on_request_only() -> None:
    frame = RawFrame(16, 0, 0, memoryview(b"\x00\x00\x00\x05u=1\n"))
    assert frame_text(frame, values=True) == 'PRIORITY_UPDATE prioritized=5 "u=1\\n"'


def test_a_frame_that_is_too_large() -> None:
    assert oversized_text(0, 1, 20_000) == "DATA stream=1 20000 octets, more than allowed"


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "proxy-authorization", "cookie", "set-cookie", "Set-Cookie", ":cookie"),
        *("coo\x00kie", "proxy_authorization", "set_cookie", "set--cookie", "cookie2"),
        *("set-cookie: id=sesame", " cookie\tsesame", "authorization=sesame"),
    ],
)
def test_values_that_are_never_shown(name: str) -> None:
    text = fields_text([(name.encode(), b"sesame")])
    assert text.endswith("=(hidden)")
    assert "sesame" not in text


@pytest.mark.parametrize("name", ["cookies", "x-authorization", "authorization-info", "x: y"])
def test_values_that_are_shown(name: str) -> None:
    assert fields_text([(name.encode(), b"sesame")]) == f'1 field: {name}="sesame"'


def test_fields_hold_no_control_characters() -> None:
    text = fields_text([(b"x\r\ny", b"\x00\x7f\xff\x1b\"'")])
    assert text == '1 field: x\\r\\ny="\\x00\\x7f\\xff\\x1b\\"\'"'
