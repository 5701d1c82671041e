"""What can be seen of connections, and of the exchanges on them, without their content.

:class:`ConnectionInfo` is ``response.raw.connection_info``, and a list of :class:`OpenConnection`
is what ``HTTP2Adapter.connections()`` gives. Both are made when they are asked for, by ``register``
and ``viewing``. They import this module late, with the first connection: with data classes, and
what the standard library imports for them, importing the package would cost half as much again.
"""

from __future__ import annotations

from dataclasses import dataclass

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


UNKNOWN = Dial(0, "", None, None, None, None, None, None, None)
"""Of a response that a library put in the place of a server's."""
