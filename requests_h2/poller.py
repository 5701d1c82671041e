"""The wait for one socket, from which other threads can rouse the one that waits."""

from __future__ import annotations

import select
import socket
from typing import Any

from .transport import Transport


class Poller:
    """A socket, and a pair of sockets that is polled together with it: a byte in it rouses.

    :param transport: its descriptor is polled.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._poll: Any = None  # whoever waits; a poll object, where there are such
        self._registered: int | None = None  # whoever waits; what it polls the socket for
        self._glance: Any = None  # the connection's lock; another
        self._rouse_in, self._rouse_out = socket.socketpair()
        self._rouse_in.setblocking(False)
        self._rouse_out.setblocking(False)

    def __del__(self) -> None:
        # Connections that are open when the interpreter ends go without being closed.
        if hasattr(self, "_rouse_in"):  # not when there was no descriptor for it
            self.close()

    def wait(self, timeout: float, writing: bool) -> bool:
        """Wait for the socket or to be roused, and tell whether it was that. For one thread at a
        time, without the lock.

        :param timeout: seconds, at most 2**31 milliseconds.
        :param writing: whether room to write is waited for, too.
        """
        # Looked up when called: gevent and eventlet replace or remove poll.
        if hasattr(select, "poll"):
            if self._poll is None:
                self._poll = select.poll()
                self._poll.register(self._rouse_in, select.POLLIN)
            if self._registered != (wanted := select.POLLIN | (select.POLLOUT * writing)):
                self._poll.register(self._transport, wanted)
                self._registered = wanted
            found = self._poll.poll(timeout * 1000)
            return len(found) > 1 or (bool(found) and found[0][0] == self._rouse_in.fileno())
        mine, rouse = self._transport.fileno(), self._rouse_in.fileno()
        return rouse in select.select([mine, rouse], [mine] if writing else [], [], timeout)[0]

    def readable(self) -> bool:
        """Whether there is something to read, or might be: asked without waiting, as that costs
        less than a read in vain.
        """
        if not hasattr(select, "poll"):
            return True
        if self._glance is None:
            self._glance = select.poll()
            self._glance.register(self._transport, select.POLLIN)
        return bool(self._glance.poll(0))

    def rouse(self) -> None:
        """Have :meth:`wait` return."""
        try:
            self._rouse_out.send(b"\0")
        except BlockingIOError:
            return  # it is full, so roused already

    def calm(self) -> None:
        """What roused is taken notice of."""
        try:
            self._rouse_in.recv(4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Nobody waits any more."""
        self._rouse_in.close()
        self._rouse_out.close()
