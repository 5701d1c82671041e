"""The engine on python-hyper's h2 and hpack.

h2 gets the frames that change its state in small numbers (HEADERS, CONTINUATION, SETTINGS, PING)
and does HPACK, the settings handshake and the order of field sections. This module splits the
input at the 9-byte frame header and keeps the rest to itself, each for a reason:

- DATA and WINDOW_UPDATE: h2 spends most of its time per frame on a disabled trace log, and its
  windows cannot be larger than it advertises. Both windows are counted here.
- GOAWAY: it would close h2's state machine, after which accepted streams fail, output is thrown
  away and neither PING nor RST_STREAM can be sent.
- RST_STREAM and PUSH_PROMISE: they need nothing of h2 but to forget a stream, or are errors.

h2 is fed one whole frame at a time, because it drops the events of good frames that precede a bad
one. It validates no field: ``requests_h2.fields`` does, more strictly, and an error there ends a
stream where h2 would end the connection. Since h2 does not see DATA, a stream that has ended is
closed in h2 by ``reset_stream`` with its output dropped. Only public names of h2 are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from h2.connection import ConnectionState
from h2.events import Event as H2Event
from h2.events import InformationalResponseReceived, ResponseReceived, TrailersReceived
from h2.exceptions import H2Error, ProtocolError
from h2.settings import SettingCodes
from hpack import NeverIndexedHeaderTuple

from ..exceptions import ErrorCode
from ..fields import Field, NeverIndexedField
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
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_STREAM_ID,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTING_SIZE,
    SETTINGS,
    U32,
    WINDOW_UPDATE,
    Frame,
    FrameReader,
    PeerError,
    frame_header,
    u32_payload,
    unpadded,
    without_padding,
    without_unknown_settings,
)
from .h2_client import client_connection, connection_error, limit_encoder_table

_MAX_CONTINUATIONS = 63  # h2 ends the connection at 64 frames a block, HEADERS included
_MAX_SETTINGS = 32  # in one frame, as nghttp2 (CVE-2020-11080)
_MAX_DATA_PAYLOAD = 65_536


class _Stream:
    """Flow control and the two halves of one open stream."""

    __slots__ = ("has_response", "local_open", "receive_window", "remote_open", "send_window")

    def __init__(self, local_open: bool, send_window: int, receive_window: int) -> None:
        self.local_open = local_open
        self.remote_open = True
        self.has_response = False
        self.send_window = send_window
        self.receive_window = receive_window


class H2Engine(Engine):
    """See the module's docstring."""

    name: ClassVar[str] = "h2"

    def __init__(
        self, *, stream_window: int, connection_window: int, max_header_list_size: int
    ) -> None:
        self._h2 = client_connection(stream_window, max_header_list_size)
        self._streams: dict[int, _Stream] = {}
        self._next_stream_id = 1
        self._stream_window = stream_window
        self._send_window = DEFAULT_WINDOW
        self._receive_window = connection_window
        self._reader = FrameReader(MAX_FRAME_SIZE)
        self._output = bytearray()
        self._events: list[Event] = []
        self._block_stream = 0  # the stream of an unfinished field block
        self._continuations = 0
        self._settings_received = False
        self._settings_acknowledged = False
        self._failed = False
        self._h2.initiate_connection()
        self._output += self._h2.data_to_send()
        self._frame(WINDOW_UPDATE, 0, 0, U32.pack(connection_window - DEFAULT_WINDOW))

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    @property
    def max_concurrent_streams(self) -> int:
        limit = self._h2.remote_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS)
        return ASSUMED_CONCURRENT_STREAMS if limit is None else limit

    @property
    def max_header_list_size(self) -> int | None:
        return self._h2.remote_settings.max_header_list_size

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

    def open_stream(self, fields: Sequence[Field], end_stream: bool) -> int:
        stream_id = self._next_stream_id
        self._h2.send_headers(
            stream_id,
            [NeverIndexedHeaderTuple(*f) if type(f) is NeverIndexedField else f for f in fields],
            end_stream=end_stream,
        )
        self._output += self._h2.data_to_send()
        self._next_stream_id += 2
        self._streams[stream_id] = _Stream(
            not end_stream, self._h2.remote_settings.initial_window_size, self._stream_window
        )
        return stream_id

    def send_capacity(self, stream_id: int) -> int:
        stream = self._streams.get(stream_id)
        return 0 if stream is None else min(stream.send_window, self._send_window)

    def send_data(self, stream_id: int, data: memoryview, end_stream: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or not stream.local_open:
            return
        limit = min(self._h2.max_outbound_frame_size, _MAX_DATA_PAYLOAD)
        size = len(data)
        stream.send_window -= size
        self._send_window -= size
        for start in range(0, size, limit) if size else (0,):
            chunk = data[start : start + limit]
            last = end_stream and start + limit >= size
            self._frame(DATA, END_STREAM if last else 0, stream_id, chunk)
        if end_stream:
            stream.local_open = False
            self._close_if_done(stream_id, stream)

    def send_window_update(self, stream_id: int, increment: int) -> None:
        if stream_id == 0:
            self._receive_window += increment
        elif (stream := self._streams.get(stream_id)) is None or not stream.remote_open:
            return
        else:
            stream.receive_window += increment
        self._frame(WINDOW_UPDATE, 0, stream_id, U32.pack(increment))

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        if stream_id in self._streams:
            self._frame(RST_STREAM, 0, stream_id, U32.pack(error_code))
            self._forget(stream_id)

    def go_away(self, error_code: int) -> None:
        # No stream of the peer's was ever processed: push is not accepted.
        self._frame(GOAWAY, 0, 0, U32.pack(0) + U32.pack(error_code))

    def receive(self, data: memoryview) -> list[Event]:
        self._events = events = list[Event]()
        if self._failed:
            return events
        try:
            for frame in self._reader.frames(data):
                self._receive_frame(frame)
        except PeerError as error:
            self._failed = True
            self.go_away(error.code)
            events.append(ConnectionFailed(error.code, error.reason))
        return events

    def _receive_frame(self, frame: Frame) -> None:
        kind = frame.kind
        if self._block_stream and (kind != CONTINUATION or frame.stream_id != self._block_stream):
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "a frame inside a field block")
        if kind == DATA:
            self._receive_data(frame)
        elif kind == WINDOW_UPDATE:
            self._receive_window_update(frame)
        elif kind in (HEADERS, CONTINUATION):
            self._receive_field_block(frame)
        elif kind == RST_STREAM:
            self._receive_rst_stream(frame)
        elif kind == GOAWAY:
            self._receive_goaway(frame)
        elif kind == SETTINGS:
            self._receive_settings(frame)
        elif kind == PING:
            self._feed(frame)
        elif kind == PUSH_PROMISE:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE although push is disabled")
        # PRIORITY is deprecated, other types are unknown: RFC 9113 sections 5.3.2 and 5.5.

    def _receive_data(self, frame: Frame) -> None:
        stream_id, flow_size = frame.stream_id, len(frame.payload)
        self._receive_window -= flow_size
        if self._receive_window < 0:
            raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "DATA past the connection window")
        data = unpadded(frame)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._require_known(stream_id, "DATA")
            # In flight when the stream was closed here: it counts for the connection only.
            self._events.append(DataReceived(stream_id, b"", flow_size, False))
        elif not stream.has_response or not stream.remote_open:
            reason = "DATA after END_STREAM" if stream.has_response else "DATA before HEADERS"
            self._events.append(DataReceived(stream_id, b"", flow_size, False))
            self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR, reason)
        else:
            stream.receive_window -= flow_size
            if stream.receive_window < 0:
                raise PeerError(
                    ErrorCode.FLOW_CONTROL_ERROR, f"DATA past the window of stream {stream_id}"
                )
            ended = bool(frame.flags & END_STREAM)
            self._events.append(DataReceived(stream_id, bytes(data), flow_size, ended))
            if ended:
                self._end_remote(stream_id, stream)

    def _receive_window_update(self, frame: Frame) -> None:
        stream_id = frame.stream_id
        increment = u32_payload(frame, "WINDOW_UPDATE") & MAX_WINDOW
        if stream_id == 0:
            if increment == 0:
                raise PeerError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            self._send_window += increment
            if self._send_window > MAX_WINDOW:
                raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "the connection window overflows")
        elif (stream := self._streams.get(stream_id)) is None:
            self._require_known(stream_id, "WINDOW_UPDATE")
            return
        elif increment == 0:
            self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        elif stream.send_window + increment > MAX_WINDOW:
            self._refuse(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "the stream window overflows")
        else:
            stream.send_window += increment
        self._events.append(SendWindowOpened())

    def _receive_field_block(self, frame: Frame) -> None:
        stream_id = frame.stream_id
        frame = without_padding(frame)
        if frame.kind == CONTINUATION:
            if not self._block_stream:
                raise PeerError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
            self._continuations += 1
            if self._continuations > _MAX_CONTINUATIONS:
                raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "too many CONTINUATION frames")
        else:
            self._require_known(stream_id, "HEADERS")
            self._continuations = 0
        self._block_stream = 0 if frame.flags & END_HEADERS else stream_id
        try:
            events = self._h2.receive_data(bytes(frame.view))
        except ProtocolError as error:
            self._field_block_failed(stream_id, error)
        else:
            # On a closed stream h2 queues RST_STREAM again; RFC 9113 section 5.4.2 allows one.
            self._h2.clear_outbound_data_buffer()
            if not self._block_stream:
                self._fields_received(stream_id, events)

    def _field_block_failed(self, stream_id: int, error: ProtocolError) -> None:
        fatal = connection_error(error)
        if fatal is not None:
            raise fatal from error
        if self._block_stream:
            # The block goes on, so none of it has reached HPACK yet.
            raise PeerError(error.error_code, str(error)) from error
        # Everything else h2 finds after decoding, so HPACK is intact and RFC 9113 section 5.4.2
        # wants only the stream ended. h2 has closed itself and queued a GOAWAY: undo both.
        self._h2.state_machine.state = ConnectionState.CLIENT_OPEN
        self._h2.clear_outbound_data_buffer()
        # h2 quotes values after a colon: they are not for messages.
        self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR, str(error).partition(":")[0])

    def _fields_received(self, stream_id: int, events: list[H2Event]) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if not stream.remote_open:
            self._refuse(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM")
            return
        for event in events:
            if isinstance(event, InformationalResponseReceived):
                self._events.append(HeadersReceived(stream_id, list(event.headers), False))
            elif isinstance(event, (ResponseReceived, TrailersReceived)):
                stream.has_response = True
                ended = event.stream_ended is not None
                self._events.append(HeadersReceived(stream_id, list(event.headers), ended))
                if ended:
                    self._end_remote(stream_id, stream)

    def _receive_rst_stream(self, frame: Frame) -> None:
        code = u32_payload(frame, "RST_STREAM")
        self._require_known(frame.stream_id, "RST_STREAM")
        if frame.stream_id in self._streams:
            self._forget(frame.stream_id)
            self._events.append(StreamReset(frame.stream_id, code, remote=True))

    def _receive_goaway(self, frame: Frame) -> None:
        payload = frame.payload
        if frame.stream_id:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 2 * U32.size:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} octets")
        last_stream_id = U32.unpack_from(payload)[0] & MAX_STREAM_ID
        code = U32.unpack_from(payload, U32.size)[0]
        for stream_id in [known for known in self._streams if known > last_stream_id]:
            self._forget(stream_id)
        self._events.append(GoAwayReceived(last_stream_id, code, bytes(payload[8:])))

    def _receive_settings(self, frame: Frame) -> None:
        before = self._h2.remote_settings.initial_window_size
        if len(frame.payload) > _MAX_SETTINGS * SETTING_SIZE:
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "too many settings in a frame")
        if frame.flags & ACK and len(frame.payload):
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with settings")
        self._feed(without_unknown_settings(frame))
        if frame.flags & ACK:
            self._settings_acknowledged = True
            return
        self._settings_received = True
        limit_encoder_table(self._h2)
        change = self._h2.remote_settings.initial_window_size - before
        for stream in self._streams.values():
            stream.send_window += change
            if stream.send_window > MAX_WINDOW:
                # RFC 9113 section 6.9.2: an overflow by SETTINGS is a connection error.
                raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "a stream window overflows")
        self._events.append(SendWindowOpened())

    def _feed(self, frame: Frame) -> None:
        try:
            self._h2.receive_data(bytes(frame.view))
        except ProtocolError as error:
            raise PeerError(error.error_code, str(error)) from error
        self._output += self._h2.data_to_send()

    def _require_known(self, stream_id: int, what: str) -> None:
        """RFC 9113 section 5.1: on an idle stream these frames are a connection error."""
        if stream_id % 2 == 0 or stream_id >= self._next_stream_id:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, f"{what} on idle stream {stream_id}")

    def _refuse(self, stream_id: int, code: ErrorCode, reason: str) -> None:
        """End one stream for something the peer did on it; nothing if it is gone already."""
        if stream_id in self._streams:
            self.reset_stream(stream_id, code)
            self._events.append(StreamReset(stream_id, code, remote=False, reason=reason))

    def _end_remote(self, stream_id: int, stream: _Stream) -> None:
        stream.remote_open = False
        self._close_if_done(stream_id, stream)

    def _close_if_done(self, stream_id: int, stream: _Stream) -> None:
        if not stream.local_open and not stream.remote_open:
            self._forget(stream_id)

    def _forget(self, stream_id: int) -> None:
        del self._streams[stream_id]
        try:
            self._h2.reset_stream(stream_id)
        except H2Error:
            return  # h2 saw it end by itself
        self._h2.clear_outbound_data_buffer()

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes | memoryview) -> None:
        self._output += frame_header(kind, flags, stream_id, len(payload))
        self._output += payload
