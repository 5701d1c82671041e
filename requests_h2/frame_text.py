"""One HTTP/2 frame as a line of text, for logs. Pure functions; nothing here needs HPACK's state.

Whatever a peer chose (names, values, debug data) is escaped: no line holds a control character.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from .engine.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_STREAM_ID,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    U32,
    WINDOW_UPDATE,
    PeerError,
    RawFrame,
    promise,
    setting_text,
    settings_of,
    unpadded,
)
from .exceptions import ErrorCode, escaped
from .fields import SECRET_HEADERS, Field, is_token

_NAMES = {
    DATA: "DATA",
    HEADERS: "HEADERS",
    PRIORITY: "PRIORITY",
    RST_STREAM: "RST_STREAM",
    SETTINGS: "SETTINGS",
    PUSH_PROMISE: "PUSH_PROMISE",
    PING: "PING",
    GOAWAY: "GOAWAY",
    WINDOW_UPDATE: "WINDOW_UPDATE",
    CONTINUATION: "CONTINUATION",
    PRIORITY_UPDATE: "PRIORITY_UPDATE",
}
_OF_CONNECTION = frozenset((SETTINGS, PING, GOAWAY, PRIORITY_UPDATE))
_DEBUG_LIMIT = 200  # octets
_LONGEST_INTEGER = 6  # octets, as hpack's
# Names without their hyphens. A name must not give away what the field it resembles would not, be
# it malformed or one with an underscore, which some programs write.
_SECRET = tuple(name.encode().replace(b"-", b"") for name in SECRET_HEADERS)
_decoration = re.compile(rb"[^a-z]")
_PRIORITY_PAYLOAD = struct.Struct(">LB")


def frame_text(frame: RawFrame, block: str = "", *, values: bool = False) -> str:
    """A frame's type, stream, flags that mean something, and content.

    :param block: what to say of the field block that ends with the frame, or of its piece.
    :param values: whether a Priority field's value is shown.
    """
    size = len(frame.payload)
    if (name := _NAMES.get(frame.kind)) is None:
        where = f"type={frame.kind:#x} stream={frame.stream_id} flags={frame.flags:#x}"
        return f"{where} {size} octets"
    if frame.stream_id or frame.kind not in _OF_CONNECTION:
        name += f" stream={frame.stream_id}"
    try:
        content = _content(frame, block, values)
    except (PeerError, struct.error):
        content = f"malformed, {size} octets"
    return f"{name} {content}" if content else name


def oversized_text(kind: int, stream_id: int, size: int) -> str:
    """A frame that is too large to be awaited, which may be no frame at all."""
    name = _NAMES.get(kind, f"type={kind:#x}")
    return f"{name} stream={stream_id} {size} octets, more than allowed"


def _content(frame: RawFrame, block: str, values: bool) -> str:
    kind, flags, _, payload = frame
    if kind == DATA:
        padding = f" padding={payload[0]}" if flags & PADDED and payload else ""
        end = " END_STREAM" if flags & END_STREAM else ""
        return f"{len(unpadded(frame))} octets{padding}{end}"
    if kind == HEADERS:
        return f"END_STREAM {block}" if flags & END_STREAM else block
    if kind == CONTINUATION:
        return block
    if kind == PUSH_PROMISE:
        return f"promised={promise(frame)[0]} {block}"
    if kind == WINDOW_UPDATE:
        (increment,) = U32.unpack(payload)
        return f"+{increment & MAX_STREAM_ID}"
    if kind == SETTINGS:
        if flags & ACK:
            return f"ACK {len(payload)} octets" if payload else "ACK"
        return " ".join(setting_text(*setting, "=") for setting in settings_of(payload))
    if kind == RST_STREAM:
        return _code_text(*U32.unpack(payload))
    if kind == GOAWAY:
        return _goaway_text(payload)
    if kind == PING:
        return f"ACK {payload.hex()}" if flags & ACK else payload.hex()
    if kind == PRIORITY:
        dependency, weight = _PRIORITY_PAYLOAD.unpack(payload)
        return f"dependency={dependency & MAX_STREAM_ID} weight={weight + 1}"
    (prioritized,) = U32.unpack(payload[: U32.size])
    value = bytes(payload[U32.size :])
    text = f'"{_escaped(value)}"' if values else f"{len(value)} octets"
    return f"prioritized={prioritized & MAX_STREAM_ID} {text}"


def _goaway_text(payload: memoryview) -> str:
    last, code = struct.unpack_from(">LL", payload)
    text = f"last={last & MAX_STREAM_ID} {_code_text(code)}"
    if debug := bytes(payload[8 : 8 + _DEBUG_LIMIT]):
        text += f' debug="{_escaped(debug)}"{"..." if len(payload) > 8 + _DEBUG_LIMIT else ""}'
    return text


def _code_text(code: int) -> str:
    try:
        return f"{ErrorCode(code).name}({code})"
    except ValueError:
        return f"UNKNOWN({code})"


def fields_text(fields: Sequence[Field]) -> str:
    """How many fields, and each with its value, unless that is one which is never shown."""
    texts = (_field_text(name, value) for name, value in fields)
    return f"{count_text(len(fields))}: {' '.join(texts)}"


def count_text(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _field_text(name: bytes, value: bytes) -> str:
    letters = _decoration.sub(b"", name.lower())
    if letters in _SECRET:
        return f"{_escaped(name)}=(hidden)"
    if letters.startswith(_SECRET) and not is_token(name):
        return f"(hidden, {len(name)} octets)=(hidden)"  # the name has a value in it
    return f'{_escaped(name)}="{_escaped(value)}"'


def _escaped(octets: bytes) -> str:
    """Fit to stand between quotes."""
    return escaped(octets).replace('"', '\\"')


def count_fields(block: bytes) -> int | None:
    """The fields in a whole field block (RFC 7541 section 6), ``None`` if it cannot be parsed.

    Where each ends does not depend on the dynamic table, so this needs no part in the decoding.
    """
    at = count = 0
    end = len(block)
    try:
        while at < end:
            first = block[at]
            if first & 0xE0 == 0x20:  # a dynamic table size update
                _, at = _integer(block, at, 0x1F)
                continue
            if first & 0x80:
                _, at = _integer(block, at, 0x7F)
            else:
                index, at = _integer(block, at, 0x3F if first & 0x40 else 0x0F)
                for _ in range(1 if index else 2):
                    length, at = _integer(block, at, 0x7F)
                    at += length
            count += 1
    except IndexError:
        return None
    return count if at == end else None


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """A prefix integer (RFC 7541 section 5.1) and where it ends.

    :raises IndexError: when it does not end.
    """
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in range(0, 7 * _LONGEST_INTEGER, 7):
        octet = block[at]
        at += 1
        number += (octet & 0x7F) << shift
        if octet < 0x80:
            return number, at
    raise IndexError
