"""Sockets as transports, which never block."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Protocol


class Transport(Protocol):
    """Bytes to and from the peer; nothing here ever blocks."""

    sock: Any
    """What lies beneath, for those who ask for the peer's certificate or address."""

    def receive_into(self, buffer: memoryview) -> int | None:
        """Octets read, 0 at the end, ``None`` when there is nothing now.

        :raises OSError: when the connection broke.
        """

    def send(self, data: memoryview) -> int:
        """Octets taken, 0 when there is no room now; the next call then has to begin with the
        same octets, which may be half sent.

        :raises OSError: when the connection broke.
        """

    def pending(self) -> bool:
        """Whether received bytes wait above the socket, where ``poll`` does not see them."""

    def fileno(self) -> int: ...

    def shutdown(self) -> None:
        """End the connection now, waking whoever polls it; the descriptor stays valid."""

    def close(self) -> None: ...


class SocketTransport:
    """A connected socket without TLS. The connection's lock guards it."""

    def __init__(self, sock: Any) -> None:
        sock.settimeout(0)
        if hasattr(sock, "setblocking"):  # pyOpenSSL's has none
            sock.setblocking(False)  # the same, but eventlet's goes on to wait without it
        self.sock: Any = sock

    def receive_into(self, buffer: memoryview) -> int | None:
        try:
            size: int = self.sock.recv_into(buffer)
        except BlockingIOError:
            return None
        return size

    def send(self, data: memoryview) -> int:
        try:
            size: int = self.sock.send(data)
        except BlockingIOError:
            return 0
        return size

    def pending(self) -> bool:
        return False

    def fileno(self) -> int:
        number: int = self.sock.fileno()
        return number

    def shutdown(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the peer was faster

    def close(self) -> None:
        self.sock.close()


class SSLSocketTransport(SocketTransport):
    """A connected SSLSocket. The connection's lock guards it: OpenSSL objects are not safe to be
    read and written at once (CPython issue 137583).
    """

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        # One Python frame less for each record than recv_into, which other wrappers have only.
        self._read: Any = sock.read if isinstance(sock, ssl.SSLSocket) else None

    def receive_into(self, buffer: memoryview) -> int | None:
        try:
            size: int = (
                self.sock.recv_into(buffer)
                if self._read is None
                else self._read(len(buffer), buffer)
            )
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        return size

    def send(self, data: memoryview) -> int:
        try:
            size: int = self.sock.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        return size

    def pending(self) -> bool:
        size: int = self.sock.pending()
        return size > 0
