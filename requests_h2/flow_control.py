"""When a receive window gets its octets back, and when it grows (RFC 9113 section 5.2).

A stream gets at most one window through in a round trip. Round trips are not measured here: a
reader that has read half a window and then finds nothing, neither buffered nor in the socket, is
faster than the window or than the peer. So its window grows, and holds nothing as long as the
reader goes on like that. A slow reader always finds something, and keeps the first window.
"""

from __future__ import annotations

from collections.abc import Callable

MAX_WINDOW = 2**31 - 1
"""The largest flow-control window, in octets (RFC 9113 section 6.9.1)."""
STREAM_WINDOW = 1 << 20
"""Receive window of a new stream, in octets: what an unread response may hold in memory."""
MAX_STREAM_WINDOW = 16 << 20
"""What it grows to when the reader keeps up."""
CONNECTION_WINDOW = 1 << 30
"""Receive window of a connection, in octets: so large that held responses never stall others."""

_BATCHES = 8  # WINDOW_UPDATEs for a window that has grown
_GROWTH = 4  # 16 MiB within three round trips; doubling takes five


class FlowControlManager:
    """Decides when the peer may send more: one receive window, in the terms of hyper's managers.

    A subclass overrides :meth:`increase_window_size`, :meth:`blocked` or both, and is given to
    ``HTTP2Adapter(window_manager=...)``. Octets count once the application has read them, so that a
    reader that stops stops its peer. This class itself gives them back as soon as they are half of
    the window, which never changes its size: few frames, and no fast reader has to wait.

    :param initial_window_size: the window, in octets.
    :param document_size: see the attribute.
    """

    __slots__ = ("document_size", "initial_window_size", "stream_id", "window_size")

    def __init__(self, initial_window_size: int, document_size: int | None = None) -> None:
        self.initial_window_size = initial_window_size
        """What the window was at first, in octets."""
        self.window_size = initial_window_size
        """Octets that may be on their way or unread: it falls by what is read and rises by what the
        methods return, after they have returned it. Not to be set by subclasses."""
        self.document_size = document_size
        """The response's Content-Length; ``None`` without one, and for a connection. It is set
        after ``__init__``, before anything else is called."""
        self.stream_id = 0
        """The stream it is for; 0 stands for the connection. Set like ``document_size``."""

    def increase_window_size(self, frame_size: int) -> int:
        """A frame has been read to its end; ``window_size`` does not know of it yet.

        :param frame_size: its content in octets, which may be 0.
        :returns: octets to add to the window now, 0 for none.
        """
        unreturned = self.initial_window_size - self.window_size + frame_size
        return unreturned if unreturned * 2 >= self.initial_window_size else 0

    def blocked(self) -> int:
        """The application has read all there is and has to wait.

        :returns: octets to add to the window now, 0 for none.
        """
        return 0


class AdaptiveWindow(FlowControlManager):
    """The default: a window that grows to 16 MiB while its reader waits for the peer."""

    __slots__ = ("_batch", "_full_size", "_read")

    def __init__(self, initial_window_size: int, document_size: int | None = None) -> None:
        super().__init__(initial_window_size, document_size)
        self._full_size = initial_window_size
        self._batch = initial_window_size // 2
        self._read = 0  # octets at the present size

    @property
    def may_grow(self) -> bool:
        """Whether :meth:`blocked` would return anything now."""
        return self._read * 2 >= self._full_size and self._full_size < MAX_STREAM_WINDOW

    def increase_window_size(self, frame_size: int) -> int:
        self._read += frame_size
        unreturned = self._full_size - self.window_size + frame_size
        return unreturned if unreturned >= self._batch else 0

    def blocked(self) -> int:
        if not self.may_grow:
            return 0
        self._full_size = min(self._full_size * _GROWTH, MAX_STREAM_WINDOW)
        # Half of a window that a round trip uses up would halve what it lets through.
        self._batch = max(self._batch, self._full_size // _BATCHES)
        self._read = 0
        return self._full_size - self.window_size


WindowManager = Callable[[int], FlowControlManager]
"""A manager's class, or whatever else makes a manager of a window of so many octets."""


def note_read(manager: FlowControlManager, size: int) -> int:
    """Tell one of the managers above of ``size`` octets; returns the increment to send."""
    increment = manager.increase_window_size(size)
    manager.window_size += increment - size
    return increment


def note_blocked(manager: FlowControlManager) -> int:
    """Tell one of the managers above that its reader waits; returns the increment to send."""
    increment = manager.blocked()
    manager.window_size += increment
    return increment
