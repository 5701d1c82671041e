"""Who waits for what on one connection, and is woken when it may have come."""

from __future__ import annotations

import functools
from collections.abc import Callable

from .keepalive import Keepalive
from .pump import Pump, Waiter
from .stream import Stream
from .stream_table import State, StreamTable
from .timeouts import Deadline


class Waiting:
    """The part of a connection for those who wait. Thread-safe, but for what ends in ``_locked``.

    Nobody waits any longer for a stream that is not open, nor on a connection that is closed.
    """

    def __init__(self, pump: Pump, table: StreamTable, keepalive: Keepalive) -> None:
        self._pump = pump
        # Guarded by the pump's lock.
        self._table = table
        self._keepalive = keepalive
        self._for_slots: set[Waiter] = set()

    def for_slot(self, deadline: Deadline) -> bool:
        """Wait until a stream may be opened here, or never again; false after the deadline."""
        waiter = Waiter()
        with self._pump.guard:
            self._for_slots.add(waiter)
        try:
            return self._pump.wait(
                waiter,
                lambda: self._table.has_slot or self._table.state is not State.OPEN,
                deadline,
            )
        finally:
            with self._pump.guard:
                self._for_slots.discard(waiter)

    def until(
        self,
        stream: Stream,
        ready: Callable[[], bool],
        timeout: float | None,
        unguarded: bool = False,
    ) -> None:
        """Wait until ``ready()`` or the stream is not open any more.

        :param ready: asked under the lock.
        :param unguarded: it may also be asked without.
        :raises TimeoutError: after ``timeout`` seconds.
        """
        if not self._wait(stream, ready, timeout, unguarded):
            with self._pump.guard:
                self._keepalive.timed_out_locked(stream, timeout)
            raise TimeoutError("timed out")

    def writing(self, stream: Stream, ready: Callable[[], bool], timeout: float | None) -> None:
        """:meth:`until`, woken also when there may be room to write."""
        stream.writing = True
        try:
            self.until(stream, ready, timeout)
        finally:
            stream.writing = False

    def for_response(
        self, stream: Stream, timeout: float | None, informational: int | None = None
    ) -> None:
        """Wait for the final HEADERS, or the end of the stream.

        :param timeout: seconds, from the moment when all of the request has left; until then,
            seconds without any of it leaving.
        :param informational: return, too, when there are more informational responses than that.
        :raises TimeoutError: after that.
        """

        def answered() -> bool:
            return stream.response is not None or (
                informational is not None and len(stream.informational) > informational
            )

        # Asked without the lock first: as a rule everything has left at once.
        while self._pump.unsent and (sent := self._sent_before(stream)) is not None:
            self.writing(stream, functools.partial(self._moved_or, answered, sent), timeout)
        self.until(stream, answered, timeout, unguarded=True)

    def for_continue(self, stream: Stream, seconds: float) -> None:
        """Hold a body back until 100 (Continue), a final response, or for so long.

        RFC 9110 section 10.1.1: a client does not wait for ever.
        """
        self._wait(stream, lambda: stream.continued or stream.response is not None, seconds)

    def wake_locked(self) -> None:
        """Have those look again who wait for what has changed in the table."""
        changes = self._table.changes
        while changes.streams:
            self._pump.wake_locked(changes.streams.pop())
        if changes.can_send:
            changes.can_send = False
            self._pump.wake_writers_locked()
        if changes.slots:
            changes.slots = False
            for waiter in self._for_slots:
                self._pump.wake_locked(waiter)

    def renew_after_fork(self) -> None:
        """In a forked child: those who waited are in the parent."""
        self._for_slots.clear()

    def _wait(
        self,
        stream: Stream,
        ready: Callable[[], bool],
        timeout: float | None,
        unguarded: bool = False,
    ) -> bool:
        return self._pump.wait(
            stream,
            lambda: ready() or not stream.open,
            Deadline(timeout),
            unguarded=unguarded,
        )

    def _sent_before(self, stream: Stream) -> int | None:
        """Octets sent by now, while more of the request is to leave and nothing came back."""
        with self._pump.guard:
            left = self._pump.sent >= stream.leaves_at
            return None if left or not stream.open or stream.response else self._pump.sent

    def _moved_or(self, ready: Callable[[], bool], sent: int) -> bool:
        return self._pump.sent > sent or ready()
