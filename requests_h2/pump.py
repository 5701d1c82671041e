"""Bytes in and out of one socket, moved by whichever thread waits for something.

There is no thread behind a connection. A thread that has to wait takes the *pump* role when it is
free: it polls outside the lock, then, under the lock, reads what there is, hands it to the owner
and flushes. Everyone else waits on a condition of their own until the pump has something for them,
or leaves and wakes one of them to take over. When output is stuck while another thread pumps, its
writer polls for room itself (the *flush* role), since the pump may have begun to poll before there
was anything to write, and two peers that both stop reading would wait forever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from urllib3.util.wait import wait_for_socket

from .timeouts import Deadline
from .tls import TLS_RECORD, Transport

_READ_BUFFER = 65_536
_SEND_SIZE = 65_536
_READS_PER_TURN = 64  # 1 MiB; then others get the lock


class Waiter:
    """Something a thread waits for; guarded by the pump's lock.

    ``writing`` waiters are also woken when there is room to write.
    """

    __slots__ = ("condition", "writing")

    def __init__(self, lock: threading.Lock) -> None:
        self.renew(lock)

    def renew(self, lock: threading.Lock) -> None:
        self.condition = threading.Condition(lock)
        self.writing = False


class Owner(Protocol):
    """The protocol above a pump. All but ``announce`` are called with the lock held."""

    def receive_locked(self, data: memoryview) -> None:
        """Bytes arrived; answers go through :meth:`Pump.queue_locked`."""

    def lost_locked(self, error: OSError | None) -> None:
        """The peer closed (``None``) or the connection broke."""

    def interrupted_locked(self) -> None:
        """Something like KeyboardInterrupt struck while the lock was held."""

    def settle_locked(self) -> None:
        """The lock is about to be released."""

    def announce(self) -> None:
        """The lock was released: the place for whatever must not run under it."""


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
        self._outbound = bytearray()  # lock
        self._read_buffer = memoryview(bytearray(_READ_BUFFER))  # lock
        self._blocked: dict[Waiter, None] = {}  # lock; in order of arrival
        self._pumper = 0  # lock; the thread that has the role, 0 when it is free
        self._drained = True  # whoever pumps, or the lock while nobody does
        self._flusher = 0  # lock; as above
        self._moved_at = time.monotonic()  # lock; when output was last empty or sent
        self._closed = False  # lock

    @property
    def unsent(self) -> int:
        """Octets that the socket has not taken yet."""
        return len(self._outbound)

    @property
    def sock(self) -> Any:
        return self._transport.sock

    def stuck_for_locked(self, seconds: float) -> bool:
        """Whether there is output of which the socket took nothing for so long."""
        return bool(self._outbound) and time.monotonic() - self._moved_at >= seconds

    def queue_locked(self, data: bytearray) -> None:
        if self._outbound:
            self._outbound += data
        else:
            self._outbound = data
            self._moved_at = time.monotonic()

    def flush_locked(self) -> None:
        """Send what the socket takes now."""
        if self._closed:
            self._outbound.clear()
        before = len(self._outbound)
        while self._outbound:
            try:
                with memoryview(self._outbound)[:_SEND_SIZE] as part:
                    sent = self._transport.send(part)
            except OSError as error:
                self._write_failed_locked(error)
                return
            if not sent:
                break
            del self._outbound[:sent]
        if len(self._outbound) < before:
            self._moved_at = time.monotonic()
            self.wake_writers_locked()

    def poll_locked(self) -> None:
        """Read and flush all without waiting, unless another thread is at it anyway."""
        if not self._pumper:
            self._read_locked(to_the_end=True)
        self.flush_locked()

    def _read_locked(self, to_the_end: bool = False) -> None:
        self._drained = True
        for _ in range(_READS_PER_TURN):
            if self._closed:
                return
            try:
                size = self._transport.receive_into(self._read_buffer)
            except OSError as error:
                self._owner.lost_locked(error)
                break
            if size is None:
                break
            if size == 0:
                self._owner.lost_locked(None)
                break
            self._owner.receive_locked(self._read_buffer[:size])
            if size < TLS_RECORD and not to_the_end and not self._more_pending_locked():
                break  # most likely all: poll is cheaper than a read in vain
        else:
            self._drained = False

    def _more_pending_locked(self) -> bool:
        return not self._closed and self._transport.pending()

    def close_locked(self) -> None:
        """End the socket. Threads that poll it wake, and the last of them frees the descriptor."""
        if self._closed:
            return
        self._closed = True
        self._transport.shutdown()
        self._dispose_locked()
        for waiter in self._blocked:
            waiter.condition.notify_all()

    def renew_after_fork(self) -> None:
        """In the child: a free lock, and the descriptor given up without a word to the peer.

        The socket is the parent's. ``shutdown`` would end its connection too; ``close`` only
        drops this process's descriptor, and Python sends no close_notify with it.
        """
        self.lock = threading.Lock()
        self.guard = Guard(self.lock, self._owner)
        self._blocked.clear()
        self._pumper = self._flusher = 0
        self._outbound = bytearray()
        self._closed = True
        self._transport.close()

    def wake_locked(self, waiter: Waiter) -> None:
        if waiter in self._blocked:
            waiter.condition.notify_all()

    def wake_writers_locked(self) -> None:
        for waiter in self._blocked:
            if waiter.writing:
                waiter.condition.notify_all()

    def wait(self, waiter: Waiter, ready: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait until ``ready()``, which is asked under the lock; false when the deadline passed.

        Also true when the socket is closed: nothing will come any more.
        """
        me = threading.get_ident()
        while True:
            try:
                with self.lock:
                    if ready() or self._closed or deadline.expired:
                        # This thread may have been woken to take a role over; it passes it on.
                        self._wake_successor_locked()
                        return ready() or self._closed
                    write = bool(self._outbound)
                    if not self._pumper:
                        self._pumper = me
                    elif write and not self._flusher:
                        self._flusher = me
                    else:
                        self._block_locked(waiter, deadline)
                if self._pumper == me:
                    self._pump(ready, deadline, write)
                elif self._flusher == me:
                    self._poll(deadline, read=False, write=True)
                    with self.guard:
                        self.flush_locked()
            finally:
                # Also when a signal handler raises in the middle of the above.
                if me in (self._pumper, self._flusher):
                    self._leave(me)

    def _pump(self, ready: Callable[[], bool], deadline: Deadline, write: bool) -> None:
        done = False
        while not done:
            if self._drained:
                self._poll(deadline, read=True, write=write)
            with self.guard:
                self._read_locked()
                self.flush_locked()
                write = bool(self._outbound)
                done = ready() or self._closed or deadline.expired

    def _leave(self, me: int) -> None:
        with self.lock:
            if self._pumper == me:
                self._pumper = 0
            if self._flusher == me:
                self._flusher = 0
            self._dispose_locked()
            self._wake_successor_locked()

    def _poll(self, deadline: Deadline, *, read: bool, write: bool) -> None:
        # The descriptor stays valid while this thread holds a role: see _dispose_locked.
        wait_for_socket(self._transport, read=read, write=write, timeout=deadline.remaining())  # type: ignore[arg-type]

    def _block_locked(self, waiter: Waiter, deadline: Deadline) -> None:
        self._blocked[waiter] = None
        try:
            waiter.condition.wait(deadline.remaining())
        finally:
            self._blocked.pop(waiter, None)

    def _wake_successor_locked(self) -> None:
        if self._blocked and (not self._pumper or (self._outbound and not self._flusher)):
            next(iter(self._blocked)).condition.notify_all()

    def _dispose_locked(self) -> None:
        # A descriptor that is closed while someone polls it may be another socket's by then.
        if self._closed and not self._pumper and not self._flusher:
            self._transport.close()

    def _write_failed_locked(self, error: OSError) -> None:
        # A server may answer and close: what it said before comes first.
        self._outbound.clear()
        self._read_locked()
        self._owner.lost_locked(error)
