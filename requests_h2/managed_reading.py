"""How streams are read whose credit window managers of the caller's decide about."""

from __future__ import annotations

from collections.abc import Callable

from .credit import Credit
from .managed_window import ManagedWindow
from .pump import Pump
from .stream import Stream
from .waiting import Waiting


class ManagedReading:
    """Takes octets under the lock, asks the managers without it, and then gives their credit.

    :param flush: sends what the engine has, with the lock held.
    """

    def __init__(
        self, pump: Pump, credit: Credit, flush: Callable[[], None], waiting: Waiting
    ) -> None:
        self._pump = pump
        self._credit = credit  # guarded by the pump's lock
        self._flush_locked = flush
        self._waiting = waiting

    def take(
        self,
        stream: Stream,
        manager: ManagedWindow,
        ready: Callable[[], bool],
        take: Callable[[], bytes],
        timeout: float | None,
    ) -> bytes | None:
        """What ``take()`` removes from the stream's buffer once it is ``ready()``.

        :returns: ``None`` at the end of the stream.
        :raises TimeoutError: when nothing came in ``timeout`` seconds.
        :raises StreamFault: when the stream failed, or a manager returned what is no increment.
        :raises CallerError: what a manager raised.
        """
        while True:
            with self._pump.guard:
                if not ready():
                    self._pump.poll_locked()  # octets that the kernel holds are no reason to wait
                if ready():
                    data = take()
                    frames = stream.ended_frames()
                    break
                if stream.fault is not None:
                    raise stream.fault
                if stream.ended:
                    stream.manager = None  # it may count those that are alive
                    return None
            self._tell_blocked(stream, manager)
            self._waiting.until(stream, ready, timeout, unguarded=True)
        self._tell_read(stream, manager, frames)
        return data

    def _tell_read(self, stream: Stream, manager: ManagedWindow, frames: list[int]) -> None:
        shared = self._credit.shared
        of_stream = of_connection = 0
        undecided = sum(frames)
        try:
            for size in frames:
                if shared is not None:
                    of_connection += shared.read(size)
                    undecided -= size
                of_stream += manager.read(size)
        finally:
            # Whatever was raised: other streams need the connection's window.
            self._give(stream, of_stream, of_connection, undecided)

    def _tell_blocked(self, stream: Stream, manager: ManagedWindow) -> None:
        shared = self._credit.shared
        of_connection = of_stream = 0
        try:
            if shared is not None:
                of_connection = shared.blocked()
            of_stream = manager.blocked()
        finally:
            self._give(stream, of_stream, of_connection, 0)

    def _give(self, stream: Stream, of_stream: int, of_connection: int, undecided: int) -> None:
        """Have the credit sent, now or when there is room for it.

        :param undecided: octets for which the connection has no manager, or that one failed.
        """
        if not (of_stream or of_connection or undecided):
            return
        with self._pump.guard:
            self._credit.grant(stream.id, of_stream)
            self._credit.grant(0, of_connection)
            if self._credit.give_back(None, undecided):
                self._flush_locked()
