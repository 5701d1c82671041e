"""A look at the frames of the peer before nghttp2 gets them: at their headers, 9 octets each.

nghttp2 ends the connection for some things that RFC 9113 makes errors of a stream, and says less of
frames than is promised above the engine. No payload is copied, and none is read but the number at
the beginning of WINDOW_UPDATE and GOAWAY.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ..exceptions import ErrorCode
from .base import MAX_FRAME_SIZE, OpenStream
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADER_SIZE,
    HEADERS,
    MAX_STREAM_ID,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    U32,
    WINDOW_UPDATE,
)

MAX_CONTINUATIONS = 63
unpack_header = struct.Struct(">HBBBL").unpack_from


class Header(NamedTuple):
    """A frame's header, and where in the data it begins."""

    at: int
    kind: int
    stream_id: int
    size: int


class Fault(NamedTuple):
    """What the peer did wrong; ``whole``: the connection ends for it, and not only the stream."""

    code: ErrorCode
    reason: str
    whole: bool = False


class GatedStream(OpenStream):
    """One open stream, as its frame headers tell it, ahead of nghttp2's events."""

    __slots__ = ("end_seen", "ended_alone", "may_get_data")

    def __init__(self, local_open: bool, receive_window: int) -> None:
        super().__init__(local_open, receive_window)
        self.may_get_data = False  # between HEADERS and END_STREAM
        self.end_seen = False
        self.ended_alone = False  # END_STREAM was sent past nghttp2


class Gate:
    """See the module's docstring.

    :param streams: the open ones; others are closed or idle.
    """

    def __init__(self, streams: dict[int, GatedStream]) -> None:
        self._streams = streams
        self._rest = b""  # a header that is not all there
        self._payload_left = 0  # octets of the last frame that are to come
        self._kind = SETTINGS  # of the last frame
        self._continuations = 0
        self._started = False
        self.data_frames: deque[tuple[int, int]] = deque()
        """Stream and flow-controlled size of each DATA frame; for the engine to take out."""
        self.end = 0
        """How much of the data can be passed on, after :meth:`notable` is through with it."""

    @property
    def inside_data(self) -> bool:
        """Whether the data so far ends within a DATA frame."""
        return self._kind == DATA and self._payload_left > 0

    def complete(self, data: memoryview) -> memoryview:
        """``data`` behind what was left of the data before."""
        if not self._rest:
            return data
        rest, self._rest = self._rest, b""
        return memoryview(rest + data)

    def notable(self, data: memoryview) -> Iterator[tuple[Header, Fault | None]]:
        """The frames in ``data`` that nghttp2 must not simply be fed, and what is wrong with them.

        Without a fault they are WINDOW_UPDATE and GOAWAY, whose number is there then, and
        RST_STREAM.
        """
        at, end = self._payload_left, len(data)
        while at + HEADER_SIZE <= end:
            high, low, kind, flags, stream_id = unpack_header(data, at)
            size = high << 8 | low
            numbered = kind in (WINDOW_UPDATE, GOAWAY) and size >= U32.size
            if numbered and at + HEADER_SIZE + U32.size > end:
                break
            stream_id &= MAX_STREAM_ID
            stream = self._streams.get(stream_id)
            fault = None
            if kind == DATA and stream and stream.may_get_data and size <= MAX_FRAME_SIZE:
                if flags & END_STREAM:
                    stream.end_seen, stream.may_get_data = True, False
            else:
                fault = self._fault(kind, flags, size, stream, data)
            if kind == DATA:
                self.data_frames.append((stream_id, size))
            if fault is not None or numbered or kind == RST_STREAM:
                yield Header(at, kind, stream_id, size), fault
            self._kind = kind
            at += HEADER_SIZE + size
        if at < end:
            self._rest = bytes(data[at:])
        self.end = min(at, end)
        self._payload_left = at - self.end

    def _fault(
        self, kind: int, flags: int, size: int, stream: GatedStream | None, data: memoryview
    ) -> Fault | None:
        """What is wrong with a frame that begins like this; else note what it says."""
        if not self._started:
            # RFC 9113 section 3.4: the server's preface is a SETTINGS frame.
            if bytes(data[:5]) == b"HTTP/":
                text = "the answer to the HTTP/2 preface looks like HTTP/1.1"
                return Fault(ErrorCode.PROTOCOL_ERROR, text, whole=True)
            if kind != SETTINGS or flags & ACK:
                text = "the first frame is not SETTINGS"
                return Fault(ErrorCode.PROTOCOL_ERROR, text, whole=True)
            self._started = True
        if size > MAX_FRAME_SIZE:
            return Fault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} octets", whole=True)
        if kind in (HEADERS, DATA):
            self._continuations = 0
            # nghttp2 ignores it on a closed stream, and refuses it on an idle one.
            return None if stream is None else _out_of_turn(stream, kind, flags)
        if kind == CONTINUATION:
            # nghttp2 does not count those of a block that it has refused.
            self._continuations += 1
            if self._continuations > MAX_CONTINUATIONS:
                text = "too many CONTINUATION frames"
                return Fault(ErrorCode.ENHANCE_YOUR_CALM, text, whole=True)
        elif kind == PUSH_PROMISE:
            # nghttp2 would reset it, as long as our SETTINGS are not acknowledged.
            text = "PUSH_PROMISE although push is disabled"
            return Fault(ErrorCode.PROTOCOL_ERROR, text, whole=True)
        return None


def number_in(header: Header, data: memoryview) -> int:
    """The increment of a WINDOW_UPDATE, the last stream id of a GOAWAY."""
    number: int = U32.unpack_from(data, header.at + HEADER_SIZE)[0]
    return number & MAX_STREAM_ID


def _out_of_turn(stream: GatedStream, kind: int, flags: int) -> Fault | None:
    """RFC 9113 section 5.1 ends the stream for these, where nghttp2 ends the connection."""
    if stream.end_seen:
        what = "DATA" if kind == DATA else "HEADERS"
        return Fault(ErrorCode.STREAM_CLOSED, f"{what} after END_STREAM")
    if kind == DATA:
        return Fault(ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS")
    stream.end_seen = bool(flags & END_STREAM)
    stream.may_get_data = not stream.end_seen
    return None
