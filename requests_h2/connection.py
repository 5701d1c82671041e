"""One HTTP/2 connection as its threads use it: the stream table behind a lock and a pump."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from .credit import Credit
from .engine.events import PingAcknowledged
from .exceptions import ErrorCode, FaultKind
from .fork import renew_in_children
from .frame_log import FrameLog, LoggedEngine
from .keepalive import Keepalive
from .options import Options
from .outbound import Answers
from .promises import Promises
from .pump import Pump
from .pushing import Pushing
from .receiving import Receiving
from .sending import Sending
from .stream import Request, Stream
from .stream_table import State, StreamTable
from .timeouts import Deadline
from .tls import Dialled, is_alert
from .transport import Transport
from .viewing import Viewing
from .waiting import Waiting

if TYPE_CHECKING:
    from .inspection import Dial

IDLE_LIMIT = 118.0
"""Seconds after which an unused connection carries no new request: servers and middleboxes drop
idle ones after two minutes."""
_SETTINGS_TIMEOUT = 10.0  # seconds (RFC 9113 section 6.5.3 leaves it to us)
_ANSWER_LIMIT = 64 << 10  # octets of unsent answers that the peer made us queue

# When the last response is dropped in a reference cycle, the collector may finalize its socket
# before the response gives up its stream: so a connection lives until it is closed.
_open_connections: set[Connection] = set()


class Connection:
    """Streams that share one socket. Thread-safe.

    It begins with a reservation, a place for whoever made it: one :meth:`open_reserved` or
    :meth:`cancel_reservation` must follow.

    :param transport: connected, ALPN negotiated h2; owned by this object.
    :param origin: ``host:port``, for messages.
    :param promises: empty; owned by this object.
    :param options: of the adapter.
    :param dial: how it was made, for those who inspect it.
    """

    def __init__(
        self,
        transport: Transport,
        engine: LoggedEngine,
        origin: str,
        dialled: Dialled,
        promises: Promises,
        options: Options,
        dial: Dial,
    ) -> None:
        self.origin = origin
        self.dialled = dialled
        self._pump = Pump(transport, self)
        self._guard = self._pump.guard
        # All below is guarded by the pump's lock.
        self._engine = engine
        credit = Credit(engine, origin, options.callers_manager)
        self._table = StreamTable(engine, origin, promises, credit)
        self._table.reserved = 1
        self._news = self._table.changes.news
        name = f"{origin} #{dial.connection_id}"
        engine.frame_log = FrameLog(name, options.log_fields, self._news)
        self._acknowledge_by = Deadline(_SETTINGS_TIMEOUT)
        self._answers = Answers()
        self.keepalive = Keepalive(engine, self._table, self._pump, options)
        """Its PINGs, and what its silence tells."""
        self.waiting = Waiting(self._pump, self._table, self.keepalive)
        """What those use who wait for something."""
        # Appended without the lock, by finalizers: see give_up_later.
        self._given_up: deque[Stream | None] = deque()
        self.receiving = Receiving(self._pump, credit, self._flush_locked, self.waiting)
        """What readers of its streams use."""
        self.sending = Sending(self._pump, self._table, engine, self._flush_locked, self.waiting)
        """What uploads on its streams use."""
        self.pushing = Pushing(self._pump, self._table, promises, engine, self._flush_locked)
        """What those use who want pushes."""
        self.viewing = Viewing(self._pump, self._table, engine, dial)
        """What those use who inspect it."""
        # Nobody may ever look at a connection again that waits for its pushes to be claimed.
        for other in list(_open_connections):
            other.pushing.expire()
        _open_connections.add(self)
        renew_in_children(self)
        # The preface leaves together with the first request.
        self._pump.queue_locked(engine.take_output())

    @property
    def sock(self) -> Any:
        """The socket, for its certificate and addresses. Never read, write or close it."""
        return self._pump.sock

    @property
    def greeted(self) -> bool:
        """Whether the server has sent SETTINGS, and so speaks HTTP/2."""
        return self._engine.settings_received

    @property
    def usable(self) -> bool:
        """Whether it takes new streams, as far as is known without a look at the socket."""
        return self._table.state is State.OPEN

    # -- a place for a stream ----------------------------------------------------------------------

    def look(self) -> bool:
        """Whether a stream may be opened, once GOAWAY, EOF and PING in the socket were seen."""
        with self._guard:
            return self._look_locked()

    def cancel_reservation(self) -> None:
        """What the maker of the connection calls instead of :meth:`open_reserved`."""
        with self._guard:
            self._table.reserved -= 1
            self._table.changes.slots = True
            self._flush_locked()

    # -- one stream --------------------------------------------------------------------------------

    def open_stream(self, request: Request, deadline: Deadline) -> Stream | None:
        """Send a request's HEADERS, with END_STREAM when it has no body; ``None`` without a place.

        :param deadline: of the wait for a silent server to show that it lives.
        :raises InvalidHeader: when the fields are over the peer's limit; nothing is sent.
        """
        if self.keepalive.doubtful and self.look():
            self.keepalive.dispel_doubt(deadline)
        with self._guard:
            return self._open_locked(request) if self._look_locked() else None

    def open_reserved(self, request: Request) -> Stream:
        """The same for the maker of the connection, which uses up its reservation.

        :raises InvalidHeader: as above.
        :raises StreamFault: NOT_SENT when no stream can be opened after all.
        """
        with self._guard:
            self._table.reserved -= 1
            self._table.changes.slots = True
            self._pump.poll_locked()  # the end may have come already
            self._table.require_slot()
            return self._open_locked(request)

    def close_stream(self, stream: Stream, error_code: int = ErrorCode.CANCEL) -> None:
        """Give a stream up: RST_STREAM unless it is over, its unread octets returned."""
        if stream.owned:
            return
        with self._guard:
            self._close_stream_locked(stream, error_code)

    def reprioritize(self, stream: Stream, priority: bytes) -> None:
        """Send PRIORITY_UPDATE (RFC 9218 section 7.1), unless the stream is over.

        :param priority: a Priority field's value, in ASCII.
        """
        with self._guard:
            self._engine.update_priority(stream.id, priority)
            self._flush_locked()

    # -- the end -----------------------------------------------------------------------------------

    def drain(self, reason: str) -> None:
        """Take no new streams; close when the last one ends, which may be now. Pushes that nobody
        has claimed are dropped.
        """
        with self._guard:
            self._table.drain(reason)
            self.pushing.drop_all_locked()
            self._flush_locked()

    def give_up_later(self, stream: Stream | None) -> None:
        """What finalizers call instead of :meth:`close_stream`, or (``None``) :meth:`drain`.

        They run wherever the garbage collector does, which may be inside this very lock; so this
        never waits for it. If somebody holds it, the work is done when it is next let go.
        """
        self._given_up.append(stream)
        self._settle_given_up()

    def renew_after_fork(self) -> None:
        """In a forked child: everything here is over, and the parent must not notice."""
        self._engine.frame_log.end()
        self._pump.renew_after_fork()
        self._guard = self._pump.guard
        self.waiting.renew_after_fork()
        self._given_up.clear()
        self._table.renew_after_fork()
        self._news = self._table.changes.news  # the parent tells what was in the old one
        _open_connections.discard(self)

    # -- the pump's owner ------------------------------------------------------------------------

    def receive_locked(self, data: memoryview) -> None:
        self.keepalive.heard_locked()
        for event in self._engine.receive(data):
            if isinstance(event, PingAcknowledged):
                self.keepalive.answered_locked(event)
            else:
                self._table.dispatch(event)
        self.pushing.expire_locked()
        if self._too_many_answers_locked():
            self._engine.go_away(ErrorCode.ENHANCE_YOUR_CALM)
            self._table.fail(FaultKind.PROTOCOL, "the server floods us and reads no answers")
        if self._table.state is State.CLOSED:
            self._close_locked()

    def alarm_locked(self) -> None:
        if error := self.keepalive.alarm_locked():
            self.lost_locked(error)

    def reuse_locked(self) -> None:
        self._table.keep_data()

    def lost_locked(self, error: OSError | None) -> None:
        text = "the server closed the connection" if error is None else f"connection lost: {error}"
        kind = FaultKind.TLS if is_alert(error) else FaultKind.CONNECTION_LOST
        self._table.fail(kind, text, cause=error)
        self._close_locked(discard=True)

    def interrupted_locked(self) -> None:
        self._table.fail(FaultKind.LOCAL, "interrupted in the middle of an operation")
        # What is queued may have been sent already: nothing goes out twice.
        self._close_locked(discard=True)

    def settle_locked(self) -> None:
        self.receiving.pay_locked()
        while self._given_up:
            stream = self._given_up.popleft()
            if stream is None:
                self._table.drain("its pool is gone")
                self.pushing.drop_all_locked()
            else:
                self._close_stream_locked(stream, ErrorCode.CANCEL)
        # After GOAWAY, when no stream is left, a server need not answer PING any more.
        pinging = self.keepalive.pings and self._table.goaway is None
        if self._table.state is State.DRAINING and self._table.unused and not pinging:
            self._engine.go_away(ErrorCode.NO_ERROR)
            self._table.finish("no streams are left")
            self._close_locked()
        self.keepalive.settle_locked()
        self.waiting.wake_locked()

    @property
    def has_news(self) -> bool:
        return bool(self._news.messages)

    def announce(self) -> None:
        # A finalizer may have run while the lock was held, after the last look at its queue.
        if self._given_up:
            self._settle_given_up()
        if self._news.messages and not self._pump.pumps_here:
            self._news.emit()

    # -- helpers ---------------------------------------------------------------------------------

    def _settle_given_up(self) -> None:
        while self._given_up and self._pump.lock.acquire(blocking=False):
            try:
                self.settle_locked()
            finally:
                self._pump.lock.release()

    def _too_many_answers_locked(self) -> bool:
        """Queue what the engine answers; whether a peer that reads nothing made us queue a lot."""
        answer = self._engine.take_output()
        if not answer:
            return False  # it was not too much before
        self._pump.queue_locked(answer)
        self._answers.add(self._pump.sent + self._pump.unsent, len(answer))
        return self._answers.size(self._pump.sent) > _ANSWER_LIMIT

    def _look_locked(self) -> bool:
        if self._table.state is not State.OPEN:
            return False
        self._pump.poll_locked()
        self.pushing.expire_locked()
        if self._table.idle_longer_than(IDLE_LIMIT):
            self._table.drain("idle for too long")
        if not self._engine.settings_acknowledged and self._acknowledge_by.expired:
            self._table.drain("the server does not acknowledge SETTINGS")
        return self._table.has_slot

    def _open_locked(self, request: Request) -> Stream:
        stream = self._table.open(request)
        stream.received_before = self._pump.received
        self._flush_locked(stream)
        return stream

    def _close_stream_locked(self, stream: Stream, error_code: int) -> None:
        if stream.complete and stream.open:
            self._pump.poll_locked()  # END_STREAM is most likely here; then nothing is reset
        self._table.close(stream, error_code)
        self._flush_locked()

    def _flush_locked(self, stream: Stream | None = None) -> None:
        """Send what the engine has, as far as the socket takes it: for ``stream`` or for anyone."""
        self._pump.queue_locked(self._engine.take_output())
        if stream is not None:
            stream.leaves_at = self._pump.sent + self._pump.unsent
        self._pump.flush_locked()

    def _close_locked(self, *, discard: bool = False) -> None:
        if not discard:
            self._pump.queue_locked(self._engine.take_output())
        self._pump.close_locked(discard=discard)
        self._engine.frame_log.end()
        _open_connections.discard(self)
