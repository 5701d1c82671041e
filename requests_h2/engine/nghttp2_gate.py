"""A look at the frames of the peer before nghttp2 gets them: at their headers, 9 octets each.

nghttp2 ends the connection for some things that RFC 9113 makes errors of a stream, and says less of
frames than is promised above the engine. No payload is copied, and none is read but the number at
the beginning of WINDOW_UPDATE, GOAWAY and PUSH_PROMISE.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ..exceptions import ErrorCode
from ..flow_control import MAX_WINDOW
from .base import MAX_FRAME_SIZE, OpenStream
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADER_SIZE,
    HEADERS,
    MAX_CONTINUATIONS,
    MAX_STREAM_ID,
    PADDED,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    U32,
    WINDOW_UPDATE,
    unpack_header,
)

_FIELD_BLOCKS = (HEADERS, PUSH_PROMISE, CONTINUATION)
_NUMBER_END = {WINDOW_UPDATE: 4, GOAWAY: 4, PUSH_PROMISE: 5}  # octets, with a pad length


class Header(NamedTuple):
    """A frame's header, and where in the data it begins."""

    at: int
    kind: int
    flags: int
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

    def __init__(self, local_open: bool, receive_window: int, reserved: bool = False) -> None:
        super().__init__(local_open, receive_window, reserved)
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
        self._last_id = MAX_STREAM_ID  # of the GOAWAY frames that came
        self.data_frames: deque[tuple[int, int]] = deque()
        """Stream and flow-controlled size of each DATA frame; for the engine to take out."""
        self.end = 0
        """How much of the data can be passed on, after :meth:`notable` is through with it."""

    @property
    def unfinished(self) -> tuple[bytes, int]:
        """See :attr:`Engine.unfinished`."""
        return self._rest, self._payload_left

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

        Before the next one is asked for, nghttp2 must be fed what is before this one: that may
        change streams. Those without a fault are RST_STREAM, and frames that cannot be judged by
        their headers alone: the number in WINDOW_UPDATE, GOAWAY and PUSH_PROMISE is there then.
        """
        at, end = self._payload_left, len(data)
        while at + HEADER_SIZE <= end:
            high, low, kind, flags, stream_id = unpack_header(data, at)
            size = high << 8 | low
            stream_id &= MAX_STREAM_ID
            stream = self._streams.get(stream_id)
            if kind == DATA and stream and stream.may_get_data and size <= MAX_FRAME_SIZE:
                if flags & END_STREAM:
                    stream.end_seen, stream.may_get_data = True, False
                self.data_frames.append((stream_id, size))
            else:
                fault = self._fault(kind, flags, size, data)
                number_end = at + HEADER_SIZE + min(size, _NUMBER_END.get(kind, 0))
                if fault is None and number_end > end:
                    break
                if kind == DATA:
                    self.data_frames.append((stream_id, size))
                if fault is None and _needs_more(kind, stream_id, stream):
                    yield Header(at, kind, flags, stream_id, size), None
                    stream = self._streams.get(stream_id)
                if fault is None and stream is not None and kind in (HEADERS, DATA):
                    fault = _out_of_turn(stream, kind, flags)
                if fault is not None:
                    yield Header(at, kind, flags, stream_id, size), fault
            if stream is not None and kind in _FIELD_BLOCKS:
                stream.progress.bytes_received += HEADER_SIZE + size
            self._kind = kind
            at += HEADER_SIZE + size
        if at < end:
            self._rest = bytes(data[at:])
        self.end = min(at, end)
        self._payload_left = at - self.end

    def mended_last_id(self, header: Header, data: memoryview) -> memoryview | None:
        """A legal last stream id in place of one in GOAWAY for which nghttp2 ends the connection.

        It may not rise (RFC 9113 section 6.8): streams that it gave up are not taken back. And
        streams of even numbers are not ours, so that an even id means the odd one below.
        """
        given = number_in(header, data)
        self._last_id = min(self._last_id, given if given == 0 else (given - 1) | 1)
        return None if self._last_id == given else memoryview(U32.pack(self._last_id))

    def _fault(self, kind: int, flags: int, size: int, data: memoryview) -> Fault | None:
        """What is wrong with a frame that begins like this, whatever its stream."""
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
        if kind in (HEADERS, DATA, PUSH_PROMISE):
            self._continuations = 0
        elif kind == CONTINUATION:
            # nghttp2 does not count those of a block that it has refused.
            self._continuations += 1
            if self._continuations > MAX_CONTINUATIONS:
                text = "too many CONTINUATION frames"
                return Fault(ErrorCode.ENHANCE_YOUR_CALM, text, whole=True)
        return None


def increment_fault(header: Header, data: memoryview, window: int) -> Fault | None:
    """RFC 9113 sections 6.9 and 6.9.1 end the stream, where nghttp2 ends the connection.

    :param window: what the stream may be sent, in octets.
    """
    increment = number_in(header, data)
    if increment == 0:
        return Fault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
    if window + increment > MAX_WINDOW:
        return Fault(ErrorCode.FLOW_CONTROL_ERROR, "the stream window overflows")
    return None


def number_in(header: Header, data: memoryview) -> int:
    """The increment of WINDOW_UPDATE, the last stream of GOAWAY, that of PUSH_PROMISE."""
    at = header.at + HEADER_SIZE + has_pad_length(header)
    number: int = U32.unpack_from(data, at)[0]
    return number & MAX_STREAM_ID


def has_pad_length(header: Header) -> bool:
    """Whether an octet stands before the number: WINDOW_UPDATE and GOAWAY know no padding."""
    return header.kind == PUSH_PROMISE and header.flags & PADDED != 0


def _needs_more(kind: int, stream_id: int, stream: GatedStream | None) -> bool:
    """Whether a frame is judged by its payload, or by what nghttp2 makes of the frames before."""
    if stream is not None:
        return stream.reserved or kind in (RST_STREAM, WINDOW_UPDATE, PUSH_PROMISE)
    # A stream of the server may have been promised a moment ago.
    return kind in (GOAWAY, RST_STREAM, PUSH_PROMISE) or (stream_id > 0 and stream_id % 2 == 0)


def _out_of_turn(stream: GatedStream, kind: int, flags: int) -> Fault | None:
    """RFC 9113 section 5.1 ends the stream for these, where nghttp2 ends the connection."""
    if stream.end_seen:
        what = "DATA" if kind == DATA else "HEADERS"
        return Fault(ErrorCode.STREAM_CLOSED, f"{what} after END_STREAM")
    if kind == DATA:
        # On a reserved stream it is an error of the connection for nghttp2 as for RFC 9113.
        return None if stream.reserved else Fault(ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS")
    stream.end_seen = bool(flags & END_STREAM)
    stream.may_get_data = not stream.end_seen
    return None
