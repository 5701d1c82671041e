"""Receive windows that managers of the caller's decide about: their books, and what may go wrong.

What is called here is the caller's code: never under a connection's lock.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from typing import Any

from .exceptions import CallerError, FaultKind, StreamFault
from .flow_control import MAX_WINDOW, FlowControlManager, WindowManager


class ManagedWindow:
    """One window and its manager. Used by the thread that reads the stream.

    :param make: the manager's class, or what else makes one.
    :param size: the window, in octets.
    :param origin: for messages.
    :param stream_id: 0 for a connection.
    """

    __slots__ = ("_make", "_manager", "_origin", "_size", "_stream_id")

    def __init__(self, make: WindowManager, size: int, origin: str, stream_id: int) -> None:
        self._make = make
        self._size = size
        self._origin = origin
        self._stream_id = stream_id
        self._manager: FlowControlManager | None = None

    def start(self, document_size: int | None = None) -> None:
        """Make the manager. To be called before the methods that ask it.

        :raises CallerError: what making it raised.
        :raises StreamFault: when something else was made.
        """
        manager = self._call(self._make, self._size)
        if not isinstance(manager, FlowControlManager):
            raise self._fault(f"window_manager made {manager!r}, which is no FlowControlManager")
        manager.initial_window_size = manager.window_size = self._size
        manager.document_size = document_size
        manager.stream_id = self._stream_id
        self._manager = manager

    def read(self, frame_size: int) -> int:
        """Tell of a frame that was read to its end; returns the octets to give to the peer.

        :raises CallerError: what the manager raised.
        :raises StreamFault: when it returned what is no increment.
        """
        assert self._manager is not None
        answer = self._call(self._manager.increase_window_size, frame_size)
        return self._checked(answer, self._size - frame_size)

    def blocked(self) -> int:
        """Tell that the reader has to wait; otherwise as :meth:`read`."""
        assert self._manager is not None
        return self._checked(self._call(self._manager.blocked), self._size)

    def _checked(self, answer: Any, left: int) -> int:
        try:
            increment = operator.index(answer)
        except TypeError:
            increment = -1
        if increment < 0 or left + increment > MAX_WINDOW:
            name = type(self._manager).__name__
            raise self._fault(
                f"the window manager {name} returned {answer!r}, which is no increment for a "
                f"window of {left} octets: it may grow to {MAX_WINDOW}"
            )
        assert self._manager is not None
        self._size = self._manager.window_size = left + increment
        return increment

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            raise CallerError(error) from error

    def _fault(self, text: str) -> StreamFault:
        return StreamFault(FaultKind.LOCAL, f"{self._origin}: stream {self._stream_id}", text)


class SharedWindow(ManagedWindow):
    """The connection's: whoever reads one of its streams asks the manager, one at a time."""

    __slots__ = ("_lock",)

    def __init__(self, make: WindowManager, size: int, origin: str) -> None:
        super().__init__(make, size, origin, 0)
        self.renew_after_fork()

    def renew_after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        # Reentrant: a manager may use the session that it serves.
        self._lock = threading.RLock()

    def read(self, frame_size: int) -> int:
        with self._lock:
            self._start_once()
            return super().read(frame_size)

    def blocked(self) -> int:
        with self._lock:
            self._start_once()
            return super().blocked()

    def _start_once(self) -> None:
        if self._manager is None:
            self.start()
