"""Which failed requests may be sent again without being asked: the table and its counters.

Apart from the user's ``Retry`` and also with ``max_retries=0``. Nothing is ever sent twice unless
the server said that it did not process it; the one exception is an idempotent request on a reused
connection that was lost before any answer (RFC 9110 section 9.2.2, as browsers and curl do).
"""

from __future__ import annotations

import random

from .body import RequestBody
from .exceptions import FaultKind, StreamFault
from .stream import Stream
from .timeouts import Deadline

_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"))
_PAUSES = (0.0, 0.2, 1.0)  # seconds before each replay of a request that the server turned away
_MAX_STILLBORN = 2
_MAX_REPLAYS = 100  # of any kind: a bound for servers that accept one stream a connection


class Replays:
    """The replays of one request.

    :param timeout: seconds in which the last of them may begin; ``None`` for no such limit.
    """

    def __init__(self, method: str, body: RequestBody, timeout: float | None) -> None:
        self._deadline = Deadline(timeout)
        self._idempotent = method.upper() in _IDEMPOTENT
        self._body = body
        self._total = 0
        self._stillborn = 0
        self._turned_away = 0
        self._lost = 0
        self._downgraded = 0

    def pause_before(self, fault: StreamFault, stream: Stream | None) -> float | None:
        """Seconds to wait before the request is sent again; ``None`` when it must not be.

        :param stream: the one that failed, ``None`` when none was opened.
        """
        self._total += 1
        if self._total > _MAX_REPLAYS or not self._allowed(fault, stream):
            return None
        if not self._body.rewind():
            fault.add("; not sent again, because its body cannot be read twice")
            return None
        if not self._turned_away:
            return 0.0
        pause = _PAUSES[self._turned_away - 1] * random.uniform(0.8, 1.2)
        left = self._deadline.remaining()
        return pause if left is None or pause < left else None

    def _allowed(self, fault: StreamFault, stream: Stream | None) -> bool:
        kind = fault.kind
        if kind in (FaultKind.NOT_SENT, FaultKind.GOAWAY_UNPROCESSED) and fault.progress:
            # The server served others on that connection: a limit of requests per connection,
            # which a burst of threads may meet many times in a row.
            return True
        if kind is FaultKind.NOT_SENT:
            return self._turn_away()
        if kind is FaultKind.STILLBORN:
            # A server that reloads may accept once more what it has no use for.
            self._stillborn += 1
            return self._stillborn <= _MAX_STILLBORN
        if stream is None or stream.response is not None:
            return False
        if kind is FaultKind.GOAWAY_ERROR_UNPROCESSED and stream.first:
            return False
        if kind in (
            FaultKind.REFUSED,
            FaultKind.GOAWAY_UNPROCESSED,
            FaultKind.GOAWAY_ERROR_UNPROCESSED,
        ):
            return self._turn_away()
        if kind is FaultKind.HTTP_1_1_REQUIRED:
            self._downgraded += 1
            return self._downgraded == 1
        if kind is FaultKind.CONNECTION_LOST and self._idempotent:
            self._lost += 1
            return self._lost == 1 and stream.proven and not stream.answered
        return False

    def _turn_away(self) -> bool:
        self._turned_away += 1
        return self._turned_away <= len(_PAUSES)
