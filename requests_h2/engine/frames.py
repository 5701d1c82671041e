"""HTTP/2 frames as bytes (RFC 9113 section 4.1): splitting received ones, composing our own."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ..exceptions import ErrorCode
from ..fields import Field, NeverIndexedField

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
PRIORITY_UPDATE = 0x10  # RFC 9218 section 7.1
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20

HEADER_SIZE = 9
SETTING_SIZE = 6
ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 2, 3  # RFC 9113 section 6.5.2
_PRIORITY_SIZE = 5
MAX_STREAM_ID = 2**31 - 1
MAX_CONTINUATIONS = 63
"""CONTINUATION frames of a field block that we accept."""
U32 = struct.Struct(">L")
_LAST_KNOWN_SETTING = 6
_SETTING_NAMES = {
    1: "HEADER_TABLE_SIZE",
    2: "ENABLE_PUSH",
    3: "MAX_CONCURRENT_STREAMS",
    4: "INITIAL_WINDOW_SIZE",
    5: "MAX_FRAME_SIZE",
    6: "MAX_HEADER_LIST_SIZE",
    8: "ENABLE_CONNECT_PROTOCOL",
    9: "NO_RFC7540_PRIORITIES",
}
_HEADER = struct.Struct(">HBBBL")
unpack_header = _HEADER.unpack_from
_SETTING = struct.Struct(">HL")


class PeerError(Exception):
    """The peer broke the protocol in a way that ends the connection (RFC 9113 section 5.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class RawFrame(NamedTuple):
    """One frame as it came; the payload is a view that is valid until the next one is asked for."""

    kind: int
    flags: int
    stream_id: int
    payload: memoryview

    def whole(self) -> bytes:
        """Header and payload."""
        header = frame_header(self.kind, self.flags, self.stream_id, len(self.payload))
        return header + self.payload


class DataRun(NamedTuple):
    """DATA frames of one stream that came one after the other: servers send many small ones.

    The parts are their payloads without padding, one each; ``flow_size`` counts it (RFC 9113
    section 6.9.1).
    """

    stream_id: int
    parts: list[memoryview | bytes]
    flow_size: int
    end_stream: bool

    def within(self, window: int) -> DataRun:
        """The frames before the one that is too much."""
        fitting = []
        for part in self.parts:
            window -= len(part)
            if window < 0 or len(self.parts) == 1:
                break
            fitting.append(part)
        return DataRun(self.stream_id, fitting, sum(map(len, fitting)), end_stream=False)


class FrameReader:
    """Cuts a byte stream into frames and refuses what no HTTP/2 server sends.

    :param max_size: the largest payload accepted, in octets. It is checked as soon as the header
        is there, so that text of another protocol is not awaited as a frame of megabytes.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._partial = bytearray()  # a frame that the data so far did not complete
        self._started = False

    @property
    def partial(self) -> bytes:
        """The beginning of a frame that the data so far did not complete."""
        return bytes(self._partial)

    def frames(self, data: memoryview) -> Iterator[RawFrame | DataRun]:
        """The frames that ``data`` completes.

        :raises PeerError: after the good frames before the fault were yielded.
        """
        return self._frames_on(data) if self._partial else self._frames(data, 0, len(data))

    def _frames_on(self, data: memoryview) -> Iterator[RawFrame | DataRun]:
        """The same when a frame was begun before."""
        at = self._complete(data)
        if at < 0:
            return
        whole, self._partial = self._partial, bytearray()
        yield from self._frames(memoryview(whole), 0, len(whole))
        yield from self._frames(data, at, len(data))

    def _frames(self, data: memoryview, at: int, end: int) -> Iterator[RawFrame | DataRun]:
        while end - at >= HEADER_SIZE:
            high, low, kind, flags, stream_id = _HEADER.unpack_from(data, at)
            size = high << 8 | low
            if size > self._max_size or not self._started:
                self._check(bytes(data[at : at + HEADER_SIZE]))
            start, stop = at + HEADER_SIZE, at + HEADER_SIZE + size
            if stop > end:
                break
            frame = RawFrame(kind, flags, stream_id & MAX_STREAM_ID, data[start:stop])
            at = stop
            if kind == DATA:
                run, at = self._run(frame, data, at, end)
                yield run
            else:
                yield frame
        if at < end:
            self._partial += data[at:end]

    def _run(self, first: RawFrame, data: memoryview, at: int, end: int) -> tuple[DataRun, int]:
        """A DATA frame with those that follow it on its stream, and where they end."""
        _, flags, wanted, payload = first
        parts: list[memoryview | bytes] = [unpadded(first)]
        flow_size = len(payload)
        while not flags & END_STREAM and end - at >= HEADER_SIZE:
            high, low, kind, flags_of_next, stream_id = _HEADER.unpack_from(data, at)
            size = high << 8 | low
            start, stop = at + HEADER_SIZE, at + HEADER_SIZE + size
            if kind != DATA or stream_id & MAX_STREAM_ID != wanted or flags_of_next & PADDED:
                break
            if stop > end or size > self._max_size:
                break
            # A view is 20 times the size of an empty frame, of which there may be thousands.
            parts.append(data[start:stop] if size else b"")
            flow_size += size
            flags, at = flags_of_next, stop
        return DataRun(wanted, parts, flow_size, flags & END_STREAM != 0), at

    def _complete(self, data: memoryview) -> int:
        """Add to the frame that was begun; where the next one starts, negative if none does."""
        partial = self._partial
        at = 0
        if len(partial) < HEADER_SIZE:
            at = HEADER_SIZE - len(partial)
            partial += data[:at]
            if len(partial) < HEADER_SIZE:
                return -1
            self._check(bytes(partial))
        stop = at + HEADER_SIZE + _size(partial) - len(partial)
        partial += data[at:stop]
        return stop if stop <= len(data) else -1

    def _check(self, header: bytes) -> None:
        if not self._started:
            # RFC 9113 section 3.4: the server's preface is a SETTINGS frame.
            if header[:5] == b"HTTP/":
                raise PeerError(
                    ErrorCode.PROTOCOL_ERROR,
                    "the answer to the HTTP/2 preface looks like HTTP/1.1",
                )
            if header[3] != SETTINGS or header[4] & ACK:
                raise PeerError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._started = True
        if _size(header) > self._max_size:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {_size(header)} octets")


def _size(header: bytes | bytearray) -> int:
    """Octets of the payload that a frame header announces."""
    return header[0] << 16 | header[1] << 8 | header[2]


def frame_header(kind: int, flags: int, stream_id: int, size: int) -> bytes:
    """The 9 octets before a payload of ``size`` octets."""
    return _HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id)


def u32_payload(frame: RawFrame, what: str) -> int:
    """The number that is the whole payload of RST_STREAM and WINDOW_UPDATE.

    :raises PeerError: FRAME_SIZE_ERROR when the payload is not four octets.
    """
    if len(frame.payload) != U32.size:
        raise PeerError(ErrorCode.FRAME_SIZE_ERROR, f"{what} of {len(frame.payload)} octets")
    value: int = U32.unpack(frame.payload)[0]
    return value


def settings_payload(settings: Mapping[int, int]) -> bytes:
    """The payload of a SETTINGS frame."""
    return b"".join(_SETTING.pack(*setting) for setting in settings.items())


def settings_of(payload: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """The numbers and values in a SETTINGS frame.

    :raises struct.error: when the payload is no whole number of settings.
    """
    return _SETTING.iter_unpack(payload)


def setting_text(number: int, value: int, between: str) -> str:
    """A setting by the name that IANA lists for it, else by its number."""
    return f"{_SETTING_NAMES.get(number, hex(number))}{between}{value}"


def without_unknown_settings(frame: RawFrame) -> RawFrame:
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
    return frame._replace(payload=memoryview(known))


def unpadded(frame: RawFrame) -> memoryview:
    """The payload of DATA, HEADERS or PUSH_PROMISE without its padding (RFC 9113 section 6.1).

    :raises PeerError: when the padding is longer than the payload.
    """
    payload = frame.payload
    if not frame.flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise PeerError(ErrorCode.PROTOCOL_ERROR, "invalid padding")
    return payload[1 : len(payload) - payload[0]]


class FieldBlocks:
    """Puts together again what HEADERS or PUSH_PROMISE and CONTINUATION carry (RFC 9113 section
    4.3). What comes between them the caller finds by :attr:`first`.
    """

    def __init__(self) -> None:
        self.first: RawFrame | None = None
        """The frame that an unfinished block began with."""
        self._fragments: list[bytes] = []
        self._size = 0

    def begin(self, frame: RawFrame, fragment: memoryview) -> tuple[RawFrame, bytes, int] | None:
        """The first frame, the block and the octets of its frames, when that is all of it."""
        size = HEADER_SIZE + len(frame.payload)
        if frame.flags & END_HEADERS:
            return frame, bytes(fragment), size
        self.first, self._fragments, self._size = frame, [bytes(fragment)], size
        return None

    def go_on(self, frame: RawFrame) -> tuple[RawFrame, bytes, int] | None:
        """The same after CONTINUATION.

        :raises PeerError: when none was to come, or it is one too many.
        """
        first = self.first
        if first is None:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        if len(self._fragments) > MAX_CONTINUATIONS:
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "too many CONTINUATION frames")
        self._size += HEADER_SIZE + len(frame.payload)
        self._fragments.append(bytes(frame.payload))
        if not frame.flags & END_HEADERS:
            return None
        block = b"".join(self._fragments)
        self.first, self._fragments = None, []
        return first, block, self._size


def interrupted() -> PeerError:
    """What to raise for another frame before a field block has ended."""
    return PeerError(ErrorCode.PROTOCOL_ERROR, "a frame inside a field block")


def block_fragment(frame: RawFrame) -> memoryview:
    """The piece of a field block in a HEADERS or CONTINUATION frame.

    :raises PeerError: when padding or priority do not fit (RFC 9113 section 6.2).
    """
    if frame.kind != HEADERS:
        return frame.payload
    payload = unpadded(frame)
    if not frame.flags & PRIORITY_FLAG:
        return payload
    if len(payload) < _PRIORITY_SIZE:
        raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
    return payload[_PRIORITY_SIZE:]


def promise(frame: RawFrame) -> tuple[int, memoryview]:
    """The promised stream, and the piece of a field block in a PUSH_PROMISE frame.

    :raises PeerError: when it is too short (RFC 9113 section 6.6).
    """
    payload = unpadded(frame)
    if len(payload) < U32.size:
        code = ErrorCode.PROTOCOL_ERROR if frame.flags & PADDED else ErrorCode.FRAME_SIZE_ERROR
        raise PeerError(code, f"PUSH_PROMISE of {len(frame.payload)} octets")
    return U32.unpack_from(payload)[0] & MAX_STREAM_ID, payload[U32.size :]


def stateless_block(fields: Sequence[Field]) -> bytes:
    """A field block that neither needs nor changes an encoder's dynamic table: every field as a
    literal (RFC 7541 sections 6.2.2 and 6.2.3), no Huffman coding.
    """
    block = bytearray()
    for field in fields:
        block.append(0x10 if type(field) is NeverIndexedField else 0)
        for text in field:
            block += _length(len(text)) + text
    return bytes(block)


def _length(size: int) -> bytes:
    """RFC 7541 section 5.1, with a prefix of seven bits."""
    if size < 0x7F:
        return bytes([size])
    octets, size = [0x7F], size - 0x7F
    while size >= 0x80:
        octets.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*octets, size])
