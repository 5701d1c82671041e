"""What uploads put into the streams of one connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .engine.base import Engine
from .engine.frames import HEADER_SIZE
from .fields import Field
from .pump import Pump
from .stream import Stream
from .stream_table import StreamTable
from .tls import TLS_RECORD
from .waiting import Waiting

WRITE_SIZE = 4 * (TLS_RECORD - HEADER_SIZE)
"""Octets of a request body sent at once: with their headers, four frames fill four records."""
_OUTBOUND_LIMIT = 256 << 10  # octets of requests' DATA that wait for the socket


class Sending:
    """The half of a connection that sends bodies. A stream has one sender at a time.

    :param flush: sends what the engine has, with the lock held.
    """

    def __init__(
        self,
        pump: Pump,
        table: StreamTable,
        engine: Engine,
        flush: Callable[[Stream], None],
        waiting: Waiting,
    ) -> None:
        self._pump = pump
        # Guarded by the pump's lock.
        self._table = table
        self._engine = engine
        self._turns: set[Stream] = set()  # waiting for room to write
        self._last: Stream | None = None  # that sent anything
        self._flush_locked = flush
        self._waiting = waiting

    def wants_body(self, stream: Stream) -> bool:
        """Whether there is a use in sending more of the request body.

        :raises StreamFault: when the stream failed without a response.
        """
        with self._pump.guard:
            if stream.fault is not None and stream.response is None:
                raise stream.fault
            return stream.wants_body

    def send_some(self, stream: Stream, data: memoryview, end_stream: bool) -> int | None:
        """Send as much DATA as windows and socket take now.

        :returns: octets taken; ``None`` when there is no use in it any more. After 0 call
            :meth:`wait_to_send`.
        """
        with self._pump.guard:
            if not stream.wants_body:
                return None
            size = max(0, min(len(data), self._sendable_locked(stream), WRITE_SIZE))
            if size or not data:
                last = end_stream and size == len(data)
                self._engine.send_data(stream.id, data[:size], last)
                if last:
                    self._table.end_sending(stream)
                self._last = stream
                self._flush_locked(stream)
                if self._turns:
                    self._pump.wake_writers_locked()  # it is another's turn
            else:
                self._turns.add(stream)
            # An upload that never has to wait must still hear what the peer says.
            self._pump.poll_locked()
            return size

    def send_trailers(self, stream: Stream, fields: Sequence[Field]) -> None:
        """End the request by a trailer section, unless nobody wants it any more."""
        with self._pump.guard:
            if stream.wants_body:
                self._engine.send_trailers(stream.id, fields)
                self._table.end_sending(stream)
            self._flush_locked(stream)

    def wait_to_send(
        self, stream: Stream, until: Callable[[], bool], timeout: float | None
    ) -> None:
        """Wait until more DATA can be sent, or ``until()``, or nobody wants it any more.

        :raises TimeoutError: after ``timeout`` seconds.
        """
        try:
            self._waiting.writing(
                stream,
                lambda: self._sendable_locked(stream) > 0 or not stream.wants_body or until(),
                timeout,
            )
        finally:
            with self._pump.guard:
                self._turns.discard(stream)
                if self._turns:
                    self._pump.wake_writers_locked()

    def stop(self, stream: Stream) -> None:
        """The rest of the request body is not wanted; the response may go on."""
        with self._pump.guard:
            self._table.end_sending(stream)
            self._flush_locked(stream)

    def _sendable_locked(self, stream: Stream) -> int:
        """Octets that may be sent now. Uploads take turns: who sent last gives way to those who
        wait and whose window is open.
        """
        if stream is self._last and any(
            other is not stream and self._engine.send_capacity(other.id) > 0
            for other in self._turns
        ):
            return 0
        return min(self._engine.send_capacity(stream.id), _OUTBOUND_LIMIT - self._pump.unsent)
