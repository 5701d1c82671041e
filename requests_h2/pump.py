"""Bytes in and out of one socket, moved by whichever thread waits for something.

There is no thread behind a connection. A thread that has to wait takes the *pump* role when it is
free: it polls outside the lock, then, under the lock, reads what there is, hands it to the owner
and flushes. Everyone else waits for a bell of their own. It rings when the pump has something for
them, or when it leaves and one of them is to take over. A thread that changes what the pump polls
or waits for rouses it: by output that the socket did not take, or when it closes a stream.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from .outbound import Outbound
from .poller import Poller
from .timeouts import Deadline
from .tls import TLS_RECORD
from .transport import Transport

_READ_BUFFER = 128 << 10  # octets that are handed up at once: few enough for a processor's cache
_SEND_SIZE = 4 * TLS_RECORD  # OpenSSL tells of no progress within one write
_FILLS_PER_TURN = 4  # of the buffer; then others get the lock
_MAX_POLL = 3600.0  # seconds; poll(2) takes no more than 2**31 milliseconds


class Waiter:
    """Something a thread waits for; guarded by the pump's lock.

    ``writing`` waiters are also woken when there is room to write.
    """

    __slots__ = ("writing",)

    def __init__(self) -> None:
        self.writing = False


class Owner(Protocol):
    """The protocol above a pump. All but the last two are called with the lock held."""

    def receive_locked(self, data: memoryview) -> None:
        """Bytes arrived; answers go through :meth:`Pump.queue_locked`. The view may be used until
        :meth:`reuse_locked`.
        """

    def reuse_locked(self) -> None:
        """What was last received is about to be overwritten."""

    def lost_locked(self, error: OSError | None) -> None:
        """The peer closed (``None``) or the connection broke."""

    def interrupted_locked(self) -> None:
        """Something like KeyboardInterrupt struck while the lock was held."""

    def alarm_locked(self) -> None:
        """The time of :meth:`Pump.set_alarm_locked` has come, and what there was is read."""

    def settle_locked(self) -> None:
        """The lock is about to be released."""

    @property
    def has_news(self) -> bool:
        """Whether :meth:`announce` has something to call others' code with."""

    def announce(self) -> None:
        """The lock was released: the place for whatever must not run under it, nor, if it may wait
        for anything, in the pump's role.
        """


class Guard:
    """``with pump.guard``: the lock, and what follows each time it was held."""

    __slots__ = ("_lock", "_owner")

    def __init__(self, lock: threading.Lock, owner: Owner) -> None:
        self._lock = lock
        self._owner = owner

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is not None and not issubclass(kind, Exception):
                # KeyboardInterrupt and the like, between any two steps: what has been sent and
                # what was noted down may differ by now.
                self._owner.interrupted_locked()
            self._owner.settle_locked()
        finally:
            self._lock.release()
        self._owner.announce()


class Pump:
    """See the module's docstring.

    :param transport: never blocks; used only under the lock, but for ``fileno``.
    """

    def __init__(self, transport: Transport, owner: Owner) -> None:
        self.lock = threading.Lock()
        self.guard = Guard(self.lock, owner)
        self._owner = owner
        self._transport = transport  # lock
        self._outbound = Outbound()  # lock
        self._read_buffer = memoryview(bytearray(_READ_BUFFER))  # lock
        # Lock; in order of arrival. Who rings takes the bell out.
        self._bells: dict[Waiter, threading.Lock] = {}
        self._heir: Waiter | None = None  # lock; who was rung for to take the role
        self._pumper = 0  # lock; the thread that has the role, 0 when it is free
        self._pumping_for: Waiter | None = None  # lock; what that thread waits for
        self._polls_writing = False  # lock; whether it polls for room to write
        self._poller = Poller(transport)
        self._drained = True  # whoever pumps, or the lock while nobody does
        self._alarm = math.inf  # lock; when the owner is to be called, on the monotonic clock
        self._moved_at = time.monotonic()  # lock; when output was last empty or sent
        self._closed = False  # lock
        self.sent = 0  # lock; octets that the socket has taken
        self.received = 0  # lock; octets that it gave

    @property
    def sock(self) -> Any:
        return self._transport.sock

    @property
    def unsent(self) -> int:
        """Octets that the socket has not taken yet."""
        return self._outbound.size

    @property
    def pumps_here(self) -> bool:
        """Whether this thread has the pump's role."""
        return self._pumper == threading.get_ident()

    def stuck_for_locked(self, seconds: float) -> bool:
        """Whether there is output of which the socket took nothing for so long."""
        return self._outbound.size > 0 and time.monotonic() - self._moved_at >= seconds

    def set_alarm_locked(self, at: float) -> None:
        """Have the owner called at this time of the monotonic clock, if somebody waits then."""
        if at < self._alarm and self._pumper:
            self._rouse_locked()  # it polls until later
        self._alarm = at

    def queue_locked(self, data: bytes) -> None:
        if not self._outbound.size:
            self._moved_at = time.monotonic()
        self._outbound.append(data)

    def flush_locked(self) -> None:
        """Send what the socket takes now."""
        before = self.sent
        while self._outbound.size and not self._closed:
            try:
                size = self._transport.send(self._outbound.head[:_SEND_SIZE])
            except OSError as error:
                self._write_failed_locked(error)
                return
            if not size:
                break
            self._outbound.advance(size)
            self.sent += size
        if self.sent > before:
            self._moved_at = time.monotonic()
            self.wake_writers_locked()

    def poll_locked(self) -> None:
        """Read all there is without waiting, and send what answers it, unless another thread is at
        it anyway.
        """
        if self._pumper or self._closed:
            return
        if not self._drained or self._transport.pending() or self._poller.readable():
            self._read_locked(to_the_end=True)
            self.flush_locked()

    def close_locked(self, *, discard: bool = False) -> None:
        """End the socket. The thread that polls it wakes, and frees the descriptor.

        :param discard: send nothing of what is queued.
        """
        if self._closed:
            return
        if not discard:
            self.flush_locked()
        self._closed = True
        self._outbound.clear()
        self._transport.shutdown()
        self._dispose_locked()
        for waiter in list(self._bells):
            self._bells.pop(waiter).release()

    def renew_after_fork(self) -> None:
        """In the child: a free lock, and the descriptor given up without a word to the peer.

        The socket is the parent's. ``shutdown`` would end its connection too; ``close`` only
        drops this process's descriptor, and Python sends no close_notify with it.
        """
        self.lock = threading.Lock()
        self.guard = Guard(self.lock, self._owner)
        self._bells.clear()
        self._heir = None
        self._pumper = 0
        self._outbound.clear()
        self._closed = True
        self._dispose_locked()

    def wake_locked(self, waiter: Waiter) -> None:
        """Have the thread that waits for this look again."""
        if bell := self._bells.pop(waiter, None):
            bell.release()
        elif waiter is self._pumping_for:
            self._rouse_locked()

    def wake_writers_locked(self) -> None:
        for waiter in [waiter for waiter in self._bells if waiter.writing]:
            self._bells.pop(waiter).release()
        if self._pumping_for is not None and self._pumping_for.writing:
            self._rouse_locked()

    def wait(
        self,
        waiter: Waiter,
        ready: Callable[[], bool],
        deadline: Deadline,
        *,
        unguarded: bool = False,
    ) -> bool:
        """Wait until ``ready()``; false when the deadline passed.

        Also true when the socket is closed: nothing will come any more.

        :param ready: asked under the lock.
        :param unguarded: ``ready`` may also be asked without it, which spares those who are woken
            a contended lock.
        """
        me = threading.get_ident()
        try:
            while True:
                with self.lock:
                    if ready() or self._closed or deadline.expired:
                        return ready() or self._closed
                    bell = self._enter_locked(waiter, me)
                self._owner.announce()
                if bell is None:
                    if self._pump(waiter, ready, deadline):
                        return True
                else:
                    bell.acquire(timeout=_poll_time(deadline))
                    if unguarded and ready():
                        return True
        finally:
            # Also when a signal handler raises in the middle of the above.
            if self._pumper == me or self._heir is waiter or waiter in self._bells:
                with self.lock:
                    self._leave_locked(waiter)
            self._owner.announce()

    def _enter_locked(self, waiter: Waiter, me: int) -> threading.Lock | None:
        """Take the pump's role, or get a bell to wait for."""
        if self._heir is waiter:
            self._heir = None
        if self._pumper in (0, me):
            self._pumper, self._pumping_for = me, waiter
            self._polls_writing = self._outbound.size > 0
            return None
        if self._outbound.size and not self._polls_writing:
            self._rouse_locked()  # it polls since before there was output
        self._bells[waiter] = bell = threading.Lock()
        bell.acquire()
        return bell

    def _leave_locked(self, waiter: Waiter) -> None:
        """Wait no more. Whoever has the role, or was rung for to take it, passes it on."""
        self._bells.pop(waiter, None)
        if self._pumper == threading.get_ident():
            self._pumper, self._pumping_for = 0, None
            self._dispose_locked()
        if self._heir is waiter:
            self._heir = None
        if self._bells and not self._pumper and self._heir is None:
            self._heir = next(iter(self._bells))
            self._bells.pop(self._heir).release()

    def _pump(self, waiter: Waiter, ready: Callable[[], bool], deadline: Deadline) -> bool:
        """Have the role until ``ready()``, which makes it true, or the deadline, or until there is
        something to tell.
        """
        while True:
            roused = self._drained and self._poll(deadline)
            with self.guard:
                if roused:
                    self._poller.calm()
                self._read_locked()
                if time.monotonic() >= self._alarm:
                    self._owner.alarm_locked()
                self.flush_locked()
                self._polls_writing = self._outbound.size > 0
                came = ready() or self._closed
                over = came or deadline.expired
                if over:
                    self._leave_locked(waiter)
            if over:
                return came
            if self._owner.has_news:
                # Whoever is told may wait for a request of another thread, or make one.
                with self.lock:
                    self._leave_locked(waiter)
                self._owner.announce()
                return False

    def _poll(self, deadline: Deadline) -> bool:
        """Wait for the socket or to be roused, and tell whether it was that. The descriptors stay
        valid while this thread has the role: see :meth:`_dispose_locked`.
        """
        timeout = min(_poll_time(deadline), max(0.0, self._alarm - time.monotonic()))
        return self._poller.wait(timeout, self._polls_writing)

    def _rouse_locked(self) -> None:
        if self._pumper != threading.get_ident() and not self._closed:
            self._poller.rouse()

    def _read_locked(self, to_the_end: bool = False) -> None:
        self._drained = False
        for _ in range(_FILLS_PER_TURN):
            if self._closed or self._drained:
                return
            size, end = self._fill_locked(to_the_end)
            if size:
                self.received += size
                self._owner.receive_locked(self._read_buffer[:size])
            if end is not None and not self._closed:
                self._owner.lost_locked(end if isinstance(end, OSError) else None)

    def _fill_locked(self, to_the_end: bool) -> tuple[int, OSError | EOFError | None]:
        """Read until the buffer is full or the socket empty, which sets ``_drained``.

        :returns: octets read, and what ended the connection.
        """
        self._owner.reuse_locked()
        receive_into, buffer = self._transport.receive_into, self._read_buffer
        size = 0
        while not size or size <= len(buffer) - TLS_RECORD:
            try:
                got = receive_into(buffer[size:])
            except OSError as error:
                return size, error
            if got == 0:
                return size, EOFError()
            if got is not None:
                size += got
                if size >= TLS_RECORD or to_the_end or self._transport.pending():
                    continue  # else most likely that was all: poll is cheaper than a read in vain
            self._drained = True
            break
        return size, None

    def _write_failed_locked(self, error: OSError) -> None:
        # A server may answer and close: what it said before comes first.
        self._outbound.clear()
        self._read_locked(to_the_end=True)
        self._owner.lost_locked(error)

    def _dispose_locked(self) -> None:
        # A descriptor that is closed while someone polls it may be another socket's by then.
        if self._closed and not self._pumper:
            self._transport.close()
            self._poller.close()


def _poll_time(deadline: Deadline) -> float:
    left = deadline.remaining()
    return _MAX_POLL if left is None else min(left, _MAX_POLL)
