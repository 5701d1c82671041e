"""The peer's side of one socket: bytes in, bytes out, every wait bounded.

A script's thread and the test's thread may both use a channel, and an OpenSSL object must not be
read and written at once. So the socket is non-blocking and only touched under a lock; waiting
happens outside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import ssl
import struct
import termios
import threading
import time

#: Seconds that any wait of the peer may take. Reaching it is a failure, not a normal end.
TIMEOUT = 10.0

_WOULD_BLOCK = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


class Closed(Exception):
    """The client is gone, or the peer was told to stop. Ends a script without failing the test."""


class Channel:
    """A connected socket, with TLS after ``start_tls()``."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._polling = 0
        self._no_poll = threading.Condition(self._lock)
        self._wake_read, self._wake_write = socket.socketpair()
        self._stopping = False
        #: Seconds for which a stop is put off, for bytes that are still on their way.
        self.patience = 0.0
        #: We said our goodbye; the socket stays open until the client answers.
        self.half_closed = False
        self.closed = False
        #: The client's bytes have ended, by FIN, close_notify or reset.
        self.eof = False
        self.client_address = sock.getpeername()

    # -- TLS -------------------------------------------------------------------------------

    def start_tls(self, context: ssl.SSLContext) -> None:
        self._sock = context.wrap_socket(
            self._sock, server_side=True, do_handshake_on_connect=False
        )
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                with self._lock:
                    self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, deadline)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, deadline)
            else:
                return

    @property
    def _tls(self) -> ssl.SSLSocket:
        assert isinstance(self._sock, ssl.SSLSocket)
        return self._sock

    @property
    def tls(self) -> ssl.SSLSocket | None:
        return self._sock if isinstance(self._sock, ssl.SSLSocket) else None

    @property
    def alpn(self) -> str | None:
        return (
            self._sock.selected_alpn_protocol() if isinstance(self._sock, ssl.SSLSocket) else None
        )

    # -- bytes -----------------------------------------------------------------------------

    def receive(self, timeout: float = TIMEOUT) -> bytes:
        """Some bytes; ``b""`` at the end. TimeoutError after ``timeout``."""
        deadline = time.monotonic() + timeout
        while True:
            data = self.receive_now()
            if data is not None:
                return data
            self._wait(select.POLLIN, deadline)

    def receive_now(self) -> bytes | None:
        """What has arrived already; None when that is nothing."""
        with self._lock:
            if self.closed or self.eof:
                return b""
            try:
                data = self._sock.recv(65536)
            except _WOULD_BLOCK:
                return None
            except OSError:
                data = b""
            self.eof = not data
            return data

    def send(self, data: bytes, timeout: float = TIMEOUT) -> None:
        """All of ``data``, after whatever another thread is sending."""
        deadline = time.monotonic() + timeout
        view = memoryview(data)
        with self._send_lock:
            while view:
                try:
                    with self._lock:
                        if self.closed or self.half_closed:
                            raise Closed("the peer closed this connection")
                        sent = self._sock.send(view[:65536])
                except _WOULD_BLOCK:
                    self._wait(select.POLLOUT, deadline)
                except OSError as error:
                    raise Closed(f"the client is gone: {error}") from error
                else:
                    view = view[sent:]

    def wait_until_delivered(self) -> None:
        """Until the client's kernel has acknowledged everything sent, FIN included."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            with self._lock:
                if self.closed:
                    return
                unacknowledged = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, bytes(4))
            if unacknowledged == bytes(4):
                return
            if time.monotonic() > deadline:
                raise TimeoutError("the client's kernel does not acknowledge what was sent")
            time.sleep(0.001)

    def _wait(self, event: int, deadline: float) -> None:
        """Wait for the socket. What has arrived is read before a stop is obeyed."""
        with self._lock:
            if self.closed:
                raise Closed("the peer closed this connection")
            poller = select.poll()
            poller.register(self._sock.fileno(), event)
            poller.register(self._wake_read.fileno(), select.POLLIN)
            self._polling += 1
        timeout = max(0.0, deadline - time.monotonic())
        try:
            ready = dict(poller.poll(timeout * 1000))
            if ready and self._stopping and self.patience and not self.closed:
                poller.unregister(self._wake_read.fileno())
                ready = dict(poller.poll(min(timeout, self.patience) * 1000)) or ready
        finally:
            with self._lock:
                self._polling -= 1
                self._no_poll.notify_all()
        if self.closed:
            raise Closed("the peer closed this connection")
        if self._sock.fileno() in ready:
            return
        if self._stopping:
            raise Closed("the peer was stopped")
        if not ready:
            raise TimeoutError(f"nothing happened on the peer's socket for {timeout:.3g} s")

    # -- ends ------------------------------------------------------------------------------

    def stop(self) -> None:
        """End every wait, once what has arrived is read."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake_write.send(b"x")

    def close_gently(self) -> None:
        """close_notify and FIN. The rest of the client's bytes can still be read."""
        with self._send_lock, self._lock:
            if self.closed or self.half_closed:
                return
            self.half_closed = True
            with contextlib.suppress(OSError):
                if isinstance(self._sock, ssl.SSLSocket):
                    # Raises SSLWantRead (an OSError) when the client's own is still to come.
                    self._sock.unwrap()
                    self.eof = True
            self._send_fin()

    def end_stream_of_bytes(self) -> None:
        """FIN without close_notify: what a killed server leaves behind."""
        with self._send_lock, self._lock:
            if not self.closed and not self.half_closed:
                self.half_closed = True
                self._send_fin()

    def _send_fin(self) -> None:
        with contextlib.suppress(OSError):
            # SSLSocket.shutdown() would forget TLS, and later reads return ciphertext.
            socket.socket.shutdown(self._sock, socket.SHUT_WR)

    def abort(self) -> None:
        """TCP RST."""
        with self._lock:
            if not self.closed:
                with contextlib.suppress(OSError):
                    linger = struct.pack("ii", 1, 0)
                    self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def close(self) -> None:
        with self._lock:
            already, self.closed = self.closed, True
        # A poll in progress keeps the socket open in the kernel, and delays FIN or RST: end it.
        self.stop()
        if not already:
            with self._lock:
                self._no_poll.wait_for(lambda: not self._polling, TIMEOUT)
                self._sock.close()

    def dispose(self) -> None:
        """After the last user is gone."""
        self.close()
        self._wake_read.close()
        self._wake_write.close()
