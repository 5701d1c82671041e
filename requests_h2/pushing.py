"""What becomes of the pushes that were promised on one connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .engine.base import Engine
from .fields import Field
from .promises import Promise
from .pump import Pump
from .stream import Stream
from .stream_table import StreamTable


class Pushing:
    """The part of a connection for those who want pushes. Thread-safe.

    :param flush: sends what the engine has, with the lock held.
    """

    def __init__(
        self, pump: Pump, table: StreamTable, engine: Engine, flush: Callable[[], None]
    ) -> None:
        self._pump = pump
        # Guarded by the pump's lock.
        self._table = table
        self._engine = engine
        self._flush_locked = flush

    @property
    def allowed(self) -> bool:
        """Whether the server was told that it may push."""
        return self._engine.push_enabled

    def glance(self) -> None:
        """Take what the socket holds, without waiting."""
        with self._pump.guard:
            self._pump.poll_locked()

    def claim(self, promise: Promise) -> bool:
        """Take a push; false when another has, or it timed out or was dropped."""
        with self._pump.guard:
            return self._table.claim(promise)

    def find(self, fields: Sequence[Field]) -> Promise | None:
        """Take an unclaimed push that is the answer to a request with these fields."""
        with self._pump.guard:
            self._pump.poll_locked()
            if self._table.has_promises:
                self._table.expire_promises()
                self._flush_locked()
            return self._table.find_promise(fields)

    def drop(self, parent: Stream) -> None:
        """Reset the pushes of a stream that nobody has claimed."""
        with self._pump.guard:
            self._table.drop_promises_to(parent)
            self._flush_locked()

    def expire(self) -> None:
        """Reset the pushes that waited too long."""
        if self._table.has_promises:
            with self._pump.guard:
                self._table.expire_promises()
                self._flush_locked()
