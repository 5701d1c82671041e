"""What can be seen of connections, and of the exchanges on them, without their content.

:class:`ConnectionInfo` is ``response.raw.connection_info``, and a list of :class:`OpenConnection`
is what ``HTTP2Adapter.connections()`` gives. Both are made when they are asked for. What is kept
for them is a few numbers for each stream (:class:`Progress`) and connection (:class:`Dial`).
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
import weakref
from dataclasses import dataclass
from typing import Any, Protocol

from urllib3.connection import HTTPConnection

Address = tuple[str, int] | str
"""Host and port as numbers, or the path of a Unix domain socket."""


@dataclass(frozen=True)
class Dial:
    """A connection as it was when it had been made; what could not be found out is ``None``.

    Addresses are those of the TCP connection, so the peer's is a proxy's where there is one. TLS is
    that with the origin, and with a forwarding proxy, which makes requests in our place, that with
    the proxy; there is none in cleartext.
    """

    connection_id: int
    """Counts the connections of this process, from 1; 0 for a response that a library put in the
    place of a server's."""
    origin: str
    """``host:port`` that it was made for; of a forwarding proxy, the proxy's."""
    alpn: str | None
    """What was negotiated by ALPN, as ``"h2"``."""
    tls_version: str | None
    """As ``"TLSv1.3"``."""
    cipher: str | None
    """OpenSSL's name of the cipher suite, as ``"TLS_AES_256_GCM_SHA384"``."""
    peer_address: Address | None
    """Host and port of the other end of the TCP connection, or the path of a Unix domain socket."""
    local_address: Address | None
    """The same of this end."""
    dial_time: float | None
    """Seconds until TLS could begin: the host's name, TCP, and the tunnel of a proxy."""
    handshake_time: float | None
    """Seconds of the TLS handshake with the origin, the checks of its certificate included."""


@dataclass(frozen=True)
class ConnectionInfo(Dial):
    """A response's connection, and what the exchange has cost on it so far.

    Numbers of octets are ``None`` over HTTP/1.1.
    """

    http_version: str
    """``"HTTP/2"``, ``"HTTP/1.1"`` or ``"HTTP/1.0"``; empty, as vcrpy leaves it, when unknown."""
    engine: str | None
    """``"h2"`` or ``"nghttp2"``; ``None`` over HTTP/1.1."""
    stream_id: int | None
    """RFC 9113 section 5.1.1; even for a pushed response. ``None`` over HTTP/1.1."""
    reused: bool
    """Whether the connection had carried another request before."""
    time_to_first_byte: float | None
    """Seconds from the request's HEADERS, or the promise of a push, to the HEADERS of its final
    response. Over HTTP/1.1 from the request on its connection to the end of the header section."""
    bytes_sent: int | None
    """Octets of the exchange's HEADERS, CONTINUATION and DATA frames as they were handed to TLS or
    queued for it, with the 9 octets before each frame."""
    bytes_received: int | None
    """Octets of its HEADERS, CONTINUATION, PUSH_PROMISE and DATA frames, with the same 9 octets,
    before anything is decompressed."""
    replays: int
    """How often the request was sent again because the server had certainly not processed it, the
    connection was lost, or it was another host's and the answer 421. What ``max_retries`` does is
    in ``response.raw.retries``."""


@dataclass(frozen=True)
class GoAway:
    """The last GOAWAY of a server (RFC 9113 section 6.8)."""

    last_stream_id: int
    """The last stream that it has processed, or will."""
    error_code: int
    """RFC 9113 section 7; 0 when nothing is wrong."""


@dataclass(frozen=True)
class OpenConnection(Dial):
    """A connection that was open when it was looked at.

    What is about streams and windows is ``None`` over HTTP/1.1.
    """

    http_version: str
    """``"HTTP/2"`` or ``"HTTP/1.1"``."""
    engine: str | None
    """``"h2"`` or ``"nghttp2"``; ``None`` over HTTP/1.1."""
    age: float
    """Seconds since it was made; over HTTP/1.1, where urllib3 made it alone, since its first
    response."""
    takes_requests: bool
    """Whether it may get new requests. One that does not finishes those it has, and closes."""
    streams_opened: int
    """Requests that were sent on it."""
    streams_active: int | None
    """Streams that count against the limit now."""
    stream_limit: int | None
    """Streams at once that the server allows; 100 until it has said so."""
    send_window: int | None
    """Octets of DATA that the connection's window allows us to send; below 0 is possible."""
    receive_window: int | None
    """Octets of DATA that it allows the server to send."""
    bytes_sent: int | None
    """Octets of HTTP/2 that TLS, or in cleartext the socket, has taken."""
    bytes_received: int | None
    """Octets of HTTP/2 that it has given."""
    goaway: GoAway | None
    """``None`` when the server has sent none."""


class Progress:
    """What one stream has moved so far, and when; its connection's lock guards it.

    Apart from the stream, which holds content: this may be kept. Times are of the monotonic clock.
    """

    # Defaults of the class, because every exchange would pay for setting them.
    sent_at: float | None = None
    """When the last of the request was queued."""
    answer: tuple[int, list[tuple[str, str]]] | None = None
    """Status and fields of the final response."""
    answered_at: float | None = None
    """When its HEADERS came."""
    ended_at: float | None = None
    """When it was complete, or the stream had failed or was given up."""
    outcome = ""
    """What it failed with, or that it was given up; empty for a complete response."""
    bytes_sent = 0
    """Octets of frames: see :class:`ConnectionInfo`."""
    bytes_received = 0
    content_received = 0
    """Octets of content, when it has ended."""

    def __init__(self) -> None:
        self.opened_at = time.monotonic()
        """When its HEADERS were queued, or its promise came."""

    @property
    def time_to_first_byte(self) -> float | None:
        return None if self.answered_at is None else self.answered_at - self.opened_at


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
        is_urllib3s = isinstance(conn, HTTPConnection)
        known = self._known(conn) if is_urllib3s else _Known(None, _UNKNOWN)
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
_UNKNOWN = Dial(0, "", None, None, None, None, None, None, None)


def _open_http1(known: _Known) -> OpenConnection:
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
