"""One HTTP/2 connection: its streams, what ends them, and when it takes no more of them."""

from __future__ import annotations

import enum
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from h2.errors import ErrorCodes
from hpack import HeaderTuple
from urllib3.exceptions import InvalidHeader

from .engine.base import (
    ConnectionFailed,
    DataReceived,
    Engine,
    Event,
    GoAwayReceived,
    HeadersReceived,
    SendWindowOpened,
    StreamReset,
)
from .exceptions import FaultKind, RemoteProtocolError, StreamFault, debug_text, error_name
from .fields import list_size
from .flow_control import CONNECTION_WINDOW, FlowControlManager
from .pump import Pump, Waiter
from .stream import Stream
from .timeouts import Deadline
from .tls import Dialled, Transport

log = logging.getLogger(__name__)

IDLE_LIMIT = 118.0
"""Seconds after which an unused connection carries no new request: servers and middleboxes drop
idle ones after two minutes."""
_OUTBOUND_LIMIT = 256 << 10  # octets of requests' DATA that wait for the socket
_CONTROL_LIMIT = 64 << 10  # octets of unsent answers that the peer made us queue
_MAX_REFUSALS = 2


class State(enum.Enum):
    """The life of a connection; it only moves forward."""

    OPEN = "takes new streams"
    DRAINING = "finishes the streams it has"
    CLOSED = "has no socket"


class Connection:
    """Streams that share one socket. Thread-safe.

    It begins with a reservation for whoever made it: see :meth:`reserve`.

    :param transport: connected, ALPN negotiated h2; owned by this object.
    :param origin: ``host:port``, for messages.
    """

    def __init__(self, transport: Transport, engine: Engine, origin: str, dialled: Dialled) -> None:
        self.origin = origin
        self.dialled = dialled
        self._pump = Pump(transport, self)
        self._guard = self._pump.guard
        # All below is guarded by the pump's lock.
        self._engine = engine
        self._state = State.OPEN
        self._streams: dict[int, Stream] = {}
        self._reserved = 1
        self._window = FlowControlManager(CONNECTION_WINDOW)
        self._refusals = 0
        self._unsent_answers = 0
        self._idle_since = time.time()  # wall clock: a suspended host's idle time counts
        self._slot_waiters: set[Waiter] = set()
        self._messages: deque[tuple[Any, ...]] = deque()
        # Appended without the lock, by finalizers: see give_up_later.
        self._given_up: deque[Stream | None] = deque()
        with self._guard:
            self._flush_locked()

    @property
    def usable(self) -> bool:
        """Whether it takes new streams, as far as is known without a look at the socket."""
        return self._state is State.OPEN

    # -- streams ---------------------------------------------------------------------------------

    def reserve(self) -> bool:
        """Take a place for one stream, after a look at what the socket holds.

        So GOAWAY, EOF and PING are seen before a request is entrusted to the connection. Each
        success is followed by one :meth:`open_stream` or :meth:`cancel_reservation`.
        """
        with self._guard:
            if self._state is not State.OPEN:
                return False
            self._pump.poll_locked()
            idle = not self._engine.open_streams and not self._reserved
            if idle and abs(time.time() - self._idle_since) > IDLE_LIMIT:
                self._drain_locked("idle for too long")
            if not self._has_slot_locked():
                return False
            self._reserved += 1
            return True

    def cancel_reservation(self) -> None:
        with self._guard:
            self._reserved -= 1
            self._wake_slot_waiters_locked()

    def open_stream(self, fields: Sequence[HeaderTuple], method: str, sending: bool) -> Stream:
        """Send a request's HEADERS, with END_STREAM unless ``sending``; uses up a reservation.

        :raises InvalidHeader: when the fields are over the peer's limit; nothing is sent.
        :raises StreamFault: NOT_SENT when the connection takes no streams any more.
        """
        with self._guard:
            self._reserved -= 1
            if not self._has_slot_locked():
                # GOAWAY or a lower stream limit came after the reservation.
                raise StreamFault(FaultKind.NOT_SENT, f"{self.origin}: takes no stream now")
            size, limit = list_size(fields), self._engine.max_header_list_size
            if limit is not None and size > limit:
                raise InvalidHeader(
                    f"the request's header list has {size} octets, {self.origin} takes {limit} "
                    "(SETTINGS_MAX_HEADER_LIST_SIZE); send fewer or shorter headers or cookies"
                )
            stream_id = self._engine.open_stream(fields, end_stream=not sending)
            stream = Stream(stream_id, self._pump.lock, method, sending)
            self._streams[stream_id] = stream
            self._log_locked("%s: stream %d opened: %s", self.origin, stream_id, method)
            if not self._engine.has_stream_ids:
                self._drain_locked("stream identifiers are used up")
            self._flush_locked()
            return stream

    def wait(self, stream: Stream, ready: Callable[[], bool], timeout: float | None) -> None:
        """Wait until ``ready()`` or the stream is not open any more.

        :param ready: asked under the lock.
        :raises TimeoutError: after ``timeout`` seconds.
        """
        deadline = Deadline(timeout)
        if not self._pump.wait(stream, lambda: ready() or not stream.open, deadline):
            raise TimeoutError("timed out")

    def wait_for_slot(self, deadline: Deadline) -> bool:
        """Pump until a stream slot may be free here, or the connection takes no streams.

        False when the deadline passed.
        """
        waiter = Waiter(self._pump.lock)
        with self._guard:
            self._slot_waiters.add(waiter)
        try:
            return self._pump.wait(
                waiter, lambda: self._state is not State.OPEN or self._has_slot_locked(), deadline
            )
        finally:
            with self._guard:
                self._slot_waiters.discard(waiter)

    def take_chunks(self, stream: Stream, timeout: float | None) -> deque[bytes]:
        """The data received since the last call, as it came; empty at the end of the stream.

        :param timeout: seconds to wait for the first octet.
        :raises TimeoutError: when nothing came in time.
        :raises StreamFault: when the stream failed, after its good data was taken.
        """
        while True:
            with self._guard:
                if stream.chunks:
                    chunks, stream.chunks = stream.chunks, deque()
                    return chunks
                if stream.fault is not None:
                    raise stream.fault
                if stream.ended:
                    return deque()
            self.wait(stream, lambda: bool(stream.chunks), timeout)

    def credit(self, stream: Stream, size: int) -> None:
        """The application has consumed ``size`` octets of the stream."""
        with self._guard:
            stream.uncredited -= size
            self._credit_locked(stream, size)
            self._flush_locked()

    def send_some(self, stream: Stream, data: memoryview, end_stream: bool) -> int | None:
        """Send as much DATA as windows and socket take now.

        :returns: octets taken; ``None`` when the peer wants no more of this body.
        :raises StreamFault: when the stream failed without a response.
        """
        with self._guard:
            if not stream.wants_body:
                if stream.fault is not None and stream.response is None:
                    raise stream.fault
                return None
            size = min(len(data), self._sendable_locked(stream))
            if size > 0 or not data:
                last = end_stream and size == len(data)
                self._engine.send_data(stream.id, data[:size], last)
                if last:
                    stream.sending = False
                    self._release_if_done_locked(stream)
                self._flush_locked()
            return max(size, 0)

    def wait_to_send(
        self, stream: Stream, until: Callable[[], bool], timeout: float | None
    ) -> None:
        """Wait until more DATA can be sent, or ``until()``, or nobody wants it any more.

        :raises TimeoutError: after ``timeout`` seconds.
        """
        stream.writing = True
        try:
            self.wait(
                stream,
                lambda: self._sendable_locked(stream) > 0 or not stream.wants_body or until(),
                timeout,
            )
        finally:
            stream.writing = False

    def stop_sending(self, stream: Stream) -> None:
        """The rest of the request body is not wanted; the response may go on."""
        with self._guard:
            stream.sending = False
            self._release_if_done_locked(stream)
            self._flush_locked()

    def close_stream(self, stream: Stream, error_code: int = ErrorCodes.CANCEL) -> None:
        """Give a stream up: RST_STREAM unless it is over, its unread octets returned."""
        with self._guard:
            self._close_stream_locked(stream, error_code)
            self._flush_locked()

    def give_up_later(self, stream: Stream | None) -> None:
        """What finalizers call instead of :meth:`close_stream`, or (``None``) :meth:`drain`.

        They run wherever the garbage collector does, which may be inside this very lock; so this
        never waits for it. If somebody holds it, the work is done when it is next let go.
        """
        self._given_up.append(stream)
        if self._pump.lock.acquire(blocking=False):
            try:
                self.settle_locked()
            finally:
                self._pump.lock.release()

    def drain(self, reason: str) -> None:
        """Take no new streams; close when the last one ends, which may be now."""
        with self._guard:
            self._drain_locked(reason)

    # -- the pump's owner ------------------------------------------------------------------------

    def receive_locked(self, data: memoryview) -> None:
        for event in self._engine.receive(data):
            self._dispatch_locked(event)
        before = self._pump.unsent
        self._pump.queue_locked(self._engine.take_output())
        # Only what a peer provokes without reading it piles up here; uploads stop by themselves.
        self._unsent_answers = (self._unsent_answers if before else 0) + self._pump.unsent - before
        if self._unsent_answers > _CONTROL_LIMIT:
            self._engine.go_away(ErrorCodes.ENHANCE_YOUR_CALM)
            self._fail_locked(FaultKind.PROTOCOL, "the peer floods us and reads no answers")

    def lost_locked(self, error: OSError | None) -> None:
        text = "the server closed the connection" if error is None else f"connection lost: {error}"
        self._fail_locked(FaultKind.CONNECTION_LOST, text)

    def settle_locked(self) -> None:
        while self._given_up:
            stream = self._given_up.popleft()
            if stream is None:
                self._drain_locked("its pool is gone")
            else:
                self._close_stream_locked(stream, ErrorCodes.CANCEL)
            self._flush_locked()
        if self._state is State.DRAINING and not self._engine.open_streams and not self._reserved:
            self._engine.go_away(ErrorCodes.NO_ERROR)
            self._flush_locked()
            self._close_locked("no streams are left")

    def announce(self) -> None:
        # Not under the lock: log handlers and the pool's lock are others' business.
        while self._messages:
            try:
                log.debug(*self._messages.popleft())
            except IndexError:
                break  # another thread was faster

    # -- events ----------------------------------------------------------------------------------

    def _dispatch_locked(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self._data_received_locked(event)
        elif isinstance(event, HeadersReceived):
            self._headers_received_locked(event)
        elif isinstance(event, SendWindowOpened):
            self._pump.wake_writers_locked()
            self._wake_slot_waiters_locked()  # SETTINGS may have raised the stream limit
        elif isinstance(event, StreamReset):
            self._reset_received_locked(event)
        elif isinstance(event, GoAwayReceived):
            self._goaway_received_locked(event)
        else:
            self._connection_failed_locked(event)

    def _headers_received_locked(self, event: HeadersReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        try:
            stream.receive_fields(event)
        except RemoteProtocolError as error:
            self._refuse_locked(stream, error)
        self._received_locked(stream)

    def _data_received_locked(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            self._credit_locked(None, event.flow_size)
            return
        held = stream.uncredited
        try:
            stream.receive_data(event)
        except RemoteProtocolError as error:
            self._refuse_locked(stream, error)
        # Padding, and data that nobody will read, goes back at once.
        self._credit_locked(stream, event.flow_size - (stream.uncredited - held))
        self._received_locked(stream)

    def _reset_received_locked(self, event: StreamReset) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        stream.sending = False
        if event.remote:
            text = f"reset by the server with {error_name(event.error_code)}"
        else:
            text = f"{event.reason}; reset with {error_name(event.error_code)}"
        # A complete response stands (RFC 9113 section 8.1: NO_ERROR then only stops the upload).
        kind = FaultKind.of_reset(event.error_code) if event.remote else FaultKind.PROTOCOL
        self._fail_stream_locked(stream, kind, text, event.error_code)
        if event.remote and event.error_code == ErrorCodes.REFUSED_STREAM:
            self._refusals += 1
            if self._refusals >= _MAX_REFUSALS:
                self._drain_locked("the server refused two streams")
        elif event.error_code == ErrorCodes.PROTOCOL_ERROR and event.remote:
            self._drain_locked("the server saw a protocol error")
        self._received_locked(stream)

    def _goaway_received_locked(self, event: GoAwayReceived) -> None:
        text = f"GOAWAY with {error_name(event.error_code)}{debug_text(event.debug)}"
        kind = FaultKind.of_goaway(event.error_code)
        self._log_locked("%s: %s, last stream %d", self.origin, text, event.last_stream_id)
        self._drain_locked(text)
        for stream in list(self._streams.values()):
            if stream.id > event.last_stream_id:
                stream.sending = False
                self._fail_stream_locked(
                    stream,
                    kind,
                    f"not processed: the server sent {text}",
                    event.error_code,
                    progress=event.last_stream_id > 0,
                )
                self._received_locked(stream)

    def _connection_failed_locked(self, event: ConnectionFailed) -> None:
        self._fail_locked(
            FaultKind.PROTOCOL,
            f"the server broke the protocol: {event.reason} ({error_name(event.error_code)})",
            event.error_code,
        )

    # -- helpers ---------------------------------------------------------------------------------

    def _has_slot_locked(self) -> bool:
        return (
            self._state is State.OPEN
            and self._engine.open_streams + self._reserved < self._engine.max_concurrent_streams
        )

    def _wake_slot_waiters_locked(self) -> None:
        for waiter in self._slot_waiters:
            self._pump.wake_locked(waiter)

    def _sendable_locked(self, stream: Stream) -> int:
        return min(self._engine.send_capacity(stream.id), _OUTBOUND_LIMIT - self._pump.unsent)

    def _received_locked(self, stream: Stream) -> None:
        self._release_if_done_locked(stream)
        self._pump.wake_locked(stream)

    def _release_if_done_locked(self, stream: Stream) -> None:
        if stream.open or stream.sending or self._streams.pop(stream.id, None) is None:
            return
        # No-op but for a stream whose response is complete while its request is not.
        self._engine.reset_stream(stream.id, ErrorCodes.CANCEL)
        self._idle_since = time.time()
        self._wake_slot_waiters_locked()
        self._log_locked(
            "%s: stream %d ended: %s, %d octets",
            self.origin,
            stream.id,
            stream.fault.message if stream.fault else stream.response and stream.response.status,
            stream.received,
        )

    def _close_stream_locked(self, stream: Stream, error_code: int) -> None:
        if stream.complete and stream.open:
            self._pump.poll_locked()  # END_STREAM is most likely here; then nothing is reset
        self._engine.reset_stream(stream.id, error_code)
        stream.sending = False
        self._fail_stream_locked(stream, FaultKind.LOCAL, "closed before its end", error_code)
        stream.chunks.clear()
        unread, stream.uncredited = stream.uncredited, 0
        self._credit_locked(None, unread)
        self._received_locked(stream)

    def _refuse_locked(self, stream: Stream, error: RemoteProtocolError) -> None:
        self._engine.reset_stream(stream.id, error.error_code)
        stream.sending = False
        self._fail_stream_locked(
            stream, FaultKind.PROTOCOL, f"malformed response: {error}", error.error_code
        )

    def _fail_stream_locked(
        self,
        stream: Stream,
        kind: FaultKind,
        text: str,
        error_code: int | None,
        progress: bool = False,
    ) -> None:
        if stream.open:
            message = f"{self.origin}: stream {stream.id}: {text}"
            stream.fault = StreamFault(kind, message, error_code, progress)

    def _credit_locked(self, stream: Stream | None, size: int) -> None:
        increment = self._window.consumed(size)
        if increment:
            self._engine.send_window_update(0, increment)
        if stream is not None and stream.open:
            increment = stream.flow.consumed(size)
            if increment:
                self._engine.send_window_update(stream.id, increment)

    def _flush_locked(self) -> None:
        self._pump.queue_locked(self._engine.take_output())
        self._pump.flush_locked()

    def _drain_locked(self, reason: str) -> None:
        if self._state is State.OPEN:
            self._state = State.DRAINING
            self._wake_slot_waiters_locked()
            self._log_locked("%s: connection takes no new streams: %s", self.origin, reason)

    def _fail_locked(self, kind: FaultKind, text: str, error_code: int | None = None) -> None:
        if self._state is State.CLOSED:
            return
        for stream in list(self._streams.values()):
            stream.sending = False
            self._fail_stream_locked(stream, kind, text, error_code)
            self._received_locked(stream)
        self._flush_locked()
        self._close_locked(text)

    def _close_locked(self, reason: str) -> None:
        if self._state is not State.CLOSED:
            self._state = State.CLOSED
            self._log_locked("%s: connection closed: %s", self.origin, reason)
            self._pump.close_locked()

    def _log_locked(self, *message: Any) -> None:
        if log.isEnabledFor(logging.DEBUG):
            self._messages.append(message)
