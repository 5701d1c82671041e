"""When a receive window gets its octets back (RFC 9113 section 5.2)."""

from __future__ import annotations

STREAM_WINDOW = 1 << 20
"""Receive window of a stream, in octets: what an unread response may hold in memory."""
CONNECTION_WINDOW = 1 << 30
"""Receive window of a connection, in octets: so large that held responses never stall others."""


class FlowControlManager:
    """The policy of one receive window: give back half a window at a time.

    Octets count once the application has consumed or discarded them, so that a reader that stops
    stops its peer. Half a window a WINDOW_UPDATE costs few frames and lets no fast reader wait.

    :param window_size: the window, in octets.
    """

    __slots__ = ("_unacknowledged", "window_size")

    def __init__(self, window_size: int) -> None:
        self.window_size = window_size
        self._unacknowledged = 0

    def consumed(self, size: int) -> int:
        """Count ``size`` octets; returns the increment to send now, 0 for none."""
        self._unacknowledged += size
        if self._unacknowledged * 2 < self.window_size:
            return 0
        increment, self._unacknowledged = self._unacknowledged, 0
        return increment
