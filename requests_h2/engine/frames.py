"""HTTP/2 frames as bytes (RFC 9113 section 4.1): splitting received ones, composing our own."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ..exceptions import ErrorCode

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8

HEADER_SIZE = 9
SETTING_SIZE = 6
MAX_STREAM_ID = 2**31 - 1
U32 = struct.Struct(">L")
_LAST_KNOWN_SETTING = 6
_HEADER = struct.Struct(">HBBBL")


class PeerError(Exception):
    """The peer broke the protocol in a way that ends the connection (RFC 9113 section 5.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Frame(NamedTuple):
    """One whole frame; the view is valid until the next one is asked for."""

    kind: int
    flags: int
    stream_id: int
    view: memoryview

    @property
    def payload(self) -> memoryview:
        return self.view[HEADER_SIZE:]


class FrameReader:
    """Cuts a byte stream into frames and refuses what no HTTP/2 server sends.

    :param max_size: the largest payload accepted, in octets. It is checked as soon as the header
        is there, so that text of another protocol is not awaited as a frame of megabytes.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._buffer = b""
        self._started = False

    def frames(self, data: memoryview) -> Iterator[Frame]:
        """Yield the frames that ``data`` completes.

        :raises PeerError: after the good frames before the fault were yielded.
        """
        view = memoryview(self._buffer + data) if self._buffer else data
        while len(view) >= HEADER_SIZE:
            end = HEADER_SIZE + self._payload_size(view)
            if end > len(view):
                break
            stream_id = U32.unpack_from(view, 5)[0] & MAX_STREAM_ID
            yield Frame(view[3], view[4], stream_id, view[:end])
            view = view[end:]
        self._buffer = bytes(view)

    def _payload_size(self, view: memoryview) -> int:
        size = view[0] << 16 | view[1] << 8 | view[2]
        if not self._started:
            # RFC 9113 section 3.4: the server's preface is a SETTINGS frame.
            if bytes(view[:5]) == b"HTTP/":
                raise PeerError(
                    ErrorCode.PROTOCOL_ERROR,
                    "the answer to the HTTP/2 preface looks like HTTP/1.1",
                )
            if view[3] != SETTINGS or view[4] & ACK:
                raise PeerError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._started = True
        if size > self._max_size:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} octets")
        return size


def frame_header(kind: int, flags: int, stream_id: int, size: int) -> bytes:
    """The 9 octets before a payload of ``size`` octets."""
    return _HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id)


def u32_payload(frame: Frame, what: str) -> int:
    """The number that is the whole payload of RST_STREAM and WINDOW_UPDATE.

    :raises PeerError: FRAME_SIZE_ERROR when the payload is not four octets.
    """
    payload = frame.payload
    if len(payload) != U32.size:
        raise PeerError(ErrorCode.FRAME_SIZE_ERROR, f"{what} of {len(payload)} octets")
    value: int = U32.unpack(payload)[0]
    return value


def without_unknown_settings(frame: Frame) -> Frame:
    """A SETTINGS frame as if the peer had sent only what RFC 9113 section 6.5.2 defines.

    The rest must be ignored; an engine may keep it, for ever.
    """
    payload = frame.payload
    if len(payload) % SETTING_SIZE or frame.flags & ACK:
        return frame  # the engine refuses it, or it is empty
    known = b"".join(
        bytes(payload[start : start + SETTING_SIZE])
        for start in range(0, len(payload), SETTING_SIZE)
        if 1 <= payload[start] << 8 | payload[start + 1] <= _LAST_KNOWN_SETTING
    )
    header = frame_header(frame.kind, frame.flags, frame.stream_id, len(known))
    return frame._replace(view=memoryview(header + known))


def unpadded(frame: Frame) -> memoryview:
    """The payload of a DATA or HEADERS frame without its padding (RFC 9113 section 6.1).

    :raises PeerError: when the padding is longer than the payload.
    """
    payload = frame.payload
    if not frame.flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise PeerError(ErrorCode.PROTOCOL_ERROR, "invalid padding")
    return payload[1 : len(payload) - payload[0]]


def without_padding(frame: Frame) -> Frame:
    """A HEADERS frame as if it had not been padded; any other frame as it is.

    hyperframe takes padding that leaves no fragment for an error; it is legal before CONTINUATION.

    :raises PeerError: when the padding is longer than the payload.
    """
    if frame.kind != HEADERS or not frame.flags & PADDED:
        return frame
    payload, flags = bytes(unpadded(frame)), frame.flags & ~PADDED
    header = frame_header(frame.kind, flags, frame.stream_id, len(payload))
    return frame._replace(flags=flags, view=memoryview(header + payload))
