"""What is counted, and timed, for each stream."""

from __future__ import annotations

import time


class Progress:
    """What one stream has moved so far, and when; its connection's lock guards it.

    Apart from the stream, which holds content: this may be kept. Times are of the monotonic clock.
    """

    # Defaults of the class, because every exchange would pay for setting them.
    sent_at: float | None = None
    """When the last of the request was queued."""
    answer: tuple[int, list[tuple[str, str]]] | None = None
    """Status and fields of the final response."""
    answered_at: float | None = None
    """When its HEADERS came."""
    ended_at: float | None = None
    """When it was complete, or the stream had failed or was given up."""
    outcome = ""
    """What it failed with, or that it was given up; empty for a complete response."""
    bytes_sent = 0
    """Octets of frames: see :class:`ConnectionInfo`."""
    bytes_received = 0
    content_received = 0
    """Octets of content, when it has ended."""

    def __init__(self) -> None:
        self.opened_at = time.monotonic()
        """When its HEADERS were queued, or its promise came."""

    @property
    def time_to_first_byte(self) -> float | None:
        return None if self.answered_at is None else self.answered_at - self.opened_at
