"""The streams of one connection, and what the peer's frames do to them.

Neither locks nor I/O: the connection calls everything here with its lock held, and afterwards, in
one place, wakes who waits for what changed (:attr:`StreamTable.changes`).
"""

from __future__ import annotations

import enum
import logging
import time
from typing import Any

from urllib3.exceptions import InvalidHeader

from .credit import Credit
from .ending import Ending
from .engine.base import Engine
from .engine.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    PushPromised,
    SendWindowOpened,
    StreamReset,
)
from .exceptions import (
    ErrorCode,
    FaultKind,
    RemoteProtocolError,
    StreamFault,
    error_name,
    on_connection,
)
from .fields import list_size
from .news import News
from .promises import Promises
from .receive_buffer import Segments
from .stream import Request, Stream, checked_size

log = logging.getLogger(__name__)

_MAX_REFUSALS = 2
_OWNED_LIMIT = 64 << 10  # octets of a complete response that its reader gets without the lock


class State(enum.Enum):
    """The life of a connection; it only moves forward."""

    OPEN = "takes new streams"
    DRAINING = "finishes the streams it has"
    CLOSED = "has no use for its socket"


class Changes:
    """What waiters have to hear about since it was last looked at."""

    __slots__ = ("can_send", "news", "slots", "streams")

    def __init__(self) -> None:
        self.streams: set[Stream] = set()
        self.can_send = False  # windows opened: every writer looks again
        self.slots = False  # a place for a stream became free, or none ever will
        self.news = News()  # for the logs, outside the lock


class StreamTable:
    """See the module's docstring.

    :param origin: ``host:port``, for messages.
    :param credit: owned by this object.
    """

    def __init__(self, engine: Engine, origin: str, promises: Promises, credit: Credit) -> None:
        self._engine = engine
        self._origin = origin
        self._promises = promises
        self.credit = credit
        self._streams: dict[int, Stream] = {}
        self._segments = Segments()
        self._holders: list[Stream] = []  # streams with views of the read buffer
        self._proven = False  # whether it has ever answered a request
        self._ending = Ending(origin)
        self._refusals = 0
        self._idle_since = time.time()  # wall clock: a suspended host's idle time counts
        self.state = State.OPEN
        self.reserved = 0
        self.changes = Changes()

    @property
    def has_slot(self) -> bool:
        """Whether another stream may be opened now (RFC 9113 section 5.1.2)."""
        busy = self._engine.open_streams + self.reserved
        return self.state is State.OPEN and busy < self._engine.max_concurrent_streams

    @property
    def goaway(self) -> GoAwayReceived | None:
        """The last that the server has sent."""
        return self._ending.goaway

    @property
    def unused(self) -> bool:
        return not self._streams and not self.reserved and not self._engine.open_streams

    def idle_longer_than(self, seconds: float) -> bool:
        return abs(time.time() - self._idle_since) > seconds and self.unused

    def require_slot(self) -> None:
        """:raises StreamFault: NOT_SENT when no stream can be opened."""
        if not self.has_slot:
            raise self._ending.not_sent(self._proven)

    def open(self, request: Request) -> Stream:
        """Queue a request's HEADERS, with END_STREAM when it has no body. There must be a slot.

        :raises InvalidHeader: when the fields are over the peer's limit; nothing is queued.
        """
        limit = self._engine.max_header_list_size
        if limit is not None and (size := list_size(request.fields)) > limit:
            raise InvalidHeader(
                f"the request's header list has {size} octets, "
                f"{self._name(request.origin)} takes {limit} "
                "(SETTINGS_MAX_HEADER_LIST_SIZE); send fewer or shorter headers or cookies"
            )
        if request.exchange is not None and request.exchange.wants_pushes():
            self._engine.set_push(True)
        stream_id = self._engine.open_stream(request.fields, end_stream=not request.sending)
        stream = self._new_stream(stream_id, request, proven=self._proven)
        self._log("%s: stream %d opened: %s", stream.origin, stream_id, request.method)
        if not self._engine.has_stream_ids:
            self.drain("stream identifiers are used up")
        return stream

    def _new_stream(self, stream_id: int, request: Request, proven: bool) -> Stream:
        origin = self._name(request.origin)
        window, manager = self._engine.stream_window, self.credit.manager(stream_id, origin)
        progress = self._engine.progress(stream_id)
        if not request.sending:
            progress.sent_at = progress.opened_at
        segments = self._segments
        stream = Stream(stream_id, request, proven, progress, segments, window, origin, manager)
        self._streams[stream_id] = stream
        return stream

    def end_sending(self, stream: Stream) -> None:
        """Our half is done, or the rest of it is not wanted; the response may go on."""
        stream.sending = False
        stream.progress.sent_at = stream.progress.sent_at or time.monotonic()
        self._settle(stream)

    def close(self, stream: Stream, error_code: int) -> None:
        """Give a stream up: RST_STREAM unless it is over, its unread octets returned."""
        if stream.owned:
            return
        self._engine.reset_stream(stream.id, error_code)
        unread = stream.uncounted
        stream.buffer.clear()
        stream.prepaid = 0
        stream.manager = None
        self.credit.give_back(None, unread)
        self._fail(stream, FaultKind.LOCAL, "closed before its end", error_code)

    def keep_data(self) -> None:
        """The buffer that was received into is about to be used again."""
        for stream in self._holders:
            if not stream.owned:
                stream.buffer.keep()
        self._holders.clear()

    def drain(self, reason: str) -> None:
        """Take no new streams."""
        if self.state is State.OPEN:
            self.state = State.DRAINING
            self.changes.slots = True
            self._log("%s: connection takes no new streams: %s", self._origin, reason)

    def finish(self, reason: str) -> None:
        """Nothing more will be received."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self.changes.slots = True
            self._log("%s: connection closed: %s", self._origin, reason)

    def fail(
        self,
        kind: FaultKind,
        text: str,
        error_code: int | None = None,
        cause: OSError | None = None,
    ) -> None:
        """End every stream that has not ended, and the connection."""
        if self.state is not State.CLOSED:
            text = self._ending.failed(kind, text, error_code, cause)
            self.finish(text)
            for stream in list(self._streams.values()):
                self._fail(stream, kind, text, error_code, cause=cause)

    @property
    def fault(self) -> StreamFault:
        """Why the connection, which is closed, is of no use to who has no stream on it: NOT_SENT
        when nothing went wrong.
        """
        return self._ending.fault

    def renew_after_fork(self) -> None:
        """In a forked child: the streams fail; nothing is sent."""
        self.fail(FaultKind.LOCAL, "the connection belongs to the process that forked this one")
        self.reserved = 0
        self.changes = Changes()
        self.credit.renew_after_fork()

    # -- events ----------------------------------------------------------------------------------

    def dispatch(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self._data_received(event)
        elif isinstance(event, HeadersReceived):
            self._headers_received(event)
        elif isinstance(event, SendWindowOpened):
            self.changes.can_send = self.changes.slots = True
        elif isinstance(event, StreamReset):
            self._reset_received(event)
        elif isinstance(event, GoAwayReceived):
            self._goaway_received(event)
        elif isinstance(event, PushPromised):
            self._push_promised(event)
        elif isinstance(event, ConnectionFailed):
            self._connection_failed(event)

    def _headers_received(self, event: HeadersReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        try:
            stream.receive_fields(event)
        except RemoteProtocolError as error:
            self._refuse(stream, error)
        self._proven = self._proven or stream.response is not None
        self._settle(stream)

    def _data_received(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            self.credit.give_back(None, event.flow_size)
            return
        held = stream.buffer.size
        try:
            stream.receive_data(event)
        except RemoteProtocolError as error:
            self._refuse(stream, error)
        # Padding, and data that nobody will read, goes back at once.
        self._holders.append(stream)
        if unkept := event.flow_size - (stream.buffer.size - held):
            self.credit.give_back(stream, unkept)
        small = stream.buffer.size <= _OWNED_LIMIT and stream.manager is None
        if stream.ended and not stream.sending and small:
            self.credit.give_back(None, stream.buffer.size - stream.prepaid)
            stream.buffer.own()
            stream.owned = True
        self._settle(stream)

    def _push_promised(self, event: PushPromised) -> None:
        parent = self._streams.get(event.parent_id)
        try:
            checked_size(event.fields)
            request = self._promises.check(parent, event.fields, self._engine.pushed_streams)
        except RemoteProtocolError as error:
            self._engine.progress(event.stream_id)  # which nobody else will ask for
            self._engine.reset_stream(event.stream_id, error.error_code)
            self._log("%s: stream %d refused: %s", self._origin, event.stream_id, error)
            return
        assert parent is not None
        answered = Request(request.method, event.fields, sending=False)
        stream = self._new_stream(event.stream_id, answered, proven=True)
        self._promises.add(stream, parent, request)
        stream.origin = parent.origin
        self._log("%s: stream %d pushed: %s", stream.origin, stream.id, request.method)
        self._settle(parent)

    def _reset_received(self, event: StreamReset) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        if not event.remote:
            text = f"{event.reason}; reset with {error_name(event.error_code)}"
            self._fail(stream, FaultKind.PROTOCOL, text, event.error_code)
            return
        text = f"reset by the server with {error_name(event.error_code)}"
        self._fail(stream, FaultKind.of_reset(event.error_code), text, event.error_code)
        if event.error_code == ErrorCode.REFUSED_STREAM:
            self._refusals += 1
            if self._refusals >= _MAX_REFUSALS:
                self.drain("the server refused two streams")
        elif event.error_code == ErrorCode.PROTOCOL_ERROR:
            self.drain("the server saw a protocol error")

    def _goaway_received(self, event: GoAwayReceived) -> None:
        text = self._ending.goaway_received(event)
        self._log("%s: %s, last stream %d", self._origin, text, event.last_stream_id)
        self.drain(text)
        for stream in list(self._streams.values()):
            # What it says is about the streams that we open (RFC 9113 section 6.8).
            if stream.id % 2 and stream.id > event.last_stream_id:
                self._fail(
                    stream,
                    FaultKind.of_goaway(event.error_code),
                    f"not processed: the server sent {text}",
                    event.error_code,
                    progress=event.last_stream_id > 0,
                )

    def _connection_failed(self, event: ConnectionFailed) -> None:
        self.fail(
            FaultKind.PROTOCOL,
            f"the server broke the protocol: {event.reason} ({error_name(event.error_code)})",
            event.error_code,
        )

    # -- helpers ---------------------------------------------------------------------------------

    def _refuse(self, stream: Stream, error: RemoteProtocolError) -> None:
        self._engine.reset_stream(stream.id, error.error_code)
        text = f"malformed response: {error}; reset with {error_name(error.error_code)}"
        self._fail(stream, FaultKind.PROTOCOL, text, error.error_code)

    def _fail(
        self,
        stream: Stream,
        kind: FaultKind,
        text: str,
        error_code: int | None,
        progress: bool = False,
        cause: OSError | None = None,
    ) -> None:
        """End both halves. A response that is complete stands: RFC 9113 section 8.1."""
        stream.sending = False
        if stream.open:
            where = f"{stream.origin}: stream {stream.id}"
            stream.fault = StreamFault(kind, where, text, error_code, progress, cause)
        self._settle(stream)

    def _settle(self, stream: Stream) -> None:
        """Something happened to the stream; when it is over, it leaves the table."""
        self.changes.streams.add(stream)
        if stream.open:
            return
        progress = stream.progress
        if progress.ended_at is None:
            progress.ended_at = time.monotonic()
            progress.content_received = stream.received
            if stream.fault is not None:
                progress.outcome = stream.fault.reason
        if stream.sending or self._streams.pop(stream.id, None) is None:
            return
        if self.state is not State.CLOSED:
            # No-op but for a stream whose response is complete while its request is not.
            self._engine.reset_stream(stream.id, ErrorCode.CANCEL)
        self._idle_since = time.time()
        self.changes.slots = True
        outcome = progress.outcome or (stream.response and stream.response.status)
        text = "%s: stream %d ended: %s, %d octets"
        self._log(text, stream.origin, stream.id, outcome, stream.received)

    def note_timeout(self, stream: Stream, seconds: float | None) -> None:
        self._log("%s: stream %d: timed out after %s s", stream.origin, stream.id, seconds)

    def _name(self, origin: str | None) -> str:
        """What messages call the origin of a request."""
        if origin is None or origin == self._origin:
            return self._origin
        return on_connection(origin, self._origin)

    def _log(self, *message: Any) -> None:
        if log.isEnabledFor(logging.DEBUG):
            self.changes.news.add(log, *message)
