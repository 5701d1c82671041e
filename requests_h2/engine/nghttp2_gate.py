"""A look at the frames of the peer before nghttp2 gets them: at their headers, 9 octets each.

nghttp2 ends the connection for some things that RFC 9113 makes errors of a stream, and says less of
frames than is promised above the engine. No payload is copied, and none is read but the number at
the beginning of WINDOW_UPDATE and GOAWAY.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ..exceptions import ErrorCode
from .base import MAX_FRAME_SIZE
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
    SETTINGS,
    U32,
    WINDOW_UPDATE,
)

MAX_CONTINUATIONS = 63
_NUMBERED = frozenset((WINDOW_UPDATE, GOAWAY))
_unpack_header = struct.Struct(">HBBBL").unpack_from


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


class OpenStream:
    """One open stream, as its frame headers and the commands tell it."""

    __slots__ = (
        "end_seen",
        "ended_alone",
        "headers_seen",
        "local_open",
        "receive_window",
        "remote_open",
    )

    def __init__(self, local_open: bool, receive_window: int) -> None:
        self.local_open = local_open
        self.remote_open = True
        self.receive_window = receive_window
        # What the frame headers said, which is ahead of nghttp2's events.
        self.headers_seen = False
        self.end_seen = False
        self.ended_alone = False  # END_STREAM was sent past nghttp2


class Gate:
    """See the module's docstring.

    :param streams: the open ones; others are closed or idle.
    """

    def __init__(self, streams: dict[int, OpenStream]) -> None:
        self._streams = streams
        self._rest = b""  # a header that is not all there
        self._payload_left = 0  # octets of the last frame that are to come
        self._kind = SETTINGS  # of the last frame
        self._continuations = 0
        self._started = False
        self.end = 0
        """How much of the data can be passed on, after :meth:`headers` is through with it."""

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

    def headers(self, data: memoryview) -> Iterator[Header]:
        """The frames that begin in ``data``; of WINDOW_UPDATE and GOAWAY, those of whose payload
        the first number is there too.
        """
        at, end = self._payload_left, len(data)
        while at + HEADER_SIZE <= end:
            high, low, kind, flags, stream_id = _unpack_header(data, at)
            size = high << 8 | low
            if kind in _NUMBERED and size >= U32.size and at + HEADER_SIZE + U32.size > end:
                break
            self._kind = kind
            yield Header(at, kind, flags, stream_id & MAX_STREAM_ID, size)
            at += HEADER_SIZE + size
        if at < end:
            self._rest = bytes(data[at:])
        self.end = min(at, end)
        self._payload_left = at - self.end

    def fault(self, header: Header, data: memoryview) -> Fault | None:
        """What is wrong with a frame that begins like this; else note what it says."""
        kind, size = header.kind, header.size
        if not self._started:
            # RFC 9113 section 3.4: the server's preface is a SETTINGS frame.
            if bytes(data[:5]) == b"HTTP/":
                text = "the answer to the HTTP/2 preface looks like HTTP/1.1"
                return Fault(ErrorCode.PROTOCOL_ERROR, text, whole=True)
            if kind != SETTINGS or header.flags & ACK:
                text = "the first frame is not SETTINGS"
                return Fault(ErrorCode.PROTOCOL_ERROR, text, whole=True)
            self._started = True
        if size > MAX_FRAME_SIZE:
            return Fault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} octets", whole=True)
        if kind in (DATA, HEADERS):
            self._continuations = 0
            stream = self._streams.get(header.stream_id)
            # nghttp2 ignores it on a closed stream, and refuses it on an idle one.
            return None if stream is None else _out_of_turn(stream, kind, header.flags)
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


def output_headers(data: bytes) -> Iterator[Header]:
    """The frames of which ``data`` consists."""
    at, end = 0, len(data)
    while at < end:
        high, low, kind, flags, stream_id = _unpack_header(data, at)
        size = high << 8 | low
        yield Header(at, kind, flags, stream_id, size)
        at += HEADER_SIZE + size


def _out_of_turn(stream: OpenStream, kind: int, flags: int) -> Fault | None:
    """RFC 9113 section 5.1 ends the stream for these, where nghttp2 ends the connection."""
    if stream.end_seen:
        what = "DATA" if kind == DATA else "HEADERS"
        return Fault(ErrorCode.STREAM_CLOSED, f"{what} after END_STREAM")
    if kind == HEADERS:
        stream.headers_seen = True
    elif not stream.headers_seen:
        return Fault(ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS")
    stream.end_seen = bool(flags & END_STREAM)
    return None
