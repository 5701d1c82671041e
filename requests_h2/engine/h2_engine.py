"""The engine on python-hyper's h2 and hpack.

h2 keeps the connection's settings: it writes the preface, and gets the SETTINGS and PING frames,
which are rare. This module splits the input at the 9-byte frame header and keeps the rest to
itself, each for a reason:

- DATA and WINDOW_UPDATE: h2 spends most of its time per frame on a disabled trace log, and its
  windows cannot be larger than it advertises. Both windows are counted here.
- HEADERS and CONTINUATION: h2 ends the connection for what RFC 9113 makes an error of one stream,
  and half the time of a small exchange went into its copy of the stream states kept here. Field
  blocks go through hpack, in ``field_blocks``; what the fields mean is checked in
  ``requests_h2.fields``, more strictly than h2 does.
- GOAWAY: it would close h2's state machine, after which accepted streams fail, output is thrown
  away and neither PING nor RST_STREAM can be sent.
- RST_STREAM and PUSH_PROMISE: what they do to the streams kept here is all there is to them.

h2 is fed one whole frame at a time, because it drops the events of good frames that precede a bad
one. Only public names of h2 and hpack are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from h2.settings import SettingCodes

from ..exceptions import ErrorCode
from ..fields import Field, Fields
from ..flow_control import MAX_WINDOW
from .base import DEFAULT_WINDOW, MAX_FRAME_SIZE, Engine, OpenStream
from .events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    SendWindowOpened,
    StreamReset,
)
from .field_blocks import FieldBlockDecoder, encode_fields, keep_hpack_quiet, limit_encoder_table
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADER_SIZE,
    HEADERS,
    MAX_STREAM_ID,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTING_SIZE,
    SETTINGS,
    U32,
    WINDOW_UPDATE,
    DataRun,
    FieldBlocks,
    FrameReader,
    PeerError,
    RawFrame,
    block_fragment,
    interrupted,
    promise,
    settings_payload,
    u32_payload,
    without_unknown_settings,
)
from .h2_client import client_connection, feed

_MAX_SETTINGS = 32  # in one frame, as nghttp2 (CVE-2020-11080)
_MAX_FRAME_SENT = 65_536  # octets of payload, whatever the peer allows


class _Stream(OpenStream):
    """One open stream; h2 knows of none."""

    __slots__ = ("has_response", "send_window")

    def __init__(
        self, local_open: bool, send_window: int, receive_window: int, reserved: bool = False
    ) -> None:
        super().__init__(local_open, receive_window, reserved)
        self.has_response = False
        self.send_window = send_window


class H2Engine(Engine):
    """See the module's docstring."""

    name: ClassVar[str] = "h2"

    def _start(self, connection_window: int, max_header_list_size: int) -> None:
        keep_hpack_quiet()
        push = self._pushes.settings()
        self._h2 = client_connection(self._stream_window, max_header_list_size, push)
        self._encoder = self._h2.encoder
        self._h2.decoder = self._decoder = FieldBlockDecoder()
        self._streams: dict[int, _Stream] = {}
        self._send_window = DEFAULT_WINDOW
        self._new_send_window = DEFAULT_WINDOW  # of each stream (RFC 9113 section 6.9.2)
        self._reader = FrameReader(MAX_FRAME_SIZE)
        self._blocks = FieldBlocks()
        self._promised_id = 0  # what the last PUSH_PROMISE promised; 0 if that is not wanted
        self._output.append(self._h2.data_to_send())
        self._frame(WINDOW_UPDATE, 0, 0, U32.pack(connection_window - DEFAULT_WINDOW))

    @property
    def send_window(self) -> int:
        return self._send_window

    @property
    def unfinished(self) -> tuple[bytes, int]:
        return self._reader.partial, 0

    def open_stream(self, fields: Sequence[Field], end_stream: bool) -> int:
        stream_id = self._next_stream_id
        size = self._send_block(stream_id, fields, end_stream)
        self._next_stream_id += 2
        stream = _Stream(not end_stream, self._new_send_window, self._stream_window)
        self._streams[stream_id] = stream
        stream.progress.bytes_sent = size
        return stream_id

    def _send_block(self, stream_id: int, fields: Sequence[Field], end_stream: bool) -> int:
        block = encode_fields(self._encoder, fields)
        limit = min(self._h2.max_outbound_frame_size, _MAX_FRAME_SENT)
        return self._frame_block(stream_id, block, limit, end_stream)

    def send_capacity(self, stream_id: int) -> int:
        stream = self._streams.get(stream_id)
        return 0 if stream is None else min(stream.send_window, self._send_window)

    def send_data(self, stream_id: int, data: memoryview, end_stream: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or not stream.local_open:
            return
        limit = min(self._h2.max_outbound_frame_size, _MAX_FRAME_SENT)
        size = len(data)
        stream.send_window -= size
        self._send_window -= size
        starts = range(0, size, limit) if size else (0,)
        stream.progress.bytes_sent += HEADER_SIZE * len(starts) + size
        for start in starts:
            chunk = data[start : start + limit]
            last = end_stream and start + limit >= size
            self._frame(DATA, END_STREAM if last else 0, stream_id, chunk)
        if end_stream:
            stream.local_open = False
            self._close_if_done(stream_id, stream)

    def send_trailers(self, stream_id: int, fields: Sequence[Field]) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.local_open:
            stream.progress.bytes_sent += self._send_block(stream_id, fields, end_stream=True)
            stream.local_open = False
            self._close_if_done(stream_id, stream)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._frame(RST_STREAM, 0, stream_id, U32.pack(error_code))
            self._forgotten(stream_id, stream)

    def _send_settings(self, settings: dict[int, int]) -> None:
        # h2 need not know: it would only count the acknowledgements.
        self._frame(SETTINGS, 0, 0, settings_payload(settings))

    def receive(self, data: memoryview) -> list[Event]:
        if self._failed:
            return []
        try:
            for frame in self._reader.frames(data):
                if isinstance(frame, DataRun):
                    self._receive_data(frame)
                else:
                    self._receive_frame(frame)
        except PeerError as error:
            self._failed = True
            self._streams.clear()
            self.go_away(error.code)
            self._events.append(ConnectionFailed(error.code, error.reason))
        events, self._events = self._events, []
        return events

    def _receive_frame(self, frame: RawFrame) -> None:
        kind, first = frame.kind, self._blocks.first
        if first is not None and (kind != CONTINUATION or frame.stream_id != first.stream_id):
            raise interrupted()
        if kind == WINDOW_UPDATE:
            self._receive_window_update(frame)
        elif kind == HEADERS:
            self._receive_headers(frame)
        elif kind == CONTINUATION:
            if block := self._blocks.go_on(frame):
                self._block_received(*block)
        elif kind == RST_STREAM:
            self._receive_rst_stream(frame)
        elif kind == GOAWAY:
            self._receive_goaway(frame)
        elif kind == SETTINGS:
            self._receive_settings(frame)
        elif kind == PING:
            self._output.append(feed(self._h2, frame))
            if frame.flags & ACK:
                self._ping_acknowledged(bytes(frame.payload))
        elif kind == PUSH_PROMISE:
            self._receive_promise(frame)
        # PRIORITY is deprecated, other types are unknown: RFC 9113 sections 5.3.2 and 5.5.

    def _receive_data(self, run: DataRun) -> None:
        stream_id, _, flow_size, ended = run
        if self._blocks.first is not None:
            raise interrupted()
        self._receive_window -= flow_size
        if self._receive_window < 0:
            raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "DATA past the connection window")
        stream = self._streams.get(stream_id)
        if stream is None:
            self._require_known(stream_id, "DATA")
            # In flight when the stream was closed here: it counts for the connection only.
            self._events.append(DataReceived(stream_id, [], flow_size, False))
        elif stream.reserved:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, f"DATA on reserved stream {stream_id}")
        elif not stream.has_response or not stream.remote_open:
            self._events.append(DataReceived(stream_id, [], flow_size, False))
            if stream.has_response:
                self._refuse(stream_id, ErrorCode.STREAM_CLOSED, "DATA after END_STREAM")
            else:
                self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS")
        else:
            if flow_size > stream.receive_window:
                self._events.append(DataReceived(*run.within(stream.receive_window)))
                raise PeerError(
                    ErrorCode.FLOW_CONTROL_ERROR, f"DATA past the window of stream {stream_id}"
                )
            stream.receive_window -= flow_size
            stream.progress.bytes_received += flow_size + HEADER_SIZE * len(run.parts)
            self._events.append(DataReceived(*run))
            if ended:
                self._end_remote(stream_id, stream)

    def _receive_window_update(self, frame: RawFrame) -> None:
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
        elif stream.reserved:
            text = f"WINDOW_UPDATE on reserved stream {stream_id}"
            raise PeerError(ErrorCode.PROTOCOL_ERROR, text)
        elif increment == 0:
            self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        elif stream.send_window + increment > MAX_WINDOW:
            self._refuse(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "the stream window overflows")
        else:
            stream.send_window += increment
        self._events.append(SendWindowOpened())

    def _receive_headers(self, frame: RawFrame) -> None:
        self._require_known(frame.stream_id, "HEADERS")
        if block := self._blocks.begin(frame, block_fragment(frame)):
            self._block_received(*block)

    def _receive_promise(self, frame: RawFrame) -> None:
        self._pushes.require_enabled()
        promised_id, fragment = promise(frame)
        wanted = self._promised(frame.stream_id, promised_id)
        if not wanted:
            self._frame(RST_STREAM, 0, promised_id, U32.pack(ErrorCode.CANCEL))
        self._promised_id = promised_id if wanted else 0
        if block := self._blocks.begin(frame, fragment):
            self._block_received(*block)

    def _block_received(self, first: RawFrame, block: bytes, size: int) -> None:
        fields = self._decoder.decode_fields(block)
        stream = self._streams.get(first.stream_id)
        if stream is not None:
            stream.progress.bytes_received += size
        if first.kind == HEADERS:
            self._fields_received(first, stream, fields)
        elif promised_id := self._promised_id:
            pushed = _Stream(False, self._new_send_window, self._stream_window, reserved=True)
            self._streams[promised_id] = pushed
            self._promise_received(first.stream_id, promised_id, pushed, fields)

    def _fields_received(self, headers: RawFrame, stream: _Stream | None, fields: Fields) -> None:
        """RFC 9113 section 8.1: informational sections, a final one, then perhaps trailers."""
        stream_id, ended = headers.stream_id, headers.flags & END_STREAM != 0
        if stream is None:
            return
        if not stream.remote_open:
            self._refuse(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM")
            return
        if stream.reserved and not self._start_pushed(stream):
            self._refuse(stream_id, ErrorCode.REFUSED_STREAM, "too many pushed streams")
            return
        informational = not stream.has_response and _is_informational(fields)
        if informational and ended:
            self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR, "an informational response ends it")
        elif stream.has_response and not ended:
            self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR, "trailers without END_STREAM")
        else:
            stream.has_response = not informational
            self._events.append(HeadersReceived(stream_id, fields, ended))
            if ended:
                self._end_remote(stream_id, stream)

    def _receive_rst_stream(self, frame: RawFrame) -> None:
        code = u32_payload(frame, "RST_STREAM")
        self._require_known(frame.stream_id, "RST_STREAM")
        if frame.stream_id in self._streams:
            del self._streams[frame.stream_id]
            self._events.append(StreamReset(frame.stream_id, code, remote=True))

    def _receive_goaway(self, frame: RawFrame) -> None:
        payload = frame.payload
        if frame.stream_id:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 2 * U32.size:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} octets")
        last_stream_id = U32.unpack_from(payload)[0] & MAX_STREAM_ID
        code = U32.unpack_from(payload, U32.size)[0]
        for stream_id in [known for known in self._streams if known > last_stream_id and known % 2]:
            del self._streams[stream_id]
        self._events.append(GoAwayReceived(last_stream_id, code, bytes(payload[8:])))

    def _receive_settings(self, frame: RawFrame) -> None:
        if len(frame.payload) > _MAX_SETTINGS * SETTING_SIZE:
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "too many settings in a frame")
        if frame.flags & ACK and len(frame.payload):
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with settings")
        self._output.append(feed(self._h2, without_unknown_settings(frame)))
        if frame.flags & ACK:
            self.settings_acknowledged = True
            self._pushes.settings_acknowledged()
            return
        self.settings_received = True
        new = self._h2.remote_settings
        self.max_concurrent_streams = new.get(
            SettingCodes.MAX_CONCURRENT_STREAMS, self.max_concurrent_streams
        )
        self.max_header_list_size = new.max_header_list_size
        limit_encoder_table(self._encoder, new.header_table_size)
        change = new.initial_window_size - self._new_send_window
        self._new_send_window = new.initial_window_size
        for stream in self._streams.values():
            stream.send_window += change
            if stream.send_window > MAX_WINDOW:
                # RFC 9113 section 6.9.2: an overflow by SETTINGS is a connection error.
                raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "a stream window overflows")
        self._events.append(SendWindowOpened())

    def _require_known(self, stream_id: int, what: str) -> None:
        """RFC 9113 section 5.1: on an idle stream these frames are a connection error."""
        pushed = stream_id % 2 == 0
        first_idle = self._pushes.last_id + 2 if pushed else self._next_stream_id
        if stream_id == 0 or stream_id >= first_idle:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, f"{what} on idle stream {stream_id}")

    def _end_remote(self, stream_id: int, stream: _Stream) -> None:
        stream.remote_open = False
        self._close_if_done(stream_id, stream)

    def _close_if_done(self, stream_id: int, stream: _Stream) -> None:
        if not stream.local_open and not stream.remote_open:
            del self._streams[stream_id]


def _is_informational(fields: Fields) -> bool:
    return bool(fields) and fields[0][0] == b":status" and fields[0][1][:1] == b"1"
