"""What the scripted peer reads: frames, and what they mean to requests and windows.

The client is checked on the way: stream ids, frame sizes and flow control. A violation fails the
test.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from hpack import Decoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from .channel import TIMEOUT, Channel, Closed
from .peer_request import Request

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DEFAULT_WINDOW = 65_535
HOUSEKEEPING = (SettingsFrame, PingFrame, WindowUpdateFrame)

F = TypeVar("F", bound=Frame)


class FrameReader:
    """The receiving half of a connection. Only the thread that made it reads."""

    version = 20

    def __init__(self, channel: Channel, *, settings: Mapping[str, int] | None = None) -> None:
        self.channel = channel
        self.frames: list[Frame] = []
        #: Every request, in the order of arrival.
        self.requests: list[Request] = []
        #: The client's SETTINGS, by the numbers of RFC 9113.
        self.client_settings: dict[int, int] = {}
        self.auto_settings = True
        self.auto_ping = True
        #: False drops the payload of DATA: for uploads that should not fill the memory.
        self.keep_data = True
        #: Our sending windows, as the client's frames set them. Only ``send_body`` obeys them.
        self.send_window = DEFAULT_WINDOW
        self.send_windows: dict[int, int] = {}
        self._settings_at_dial = dict(settings or {})
        self._buffer = bytearray()
        self._changed = threading.Condition()
        self._by_id: dict[int, Request] = {}
        self._pending: deque[Request] = deque()
        self._decoder = Decoder(max_header_list_size=2**24)
        self._header_block: tuple[HeadersFrame, bytearray] | None = None
        self._receive_window = DEFAULT_WINDOW
        self._receive_windows: dict[int, int] = {}
        self._receive_initial = DEFAULT_WINDOW
        self._unacknowledged: deque[dict[int, int]] = deque()
        self._max_frame_size = 16_384
        self._reader = threading.current_thread()

    # -- reading ---------------------------------------------------------------------------

    def preface(self) -> None:
        """Send SETTINGS, read the client's preface and SETTINGS, acknowledge them."""
        self.settings(**self._settings_at_dial)
        while len(self._buffer) < len(PREFACE):
            self._fill(TIMEOUT)
        received = bytes(self._buffer[: len(PREFACE)])
        del self._buffer[: len(PREFACE)]
        assert received == PREFACE, f"not a client preface: {received!r}"
        first = self.read_frame()
        assert isinstance(first, SettingsFrame), f"the client's first frame is {first}"

    def read_frame(self, timeout: float = TIMEOUT) -> Frame:
        """The next frame of the wire, recorded and accounted for. ``Closed`` at its end."""
        deadline = time.monotonic() + timeout
        while (frame := self._parse()) is None:
            self._fill(max(0.0, deadline - time.monotonic()))
        self._account(frame)
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()
        return frame

    def _read_wanted_frame(self, timeout: float) -> Frame:
        """A frame that the test cannot do without: worth a moment when the peer is stopped."""
        self.channel.patience = 1.0
        try:
            return self.read_frame(timeout)
        finally:
            self.channel.patience = 0.0

    def read_available(self) -> bool:
        """Take in whatever has arrived, without waiting. Whether that was anything."""
        before = len(self.frames)
        while data := self.channel.receive_now():
            self._buffer += data
        while len(self._buffer) >= 9 + int.from_bytes(self._buffer[:3], "big"):
            self.read_frame()
        return len(self.frames) > before

    def expect(self, kind: type[F], *, stream_id: int | None = None, **values: Any) -> F:
        """The next frame, which must be of this kind. SETTINGS, PING and WINDOW_UPDATE are skipped
        unless asked for; anything else in between fails the test.
        """
        wanted = f"{kind.__name__} {values or ''} on stream {stream_id}"
        while True:
            try:
                frame = self._read_wanted_frame(TIMEOUT)
            except Closed as error:
                raise AssertionError(f"waited for {wanted}: {error}; got {self.frames}") from error
            if _matches(frame, kind, stream_id, values):
                assert isinstance(frame, kind)
                return frame
            assert isinstance(frame, HOUSEKEEPING), f"waited for {wanted}, got {frame}"

    def wait_for(
        self,
        kind: type[F],
        predicate: Callable[[F], bool] = lambda frame: True,
        *,
        stream_id: int | None = None,
        timeout: float = TIMEOUT,
        **values: Any,
    ) -> F:
        """The first frame of this kind that ever arrived or arrives. Usable from any thread."""
        wanted = f"{kind.__name__} {values or ''} on stream {stream_id}"
        deadline = time.monotonic() + timeout
        seen = 0
        while True:
            for frame in self.frames[seen:]:
                seen += 1
                if (
                    isinstance(frame, kind)
                    and _matches(frame, kind, stream_id, values)
                    and predicate(frame)
                ):
                    return frame
            try:
                self._wait_for_more(seen, deadline)
            except (Closed, TimeoutError) as error:
                raise AssertionError(f"no {wanted}: {error}; got {self.frames}") from error

    def _wait_for_more(self, seen: int, deadline: float) -> None:
        """Until there are more than ``seen`` frames: read, or wait for the thread that reads."""
        if self._reader is threading.current_thread():
            self._read_wanted_frame(max(0.0, deadline - time.monotonic()))
            return
        with self._changed:
            while len(self.frames) <= seen:
                if self.channel.eof or self.channel.closed:
                    raise Closed("the client closed the connection")
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError("timed out")

    def next_request(self, timeout: float = TIMEOUT) -> Request:
        """The next request whose header section is complete; its body may still come."""
        while not self._pending:
            self.read_frame(timeout)
        return self._pending.popleft()

    def next_requests(self, count: int) -> list[Request]:
        return [self.next_request() for _ in range(count)]

    @property
    def has_request(self) -> bool:
        return bool(self._pending)

    def read_body(self, request: Request | None = None) -> bytes:
        """The body to its end, with credit returned. Without a request: of the latest one."""
        request = request or self.requests[-1]
        credited = 0
        while True:
            if request.received > credited:
                self.credit(request.stream_id, request.received - credited)
                credited = request.received
            if request.ended or request.reset_code is not None:
                return bytes(request.body)
            try:
                self._read_wanted_frame(TIMEOUT)
            except Closed as error:
                raise AssertionError(f"the body of {request} did not end: {error}") from error

    def request(self, stream_id: int) -> Request:
        return self._by_id[stream_id]

    def wait_eof(self) -> None:
        """Until the client closes. Fails the test if it does not. Usable from any thread."""
        with contextlib.suppress(Closed):
            while True:
                self._wait_for_more(len(self.frames), time.monotonic() + TIMEOUT)
        assert self.channel.eof, "the client did not close the connection"

    def linger(self) -> None:
        """Read, answer SETTINGS and PING, send nothing else, until the client closes."""
        while True:
            try:
                self.read_frame(timeout=3600)
            except Closed:
                self._notify()
                return

    def _fill(self, timeout: float) -> None:
        try:
            data = self.channel.receive(timeout)
        except Closed:
            self._notify()
            raise
        if not data:
            self._notify()
            raise Closed("the client closed the connection")
        self._buffer += data

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _parse(self) -> Frame | None:
        if len(self._buffer) < 9:
            return None
        frame, length = Frame.parse_frame_header(memoryview(bytes(self._buffer[:9])))
        assert length <= self._max_frame_size, f"{frame} has {length} bytes"
        if len(self._buffer) < 9 + length:
            return None
        frame.parse_body(memoryview(bytes(self._buffer[9 : 9 + length])))
        frame.body_len = length
        del self._buffer[: 9 + length]
        return frame

    def received(self, kind: type[F], *, stream_id: int | None = None) -> list[F]:
        """The frames of this kind so far."""
        return [
            frame
            for frame in list(self.frames)
            if isinstance(frame, kind) and stream_id in (None, frame.stream_id)
        ]

    # -- what a received frame means -------------------------------------------------------

    def _account(self, frame: Frame) -> None:
        if self._header_block is not None:
            assert isinstance(frame, ContinuationFrame), f"{frame} inside a header block"
        if isinstance(frame, HeadersFrame | ContinuationFrame):
            self._account_headers(frame)
        elif isinstance(frame, DataFrame):
            self._account_data(frame)
        elif isinstance(frame, SettingsFrame):
            self._account_settings(frame)
        elif isinstance(frame, WindowUpdateFrame):
            if frame.stream_id:
                self.send_windows[frame.stream_id] = (
                    self.window_of(frame.stream_id) + frame.window_increment
                )
            else:
                self.send_window += frame.window_increment
        elif isinstance(frame, PingFrame) and self.auto_ping and "ACK" not in frame.flags:
            self.ping(frame.opaque_data, ack=True)
        elif isinstance(frame, RstStreamFrame):
            assert frame.stream_id in self._by_id, f"{frame} for an idle stream"
            self._by_id[frame.stream_id].reset_code = frame.error_code

    def _account_headers(self, frame: HeadersFrame | ContinuationFrame) -> None:
        if isinstance(frame, HeadersFrame):
            self._header_block = (frame, bytearray(frame.data))
        else:
            assert self._header_block is not None, "CONTINUATION without HEADERS"
            self._header_block[1].extend(frame.data)
        if "END_HEADERS" not in frame.flags:
            return
        first, block = self._header_block
        self._header_block = None
        fields = list(self._decoder.decode(bytes(block), raw=True))
        stream_id, ended = first.stream_id, "END_STREAM" in first.flags
        assert stream_id % 2 == 1, f"stream id {stream_id}"
        known = self._by_id.get(stream_id)
        if known is not None:
            assert ended, "trailers without END_STREAM"
            known.trailers, known.ended = fields, True
            return
        latest = self.requests[-1].stream_id if self.requests else -1
        assert stream_id > latest, f"stream id {stream_id} after {latest}"
        request = Request(stream_id, fields, ended=ended)
        self._by_id[stream_id] = request
        self._receive_windows[stream_id] = self._receive_initial
        self._pending.append(request)
        self.requests.append(request)

    def _account_data(self, frame: DataFrame) -> None:
        stream_id, length = frame.stream_id, frame.flow_controlled_length
        request = self._by_id[stream_id]
        assert not request.ended, f"DATA after END_STREAM on stream {stream_id}"
        assert request.reset_code is None, f"DATA after RST_STREAM on stream {stream_id}"
        self._receive_window -= length
        self._receive_windows[stream_id] -= length
        if length:
            assert self._receive_window >= 0, "the client overran the connection window"
            overrun = f"the client overran the window of stream {stream_id}"
            assert self._receive_windows[stream_id] >= 0, overrun
        request.data_sizes.append(len(frame.data))
        request.received += length
        if self.keep_data:
            request.body += frame.data
        else:
            frame.data = b""
        request.ended = "END_STREAM" in frame.flags

    def _account_settings(self, frame: SettingsFrame) -> None:
        if "ACK" in frame.flags:
            assert self._unacknowledged, "the client acknowledged SETTINGS never sent"
            self._apply_receive_window(self._unacknowledged.popleft(), growing=False)
            return
        window = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE)
        if window is not None:
            delta = window - self.client_settings.get(
                SettingsFrame.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW
            )
            for stream_id in self.send_windows:
                self.send_windows[stream_id] += delta
        self.client_settings.update(frame.settings)
        if self.auto_settings:
            self.settings_ack()

    def _apply_receive_window(self, settings: dict[int, int], *, growing: bool) -> None:
        """A larger window counts from when it is sent, a smaller one from its ACK."""
        window = settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self._receive_initial)
        if (window > self._receive_initial) is growing:
            delta, self._receive_initial = window - self._receive_initial, window
            for stream_id in self._receive_windows:
                self._receive_windows[stream_id] += delta

    # -- what reading needs to send --------------------------------------------------------

    def window_of(self, stream_id: int) -> int:
        initial = self.client_settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
        return self.send_windows.setdefault(stream_id, initial)

    def settings(self, **values: int) -> None:
        """``settings(max_concurrent_streams=1)``."""
        numbered = {getattr(SettingsFrame, name.upper()): value for name, value in values.items()}
        self._unacknowledged.append(numbered)
        self._apply_receive_window(numbered, growing=True)
        self._max_frame_size = max(
            self._max_frame_size, numbered.get(SettingsFrame.MAX_FRAME_SIZE, 0)
        )
        self.send(SettingsFrame(settings=numbered))

    def settings_ack(self) -> None:
        self.send(SettingsFrame(flags=["ACK"]))

    def window_update(self, stream: int | Request, increment: int) -> None:
        stream_id = id_of(stream)
        if stream_id:
            self._receive_windows[stream_id] = (
                self._receive_windows.get(stream_id, self._receive_initial) + increment
            )
        else:
            self._receive_window += increment
        self.send(WindowUpdateFrame(stream_id, window_increment=increment))

    def credit(self, stream: int | Request, count: int) -> None:
        """Give ``count`` bytes back to the stream, if it still sends, and to the connection."""
        self.window_update(0, count)
        request = self._by_id[id_of(stream)]
        if not request.ended and request.reset_code is None:
            self.window_update(stream, count)

    def ping(self, data: bytes = b"12345678", *, ack: bool = False) -> None:
        self.send(PingFrame(0, data, flags=["ACK"] if ack else []))

    def send(self, *frames: Frame) -> None:
        """The frames, in one write."""
        self.send_raw(b"".join(frame.serialize() for frame in frames))

    def send_raw(self, data: bytes) -> None:
        self.channel.send(data)


def id_of(stream: int | Request) -> int:
    return stream if isinstance(stream, int) else stream.stream_id


def _matches(
    frame: Frame, kind: type[Frame], stream_id: int | None, values: dict[str, Any]
) -> bool:
    return (
        isinstance(frame, kind)
        and stream_id in (None, frame.stream_id)
        and all(getattr(frame, name) == value for name, value in values.items())
    )
