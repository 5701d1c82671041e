"""The engine on nghttp2, through its Python binding ngh2.

nghttp2 frames, compresses, checks messages and keeps the state of streams and both windows for
sending. Two things stay here, because the package promises more than nghttp2 does:

- *A look at each 9-byte frame header before it is fed.* What nghttp2 takes for an error of the
  connection and RFC 9113 for one of a stream (DATA before HEADERS, frames after END_STREAM, a
  window that overflows) is fed after that stream was reset, and then nghttp2 ignores it. The
  headers also tell the flow-controlled size of DATA, padding included, which no event does.
- *The windows for receiving.* nghttp2 would give credit only in its own portions, and never
  for what it swallows. So it is left to believe that everything is consumed at once, the
  WINDOW_UPDATE frames that it makes of that are taken out of its output, and ours go out instead.

ngh2 reports what it did to a stream or to the connection by itself only after its output was taken.
So the output is taken as soon as there can be any, and read at its frame headers: RST_STREAM and
GOAWAY in it are what nghttp2 decided. Its event ``StreamClosed`` is not used: it has the code
REFUSED_STREAM for more than a refusal, and requests are sent again for refusals only.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import ngh2

from ..exceptions import ErrorCode, error_name
from ..fields import Field, Fields, NeverIndexedField
from .base import (
    ASSUMED_CONCURRENT_STREAMS,
    DEFAULT_WINDOW,
    MAX_FRAME_SIZE,
    MAX_WINDOW,
    ConnectionFailed,
    DataReceived,
    Engine,
    Event,
    GoAwayReceived,
    HeadersReceived,
    SendWindowOpened,
    StreamReset,
)
from .frames import (
    ACK,
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
    PeerError,
    frame_header,
)

_CONFIGURATION = ngh2.Configuration(
    auto_window_update=True,  # see the module's docstring
    peer_max_concurrent_streams=ASSUMED_CONCURRENT_STREAMS,
    max_reserved_remote_streams=0,
    max_send_header_block_length=1 << 30,  # the peer's limit is checked above the engine
    max_deflate_dynamic_table_size=4096,
    max_outbound_ack=10_000,  # more than fit into one portion; unsent ones are counted above
    max_settings=32,  # in one frame (CVE-2020-11080)
    max_continuations=63,
    max_inbound_header_list_size=1 << 20,
    max_inbound_header_count=1 << 15,  # no more fit into that size
)
_PORTION = 32_768
"""Octets that nghttp2 is fed before its output is taken. Half of its window for a stream before our
SETTINGS are acknowledged: it would call more an overrun, with its own credit not yet sent."""
_HEADER_TABLE_SIZE = 4096
_read_header = struct.Struct(">HBBBL").unpack_from


class _Fault(NamedTuple):
    """What the peer did wrong; ``whole``: the connection, and not only the stream, ends for it."""

    code: ErrorCode
    reason: str
    whole: bool = False


class _Stream:
    """One open stream, as the frame headers and the commands tell it."""

    __slots__ = (
        "end_seen",
        "headers_seen",
        "local_open",
        "receive_window",
        "remote_open",
        "unfinished",
    )

    def __init__(self, local_open: bool, receive_window: int) -> None:
        self.local_open = local_open
        self.remote_open = True
        self.receive_window = receive_window
        # What the frame headers said, which may be ahead of the events.
        self.headers_seen = False
        self.end_seen = False
        self.unfinished = False  # END_STREAM was sent without nghttp2's knowing


class NGHTTP2Engine(Engine):
    """See the module's docstring."""

    name: ClassVar[str] = "nghttp2"

    def __init__(
        self, *, stream_window: int, connection_window: int, max_header_list_size: int
    ) -> None:
        self._ngh2 = ngh2.Connection(ngh2.Role.CLIENT, _CONFIGURATION)
        self._streams: dict[int, _Stream] = {}
        self._next_stream_id = 1
        self._stream_window = stream_window
        self._receive_window = connection_window
        self._max_concurrent_streams = ASSUMED_CONCURRENT_STREAMS
        self._max_header_list_size: int | None = None
        self._settings_received = False
        self._settings_acknowledged = False
        self._events: list[Event] = []
        self._head = b""  # of a frame whose header is not all there
        self._payload_left = 0  # octets of the last frame's payload that are to come
        self._in_data = False  # whether the last frame is DATA
        # Stream and size of each DATA frame whose event has not come yet.
        self._data_frames: deque[tuple[int, int]] = deque()
        self._finished: set[int] = set()  # whose RST_STREAM is not to be sent: they have ended
        self._started = False
        self._done = False  # nghttp2 takes nothing any more
        self._failed = False
        self._ngh2.initiate_connection(
            {
                ngh2.Setting.HEADER_TABLE_SIZE: _HEADER_TABLE_SIZE,
                ngh2.Setting.ENABLE_PUSH: 0,
                ngh2.Setting.INITIAL_WINDOW_SIZE: stream_window,
                ngh2.Setting.MAX_FRAME_SIZE: MAX_FRAME_SIZE,
                ngh2.Setting.MAX_HEADER_LIST_SIZE: max_header_list_size,
            }
        )
        if connection_window > DEFAULT_WINDOW:
            self._ngh2.set_local_window_size(connection_window)
        self._output = bytearray(self._ngh2.data_to_send())

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    @property
    def max_concurrent_streams(self) -> int:
        return self._max_concurrent_streams

    @property
    def max_header_list_size(self) -> int | None:
        return self._max_header_list_size

    @property
    def settings_received(self) -> bool:
        return self._settings_received

    @property
    def settings_acknowledged(self) -> bool:
        return self._settings_acknowledged

    @property
    def has_stream_ids(self) -> bool:
        return self._next_stream_id <= MAX_STREAM_ID

    def take_output(self) -> bytearray:
        output, self._output = self._output, bytearray()
        return output

    # -- commands ----------------------------------------------------------------------------------

    def open_stream(self, fields: Sequence[Field], end_stream: bool) -> int:
        before = len(self._output)
        stream_id = self._ngh2.send_request(
            [ngh2.NeverIndexedHeader(*f) if type(f) is NeverIndexedField else f for f in fields],
            end_stream=end_stream,
        )
        self._next_stream_id = stream_id + 2
        self._streams[stream_id] = _Stream(not end_stream, self._stream_window)
        self._take()
        if len(self._output) == before:
            # Above the stream limit nghttp2 would hold it back, for ever if need be.
            self.reset_stream(stream_id, ErrorCode.CANCEL)
            raise RuntimeError(f"nghttp2 did not send the HEADERS of stream {stream_id}")
        return stream_id

    def send_capacity(self, stream_id: int) -> int:
        if stream_id not in self._streams:
            return 0
        return min(self._ngh2.stream_remote_window_size(stream_id), self._ngh2.remote_window_size)

    def send_data(self, stream_id: int, data: memoryview, end_stream: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or not stream.local_open:
            return
        if not data and self.send_capacity(stream_id) <= 0:
            if not end_stream:
                return
            # nghttp2 would wait for a window although an empty frame needs none (RFC 9113 section
            # 6.9.1), and a peer that has got all that was promised may never open one.
            self._frame(DATA, END_STREAM, stream_id, b"")
            stream.unfinished = True
        else:
            self._ngh2.send_data(stream_id, data, end_stream=end_stream)
        if end_stream:
            stream.local_open = False
            self._close_if_done(stream_id, stream)
        self._take()

    def send_window_update(self, stream_id: int, increment: int) -> None:
        if stream_id == 0:
            self._receive_window += increment
        elif (stream := self._streams.get(stream_id)) is None or not stream.remote_open:
            return
        else:
            stream.receive_window += increment
        self._frame(WINDOW_UPDATE, 0, stream_id, U32.pack(increment))

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        if self._streams.pop(stream_id, None) is not None:
            self._ngh2.reset_stream(stream_id, error_code)
            self._take()

    def go_away(self, error_code: int) -> None:
        # Not by nghttp2, which would take part in it. No stream of the peer's was ever processed.
        self._frame(GOAWAY, 0, 0, U32.pack(0) + U32.pack(error_code))

    # -- what comes in -----------------------------------------------------------------------------

    def receive(self, data: memoryview) -> list[Event]:
        if not self._failed and not self._done:
            try:
                self._look_at(data)
                self._take()
                self._return_ignored()
            except PeerError as error:
                self._fail(error.code, error.reason)
                self.go_away(error.code)
        events, self._events = self._events, []
        return events

    def _look_at(self, data: memoryview) -> None:
        """Feed ``data``, but see the header of each frame before nghttp2 does.

        :raises PeerError: for what ends the connection; all before it was fed.
        """
        if self._head:
            data = memoryview(self._head + data)
            self._head = b""
        begin, at, end = 0, self._payload_left, len(data)
        while at + HEADER_SIZE <= end:
            high, low, kind, flags, stream_id = _read_header(data, at)
            size = high << 8 | low
            stream_id &= MAX_STREAM_ID
            if not self._started:
                _check_preface(data, kind, flags)
                self._started = True
            fault = None
            if kind == WINDOW_UPDATE and size == U32.size and stream_id in self._streams:
                if at + HEADER_SIZE + size > end:
                    break
                begin = self._feed(data, begin, at)
                fault = self._increment_fault(stream_id, data, at)
            elif kind <= HEADERS or kind == PUSH_PROMISE or size > MAX_FRAME_SIZE:
                fault = self._fault(kind, flags, stream_id, size)
            if fault is not None:
                begin = self._feed(data, begin, at)
                self._act_on(fault, stream_id)
            if kind == DATA:
                self._data_frames.append((stream_id, size))
            self._in_data = kind == DATA
            at += HEADER_SIZE + size
        if at < end:
            self._head = bytes(data[at:])
        self._payload_left = max(0, at - end)
        self._feed(data, begin, min(at, end))

    def _fault(self, kind: int, flags: int, stream_id: int, size: int) -> _Fault | None:
        """What is wrong with a frame that has this header; else note what it says."""
        if size > MAX_FRAME_SIZE:
            return _Fault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} octets", whole=True)
        if kind == PUSH_PROMISE:
            text = "PUSH_PROMISE although push is disabled"
            return _Fault(ErrorCode.PROTOCOL_ERROR, text, whole=True)
        stream = self._streams.get(stream_id)
        if stream is None:
            return None  # closed, and then the frame is ignored, or idle, which nghttp2 refuses
        if stream.end_seen:
            what = "DATA" if kind == DATA else "HEADERS"
            return _Fault(ErrorCode.STREAM_CLOSED, f"{what} after END_STREAM")
        if kind == HEADERS:
            stream.headers_seen = True
        elif not stream.headers_seen:
            return _Fault(ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS")
        stream.end_seen = bool(flags & END_STREAM)
        return None

    def _increment_fault(self, stream_id: int, data: memoryview, at: int) -> _Fault | None:
        """RFC 9113 sections 6.9 and 6.9.1 end the stream, where nghttp2 ends the connection."""
        if stream_id not in self._streams:
            return None  # it ended in what was fed just now
        increment = U32.unpack_from(data, at + HEADER_SIZE)[0] & MAX_WINDOW
        if increment == 0:
            return _Fault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        if self._ngh2.stream_remote_window_size(stream_id) + increment > MAX_WINDOW:
            return _Fault(ErrorCode.FLOW_CONTROL_ERROR, "the stream window overflows")
        return None

    def _act_on(self, fault: _Fault, stream_id: int) -> None:
        if fault.whole:
            raise PeerError(fault.code, fault.reason)
        if stream_id in self._streams:
            self.reset_stream(stream_id, fault.code)
            self._events.append(StreamReset(stream_id, fault.code, False, fault.reason))

    def _feed(self, data: memoryview, begin: int, end: int) -> int:
        """Give nghttp2 the octets from ``begin`` to ``end``, which is returned."""
        while begin < end and not self._failed and not self._done:
            part = data[begin : min(begin + _PORTION, end)]
            try:
                self._ngh2.receive_data(part)
            except ngh2.NGH2Error as error:
                self._act_on_events()
                raise PeerError(_code_of(error), str(error)) from error
            self._act_on_events()
            begin += len(part)
            if begin < end:
                self._take()
        return end

    def _act_on_events(self) -> None:
        for event in self._ngh2.events():
            if isinstance(event, ngh2.DataReceived):
                self._data_received(event)
            elif isinstance(event, (ngh2.ResponseReceived, ngh2.TrailersReceived)):
                ended = isinstance(event, ngh2.TrailersReceived) or event.end_stream
                self._fields_received(event.stream_id, list(event.headers), ended)
            elif isinstance(event, ngh2.InformationalResponseReceived):
                self._fields_received(event.stream_id, list(event.headers), False)
            elif isinstance(event, ngh2.StreamReset):
                if self._streams.pop(event.stream_id, None) is not None:
                    self._events.append(StreamReset(event.stream_id, event.error_code, True))
            elif isinstance(event, ngh2.GoAwayReceived):
                for stream_id in [known for known in self._streams if known > event.last_stream_id]:
                    del self._streams[stream_id]
                self._events.append(
                    GoAwayReceived(event.last_stream_id, event.error_code, event.debug_data)
                )
            elif isinstance(event, ngh2.WindowUpdated):
                self._events.append(SendWindowOpened())
            elif isinstance(event, ngh2.SettingsReceived):
                self._settings_changed(event)
            elif isinstance(event, ngh2.SettingsAcknowledged):
                self._settings_acknowledged = True
            elif isinstance(event, ngh2.ConnectionClosed):
                self._done = True

    def _data_received(self, event: ngh2.DataReceived) -> None:
        stream_id, size = self._data_frames.popleft()
        while stream_id != event.stream_id:
            self._count_data(stream_id, b"", size, False)
            stream_id, size = self._data_frames.popleft()
        self._count_data(stream_id, event.data, size, event.end_stream)

    def _count_data(self, stream_id: int, data: bytes, size: int, ended: bool) -> None:
        """Count ``size`` octets of flow control against the windows, and pass the data on."""
        self._receive_window -= size
        if self._receive_window < 0:
            raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "DATA past the connection window")
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.receive_window -= size
            if stream.receive_window < 0:
                text = f"DATA past the window of stream {stream_id}"
                raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, text)
        self._events.append(DataReceived(stream_id, data, size, ended))
        if ended and stream is not None:
            stream.remote_open = False
            self._close_if_done(stream_id, stream)

    def _return_ignored(self) -> None:
        """DATA that nghttp2 swallowed counts for the windows too: its stream was closed."""
        incomplete = 1 if self._in_data and self._payload_left else 0
        while len(self._data_frames) > incomplete and not self._failed:
            stream_id, size = self._data_frames.popleft()
            self._count_data(stream_id, b"", size, False)

    def _fields_received(self, stream_id: int, fields: Fields, ended: bool) -> None:
        self._events.append(HeadersReceived(stream_id, fields, ended))
        if ended and (stream := self._streams.get(stream_id)) is not None:
            stream.remote_open = False
            self._close_if_done(stream_id, stream)

    def _settings_changed(self, event: ngh2.SettingsReceived) -> None:
        self._settings_received = True
        settings = event.settings
        self._max_concurrent_streams = settings.get(
            ngh2.Setting.MAX_CONCURRENT_STREAMS, self._max_concurrent_streams
        )
        self._max_header_list_size = settings.get(
            ngh2.Setting.MAX_HEADER_LIST_SIZE, self._max_header_list_size
        )
        self._events.append(SendWindowOpened())

    # -- what goes out -----------------------------------------------------------------------------

    def _take(self) -> None:
        """Move nghttp2's output to ours, and see what it decided by itself."""
        try:
            output = self._ngh2.data_to_send()
        except ngh2.NGH2Error as error:
            self._fail(_code_of(error), str(error))
            self.go_away(ErrorCode.INTERNAL_ERROR)
            return
        if output:
            self._look_at_output(output)
        self._act_on_events()

    def _look_at_output(self, output: bytes) -> None:
        begin, at, end = 0, 0, len(output)
        while at < end:
            high, low, kind, _, stream_id = _read_header(output, at)
            after = at + HEADER_SIZE + (high << 8 | low)
            if kind == WINDOW_UPDATE or (kind == RST_STREAM and stream_id in self._finished):
                self._output += output[begin:at]
                begin = after
                self._finished.discard(stream_id)
            elif kind == RST_STREAM:
                self._reset_by_nghttp2(stream_id, output, at)
            elif kind == GOAWAY:
                self._ended_by_nghttp2(output[at + HEADER_SIZE : after])
            at = after
        self._output += output[begin:] if begin else output

    def _reset_by_nghttp2(self, stream_id: int, output: bytes, at: int) -> None:
        """Nothing, if it was told to: the stream is forgotten then."""
        if self._streams.pop(stream_id, None) is not None:
            code = U32.unpack_from(output, at + HEADER_SIZE)[0]
            self._events.append(
                StreamReset(stream_id, code, False, "nghttp2 calls the response malformed")
            )

    def _ended_by_nghttp2(self, payload: bytes) -> None:
        code = U32.unpack_from(payload, U32.size)[0]
        reason = payload[2 * U32.size :].decode("latin-1")
        self._fail(code, reason or f"nghttp2 ends the connection with {error_name(code)}")

    def _fail(self, code: int, reason: str) -> None:
        if not self._failed:
            self._failed = True
            self._streams.clear()
            self._events.append(ConnectionFailed(code, reason))

    def _close_if_done(self, stream_id: int, stream: _Stream) -> None:
        if stream.local_open or stream.remote_open:
            return
        del self._streams[stream_id]
        if stream.unfinished:
            # nghttp2 would count it as open for ever.
            self._finished.add(stream_id)
            self._ngh2.reset_stream(stream_id, ErrorCode.NO_ERROR)

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self._output += frame_header(kind, flags, stream_id, len(payload))
        self._output += payload


def _check_preface(data: memoryview, kind: int, flags: int) -> None:
    """RFC 9113 section 3.4: the server's preface is a SETTINGS frame."""
    if bytes(data[:5]) == b"HTTP/":
        text = "the answer to the HTTP/2 preface looks like HTTP/1.1"
        raise PeerError(ErrorCode.PROTOCOL_ERROR, text)
    if kind != SETTINGS or flags & ACK:
        raise PeerError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")


def _code_of(error: ngh2.NGH2Error) -> ErrorCode:
    if isinstance(error, ngh2.DenialOfServiceError):
        return ErrorCode.ENHANCE_YOUR_CALM
    if isinstance(error, ngh2.ProtocolError):
        return ErrorCode.PROTOCOL_ERROR
    return ErrorCode.INTERNAL_ERROR
