"""What the peer of one connection may send: the books of the connection's and the streams' windows.

Octets that an application has read, and those that nobody will read, become WINDOW_UPDATE frames.
Everything here is called with the connection's lock held.
"""

from __future__ import annotations

from .engine.base import Engine
from .flow_control import (
    CONNECTION_WINDOW,
    FlowControlManager,
    WindowManager,
    note_blocked,
    note_read,
)
from .managed_window import ManagedWindow, SharedWindow
from .stream import Stream


class Credit:
    """See the module's docstring.

    :param origin: ``host:port`` of the connection, for messages.
    :param window_manager: makes the managers of windows, if they are not ours.
    """

    def __init__(self, engine: Engine, origin: str, window_manager: WindowManager | None) -> None:
        self._engine = engine
        self._window_manager = window_manager
        self._window = FlowControlManager(CONNECTION_WINDOW)
        self.shared: SharedWindow | None = None
        """Who decides about the connection's window instead of us."""
        if window_manager is not None and engine.name == "h2":
            self.shared = SharedWindow(window_manager, CONNECTION_WINDOW, origin)
        self.granted: dict[int, int] = {}
        """What managers gave to streams, or to the connection (0), and was not sent yet."""

    def manager(self, stream_id: int, origin: str) -> ManagedWindow | None:
        """Who decides about a new stream's window instead of us.

        :param origin: of its request, for messages.
        """
        if self._window_manager is None:
            return None
        return ManagedWindow(self._window_manager, self._engine.stream_window, origin, stream_id)

    def read(self, stream: Stream, size: int) -> bool:
        """The application has read ``size`` octets; whether that gave credit to the peer."""
        paid = min(size, stream.prepaid)
        stream.prepaid -= paid
        return self.give_back(stream, size - paid)

    def prepay(self, stream: Stream) -> None:
        """Give credit for what nobody has read yet, so that the peer goes on."""
        if stream.open:
            unread = stream.uncounted
            stream.prepaid += unread
            self.give_back(stream, unread)

    def blocked(self, stream: Stream) -> None:
        """The application has read all there is and has to wait."""
        if stream.open and (increment := note_blocked(stream.flow)):
            self._engine.send_window_update(stream.id, increment)

    def give_back(self, stream: Stream | None, size: int) -> bool:
        """Count octets that are read or discarded; whether a WINDOW_UPDATE was queued.

        Where a manager decides these are not its affair, and go back at once: it may never let
        enough of them come together for a frame.

        :param stream: ``None`` when only the connection's window is concerned.
        """
        increment = size if self.shared is not None else note_read(self._window, size)
        if increment:
            self._engine.send_window_update(0, increment)
        if stream is None or not stream.open:
            return increment > 0
        of_stream = size if stream.manager is not None else note_read(stream.flow, size)
        if of_stream:
            self._engine.send_window_update(stream.id, of_stream)
        return increment > 0 or of_stream > 0

    def grant(self, stream_id: int, increment: int) -> None:
        """A manager gives so many octets to a stream, or to the connection (0)."""
        if increment:
            self.granted[stream_id] = self.granted.get(stream_id, 0) + increment

    def pay(self) -> None:
        """Queue the WINDOW_UPDATE frames of what was granted."""
        for stream_id, increment in self.granted.items():
            self._engine.send_window_update(stream_id, increment)
        self.granted.clear()

    def renew_after_fork(self) -> None:
        if self.shared is not None:
            self.shared.renew_after_fork()
