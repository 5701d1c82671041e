"""Whether the server is still there: what its silence tells, and the PINGs that ask it.

A server that vanished without a word looks like one that thinks. Only who has set ``ping_interval``
has it asked, because some servers count PINGs as abuse; so there is never more than one without an
answer, nor more than one in an interval, and only

- while a thread waits for something of an open stream, or for the answer to a PING of its own, and
  nothing came for the interval, and
- before a request is entrusted to a connection that was silent for the interval, or on which one
  has timed out in silence.

Any octet is an answer. Without one in ``ping_timeout`` the connection is lost.
"""

from __future__ import annotations

import itertools
import math
import time

from .engine.base import Engine
from .engine.events import PingAcknowledged
from .options import Options
from .pump import Pump, Waiter
from .stream import Stream
from .stream_table import State, StreamTable
from .timeouts import Deadline

_MAX_SILENT_TIMEOUTS = 2  # in a row, without an octet from the peer: one may be a slow answer


class Ping(Waiter):
    """A PING that somebody waits for; guarded by the connection's lock.

    :param data: its 8 octets.
    """

    __slots__ = ("data", "received_before", "round_trip", "sent_at")

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data
        self.sent_at = 0.0
        self.received_before = 0  # octets on the connection
        self.round_trip: float | None = None  # seconds, once it is answered


class Keepalive:
    """Looks after one connection. Its lock guards this, but for :meth:`ping` and what says so.

    Times are those of the monotonic clock.
    """

    def __init__(self, engine: Engine, table: StreamTable, pump: Pump, options: Options) -> None:
        self._engine = engine
        self._table = table
        self._pump = pump
        self._interval = options.ping_interval
        self._timeout = options.ping_timeout
        self._silent_timeouts = 0
        self._numbers = itertools.count(1)
        self.pings: dict[bytes, Ping] = {}
        """Those that somebody waits for, by their octets."""
        self._doubters: set[Waiter] = set()
        self._heard_at = time.monotonic()
        self._asked_at = -math.inf
        self._moving_from: float = math.inf  # octets sent by then, when the socket took no more

    @property
    def doubtful(self) -> bool:
        """Whether the server is to be asked before the next request. Needs no lock."""
        return self._interval is not None and time.monotonic() - self._heard_at > self._interval

    @property
    def answered(self) -> bool:
        """Whether something came since the server was last asked."""
        return self._heard_at >= self._asked_at

    def heard_locked(self) -> None:
        """Something came from the server."""
        self._silent_timeouts = 0
        self._heard_at = time.monotonic()
        for waiter in self._doubters:
            self._pump.wake_locked(waiter)

    def timed_out_locked(self, stream: Stream, timeout: float | None) -> None:
        """A stream timed out, and is about to be reset; the connection may be at fault.

        Others on it go on until their own timeouts: theirs may be longer with good reason.
        """
        self._table.note_timeout(stream, timeout)
        silent = self._pump.received == stream.received_before
        if silent:
            self._silent_timeouts += 1
        if timeout is not None and self._pump.stuck_for_locked(timeout):
            self._table.drain(f"the server read nothing for {timeout} seconds")
        elif not self._engine.settings_received:
            self._table.drain("the server has never said anything")
        elif self._silent_timeouts >= _MAX_SILENT_TIMEOUTS:
            self._table.drain("the server says nothing any more")
        elif silent and time.monotonic() - self._asked_at > (self._interval or math.inf):
            self._ask_locked()
            self._heard_at = -math.inf  # doubtful, until something comes

    def dispel_doubt(self, deadline: Deadline) -> None:
        """Have the server answer PING, unless what the socket held has dispelled it by now; or let
        it take no more requests.

        :param deadline: of a request, which is left half of the time to dial.
        """
        waiter, left = Waiter(), deadline.remaining()
        half = Deadline(None if left is None else left / 2)
        with self._pump.guard:
            if not self.doubtful:
                return
            self._ask_locked()
            self._doubters.add(waiter)
        try:
            answered = self._pump.wait(waiter, lambda: self.answered, half)
        finally:
            with self._pump.guard:
                self._doubters.discard(waiter)
        if not answered:
            with self._pump.guard:
                self._table.drain("the server has not answered PING")

    def settle_locked(self) -> None:
        """Have :meth:`alarm_locked` called in time."""
        if self._interval is not None:
            self._pump.set_alarm_locked(self._due_locked())

    def alarm_locked(self) -> TimeoutError | None:
        """Ask, or tell what the connection has died of, if it is time for that."""
        now = time.monotonic()
        if now < self._due_locked():
            return None
        if self.answered:
            self._ask_locked()
            return None
        if self._pump.sent > self._moving_from:
            # The socket was full and has taken more since: what PING waits behind is on its way.
            # Slow is not dead.
            self._await_locked()
            return None
        return TimeoutError(f"the server did not answer PING within {self._timeout:g} seconds")

    def ping(self, timeout: float | None) -> float:
        """Send PING (RFC 9113 section 6.7) and wait for its answer.

        A server that says nothing at all meanwhile gets no more requests on this connection: unlike
        a response, the answer needs no work. What waits there goes on waiting.

        :returns: seconds until the answer came, from when the PING was ready to leave.
        :raises TimeoutError: after ``timeout`` seconds.
        :raises StreamFault: when the connection ended before.
        """
        ping = Ping(self._octets())
        try:
            with self._pump.guard:
                self.pings[ping.data] = ping
                ping.received_before = self._pump.received
                ping.sent_at = time.monotonic()
                self._send_locked(ping.data)
            self._pump.wait(
                ping, lambda: ping.round_trip is not None, Deadline(timeout), unguarded=True
            )
        finally:
            with self._pump.guard:
                self.pings.pop(ping.data, None)
        if ping.round_trip is not None:
            return ping.round_trip
        with self._pump.guard:
            if self._table.state is State.CLOSED:
                raise self._table.fault
            if self._pump.received == ping.received_before:
                self._table.drain(f"the server did not answer PING within {timeout} seconds")
        raise TimeoutError("timed out")

    def answered_locked(self, event: PingAcknowledged) -> None:
        """An answer came, maybe after everybody has stopped to wait for it."""
        if (ping := self.pings.get(event.data)) is not None:
            ping.round_trip = time.monotonic() - ping.sent_at
            self._pump.wake_locked(ping)

    def _due_locked(self) -> float:
        """When :meth:`alarm_locked` has something to do."""
        if self._interval is None:
            return math.inf
        if not self.answered:
            return self._asked_at + self._timeout
        # Servers see no use in a PING without a stream, unless the caller does.
        in_use = self._engine.open_streams or self._engine.pushed_streams or self.pings
        return self._heard_at + self._interval if in_use else math.inf

    def _ask_locked(self) -> None:
        """Send PING, unless an answer is awaited already."""
        if self.answered:
            self._send_locked(self._octets())

    def _octets(self) -> bytes:
        return next(self._numbers).to_bytes(8, "big")

    def _send_locked(self, data: bytes) -> None:
        answered = self.answered
        self._engine.ping(data)
        self._pump.queue_locked(self._engine.take_output())
        self._pump.flush_locked()
        if answered:
            self._await_locked()

    def _await_locked(self) -> None:
        """From now on, an answer is awaited."""
        self._asked_at = time.monotonic()
        self._moving_from = self._pump.sent if self._pump.unsent else math.inf
