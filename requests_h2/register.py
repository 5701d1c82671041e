"""The connections of one adapter, for those who inspect them, and what was noted of each."""

from __future__ import annotations

import itertools
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from urllib3.connection import HTTPConnection

if TYPE_CHECKING:
    from .inspection import Address, ConnectionInfo, Dial, OpenConnection


class Viewed(Protocol):
    """An HTTP/2 connection."""

    def connection(self) -> OpenConnection | None:
        """``None`` when it is closed."""


class _Known:
    """What is known of a connection of urllib3's as long as it has this socket."""

    def __init__(self, sock: Any, dial: Dial) -> None:
        self.sock = weakref.ref(sock) if sock is not None else None
        self.dial = dial
        self.seen_at = time.monotonic()
        self.requests = 0

    def belongs_to(self, sock: Any) -> bool:
        """``None`` is what http.client leaves when the server ends the connection."""
        return sock is None or (self.sock is not None and self.sock() is sock)


class Register:
    """The connections of one adapter, as long as others keep them. Thread-safe."""

    def __init__(self) -> None:
        # Guards the two, which would break when they grow while somebody goes through them. A lock
        # of its own because every pool of the adapter adds to them.
        self._lock = threading.Lock()
        self._http2: weakref.WeakSet[Viewed] = weakref.WeakSet()
        self._http1: weakref.WeakKeyDictionary[HTTPConnection, _Known] = weakref.WeakKeyDictionary()

    def renew_after_fork(self) -> None:
        """In a forked child: the connections are the parent's, and the lock nobody's."""
        self._lock = threading.Lock()
        self._http2, self._http1 = weakref.WeakSet(), weakref.WeakKeyDictionary()

    def add(self, viewed: Viewed) -> None:
        """A connection that speaks HTTP/2."""
        with self._lock:
            self._http2.add(viewed)

    def dialled(
        self,
        conn: HTTPConnection,
        origin: str,
        begun_at: float | None = None,
        tls_begun_at: float | None = None,
    ) -> _Known:
        """Note what there is to be noted of a connected connection.

        :param begun_at: when dialling it was begun, and then TLS, on the monotonic clock.
        """
        made = _Known(conn.sock, _dial(conn.sock, origin, begun_at, tls_begun_at))
        with self._lock:
            self._http1[conn] = made
        return made

    def dial_of(self, conn: HTTPConnection) -> Dial:
        """What was noted of it, or what can be noted now."""
        return self._known(conn).dial

    def of_http1(
        self,
        conn: Any,
        http_version: str,
        time_to_first_byte: float | None = None,
        replays: int = 0,
    ) -> ConnectionInfo:
        """To be asked once for each response, when its header section is there.

        :param conn: urllib3's, or what a library has put in its place.
        """
        from .inspection import UNKNOWN, ConnectionInfo

        is_urllib3s = isinstance(conn, HTTPConnection)
        known = self._known(conn) if is_urllib3s else _Known(None, UNKNOWN)
        known.requests += 1
        return ConnectionInfo(
            **vars(known.dial),
            http_version=http_version,
            engine=None,
            stream_id=None,
            reused=known.requests > 1,
            time_to_first_byte=time_to_first_byte,
            bytes_sent=None,
            bytes_received=None,
            replays=replays,
        )

    def _known(self, conn: HTTPConnection) -> _Known:
        with self._lock:
            known = self._http1.get(conn)
        if known is None or not known.belongs_to(conn.sock):
            known = self.dialled(conn, f"{conn.host}:{conn.port}")
        return known

    def open_connections(self) -> list[OpenConnection]:
        with self._lock:
            http2, http1 = list(self._http2), list(self._http1.items())
        seen = [viewed.connection() for viewed in http2]
        seen += [_open_http1(known) for conn, known in http1 if known.requests and conn.sock]
        return sorted(filter(None, seen), key=lambda one: one.connection_id)


def version_of(answer: Any) -> str:
    """The HTTP version of a response, of urllib3's or of what a library has put in its place."""
    # Over HTTP/1 urllib3's text is the version of the request.
    known = _VERSIONS.get(getattr(answer, "version", None))
    return known or getattr(answer, "version_string", None) or ""


_VERSIONS: dict[int | None, str] = {10: "HTTP/1.0", 11: "HTTP/1.1"}
_numbers = itertools.count(1)


def _open_http1(known: _Known) -> OpenConnection:
    from .inspection import OpenConnection

    return OpenConnection(
        **vars(known.dial),
        http_version="HTTP/1.1",
        engine=None,
        age=time.monotonic() - known.seen_at,
        takes_requests=True,
        streams_opened=known.requests,
        streams_active=None,
        stream_limit=None,
        send_window=None,
        receive_window=None,
        bytes_sent=None,
        bytes_received=None,
        goaway=None,
    )


def _dial(sock: Any, origin: str, begun_at: float | None, tls_begun_at: float | None) -> Dial:
    from .inspection import Dial

    now = time.monotonic()
    cipher = _asked(sock, "cipher")
    # Beneath TLS inside TLS, and TLS of pyOpenSSL, there is another socket.
    tcp = getattr(sock, "socket", sock)
    return Dial(
        connection_id=next(_numbers),
        origin=origin,
        alpn=_asked(sock, "selected_alpn_protocol"),
        tls_version=_asked(sock, "version"),
        cipher=None if cipher is None else cipher[0],
        peer_address=_address(tcp, "getpeername"),
        local_address=_address(tcp, "getsockname"),
        dial_time=None if begun_at is None else (tls_begun_at or now) - begun_at,
        handshake_time=None if tls_begun_at is None else now - tls_begun_at,
    )


def _asked(sock: Any, method: str, *arguments: Any) -> Any:
    """What a socket says; ``None`` when it is of a kind, or in a state, that cannot tell."""
    try:
        return getattr(sock, method)(*arguments)
    except (AttributeError, NotImplementedError, OSError, ValueError):
        return None


def _address(sock: Any, method: str) -> Address | None:
    # Not the method of PySocks' subclass, which tells what is behind the proxy.
    kind = socket.socket if isinstance(sock, socket.socket) else type(sock)
    address = _asked(kind, method, sock)
    if isinstance(address, tuple):
        return (address[0], address[1])
    return address if isinstance(address, str) and address else None
