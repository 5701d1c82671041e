"""What was noted about exchanges, as one entry for each request that went out, and each push."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from .inspection import Dial
from .notes import (
    Answered,
    Begun,
    Connected,
    Connecting,
    Event,
    Failed,
    Fields,
    Notes,
    Promised,
    Replayed,
)
from .progress import Progress

REDACTED = "[redacted]"
"""Stands for the value of a header that is not to be shown."""
_LINKS = frozenset(("content-location", "location", "referer"))
_ATTRIBUTES = frozenset(  # RFC 6265 section 5.2, and what came later
    ("domain", "expires", "httponly", "max-age", "partitioned", "path", "samesite", "secure")
)


@dataclass(frozen=True)
class Phases:
    """Where the time of an entry went, in seconds, in this order; ``None`` for what did not happen.

    They add up to its :attr:`total`.
    """

    blocked: float = 0.0
    """Until the request was on a connection, except for the next two: waiting for another thread to
    connect or for a free stream, and attempts that were replayed."""
    connect: float | None = None
    """Name, TCP, and a proxy's tunnel."""
    tls: float | None = None
    """The handshake with the origin."""
    send: float = 0.0
    """Until all of the request was handed to the connection. Part of ``wait`` over HTTP/1.1."""
    wait: float = 0.0
    """Until the final response's HEADERS came."""
    receive: float = 0.0
    """Until the body was complete, or given up."""

    @property
    def total(self) -> float:
        return sum(value or 0.0 for value in dataclasses.astuple(self))


@dataclass(frozen=True)
class Entry:
    """One request on its way, or one push, as far as it had come by then.

    Redirects and the attempts of urllib3's ``Retry`` are entries of their own; what the adapter
    itself sends again is not.
    """

    method: str
    url: str
    """Without a user's name and password."""
    request_headers: Fields
    """Pairs of name and value, those of secret headers redacted."""
    request_size: int | None
    """Octets of the body, where that was known before it was sent."""
    started: float
    """Seconds since the recording was made; for a push, when its promise came."""
    phases: Phases
    finished: bool
    """Whether nothing more will come."""
    http_version: str
    status: int
    """0 without a response."""
    response_headers: Fields
    response_size: int
    """Octets of the body as it was sent, before decoding."""
    dial: Dial | None
    """The connection; ``None`` when there was none."""
    stream_id: int | None
    pushed: bool
    replays: int
    bytes_sent: int | None
    """Octets of frames, as in :class:`ConnectionInfo`."""
    bytes_received: int | None
    error: str
    """The exception's class and message; empty without."""
    remark: str
    """What became of a response that did not come to its end; empty for one that did."""


@dataclass
class Body:
    """A response's body over HTTP/1.1."""

    received: int = 0
    ended_at: float | None = None
    remark: str = ""

    def look(self) -> None:
        """Bring ``received`` up to date."""


@dataclass
class Sighting:
    """What is collected about one call of an adapter's ``send``. Times of the monotonic clock."""

    method: str
    url: str
    headers: Fields
    """Without the values that are not to be shown."""
    size: int | None
    began_at: float
    notes: Notes
    answered: tuple[float, Answered] | None = None
    """What the adapter has returned; for pools that make no notes."""
    dial: Dial | None = None
    """The connection, for them, too."""
    body: Body | None = None
    failed: tuple[float, Failed] | None = None
    """What it has raised."""

    def entries(self, zero: float, now: float, adopted: Set[int], secret: Set[str]) -> list[Entry]:
        """Requests and pushes.

        :param zero: the time to count from.
        :param now: the end of what has none yet.
        :param adopted: the ``id`` of the progress of pushes that answer other exchanges.
        :param secret: headers whose values are not shown, in lower case.
        """
        made = [attempt.entry(zero, now, secret) for attempt in self._attempts()]
        for _, event in list(self.notes):
            if isinstance(event, Promised) and id(event.progress) not in adopted:
                made.append(_pushed(event, zero, now, secret))
        return made

    def progresses(self) -> Iterator[Progress]:
        """Of the streams that this request was on."""
        for _, event in list(self.notes):
            if isinstance(event, Begun) and event.progress is not None:
                yield event.progress

    def _attempts(self) -> list[_Attempt]:
        """What urllib3 has tried: each attempt ends with an answer or a failure."""
        attempts = [_Attempt(self, self.began_at)]
        for at, event in list(self.notes):
            last = attempts[-1]
            if last.ended and not isinstance(event, Promised):
                last.body = Body(ended_at=last.end_of_headers)  # which urllib3 has thrown away
                last = _Attempt(self, last.end_of_headers or at)
                attempts.append(last)
            last.take(at, event)
        last = attempts[-1]
        if self.failed is not None:
            # What requests has made of the last failure.
            last.fail(*self.failed)
        elif self.answered is not None:
            last.dial = last.dial or self.dial
            if not last.ended:
                last.take(*self.answered)
            last.body = self.body
        return attempts


class _Attempt:
    """One request as urllib3 has tried it."""

    def __init__(self, of: Sighting, start: float) -> None:
        self._of = of
        self.start = start
        self.dialled_in: list[float] = []  # when a dial was begun, and when it was over
        self.dial: Dial | None = None
        self.own_dial: Dial | None = None
        self.begun: tuple[float, Begun] | None = None
        self.replays = 0
        self.answer: Answered | None = None
        self.end_of_headers: float | None = None  # or of the attempt, when it has failed
        self.error = ""
        self.body: Body | None = None

    @property
    def ended(self) -> bool:
        return self.end_of_headers is not None

    def take(self, at: float, event: Event) -> None:
        if isinstance(event, Connecting):
            self.dialled_in = [at]
        elif isinstance(event, Connected):
            self.dialled_in.append(at)
            self.dial = self.own_dial = event.dial
        elif isinstance(event, Begun):
            self.begun, self.dial = (at, event), event.dial
        elif isinstance(event, Replayed):
            self.replays += 1
        elif isinstance(event, Answered):
            self.end_of_headers, self.answer = at, event
        elif isinstance(event, Failed):
            self.fail(at, event)

    def fail(self, at: float, event: Failed) -> None:
        self.end_of_headers, self.error = at, event.error

    def entry(self, zero: float, now: float, secret: Set[str]) -> Entry:
        begun = None if self.begun is None else self.begun[1]
        progress = None if begun is None else begun.progress
        answer, body = self.answer, self.body or Body()
        body.look()
        phases, finished = self._phases(now)
        headers = [] if answer is None else answer.fields
        return Entry(
            method=self._of.method,
            url=self._of.url,
            request_headers=self._of.headers,
            request_size=self._of.size,
            started=self.start - zero,
            phases=phases,
            finished=finished,
            http_version="HTTP/2" if progress is not None else _version(answer),
            status=0 if answer is None else answer.status,
            response_headers=redacted(headers, secret),
            response_size=body.received if progress is None else progress.content_received,
            dial=self.dial,
            stream_id=None if begun is None else begun.stream_id,
            pushed=begun is not None and begun.stream_id is not None and not begun.stream_id % 2,
            replays=self.replays,
            bytes_sent=None if progress is None else progress.bytes_sent,
            bytes_received=None if progress is None else progress.bytes_received,
            error=self.error,
            remark=body.remark if progress is None else progress.outcome,
        )

    def _phases(self, now: float) -> tuple[Phases, bool]:
        """And whether it is over."""
        answered_at = now if self.end_of_headers is None else self.end_of_headers
        connect, tls = self._dialling(answered_at)
        begun_at = self.start if self.answer is not None else answered_at
        ended_at = None if self.body is None else self.body.ended_at
        if self.answer is None:
            ended_at = self.end_of_headers
        if self.begun is not None:
            begun_at, progress = self.begun[0], self.begun[1].progress
        else:
            progress = None
        sent_at = begun_at
        if progress is not None:
            begun_at = progress.opened_at
            answered_at = progress.answered_at or answered_at
            sent_at = min(progress.sent_at or answered_at, answered_at)
            ended_at = progress.ended_at or ended_at
        # One that was pushed has begun before, and may have ended: nobody has waited for that.
        steps = [self.start, begun_at, sent_at, answered_at, now if ended_at is None else ended_at]
        steps = list(itertools.accumulate(steps, max))
        to_begin, send, wait, receive = (after - before for before, after in pairwise(steps))
        blocked = max(0.0, to_begin - (connect or 0.0) - (tls or 0.0))
        return Phases(blocked, connect, tls, send, wait, receive), ended_at is not None

    def _dialling(self, limit: float) -> tuple[float | None, float | None]:
        """Seconds of the connection and of TLS, as far as this request has made them."""
        if not self.dialled_in:
            return None, None
        if self.own_dial is None or len(self.dialled_in) < 2:
            return limit - self.dialled_in[0], None
        tls = self.own_dial.handshake_time
        return max(0.0, self.dialled_in[1] - self.dialled_in[0] - (tls or 0.0)), tls


def _pushed(event: Promised, zero: float, now: float, secret: Set[str]) -> Entry:
    progress = event.progress
    opened, answered, ended = progress.opened_at, progress.answered_at, progress.ended_at
    status, fields = progress.answer or (0, [])
    until = now if ended is None else ended
    phases = Phases(wait=(answered or until) - opened, receive=until - (answered or until))
    return Entry(
        method=event.method,
        url=without_credentials(event.url),
        request_headers=redacted(event.fields, secret),
        request_size=0,
        started=opened - zero,
        phases=phases,
        finished=ended is not None,
        http_version="HTTP/2",
        status=status,
        response_headers=redacted(fields, secret),
        response_size=progress.content_received,
        dial=event.dial,
        stream_id=event.stream_id,
        pushed=True,
        replays=0,
        bytes_sent=progress.bytes_sent,
        bytes_received=progress.bytes_received,
        error="",
        remark=progress.outcome,
    )


def field_value(headers: Fields, wanted: str) -> str:
    """The first value; empty without one.

    :param wanted: in lower case.
    """
    return next((value for name, value in headers if name.lower() == wanted), "")


def redacted(headers: Fields, secret: Set[str]) -> Fields:
    """A copy without the values of some: of cookies the names and attributes are left. Headers that
    are a URL lose the user's name and password.

    :param secret: names in lower case.
    """
    return [(name, _redacted(name.lower(), value, secret)) for name, value in headers]


def _redacted(name: str, value: str, secret: Set[str]) -> str:
    if name in secret:
        return _without_value(name, value)
    return without_credentials(value) if name in _LINKS else value


def _without_value(name: str, value: str) -> str:
    if name == "cookie":
        return "; ".join(map(_without_content, value.split(";")))
    if name == "set-cookie":
        first, *attributes = value.split(";")
        return ";".join([_without_content(first), *filter(None, map(_attribute, attributes))])
    return REDACTED


def _attribute(text: str) -> str:
    """Empty for an unknown one. Behind a comma stands another cookie, if the field was folded."""
    name, _, value = text.partition("=")
    key = name.strip().lower()
    if key not in _ATTRIBUTES:
        return ""
    folded = "=" in value or ("," in value and key != "expires")
    return f"{name}={REDACTED}" if folded else text


def _without_content(cookie: str) -> str:
    name, equals, _ = cookie.strip().partition("=")
    return f"{name}={REDACTED}" if equals else REDACTED


def split_url(url: str) -> SplitResult:
    """As ``urlsplit``; what is no URL is a path."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", url, "", "")


def without_credentials(url: str) -> str:
    """The URL without what stands before ``@``."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def json_text(data: Any, indent: int | None = None) -> str:
    """JSON that can be written as UTF-8. Lone surrogates, which strict parsers refuse, become
    ``?``: a URL may have them, and an error that names a file.
    """
    text = json.dumps(data, indent=indent, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")


def _version(answer: Answered | None) -> str:
    return "" if answer is None else answer.http_version
