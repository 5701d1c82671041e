"""What readers take out of the streams of one connection, and the credit that it brings."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Protocol, TypeVar

from .engine.base import Engine
from .pump import Pump
from .stream import Stream
from .stream_table import StreamTable

T = TypeVar("T")


class Wait(Protocol):
    """``Connection.wait``."""

    def __call__(
        self,
        stream: Stream,
        ready: Callable[[], bool],
        timeout: float | None,
        unguarded: bool = False,
    ) -> None: ...


class Receiving:
    """The reading half of a connection. A stream has one reader at a time, a thread of its own.

    :param wait: for something on a stream, without the lock.
    """

    def __init__(self, pump: Pump, table: StreamTable, engine: Engine, wait: Wait) -> None:
        self._pump = pump
        # Guarded by the pump's lock.
        self._table = table
        self._engine = engine
        self._wait = wait

    def take(
        self, stream: Stream, limit: int | None, timeout: float | None, wanted: int = 1
    ) -> bytes:
        """Some of what was received, at most ``limit`` octets; empty at the end of the stream.

        :param timeout: seconds to wait for the next octet.
        :param wanted: octets worth waiting for: fewer come at the end, or when flow control could
            keep the rest back.
        :raises TimeoutError: when nothing came in time.
        :raises StreamFault: when the stream failed, after its good data was taken.
        """
        buffer = stream.buffer

        def take() -> bytes:
            return buffer.take(buffer.size if limit is None else limit)

        if stream.owned:
            return take()
        wanted = max(1, min(wanted, stream.flow.window_size // 2))
        return self._take(stream, lambda: buffer.size >= wanted, take, timeout) or b""

    def take_all(self, stream: Stream, sink: io.BytesIO, timeout: float | None) -> bool:
        """Wait for something and :meth:`take` all there is; whether that was the last of it."""
        buffer = stream.buffer
        if stream.owned:
            buffer.move_to(sink)
            return True

        def take() -> bool:
            buffer.move_to(sink)
            return stream.ended

        return self._take(stream, lambda: buffer.size > 0, take, timeout) is not False

    def _take(
        self,
        stream: Stream,
        ready: Callable[[], bool],
        take: Callable[[], T],
        timeout: float | None,
    ) -> T | None:
        """What ``take()`` removes from the buffer, under the lock, once it is worth it.

        :param ready: whether it is; at the end of the stream anything is.
        :returns: ``None`` when the stream has ended and nothing is left.
        """
        buffer = stream.buffer
        while True:
            with self._pump.guard:
                size = buffer.size
                if ready() or (size and not stream.open):
                    taken = take()
                    self._consumed_locked(stream, size - buffer.size)
                    return taken
                if not _goes_on(stream):
                    return None
                self._run_dry_locked(stream)
            self._wait(stream, _more_than(stream, size), timeout, unguarded=True)

    def _consumed_locked(self, stream: Stream, size: int) -> None:
        if not stream.owned and self._table.consumed(stream, size):
            self._flush_locked()

    def _run_dry_locked(self, stream: Stream) -> None:
        """The application has to wait for data, which is when a window may grow."""
        if stream.flow.may_grow:
            size = stream.buffer.size
            self._pump.poll_locked()  # octets that the kernel holds are no reason to wait
            if stream.buffer.size == size:
                self._table.blocked(stream)
                self._flush_locked()

    def _flush_locked(self) -> None:
        self._pump.queue_locked(self._engine.take_output())
        self._pump.flush_locked()


def _more_than(stream: Stream, size: int) -> Callable[[], bool]:
    return lambda: stream.buffer.size > size


def _goes_on(stream: Stream) -> bool:
    """Whether more may be received.

    :raises StreamFault: when the stream failed.
    """
    if stream.fault is not None:
        raise stream.fault
    return not stream.ended
