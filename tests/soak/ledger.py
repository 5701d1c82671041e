"""What the soak's peer knows about every request: was it right to send it again, or to fail?

Attempts are written down when the peer acts, which is before the client can see the act; so at
each arrival of a nonce that is known, what had been sent decides whether the replay is one of
those that the adapter may make (the README's list of requests that are sent again).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT"))
_MAX_TURNED_AWAY = 4  # attempts: the first and three replays
_MAX_VIOLATIONS = 40


@dataclass(slots=True)
class ConnectionRecord:
    """One connection, as far as it excuses failures of its streams."""

    port: int
    goaway_last: int = 2**31 - 1
    goaway_code: int = 0
    answers: int = 0
    #: How the peer ended it, or that the client did.
    ended: str | None = None
    #: The peer ended it without waiting for its streams.
    disturbed: bool = False


@dataclass(slots=True)
class Attempt:
    """One time that a request arrived."""

    connection: ConnectionRecord
    stream_id: int
    method: str
    rewindable: bool
    patient: bool
    proven: bool  # its connection had answered others before
    touched: bool = False  # octets of its body came
    answered: bool = False  # final HEADERS were sent
    complete: bool = False  # all that was promised was sent, and END_STREAM
    refused: bool = False
    fault: str | None = None
    finished: float = field(default=0.0)

    @property
    def turned_away(self) -> bool:
        return self.refused or (self.stream_id > self.connection.goaway_last and not self.answered)

    @property
    def lost(self) -> bool:
        return self.connection.ended is not None

    def __str__(self) -> str:
        c = self.connection
        return (
            f"{self.method} stream {self.stream_id} of port {c.port}: answered={self.answered} "
            f"complete={self.complete} refused={self.refused} fault={self.fault} "
            f"patient={self.patient} "
            f"connection ended={c.ended} goaway={c.goaway_last},{c.goaway_code}"
        )


class Ledger:
    """Attempts by nonce, verdicts on them, and counts of all that was done to the client."""

    def __init__(self) -> None:
        self.attempts: dict[str, list[Attempt]] = {}
        self.violations: list[str] = []
        self.faults: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0

    def violation(self, text: str, nonce: str | None = None) -> None:
        if len(self.violations) < _MAX_VIOLATIONS:
            if nonce is not None:
                text = "\n    ".join((f"{nonce}: {text}", *self.history(nonce)))
            self.violations.append(text)

    def history(self, nonce: str) -> list[str]:
        return [str(attempt) for attempt in self.attempts.get(nonce, ())]

    def arrived(self, nonce: str, attempt: Attempt) -> int:
        """Note an attempt; returns how many came before it."""
        earlier = self.attempts.setdefault(nonce, [])
        self.counts["requests read"] += 1
        if attempt.turned_away:
            # Sent before the GOAWAY was seen, and perhaps read after its own replay elsewhere.
            self.counts["replays"] += bool(earlier)
            earlier.insert(0, attempt)
        elif earlier:
            self.counts["replays"] += 1
            reason = self._why_not_again(earlier)
            earlier.append(attempt)
            if reason is not None:
                self.violation(f"sent again, although {reason}", nonce)
        else:
            earlier.append(attempt)
        return len(earlier) - 1

    def _why_not_again(self, earlier: list[Attempt]) -> str | None:
        last = earlier[-1]
        if last.touched and not last.rewindable:
            return "its body cannot be read again"
        if last.refused:
            turned_away = sum(attempt.refused for attempt in earlier)
            return None if turned_away < _MAX_TURNED_AWAY else "it was refused four times"
        if last.turned_away:
            first = last.stream_id == 1 and last.connection.goaway_code
            return "the connection's first request met a GOAWAY with an error" if first else None
        if last.lost:
            if last.method not in _IDEMPOTENT:
                return f"{last.method} may have been processed before the connection ended"
            if not last.proven:
                return "its connection had never answered anything"
            lost = sum(attempt.lost and not attempt.turned_away for attempt in earlier)
            return None if lost <= 1 else "it was sent again after a lost connection before"
        return "the peer has processed it"

    def judge(self, nonce: str, outcome: Mapping[str, Any]) -> None:
        """A request came to its end at the client: was that right?

        :param outcome: ``error``, the exception's class name or ``None``; ``text``; ``ended``, by
            the monotonic clock; ``whole``, whether the response was read to its end; ``patient``,
            whether its timeouts are too long for anything that the peer does.
        """
        attempts = self.attempts.get(nonce)
        if outcome["error"] is not None:
            reason = self._why_not_failed(attempts or [], outcome)
            if reason is not None:
                self.violation(f"{reason}: {outcome['error']}: {outcome['text']}", nonce)
        elif attempts is None:
            self.violation("answered, although it never arrived", nonce)
        elif outcome["whole"] and attempts[-1].complete:
            self.slowest = max(self.slowest, outcome["ended"] - attempts[-1].finished)

    def _why_not_failed(self, attempts: list[Attempt], outcome: Mapping[str, Any]) -> str | None:
        error, text = outcome["error"], outcome["text"]
        if error == "UploadBroken":
            return None
        if "Timeout" in error or "timed out" in text:
            return "timed out without a reason" if outcome["patient"] else None
        if not attempts:
            return None  # read by nobody: whatever ended the connection or the dial
        last = attempts[-1]
        if last.refused and last.rewindable and "REFUSED_STREAM" in text:
            turned_away = sum(attempt.turned_away for attempt in attempts)
            once = turned_away == 1 and last.patient
            return "not sent again, although it was refused" if once else None
        if last.fault is not None or last.turned_away or last.connection.disturbed:
            return None
        if last.complete:
            return "failed although it was answered"
        return "failed without a reason" if last.patient else None

    def figures(self) -> dict[str, Any]:
        return {
            "faults": dict(sorted(self.faults.items())),
            "counts": dict(sorted(self.counts.items())),
            "slowest": self.slowest,
            "violations": self.violations,
        }

    def finish(self, attempt: Attempt) -> None:
        attempt.complete = True
        attempt.finished = time.monotonic()
