"""What becomes of the pushes that were promised on one connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .engine.base import Engine
from .exceptions import ErrorCode
from .fields import Field
from .promises import Promise, Promises
from .pump import Pump
from .stream import Stream
from .stream_table import State, StreamTable


class Pushing:
    """The part of a connection for those who want pushes. Thread-safe, but for what ends in
    ``_locked``.

    :param promises: those that nobody has claimed yet.
    :param flush: sends what the engine has, with the lock held.
    """

    def __init__(
        self,
        pump: Pump,
        table: StreamTable,
        promises: Promises,
        engine: Engine,
        flush: Callable[[], None],
    ) -> None:
        self._pump = pump
        # Guarded by the pump's lock.
        self._table = table
        self._promises = promises
        self._engine = engine
        self._flush_locked = flush

    @property
    def allowed(self) -> bool:
        """Whether the server was told that it may push."""
        return self._engine.push_enabled

    @property
    def waiting(self) -> bool:
        """Whether there are pushes that nobody has claimed, or may be."""
        return bool(self._promises) or (self.allowed and self._table.state is not State.CLOSED)

    def glance(self) -> None:
        """Take what the socket holds, without waiting."""
        with self._pump.guard:
            self._pump.poll_locked()

    def claim(self, promise: Promise, claimant: object) -> bool:
        """Take a push; false when somebody has, or it timed out or was dropped."""
        with self._pump.guard:
            return self._promises.claim(promise, claimant)

    def cancel(self, promise: Promise, claimant: object) -> None:
        """Reset a push that nobody has claimed. One of the claimant's only as long as it comes:
        who reads what is complete would take less for all of it.
        """
        with self._pump.guard:
            unread = self._promises.claim(promise, claimant)
            if unread or (promise.claimant is claimant and promise.stream.open):
                self._table.close(promise.stream, ErrorCode.CANCEL)
                self._flush_locked()

    def find(self, fields: Sequence[Field]) -> Promise | None:
        """Take an unclaimed push that is the answer to a request with these fields."""
        with self._pump.guard:
            self._pump.poll_locked()
            if self._promises:
                self.expire_locked()
                self._flush_locked()
            for promise in self._promises:
                good = promise.stream.fault is None and promise.answers(fields)
                if good and self._promises.claim(promise, fields):
                    return promise
            return None

    def drop(self, parent: Stream) -> None:
        """Reset the pushes of a stream that nobody has claimed."""
        with self._pump.guard:
            self._drop_locked(promise for promise in self._promises if promise.parent is parent)
            self._flush_locked()

    def expire(self) -> None:
        """Reset the pushes that waited too long."""
        if self._promises:
            with self._pump.guard:
                self.expire_locked()
                self._flush_locked()

    def expire_locked(self) -> None:
        """The same; what resets them is not sent yet."""
        if self._promises:
            self._drop_locked(self._promises.expired())

    def drop_all_locked(self) -> None:
        """Nobody will claim any of them."""
        self._drop_locked(self._promises)

    def _drop_locked(self, promises: Iterable[Promise]) -> None:
        for promise in promises:
            if self._promises.drop(promise):
                self._table.close(promise.stream, ErrorCode.CANCEL)
