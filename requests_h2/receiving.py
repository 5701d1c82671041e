"""What readers take out of the streams of one connection, and the credit that it brings."""

from __future__ import annotations

import io
from collections.abc import Callable

from .credit import Credit
from .managed_reading import ManagedReading
from .managed_window import ManagedWindow
from .pump import Pump
from .receive_buffer import ReceiveBuffer
from .stream import Stream
from .waiting import Waiting

_MANAGED_SIZE = 64 << 10  # octets read at once: between them a manager may take its time

_CREDIT_LIMIT = 320 << 10  # octets that are unsent; uploads leave it at 256 KiB


class Receiving:
    """The reading half of a connection. A stream has one reader at a time, a thread of its own.

    :param flush: sends what the engine has, with the lock held.
    """

    def __init__(
        self, pump: Pump, credit: Credit, flush: Callable[[], None], waiting: Waiting
    ) -> None:
        self._pump = pump
        self._credit = credit  # guarded by the pump's lock
        self._flush_locked = flush
        self._waiting = waiting
        self._managed = ManagedReading(pump, credit, flush, waiting)

    def take(
        self, stream: Stream, limit: int | None, timeout: float | None, wanted: int = 1
    ) -> bytes:
        """Some of what was received, at most ``limit`` octets; empty at the end of the stream.

        :param timeout: seconds to wait for the next octet.
        :param wanted: octets worth waiting for: fewer come at the end, or when flow control could
            keep the rest back.
        :raises TimeoutError: when nothing came in time.
        :raises StreamFault: when the stream failed, after its good data was taken.
        :raises CallerError: what a window manager raised.
        """
        buffer = stream.buffer
        if stream.owned:
            return buffer.take(buffer.size if limit is None else limit)
        if (manager := stream.manager) is not None:
            return self._take_managed(stream, manager, limit, timeout) or b""
        wanted = max(1, min(wanted, stream.flow.window_size // 2))
        while True:
            with self._pump.guard:
                size = buffer.size
                if size >= wanted or (size and not stream.open):
                    data = buffer.take(size if limit is None else limit)
                    self._consumed_locked(stream, len(data))
                    return data
                if not self._goes_on_locked(stream):
                    return b""
            self._waiting.until(stream, _more_than(buffer, size), timeout, unguarded=True)

    def take_all(self, stream: Stream, sink: io.BytesIO, timeout: float | None) -> bool:
        """Wait for something and :meth:`take` all there is; whether that was the last of it."""
        buffer = stream.buffer
        if stream.owned:
            buffer.move_to(sink)
            return True
        if (manager := stream.manager) is not None:
            data = self._take_managed(stream, manager, None, timeout)
            sink.write(data or b"")
            return data is None
        while True:
            with self._pump.guard:
                if moved := buffer.move_to(sink):
                    self._consumed_locked(stream, moved)
                    return stream.ended
                if not self._goes_on_locked(stream):
                    return True
            self._waiting.until(stream, _more_than(buffer, 0), timeout, unguarded=True)

    def take_frame(self, stream: Stream, limit: int | None, timeout: float | None) -> bytes | None:
        """The next frame or what is left of it, at most ``limit`` octets; ``None`` at the end.

        :raises TimeoutError, StreamFault, CallerError: as :meth:`take`.
        """
        buffer = stream.buffer
        if stream.owned:
            return buffer.take_frame(limit) if buffer.has_frame else None
        if (manager := stream.manager) is not None:
            return self._managed.take(
                stream,
                manager,
                lambda: buffer.has_frame,
                lambda: buffer.take_frame(limit),
                timeout,
            )
        while True:
            with self._pump.guard:
                if buffer.has_frame:
                    frame = buffer.take_frame(limit)
                    self._consumed_locked(stream, len(frame))
                    return frame
                if not self._goes_on_locked(stream):
                    return None
            self._waiting.until(stream, lambda: buffer.has_frame, timeout, unguarded=True)

    def read_ahead(self, stream: Stream, timeout: float | None) -> bool:
        """Wait until more was received of the stream; what nobody reads is credited all the same.

        :returns: whether the stream goes on.
        :raises TimeoutError: after ``timeout`` seconds.
        """
        with self._pump.guard:
            self._credit.prepay(stream)
            self._flush_locked()
            size = stream.buffer.size
        self._waiting.until(
            stream, lambda: bool(stream.promises) or stream.buffer.size > size, timeout
        )
        return stream.open

    def pay_locked(self) -> None:
        """Send what managers have granted, unless a peer that reads nothing makes it pile up."""
        if self._credit.granted and self._pump.unsent <= _CREDIT_LIMIT:
            self._credit.pay()
            self._flush_locked()

    def _take_managed(
        self, stream: Stream, manager: ManagedWindow, limit: int | None, timeout: float | None
    ) -> bytes | None:
        buffer = stream.buffer
        size = _MANAGED_SIZE if limit is None else min(limit, _MANAGED_SIZE)
        return self._managed.take(
            stream, manager, lambda: buffer.size > 0, lambda: buffer.take(size), timeout
        )

    def _consumed_locked(self, stream: Stream, size: int) -> None:
        if not stream.owned and self._credit.read(stream, size):
            self._flush_locked()

    def _goes_on_locked(self, stream: Stream) -> bool:
        """Whether to wait for more, which is when a window may grow.

        :raises StreamFault: when the stream failed.
        """
        if stream.fault is not None:
            raise stream.fault
        if stream.ended:
            return False
        if stream.flow.may_grow:
            size = stream.buffer.size
            self._pump.poll_locked()  # octets that the kernel holds are no reason to wait
            if stream.buffer.size == size:
                self._credit.blocked(stream)
                self._flush_locked()
        return True


def _more_than(buffer: ReceiveBuffer, size: int) -> Callable[[], bool]:
    return lambda: buffer.size > size
