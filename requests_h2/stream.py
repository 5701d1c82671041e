"""One exchange: what its stream has received so far."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from .engine.events import DataReceived, HeadersReceived
from .exceptions import ErrorCode, RemoteProtocolError, StreamFault
from .exchange import Exchange
from .fields import (
    Field,
    ResponseFields,
    content_length,
    list_size,
    response_fields,
    trailer_fields,
)
from .flow_control import AdaptiveWindow
from .managed_window import ManagedWindow
from .progress import Progress
from .promises import Promise
from .pump import Waiter
from .receive_buffer import ReceiveBuffer, Segments

MAX_HEADER_LIST_SIZE = 256 << 10
"""Received field sections of one kind on one stream, in octets as RFC 9113 section 6.5.2 counts."""
_MAX_FIELDS = 1000
_MAX_INFORMATIONAL = 100


class Request(NamedTuple):
    """What opens a stream: checked fields, and whether a body follows them.

    ``origin`` is ``host:port``, for messages; ``None`` when it is that of the connection.
    """

    method: str
    fields: Sequence[Field]
    sending: bool
    exchange: Exchange | None = None
    origin: str | None = None

    @property
    def may_be_streamed(self) -> bool:
        """Whether somebody may read the response frame by frame, and not requests all of it."""
        return self.exchange is None or self.exchange.streamed


def checked_size(fields: Sequence[Field]) -> int:
    """The size of a received field section, in octets as RFC 9113 section 6.5.2 counts.

    :raises RemoteProtocolError: when it is larger than we allow.
    """
    size = list_size(fields)
    if size > MAX_HEADER_LIST_SIZE or len(fields) > _MAX_FIELDS:
        raise RemoteProtocolError(
            f"{len(fields)} fields of {size} octets are over the limit",
            ErrorCode.ENHANCE_YOUR_CALM,
        )
    return size


class Stream(Waiter):
    """The receiving half of one exchange; every attribute is guarded by the connection's lock.

    It is in one of three states: open, ``ended`` (END_STREAM arrived) or failed (``fault`` is set).
    """

    __slots__ = (
        "_informational_size",
        "bodiless",
        "buffer",
        "continued",
        "ended",
        "exchange",
        "expected",
        "fault",
        "flow",
        "id",
        "informational",
        "leaves_at",
        "manager",
        "origin",
        "owned",
        "prepaid",
        "progress",
        "promises",
        "proven",
        "received",
        "received_before",
        "response",
        "sending",
        "trailers",
    )

    def __init__(
        self,
        stream_id: int,
        request: Request,
        proven: bool,
        progress: Progress,
        segments: Segments,
        window: int,
        origin: str,
        manager: ManagedWindow | None = None,
    ) -> None:
        super().__init__()
        self.origin = origin  # for messages
        self.proven = proven  # the connection had answered others when this one was opened
        self.id = stream_id
        self.progress = progress
        self.bodiless = request.method == "HEAD"
        self.flow = AdaptiveWindow(window)
        self.manager = manager
        """Who decides about the window instead of ``flow``, as long as anybody reads."""
        self.response: ResponseFields | None = None
        self.trailers: list[tuple[str, str]] = []
        self.exchange = request.exchange
        self.informational: list[ResponseFields] = []
        self.promises: deque[Promise] = deque()  # that were not surfaced yet
        self.buffer = ReceiveBuffer(segments, request.may_be_streamed, manager is not None)
        self.prepaid = 0  # unread octets for which the peer got its credit already
        self.expected: int | None = None
        self.leaves_at = 0  # octets the connection will have sent when all that is queued has left
        self.received_before = 0  # octets on the connection when the request was sent
        self.continued = False  # 100 (Continue) came
        self.ended = False
        self.owned = False
        """Whether it is over and its buffer the reader's alone, who needs no lock for it."""
        self.fault: StreamFault | None = None
        self.sending = request.sending  # our half is open: the upload goes on
        self.received = 0  # octets of content
        self._informational_size = 0

    @property
    def open(self) -> bool:
        return not self.ended and self.fault is None

    @property
    def first(self) -> bool:
        """Whether it is its connection's first."""
        return self.id == 1

    @property
    def answered(self) -> bool:
        """Whether any part of an answer came."""
        return self.response is not None or bool(self.informational)

    @property
    def uncounted(self) -> int:
        """Octets of which nothing was given back, and no manager was asked whether to."""
        begun = 0 if self.manager is None else self.buffer.begun
        return self.buffer.size + begun - self.prepaid

    def ended_frames(self) -> list[int]:
        """The frames to tell the manager about: their sizes, without what was paid for already."""
        frames = []
        for size in self.buffer.take_ended():
            paid = min(size, self.prepaid)
            self.prepaid -= paid
            if size > paid or not size:
                frames.append(size - paid)
        return frames

    @property
    def wants_body(self) -> bool:
        """Whether the upload should go on: a final answer that is not 2xx settles the request."""
        return (
            self.sending
            and self.open
            and (self.response is None or 200 <= self.response.status < 300)
        )

    @property
    def complete(self) -> bool:
        """Whether only END_STREAM can be missing: all of Content-Length is there."""
        return self.ended or self.bodiless or (self.expected is not None and not self.missing)

    @property
    def missing(self) -> int:
        """Octets that Content-Length promised and the peer did not send."""
        return 0 if self.expected is None else self.expected - self.received

    def receive_fields(self, event: HeadersReceived) -> None:
        """Take an informational, final or trailer section.

        :raises RemoteProtocolError: when it is malformed or larger than we allow.
        """
        size = checked_size(event.fields)
        if self.response is not None:
            self.trailers = trailer_fields(event.fields)
        else:
            received = response_fields(event.fields)
            if received.status < 200:
                self.continued = self.continued or received.status == 100
                self._note_informational(received, size)
                return
            self.bodiless = self.bodiless or received.status in (204, 304)
            self.expected = None if self.bodiless else content_length(received.items)
            self.response = received
            self.progress.answer = received
            self.progress.answered_at = time.monotonic()
        self.ended = event.end_stream

    def receive_data(self, event: DataReceived) -> None:
        """Take content.

        :raises RemoteProtocolError: when there is more than Content-Length said.
        """
        size = sum(map(len, event.parts))
        if size and self.bodiless:
            raise RemoteProtocolError("content in a response that must not have any")
        if self.expected is not None and self.received + size > self.expected:
            self._receive_within(self.expected, event.parts)
            raise RemoteProtocolError(f"more than the Content-Length of {self.expected} octets")
        self.received += size
        self.buffer.add(event.parts, size)
        self.ended = self.ended or event.end_stream

    def _receive_within(self, expected: int, parts: Sequence[memoryview | bytes]) -> None:
        """Take the frames before the one that is too much."""
        for part in parts:
            if self.received + len(part) > expected:
                break
            self.received += len(part)
            self.buffer.add((part,), len(part))

    def _note_informational(self, received: ResponseFields, size: int) -> None:
        self.informational.append(received)
        self._informational_size += size
        if (
            len(self.informational) > _MAX_INFORMATIONAL
            or self._informational_size > MAX_HEADER_LIST_SIZE
        ):
            raise RemoteProtocolError(
                "too many informational responses", ErrorCode.ENHANCE_YOUR_CALM
            )
