"""The engine on nghttp2, through its Python binding ngh2.

nghttp2 frames, compresses, checks messages and keeps the state of streams and the windows for
sending. Around it:

- *Frame headers are seen before nghttp2 sees them* (:class:`Gate`). What RFC 9113 makes an error of
  a stream and nghttp2 one of the connection is fed after that stream was reset: then nghttp2
  ignores it. The headers also tell the flow-controlled size of DATA, padding included, which no
  event does.
- *The windows for receiving are kept here.* nghttp2 gives credit only in its own portions, and none
  for what it drops. So it may believe that everything is consumed at once; the WINDOW_UPDATE
  frames that it makes of that are taken out of its output, and those asked for go out instead.
- *Promises that break the rules are seen before nghttp2 sees them*: it forgets which streams the
  server has ended itself, and cancels what it should not have been promised.

What nghttp2 does to a stream or the connection by itself it tells only by its output. So that is
taken as soon as there can be any, and its RST_STREAM and GOAWAY are read. ngh2's ``StreamClosed``
is not used: it has the code REFUSED_STREAM for more than a refusal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import ClassVar

import ngh2

from ..exceptions import ErrorCode, error_name
from ..fields import Field, Fields
from .base import DEFAULT_WINDOW, MAX_FRAME_SIZE, Engine
from .events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    SendWindowOpened,
    StreamReset,
)
from .frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADER_SIZE,
    HEADERS,
    PUSH_PROMISE,
    RST_STREAM,
    U32,
    WINDOW_UPDATE,
    PeerError,
    stateless_block,
    unpack_header,
)
from .nghttp2_client import client_connection, error_code, header_list
from .nghttp2_gate import (
    Fault,
    Gate,
    GatedStream,
    Header,
    has_pad_length,
    increment_fault,
    number_in,
)

_MESSAGE = (DATA, HEADERS, CONTINUATION)
_FIRST_PORTION = DEFAULT_WINDOW // 2
_MAX_PORTION = 1 << 19


class NGHTTP2Engine(Engine):
    """See the module's docstring."""

    name: ClassVar[str] = "nghttp2"

    def _start(self, connection_window: int, max_header_list_size: int) -> None:
        self._ngh2 = client_connection(
            self._stream_window, connection_window, max_header_list_size, self._pushes.settings()
        )
        self._streams: dict[int, GatedStream] = {}
        self._gate = Gate(self._streams)
        # Octets fed to nghttp2 before its output is taken: half of a stream's window as it knows
        # it. Then it gives itself credit, and that counts once the output was taken.
        self._portion = _FIRST_PORTION
        self._silent_resets: set[int] = set()  # streams that nghttp2 resets, and the peer need not
        self._done = False  # GOAWAY came and no stream is left: nghttp2 takes nothing any more
        self._output = [self._ngh2.data_to_send()]

    @property
    def send_window(self) -> int:
        window: int = self._ngh2.remote_window_size
        return window

    @property
    def unfinished(self) -> tuple[bytes, int]:
        return self._gate.unfinished

    # -- commands ----------------------------------------------------------------------------------

    def open_stream(self, fields: Sequence[Field], end_stream: bool) -> int:
        before = len(self._output)
        stream_id = self._ngh2.send_request(header_list(fields), end_stream=end_stream)
        self._next_stream_id = stream_id + 2
        self._streams[stream_id] = GatedStream(not end_stream, self._stream_window)
        self._take()
        if len(self._output) == before:
            # nghttp2 holds requests over the stream limit back without a word.
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
        if data or self.send_capacity(stream_id) > 0:
            self._ngh2.send_data(stream_id, data, end_stream=end_stream)
        elif end_stream:
            # An empty frame needs no window (RFC 9113 section 6.9.1), but nghttp2 waits for one,
            # and a peer that has got all that it expects may never open one.
            self._frame(DATA, END_STREAM, stream_id, b"")
            stream.progress.bytes_sent += HEADER_SIZE
            stream.ended_alone = True
        if end_stream:
            stream.local_open = False
            self._close_if_done(stream_id, stream)
        self._take()

    def send_trailers(self, stream_id: int, fields: Sequence[Field]) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.local_open:
            if self.send_capacity(stream_id) > 0:
                self._ngh2.send_trailers(stream_id, header_list(fields))
            else:
                # nghttp2 waits for a window, as in send_data, though HEADERS need none.
                block = stateless_block(fields)
                size = self._frame_block(stream_id, block, MAX_FRAME_SIZE, end_stream=True)
                stream.progress.bytes_sent += size
                stream.ended_alone = True
            stream.local_open = False
            self._close_if_done(stream_id, stream)
            self._take()

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._forgotten(stream_id, stream)
            self._ngh2.reset_stream(stream_id, error_code)
            self._take()

    def _send_settings(self, settings: dict[int, int]) -> None:
        with contextlib.suppress(ngh2.ConnectionStateError):  # it has ended: nobody pushes
            self._ngh2.update_settings(settings)
            self._take()

    # -- what comes in -----------------------------------------------------------------------------

    def receive(self, data: memoryview) -> list[Event]:
        if not self._failed and not self._done:
            try:
                self._receive(self._gate.complete(data))
                self._take()
                self._pass_ignored_data()
            except PeerError as error:
                self._fail(error.code, error.reason, announce=True)
        events, self._events = self._events, []
        return events

    def _receive(self, data: memoryview) -> None:
        begin = 0
        for header, fault in self._gate.notable(data):
            begin = self._feed(data, begin, header.at)
            # What nghttp2 makes of an answer is told by its output only. It comes before a GOAWAY,
            # else a request that was answered would look as if it had not been processed.
            self._take()
            wrong = fault or self._fault_by_state(header, data)
            if wrong is not None:
                if wrong.whole:
                    raise PeerError(wrong.code, wrong.reason)
                self._refuse(header.stream_id, wrong.code, wrong.reason)
            elif header.kind == GOAWAY and header.size >= U32.size:
                mended = self._gate.mended_last_id(header, data)
                if mended is not None:
                    begin = self._feed(data, begin, header.at + HEADER_SIZE)
                    begin += self._feed(mended, 0, len(mended))
        self._feed(data, begin, self._gate.end)

    def _fault_by_state(self, header: Header, data: memoryview) -> Fault | None:
        """What is wrong with a frame, now that nghttp2 knows all that came before it.

        :raises PeerError: for a promise that ends the connection.
        """
        if header.kind == PUSH_PROMISE:
            self._pushes.require_enabled()
            if header.size >= U32.size + has_pad_length(header):
                # Those that are not wanted nghttp2 cancels by itself, for the same reasons.
                self._promised(header.stream_id, number_in(header, data))
            return None
        stream = self._streams.get(header.stream_id)
        if stream is None:
            return None
        if stream.reserved:
            if header.kind == HEADERS and not self._start_pushed(stream):
                return Fault(ErrorCode.REFUSED_STREAM, "too many pushed streams")
        elif header.kind == WINDOW_UPDATE and header.size == U32.size:
            window = self._ngh2.stream_remote_window_size(header.stream_id)
            return increment_fault(header, data, window)
        return None

    def _feed(self, data: memoryview, begin: int, end: int) -> int:
        """Give nghttp2 the octets from ``begin`` to ``end``; returns ``end``."""
        while begin < end and not self._failed and not self._done:
            part = data[begin : min(begin + self._portion, end)]
            try:
                self._ngh2.receive_data(part)
            except ngh2.NGH2Error as error:
                self._act_on_events()
                raise PeerError(error_code(error), str(error)) from error
            self._act_on_events()
            begin += len(part)
            if begin < end:
                self._take()
        return end

    def _act_on_events(self) -> None:
        for event in self._ngh2.events():
            if isinstance(event, ngh2.DataReceived):
                self._data_received(event)
            elif isinstance(event, ngh2.ResponseReceived):
                self._fields_received(event.stream_id, list(event.headers), event.end_stream)
            elif isinstance(event, ngh2.StreamClosed):
                continue  # see the module's docstring
            elif isinstance(event, ngh2.TrailersReceived):
                self._fields_received(event.stream_id, list(event.headers), True)
            elif isinstance(event, ngh2.WindowUpdated):
                self._events.append(SendWindowOpened())
            else:
                self._act_on_rare_event(event)

    def _act_on_rare_event(self, event: ngh2.Event) -> None:
        if isinstance(event, ngh2.InformationalResponseReceived):
            self._fields_received(event.stream_id, list(event.headers), False)
        elif isinstance(event, ngh2.StreamReset):
            if self._streams.pop(event.stream_id, None) is not None:
                self._events.append(StreamReset(event.stream_id, event.error_code, True))
        elif isinstance(event, ngh2.PushedStreamReceived):
            promised_id = event.promised_stream_id
            pushed = GatedStream(False, self._stream_window, reserved=True)
            self._streams[promised_id] = pushed
            self._promise_received(event.stream_id, promised_id, pushed, list(event.headers))
        elif isinstance(event, ngh2.GoAwayReceived):
            last = event.last_stream_id
            for stream_id in [known for known in self._streams if known > last and known % 2]:
                del self._streams[stream_id]
            self._events.append(GoAwayReceived(last, event.error_code, event.debug_data))
        elif isinstance(event, ngh2.SettingsReceived):
            self._settings_changed(event)
        elif isinstance(event, ngh2.SettingsAcknowledged):
            self.settings_acknowledged = True
            self._pushes.settings_acknowledged()
            self._portion = max(1, min(self._stream_window // 2, _MAX_PORTION))
        elif isinstance(event, ngh2.PingAcknowledged):
            self._ping_acknowledged(event.opaque_data)
        elif isinstance(event, ngh2.ConnectionClosed):
            self._done = True

    def _data_received(self, event: ngh2.DataReceived) -> None:
        stream_id, size = self._gate.data_frames.popleft()
        while stream_id != event.stream_id:
            self._pass_data(stream_id, None, size, False)
            stream_id, size = self._gate.data_frames.popleft()
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.receive_window -= size
            stream.progress.bytes_received += HEADER_SIZE + size
            if stream.receive_window < 0:
                text = f"DATA past the window of stream {stream_id}"
                raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, text)
        # ngh2 makes one event of each frame, when all of it is there.
        self._pass_data(stream_id, event.data, size, event.end_stream)
        if event.end_stream:
            self._ended_by_peer(stream_id)

    def _pass_data(self, stream_id: int, data: bytes | None, size: int, ended: bool) -> None:
        self._receive_window -= size
        if self._receive_window < 0:
            raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "DATA past the connection window")
        last = self._events[-1] if self._events else None
        if isinstance(last, DataReceived) and last.stream_id == stream_id and not last.end_stream:
            last.add(data, size, ended)
        else:
            parts: list[memoryview | bytes] = [] if data is None else [data]
            self._events.append(DataReceived(stream_id, parts, size, ended))

    def _pass_ignored_data(self) -> None:
        """DATA for which nghttp2 has no event counts for the connection: its stream is over."""
        left = 1 if self._gate.inside_data else 0
        while len(self._gate.data_frames) > left and not self._failed and not self._done:
            stream_id, size = self._gate.data_frames.popleft()
            self._pass_data(stream_id, None, size, False)

    def _fields_received(self, stream_id: int, fields: Fields, ended: bool) -> None:
        self._events.append(HeadersReceived(stream_id, fields, ended))
        if ended:
            self._ended_by_peer(stream_id)

    def _ended_by_peer(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.remote_open = False
            self._close_if_done(stream_id, stream)

    def _settings_changed(self, event: ngh2.SettingsReceived) -> None:
        self.settings_received = True
        new = event.settings
        self.max_concurrent_streams = new.get(
            ngh2.Setting.MAX_CONCURRENT_STREAMS, self.max_concurrent_streams
        )
        self.max_header_list_size = new.get(
            ngh2.Setting.MAX_HEADER_LIST_SIZE, self.max_header_list_size
        )
        self._events.append(SendWindowOpened())

    # -- what goes out -----------------------------------------------------------------------------

    def _take(self) -> None:
        """Make nghttp2's output ours, and see in it what nghttp2 did by itself."""
        try:
            output = self._ngh2.data_to_send()
        except ngh2.NGH2Error as error:
            self._fail(error_code(error), str(error), announce=True)
            return
        if output:
            self._take_frames(output)
        self._act_on_events()

    def _take_frames(self, output: bytes) -> None:
        begin, at, end = 0, 0, len(output)
        while at < end:
            high, low, kind, _, stream_id = unpack_header(output, at)
            payload, after = at + HEADER_SIZE, at + HEADER_SIZE + (high << 8 | low)
            keep = kind != WINDOW_UPDATE
            if kind == RST_STREAM:
                keep = self._reset_by_nghttp2(stream_id, output[payload:after])
            elif kind == GOAWAY:
                self._ended_by_nghttp2(output[payload:after])
            elif kind in _MESSAGE and (stream := self._streams.get(stream_id)) is not None:
                stream.progress.bytes_sent += after - at
            if not keep:
                self._output.append(output[begin:at])
                begin = after
            at = after
        if begin < end:
            self._output.append(output[begin:])

    def _reset_by_nghttp2(self, stream_id: int, payload: bytes) -> bool:
        """Whether the peer must hear of it. A stream that was to be reset is forgotten by now."""
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            silent = stream_id in self._silent_resets
            self._silent_resets.discard(stream_id)
            return not silent
        self._forgotten(stream_id, stream)
        reason = "nghttp2 calls the response malformed"
        self._events.append(StreamReset(stream_id, U32.unpack(payload)[0], False, reason))
        # When both sides have ended it, RFC 9113 section 5.1 has nothing left to reset.
        return stream.local_open or not stream.end_seen

    def _ended_by_nghttp2(self, payload: bytes) -> None:
        code = U32.unpack_from(payload, U32.size)[0]
        reason = payload[2 * U32.size :].decode("latin-1")
        self._fail(code, reason or f"nghttp2 ends the connection with {error_name(code)}")

    def _fail(self, code: int, reason: str, announce: bool = False) -> None:
        if not self._failed:
            self._failed = True
            self._streams.clear()
            if announce:
                self.go_away(code)
            self._events.append(ConnectionFailed(code, reason))

    def _close_if_done(self, stream_id: int, stream: GatedStream) -> None:
        if stream.local_open or stream.remote_open:
            return
        del self._streams[stream_id]
        if stream.ended_alone:
            # nghttp2 would count it among the open ones for ever. With the next output it is gone.
            self._silent_resets.add(stream_id)
            with contextlib.suppress(ngh2.NGH2Error):  # ngh2 itself may have failed by now
                self._ngh2.reset_stream(stream_id, ErrorCode.NO_ERROR)
