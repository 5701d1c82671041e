"""Whether the server is still there: what its silence tells, and the PINGs that ask it."""

from __future__ import annotations

import itertools
import time

from .engine.base import Engine, PingAcknowledged
from .pump import Pump, Waiter
from .stream import Stream
from .stream_table import State, StreamTable
from .timeouts import Deadline

_MAX_SILENT_TIMEOUTS = 2  # in a row, without an octet from the peer: one may be a slow answer


class Ping(Waiter):
    """A PING that somebody waits for; guarded by the connection's lock.

    :param number: makes its octets its own.
    """

    __slots__ = ("data", "received_before", "round_trip", "sent_at")

    def __init__(self, number: int) -> None:
        super().__init__()
        self.data = number.to_bytes(8, "big")
        self.sent_at = 0.0
        self.received_before = 0  # octets on the connection
        self.round_trip: float | None = None  # seconds, once it is answered


class Keepalive:
    """Looks after one connection, whose lock guards it."""

    def __init__(self, engine: Engine, table: StreamTable, pump: Pump) -> None:
        self._engine = engine
        self._table = table
        self._pump = pump
        self._silent_timeouts = 0
        self._numbers = itertools.count(1)
        self.pings: dict[bytes, Ping] = {}
        """Those that somebody waits for, by their octets."""

    def heard_locked(self) -> None:
        """Something came from the server."""
        self._silent_timeouts = 0

    def timed_out_locked(self, stream: Stream, timeout: float | None) -> None:
        """A stream timed out; the connection may be at fault.

        Others on it go on until their own timeouts: theirs may be longer with good reason.
        """
        self._table.note_timeout(stream, timeout)
        if self._pump.received == stream.received_before:
            self._silent_timeouts += 1
        if timeout is not None and self._pump.stuck_for_locked(timeout):
            self._table.drain(f"the server read nothing for {timeout} seconds")
        elif not self._engine.settings_received:
            self._table.drain("the server has never said anything")
        elif self._silent_timeouts >= _MAX_SILENT_TIMEOUTS:
            self._table.drain("the server says nothing any more")

    def ping(self, timeout: float | None) -> float:
        """Send PING (RFC 9113 section 6.7) and wait for its answer.

        A server that says nothing at all meanwhile gets no more requests on this connection: unlike
        a response, the answer needs no work. What waits there goes on waiting.

        :returns: seconds until the answer came, from when the PING was ready to leave.
        :raises TimeoutError: after ``timeout`` seconds.
        :raises StreamFault: when the connection ended before.
        """
        ping = Ping(next(self._numbers))
        try:
            with self._pump.guard:
                self._send_locked(ping)
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

    def _send_locked(self, ping: Ping) -> None:
        self.pings[ping.data] = ping
        ping.received_before = self._pump.received
        ping.sent_at = time.monotonic()
        self._engine.ping(ping.data)
        self._pump.queue_locked(self._engine.take_output())
        self._pump.flush_locked()
