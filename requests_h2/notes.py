"""What is noted about one exchange while somebody observes it, in the order in which it happened.

The rooms that a request passes through call ``exchange.note``, on the caller's thread and with no
lock held. Nobody makes a note when nobody observes. Notes hold no content and no exceptions, whose
tracebacks would. Times are of the monotonic clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .progress import Progress

if TYPE_CHECKING:
    from .inspection import Dial

Fields = list[tuple[str, str]]


class Connecting(NamedTuple):
    """A connection is about to be made."""


class Connected(NamedTuple):
    """It was made."""

    dial: Dial


class Begun(NamedTuple):
    """The request is on a connection. Over HTTP/1.1 there is neither stream nor progress."""

    dial: Dial
    stream_id: int | None
    progress: Progress | None


class Replayed(NamedTuple):
    """It was not processed, and will be sent again."""

    why: str


class Answered(NamedTuple):
    """The header section of a final response is there. urllib3's ``Retry`` may not like it."""

    http_version: str
    status: int
    fields: Fields


class Failed(NamedTuple):
    """urllib3's ``Retry`` may begin once more."""

    error: str
    """The exception's class and message."""


class Promised(NamedTuple):
    """A push for the response was told to its reader."""

    method: str
    url: str
    fields: Fields
    dial: Dial
    stream_id: int
    progress: Progress


Event = Connecting | Connected | Begun | Replayed | Answered | Failed | Promised
Notes = list[tuple[float, Event]]
"""Appended to by one thread at a time."""


def error_text(error: BaseException) -> str:
    """Class and message, as in the last line of a traceback; without one that cannot be had."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # the user's own, who is to see his error and not this one
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
