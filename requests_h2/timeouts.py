"""Deadlines on the monotonic clock."""

from __future__ import annotations

import time


class Deadline:
    """The moment at which a wait gives up.

    :param seconds: time from now, or ``None`` for a wait without an end.
    """

    __slots__ = ("_at", "seconds")

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._at = None if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        """Seconds left, never negative; ``None`` when there is no end."""
        if self._at is None:
            return None
        return max(0.0, self._at - time.monotonic())

    @property
    def expired(self) -> bool:
        return self._at is not None and time.monotonic() >= self._at
