"""HTTP/2 at the soak's peer: frames, windows and settings, with an eye on the client's conduct.

Built on hyperframe and hpack, so that nothing is shared with what is tested. All limits are
checked exactly: a change counts from the client's SETTINGS acknowledgement on, which stands in its
frames in the place where the client began to follow it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections import deque
from typing import TYPE_CHECKING

from hpack import Decoder, Encoder, HPACKError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from . import content
from .ledger import Attempt, ConnectionRecord
from .wire import Wire

if TYPE_CHECKING:
    from .peer import Peer

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DEFAULT_WINDOW = 65_535
_MAX_CONNECTION_WINDOW = 1 << 30  # what the client advertises; it must never credit more
_MAX_STREAM_WINDOW = 16 << 20
_STREAMS_BEFORE_SETTINGS = 100
_BACKLOG = 4 << 20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = 1, 2, 3, 4, 5


class Stream:
    """One attempt of one request, as the peer sees it."""

    def __init__(self, stream_id: int, fields: dict[str, str], attempt: Attempt) -> None:
        self.id = stream_id
        self.fields = fields
        self.nonce = fields[content.NONCE]
        self.method = fields[":method"]
        self.attempt = attempt
        self.upload = bytearray()
        self.request_ended = False
        self.response_ended = False
        self.send_window = 0
        self.receive_window = 0
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class PeerConnection(Wire):
    """Accepts requests and hands each to ``peer.serve`` in a task of its own."""

    def __init__(self, peer: Peer, context: ssl.SSLContext, rng: random.Random) -> None:
        super().__init__(context, rng)
        self.peer = peer
        self.ledger = peer.ledger
        self.record = ConnectionRecord(0)
        self.streams: dict[int, Stream] = {}
        self.requests = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.window_opened = asyncio.Event()
        self.receive_window = _DEFAULT_WINDOW
        self._send_window = _DEFAULT_WINDOW
        self._client_initial_window = _DEFAULT_WINDOW
        self._buffer = bytearray()
        self._preface = False
        self.last_id = 0
        self.promised_id = 0
        self.may_push = False
        self._block: tuple[int, bytes, bool] | None = None
        self._decoder, self._encoder = Decoder(), Encoder()
        self.settings = {
            HEADER_TABLE_SIZE: 4096,
            INITIAL_WINDOW: _DEFAULT_WINDOW,
            MAX_FRAME: 16_384,
        }
        self.settings[MAX_STREAMS] = _STREAMS_BEFORE_SETTINGS
        self._unacknowledged: deque[dict[int, int]] = deque()
        self._pings: deque[bytes] = deque()

    def end(self, how: str, reason: str) -> None:
        if self.ended is None:
            self.record.ended, self.record.disturbed = reason, True
        super().end(how, reason)

    # -- sending -----------------------------------------------------------------------------------

    def send_frame(self, frame: Frame) -> None:
        self.send(frame.serialize())

    def change_settings(self, changes: dict[int, int]) -> None:
        self._unacknowledged.append(changes)
        self.send_frame(SettingsFrame(0, settings=changes))

    def ping(self) -> None:
        data = self.rng.randbytes(8)
        self._pings.append(data)
        self.send_frame(PingFrame(0, opaque_data=data))

    def goaway(self, last: int, code: int) -> None:
        self.record.goaway_last = min(self.record.goaway_last, last)
        self.record.goaway_code = code
        debug = self.rng.choice((b"", b"soak", self.rng.randbytes(40)))
        self.send_frame(GoAwayFrame(0, last_stream_id=last, error_code=code, additional_data=debug))
        # It says nothing about pushes.
        for stream in [s for s in self.streams.values() if s.id % 2 and s.id > last]:
            if stream.attempt.answered:
                stream.attempt.fault = "GOAWAY after the answer began"
            self.forget(stream)

    def headers(
        self, stream: Stream, fields: list[tuple[str, str]], end: bool = False, split: bool = False
    ) -> None:
        if stream.id not in self.streams:
            return
        if fields[0][0] != ":status" or len(fields) > 1:
            self.record.answers += 1
            stream.attempt.answered = True  # not by 1xx, which have no fields here
        block = self._encoder.encode(fields)
        # Not 0: hyperframe, which the client parses with, takes padding alone for an error.
        at = self.rng.randrange(1, len(block) + 1) if split else len(block)
        frame = HeadersFrame(stream.id, block[:at])
        if split:
            frame.flags.add("PADDED")
            frame.pad_length = self.rng.randrange(20)
            more = ContinuationFrame(stream.id, block[at:], flags=["END_HEADERS"])
        else:
            frame.flags.add("END_HEADERS")
        if end:
            frame.flags.add("END_STREAM")
        self.send(frame.serialize() + (more.serialize() if split else b""))
        if end:
            self.ended_here(stream)

    def promise(self, parent: Stream, size: int) -> Stream | None:
        """PUSH_PROMISE; the stream to be answered, ``None`` when its parent is over."""
        if not self.may_push or parent.id not in self.streams:
            return None
        self.promised_id += 2
        nonce = f"{parent.nonce}.push{self.promised_id}"
        target = {":scheme": "https", ":authority": parent.fields[":authority"]}
        fields = {":method": "GET", **target, ":path": f"/{nonce}"}
        fields |= {content.NONCE: nonce, content.SIZE: str(size)}
        attempt = Attempt(self.record, self.promised_id, "GET", False, True, proven=True)
        pushed = self.streams[self.promised_id] = Stream(self.promised_id, fields, attempt)
        pushed.request_ended = True
        pushed.send_window = self._client_initial_window
        block = self._encoder.encode(fields)
        self.send_frame(PushPromiseFrame(parent.id, pushed.id, block, flags=["END_HEADERS"]))
        return pushed

    async def body(
        self, stream: Stream, data: bytes, *, end: bool, most: int = 16_384, padded: bool = False
    ) -> None:
        """DATA within both windows."""
        at = 0
        while at < len(data) or (end and not data):
            pad = self.rng.randrange(60) if padded and data else None
            overhead = 0 if pad is None else pad + 1
            room = min(stream.send_window, self._send_window, 16_384) - overhead
            if (room <= 0 and data) or self.backlog > _BACKLOG:
                self.window_opened.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.window_opened.wait(), 0.1)
                continue
            if stream.id not in self.streams:
                return
            part = data[at : at + min(room, most)]
            at += len(part)
            frame = DataFrame(stream.id, part)
            if pad is not None:
                frame.flags.add("PADDED")
                frame.pad_length = pad
            stream.send_window -= len(part) + overhead
            self._send_window -= len(part) + overhead
            last = end and at >= len(data)
            if last:
                frame.flags.add("END_STREAM")
            self.send_frame(frame)
            if last:
                self.ended_here(stream)
                return
            if most < 100:
                await asyncio.sleep(0)

    def reset(self, stream: Stream, code: int) -> None:
        if stream.id in self.streams:
            self.send_frame(RstStreamFrame(stream.id, error_code=code))
            self.forget(stream)

    def ended_here(self, stream: Stream) -> None:
        """END_STREAM was sent."""
        stream.response_ended = True
        if stream.request_ended:
            self.streams.pop(stream.id, None)

    def forget(self, stream: Stream) -> None:
        self.streams.pop(stream.id, None)
        if stream.task is not None and stream.task is not asyncio.current_task():
            stream.task.cancel()

    def credit(self, stream: Stream | None, increment: int) -> None:
        if stream is None:
            self.receive_window += increment
        elif stream.id in self.streams and not stream.request_ended:
            stream.receive_window += increment
        else:
            return
        self.send_frame(WindowUpdateFrame(stream.id if stream else 0, window_increment=increment))

    # -- receiving ---------------------------------------------------------------------------------

    def established(self) -> None:
        self.record.port = self.transport.get_extra_info("peername")[1]
        self.peer.connected(self)

    def broken(self, reason: str) -> None:
        self._violation(reason)

    def lost(self) -> None:
        self.record.ended = self.ended
        for task in self.tasks:
            task.cancel()
        self.streams.clear()
        self.peer.disconnected(self)

    def received(self, data: bytes) -> None:
        self._buffer += data
        if not self._preface:
            if len(self._buffer) < len(_PREFACE):
                return
            assert self._buffer.startswith(_PREFACE)
            del self._buffer[: len(_PREFACE)]
            self._preface = True
        while len(self._buffer) >= 9 and self.ended is None:
            frame, size = Frame.parse_frame_header(memoryview(bytes(self._buffer[:9])))
            if len(self._buffer) < 9 + size:
                break
            frame.parse_body(memoryview(bytes(self._buffer[9 : 9 + size])))
            del self._buffer[: 9 + size]
            self._frame(frame, size)

    def _frame(self, frame: Frame, size: int) -> None:
        if isinstance(frame, HeadersFrame):
            block = (frame.stream_id, frame.data, "END_STREAM" in frame.flags)
            self._headers(block, "END_HEADERS" in frame.flags)
        elif isinstance(frame, ContinuationFrame) and self._block is not None:
            stream_id, data, end = self._block
            self._headers((stream_id, data + frame.data, end), "END_HEADERS" in frame.flags)
        elif isinstance(frame, DataFrame):
            self._data(frame, size)
        elif isinstance(frame, WindowUpdateFrame):
            self._window_update(frame)
        elif isinstance(frame, RstStreamFrame):
            if frame.stream_id > (self.last_id if frame.stream_id % 2 else self.promised_id):
                self._violation(f"RST_STREAM on idle stream {frame.stream_id}")
            if (stream := self.streams.get(frame.stream_id)) is not None:
                self.ledger.counts["resets by the client"] += 1
                self.forget(stream)
        elif isinstance(frame, SettingsFrame):
            self._settings(frame)
        elif isinstance(frame, PingFrame):
            if "ACK" not in frame.flags:
                self._violation("PING, although nobody asked for one")
            elif not self._pings or self._pings.popleft() != frame.opaque_data:
                self._violation("PING acknowledged with other data or out of order")

    def _headers(self, block: tuple[int, bytes, bool], complete: bool) -> None:
        self._block = None if complete else block
        if not complete:
            return
        stream_id, data, end = block
        try:
            fields = {str(name): str(value) for name, value in self._decoder.decode(data)}
        except HPACKError as error:
            self._violation(f"HPACK: {error}")
            self.end("fin", "unreadable fields")
            return
        if stream_id <= self.last_id or stream_id % 2 == 0:
            self._violation(f"stream {stream_id} after {self.last_id}")
        self.last_id = max(self.last_id, stream_id)
        self.requests += 1
        patient = fields[content.PATIENCE] == "long"
        rewindable = fields[content.REWINDABLE] == "1"
        attempt = Attempt(
            self.record,
            stream_id,
            fields[":method"],
            rewindable,
            patient,
            proven=self.record.answers > 0,
        )
        number = self.ledger.arrived(fields[content.NONCE], attempt)
        if stream_id > self.record.goaway_last:
            return  # it crossed the GOAWAY
        stream = self.streams[stream_id] = Stream(stream_id, fields, attempt)
        stream.request_ended = end
        stream.send_window = self._client_initial_window
        stream.receive_window = self.settings[INITIAL_WINDOW]
        requests = sum(each % 2 for each in self.streams)
        if requests > self.settings[MAX_STREAMS]:
            self._violation(f"{requests} streams of {self.settings[MAX_STREAMS]}")
        stream.task = self.run(self.peer.serve(self, stream, number))

    def _data(self, frame: DataFrame, size: int) -> None:
        self.receive_window -= size
        if size > self.settings[MAX_FRAME]:
            self._violation(f"DATA of {size}, frames have at most {self.settings[MAX_FRAME]}")
        if self.receive_window < 0:
            self._violation("DATA past the connection window")
        stream = self.streams.get(frame.stream_id)
        if stream is None:
            if frame.stream_id > self.last_id:
                self._violation(f"DATA on idle stream {frame.stream_id}")
            return
        stream.receive_window -= size
        if stream.receive_window < 0 and size:
            self._violation(f"DATA past the window of stream {stream.id}")
        if stream.request_ended:
            self._violation(f"DATA after END_STREAM on stream {stream.id}")
        stream.upload += frame.data
        stream.attempt.touched |= bool(frame.data)
        stream.request_ended = "END_STREAM" in frame.flags
        if stream.request_ended:
            self._check_upload(stream)
            if stream.response_ended:
                self.streams.pop(stream.id, None)
        stream.changed.set()

    def _check_upload(self, stream: Stream) -> None:
        size = int(stream.fields[content.UPLOAD])
        if bytes(stream.upload) != content.request_body(stream.nonce, size):
            self.ledger.violation(f"{len(stream.upload)} of {size} octets came", stream.nonce)

    def _window_update(self, frame: WindowUpdateFrame) -> None:
        self.window_opened.set()
        if frame.stream_id == 0:
            self._send_window += frame.window_increment
            if self._send_window > _MAX_CONNECTION_WINDOW:
                self._violation("more connection credit than was used")
        elif (stream := self.streams.get(frame.stream_id)) is not None:
            stream.send_window += frame.window_increment
            if stream.send_window > _MAX_STREAM_WINDOW:
                self._violation("more stream credit than was used")

    def _settings(self, frame: SettingsFrame) -> None:
        if "ACK" not in frame.flags:
            self._client_initial_window = frame.settings.get(INITIAL_WINDOW, _DEFAULT_WINDOW)
            self.may_push = frame.settings.get(ENABLE_PUSH) == 1
            if self.may_push != self.peer.pushes:
                self._violation("push is not what the adapter was told")
            self.send_frame(SettingsFrame(0, flags=["ACK"]))
            return
        if not self._unacknowledged:
            self._violation("SETTINGS acknowledged twice")
            return
        changes = self._unacknowledged.popleft()
        if INITIAL_WINDOW in changes:
            for stream in self.streams.values():
                stream.receive_window += changes[INITIAL_WINDOW] - self.settings[INITIAL_WINDOW]
        if HEADER_TABLE_SIZE in changes:
            self._decoder.max_allowed_table_size = changes[HEADER_TABLE_SIZE]
        self.settings.update(changes)

    # -- helpers -----------------------------------------------------------------------------------

    def run(self, work: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._violation(f"the peer itself failed: {error!r}")

    def _violation(self, text: str) -> None:
        self.ledger.violation(f"port {self.record.port}, {self.style}: {text}")
