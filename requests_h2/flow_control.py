"""When a receive window gets its octets back, and when it grows (RFC 9113 section 5.2).

A stream gets at most one window through in a round trip. Round trips are not measured here: a
reader that has read half a window and then finds nothing, neither buffered nor in the socket, is
faster than the window or than the peer. So its window grows, and holds nothing as long as the
reader goes on like that. A slow reader always finds something, and keeps the first window.
"""

from __future__ import annotations

STREAM_WINDOW = 1 << 20
"""Receive window of a new stream, in octets: what an unread response may hold in memory."""
MAX_STREAM_WINDOW = 16 << 20
"""What it grows to when the reader keeps up."""
CONNECTION_WINDOW = 1 << 30
"""Receive window of a connection, in octets: so large that held responses never stall others."""

_BATCHES = 8  # WINDOW_UPDATEs for a window that has grown
_GROWTH = 4  # 16 MiB within three round trips; doubling takes five


class FlowControlManager:
    """The policy of one receive window: this one never changes its size.

    Octets count once the application has consumed or discarded them, so that a reader that stops
    stops its peer. A WINDOW_UPDATE for each half of the window costs few frames and lets no fast
    reader wait.

    :param window_size: the window, in octets.
    """

    __slots__ = ("_batch", "_unacknowledged", "window_size")

    def __init__(self, window_size: int) -> None:
        self.window_size = window_size
        self._batch = window_size // 2
        self._unacknowledged = 0

    @property
    def may_grow(self) -> bool:
        """Whether :meth:`blocked` would return anything now."""
        return False

    def consumed(self, size: int) -> int:
        """Count ``size`` octets; returns the increment to send now, 0 for none."""
        self._unacknowledged += size
        if self._unacknowledged < self._batch:
            return 0
        increment, self._unacknowledged = self._unacknowledged, 0
        return increment

    def blocked(self) -> int:
        """The reader has to wait for data; returns the increment to send now, 0 for none."""
        return 0


class AdaptiveWindow(FlowControlManager):
    """A window that grows to :data:`MAX_STREAM_WINDOW` while the reader waits for the peer."""

    __slots__ = ("_read",)

    def __init__(self, window_size: int) -> None:
        super().__init__(window_size)
        self._read = 0  # octets at the present size

    @property
    def may_grow(self) -> bool:
        return self._read * 2 >= self.window_size and self.window_size < MAX_STREAM_WINDOW

    def consumed(self, size: int) -> int:
        self._read += size
        return super().consumed(size)

    def blocked(self) -> int:
        if not self.may_grow:
            return 0
        before = self.window_size
        self.window_size = min(before * _GROWTH, MAX_STREAM_WINDOW)
        # Half of a window that a round trip uses up would halve what it lets through.
        self._batch = max(self._batch, self.window_size // _BATCHES)
        self._read = 0
        increment, self._unacknowledged = self._unacknowledged, 0
        return increment + self.window_size - before
