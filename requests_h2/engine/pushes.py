"""Server push as both engines judge it: which promises are legal, and which of them are wanted."""

from __future__ import annotations

from collections import deque

from ..exceptions import ErrorCode
from .frames import ENABLE_PUSH, MAX_CONCURRENT_STREAMS, PeerError

MAX_EXCESS = 1000
"""Promised streams that are not over and more than wanted, above which the connection ends. What is
more than wanted is refused above the engine, but many promises may come at once."""
_REMEMBERED_RESETS = 1000


class Pushes:
    """What we and the peer said about push (RFC 9113 sections 6.5.2, 6.6 and 8.4).

    :param enabled: what our first SETTINGS say.
    :param limit: pushed streams at once, reserved ones not counted (section 5.1.2).
    """

    def __init__(self, enabled: bool, limit: int) -> None:
        self.enabled = enabled
        """What we said last."""
        self.limit = limit
        self.last_id = 0
        """The highest promised stream."""
        self.accepted_id = 0
        """The highest promised stream that was not cancelled at once."""
        # The peer answers our SETTINGS before it acts on them. Until then the first ones count as
        # answered: whoever has not seen them has no request to push for.
        self._in_force = enabled
        self._unacknowledged = deque((enabled,))
        self._abandoned: deque[int] = deque(maxlen=_REMEMBERED_RESETS)

    def settings(self) -> dict[int, int]:
        """Our settings that are about push."""
        if not self.enabled:
            return {ENABLE_PUSH: 0}
        return {ENABLE_PUSH: 1, MAX_CONCURRENT_STREAMS: self.limit}

    def change(self, enabled: bool) -> dict[int, int]:
        """The settings that say so."""
        self.enabled = enabled
        self._unacknowledged.append(enabled)
        return self.settings()

    def settings_acknowledged(self) -> None:
        if self._unacknowledged:
            self._in_force = self._unacknowledged.popleft()

    def stream_abandoned(self, stream_id: int) -> None:
        """A request's stream was reset by us before its response was complete."""
        self._abandoned.append(stream_id)

    def require_enabled(self) -> None:
        """:raises PeerError: when the peer knows that it may not push."""
        if not self._in_force:
            text = "PUSH_PROMISE although push is disabled"
            raise PeerError(ErrorCode.PROTOCOL_ERROR, text)

    def promised(self, parent_id: int, parent_open: bool, stream_id: int, known: int) -> bool:
        """Whether a promise is wanted; else its stream is to be cancelled.

        :param parent_open: whether the peer may still send on the parent, a request's stream.
        :param known: how many promised streams are not over.
        :raises PeerError: when the peer may not promise that.
        """
        if not parent_open and parent_id not in self._abandoned:
            text = f"PUSH_PROMISE on stream {parent_id}, which is not open"
            raise PeerError(ErrorCode.PROTOCOL_ERROR, text)
        if stream_id % 2 or stream_id <= self.last_id:
            text = f"PUSH_PROMISE of stream {stream_id} after {self.last_id}"
            raise PeerError(ErrorCode.PROTOCOL_ERROR, text)
        self.last_id = stream_id
        if not self.enabled or not parent_open:
            return False
        if known >= (most := self.limit + MAX_EXCESS):
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, f"more than {most} promises")
        return True
