"""The connections to one origin: reuse, one dial shared by all who wait, limits."""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from urllib3.connection import HTTPConnection, port_by_scheme
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NewConnectionError,
    ProxyError,
)
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError
from urllib3.util import Timeout
from urllib3.util.ssl_match_hostname import CertificateError

from .coalescing import Destination, OpenConnections
from .connection import Connection
from .engine.choice import engine_class
from .exceptions import HTTP2RequiredError, StreamFault
from .exchange import current_exchange, note
from .flow_control import CONNECTION_WINDOW
from .fork import renew_in_children
from .frame_log import logged
from .lease import Lease
from .notes import Connected, Connecting
from .options import Options
from .promises import Authority, Promise, Promises
from .register import Register
from .stream import MAX_HEADER_LIST_SIZE
from .timeouts import Deadline
from .tls import HTTP1_ONLY, NOT_DIALLED, OFFERED_PROTOCOLS, Dialled, began_with_origin
from .tls import renew_after_fork as renew_tls_after_fork
from .transport import Transport

log = logging.getLogger(__name__)

_SLICE = 0.05  # seconds that a thread waits on one of several places for a free stream


class Dialler(Protocol):
    """What an origin needs of urllib3's pool. It is handed in, so that nothing refers back to the
    pool and keeps it from being collected.
    """

    scheme: str
    host: str
    port: int | None
    origin_name: str
    """``host:port``."""

    def take_http1(self, timeout: float | None) -> HTTPConnection:
        """A place in the HTTP/1.1 queue, and its connection, which may be a new, closed one."""

    def put_http1(self, conn: HTTPConnection | None) -> None:
        """Give the place back, with its connection if that lives."""

    def offer(self, conn: HTTPConnection, protocols: Sequence[str]) -> None:
        """Prepare a connection that is not connected to offer these protocols by ALPN."""

    def connect(self, conn: HTTPConnection) -> None:
        """Open socket, tunnel and TLS."""

    def speaks_http2(self, conn: HTTPConnection, protocols: Sequence[str]) -> bool:
        """Whether HTTP/2 is to be spoken on a connection, which may be an idle HTTP/1.1 one.

        :param protocols: what would be offered now.
        """

    def transport(self, sock: Any) -> Transport:
        """The transport for what urllib3 has connected, which must not be used otherwise then."""

    def destination(self) -> Destination | None:
        """What decides which other hosts' connections will do; ``None`` when none will."""


class _Dial:
    """An attempt to connect that other threads wait for."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.dialled = NOT_DIALLED  # how far it came, which words the error


class Origin:
    """What is open to one host and port with one set of TLS and proxy settings. Thread-safe.

    :param register: where its connections are noted.
    :param open_connections: those of other origins that may be used, too; ``None`` for none.
    :param max_connections: HTTP/2 connections of its own at most.
    """

    def __init__(
        self,
        options: Options,
        register: Register,
        open_connections: OpenConnections | None = None,
        *,
        max_connections: int,
    ) -> None:
        self._options = options
        self._register = register
        self._max_connections = max(1, max_connections)
        # Guards what follows. A lock of its own because an origin has several connections; whoever
        # has it may take a connection's, never the other way round.
        self._dialled = threading.Condition(threading.Lock())
        self._connections: list[Connection] = []
        self._borrowed: list[Connection] = []  # dialled, and to be drained, by other origins
        self._open_connections = open_connections
        self._dial: _Dial | None = None
        self._http1 = False  # what the last dial found
        self._http1_only = False  # the server sent HTTP_1_1_REQUIRED
        weakref.finalize(self, _abandon, self._connections)
        renew_in_children(self)

    def drain(self, reason: str) -> None:
        """Let every HTTP/2 connection finish what it has; later requests dial anew."""
        with self._dialled:
            connections = list(self._connections)
            self._connections.clear()
            self._borrowed.clear()
        for connection in connections:
            connection.drain(reason)

    def renew_after_fork(self) -> None:
        """In a forked child: dial anew. The connections forget themselves."""
        self._dialled = threading.Condition(threading.Lock())
        self._connections.clear()
        self._borrowed.clear()
        self._dial = None
        renew_tls_after_fork()

    def adopt(self, lease: Lease) -> Promise | None:
        """Give the lease an unclaimed push that may answer its request."""
        with self._dialled:
            connections = [*self._connections, *self._borrowed]
        for connection in connections:
            if promise := lease.adopt(connection):
                return promise
        return None

    def bind(self, pool: Dialler, lease: Lease, timeout: Timeout) -> bool:
        """Give the lease a stream, or a place on a connection made for it; false if that speaks
        HTTP/1.1.

        :raises InvalidHeader: when the request must not be sent over HTTP/2.
        :raises ConnectTimeoutError: when none was free in the connect timeout, or without one the
            read timeout.
        """
        limit = Timeout.resolve_default_timeout(timeout.connect_timeout)
        if limit is None:
            limit = Timeout.resolve_default_timeout(timeout.read_timeout)
        deadline = Deadline(limit)
        pending: _Dial | None = None
        dial: _Dial | None = None  # our own
        tried: list[Connection] = []
        try:
            while not self._open(lease, tried, deadline):
                with self._dialled:
                    if pending is not None and pending.error is not None:
                        lease.dialled = pending.dialled
                        raise pending.error
                    pending = self._dial
                    shared = not self._http1 and not self._http1_only
                    own = [c for c in self._connections if c.usable]
                    open_connections = own + [c for c in self._borrowed if c.usable]
                    if any(connection not in tried for connection in open_connections):
                        continue  # a dial ended since
                    if deadline.expired:
                        raise self._no_place(pool, lease, own, limit)
                    if pending is None and shared and len(own) < self._max_connections:
                        dial = self._dial = _Dial()
                if dial is not None:
                    return self._lead(dial, pool, lease, timeout, tried, deadline)
                if pending is None and not shared:
                    return self._connect(pool, lease, timeout)
                self._wait(pending, open_connections, deadline)
            return True
        finally:
            # Here, because KeyboardInterrupt may come before the dial has begun.
            if dial is not None:
                self._end(dial)

    def _no_place(
        self, pool: Dialler, lease: Lease, full: list[Connection], limit: float | None
    ) -> ConnectTimeoutError:
        if full:
            lease.dialled = full[0].dialled  # no proxy is to blame
            text = (
                f"No free stream on {pool.host}: {len(full)} of {self._max_connections} "
                "connections are open and full. Read or close responses, or raise pool_maxsize"
            )
        else:
            text = f"Connection to {pool.host} timed out while another thread was connecting"
        return ConnectTimeoutError(lease, f"{text}. (connect timeout={limit})")

    def _open(self, lease: Lease, tried: list[Connection], deadline: Deadline) -> bool:
        """Open a stream on a connection there is; ``tried`` becomes those that had no place."""
        with self._dialled:
            tried[:] = [*self._connections, *self._borrowed]
        for connection in list(tried):
            if lease.open_on(connection, deadline):
                return True
            if not connection.usable:
                self._forget(connection)
        return False

    def _wait(
        self, pending: _Dial | None, connections: list[Connection], deadline: Deadline
    ) -> None:
        """Wait for a dial of another thread, or for a stream of some full connection."""
        if not connections:
            with self._dialled:
                self._dialled.wait_for(lambda: self._dial is not pending, deadline.remaining())
        elif pending is None and len(connections) == 1:
            connections[0].waiting.for_slot(deadline)
        else:
            left = deadline.remaining()
            slice_ = Deadline(_SLICE if left is None else min(left, _SLICE))
            random.choice(connections).waiting.for_slot(slice_)

    def _lead(
        self,
        dial: _Dial,
        pool: Dialler,
        lease: Lease,
        timeout: Timeout,
        tried: list[Connection],
        deadline: Deadline,
    ) -> bool:
        """Dial for every thread that waits, unless another origin's connection will do."""
        if self._borrow(pool, lease, tried, deadline):
            return True
        try:
            return self._connect(pool, lease, timeout)
        except Exception as error:
            # Followers have deadlines of their own: after a timeout of ours one of them dials.
            if not _is_timeout(error) or isinstance(error, NewConnectionError):
                dial.error, dial.dialled = error, lease.dialled
            raise

    def _end(self, dial: _Dial) -> None:
        """Have those who wait for it look again."""
        with self._dialled:
            if self._dial is dial:
                self._dial = None
                self._dialled.notify_all()

    def _borrow(
        self, pool: Dialler, lease: Lease, tried: list[Connection], deadline: Deadline
    ) -> bool:
        """Open a stream on a connection of another origin, which others then find here too."""
        offers = self._open_connections
        destination = None if offers is None else pool.destination()
        if offers is None or destination is None:
            return False
        for connection in offers.serving(destination, tried):
            if lease.open_on(connection, deadline):
                log.debug("%s uses the connection to %s", pool.origin_name, connection.origin)
                with self._dialled:
                    if self._open_connections is not None:  # or a 421 came meanwhile
                        self._borrowed.append(connection)
                return True
        return False

    def _connect(self, pool: Dialler, lease: Lease, timeout: Timeout) -> bool:
        """Take a connection from urllib3's queue, connected if need be, and see what it speaks."""
        conn = pool.take_http1(lease.pool_timeout)
        protocols = HTTP1_ONLY if self._http1_only else OFFERED_PROTOCOLS
        try:
            if conn.is_closed:
                conn.timeout = Timeout.resolve_default_timeout(timeout.connect_timeout)
                self._dial_out(pool, conn, protocols)
            speaks_http2 = pool.speaks_http2(conn, protocols)
            if not speaks_http2 and self._options.required:
                raise HTTP2RequiredError(
                    f"{pool.origin_name} does not speak HTTP/2: ALPN negotiated "
                    f"{self._register.dial_of(conn).alpn or 'nothing'}. Use http2=True to accept "
                    "HTTP/1.1"
                )
            if speaks_http2:
                lease.bind(self._adopt(pool, conn))
        except BaseException as error:
            lease.dialled = Dialled.of(conn)
            if not began_with_origin(conn) and not _is_timeout(error):
                # There is no tunnel: urllib3 is to blame the proxy, if there is one.
                lease.dialled = lease.dialled._replace(has_connected_to_proxy=False)
            conn.close()
            pool.put_http1(None)
            raise
        self._http1 = not speaks_http2
        if self._http1:
            lease.dialled = Dialled.of(conn)
            lease.http1 = conn
            return False
        pool.put_http1(None)
        return True

    def _dial_out(self, pool: Dialler, conn: HTTPConnection, protocols: Sequence[str]) -> None:
        try:
            pool.host.encode("idna")
        except UnicodeError as error:
            # urllib3 finds out when it has no proxy. PySocks would leave a socket open, ssl too.
            raise LocationParseError(f"'{pool.host}', label empty or too long") from error
        pool.offer(conn, protocols)
        begun_at = time.monotonic()
        note(Connecting())
        try:
            pool.connect(conn)
        except TimeoutError as error:
            # urllib3 would call a stalled handshake a read timeout.
            raise ConnectTimeoutError(
                conn, f"Connecting to {pool.host} timed out. (connect timeout={conn.timeout})"
            ) from error
        except (OSError, CertificateError):
            raise  # some are ValueErrors too
        except ValueError as error:
            if conn.proxy is None or began_with_origin(conn):
                raise
            raise ProxyError("Unable to connect to proxy", error) from error
        tls_begun_at = began_with_origin(conn)
        dial = self._register.dialled(conn, pool.origin_name, begun_at, tls_begun_at).dial
        note(Connected(dial))
        log.debug(
            "%s: connected, ALPN %s, %s, engine %s",
            pool.origin_name,
            dial.alpn or "nothing",
            dial.tls_version or "no TLS",
            self._options.engine,
        )

    def _adopt(self, pool: Dialler, conn: HTTPConnection) -> Connection:
        """Make a multiplexed connection of a connected socket, with a place for the caller."""
        dial = self._register.dial_of(conn)
        exchange = current_exchange()
        engine = logged(engine_class(self._options.engine))(
            stream_window=self._options.initial_window_size,
            connection_window=CONNECTION_WINDOW,
            max_header_list_size=MAX_HEADER_LIST_SIZE,
            enable_push=exchange is not None and exchange.wants_pushes(),
            max_pushes=self._options.max_pushes,
        )
        port = pool.port or port_by_scheme[pool.scheme]
        authority = Authority(pool.host, port, conn.sock, pool.scheme)
        try:
            connection = Connection(
                pool.transport(conn.sock),
                engine,
                pool.origin_name,
                Dialled.of(conn),
                Promises(authority, self._options.max_pushes, self._options.push_timeout),
                self._options,
                dial,
            )
        except OSError as error:
            # It needs descriptors of its own. So urllib3 words it when there is none for a socket.
            text = f"Failed to establish a new connection: {error}"
            raise NewConnectionError(conn, text) from error
        conn.sock = None  # it is the connection's from here on
        self._register.add(connection.viewing)
        if (offers := self._open_connections) is not None:
            offers.add(connection, pool.destination())
        with self._dialled:
            self._connections.append(connection)
        return connection

    def stay_apart(self) -> None:
        """From now on, use no connection of another origin and offer none: the server tells them
        apart.
        """
        with self._dialled:
            self._open_connections = None
            self._borrowed.clear()

    def use_http1_only(self, fault: StreamFault) -> None:
        if self._options.required:
            raise HTTP2RequiredError(fault.message) from fault
        self._http1_only = True
        self.drain("the server wants HTTP/1.1")

    def _forget(self, connection: Connection) -> None:
        connection.pushing.expire()
        with self._dialled:
            if connection in self._connections and connection.pushing.waiting:
                return  # they may be claimed yet, and have to go in time or with the session
            for connections in (self._connections, self._borrowed):
                if connection in connections:
                    connections.remove(connection)


def _abandon(connections: list[Connection]) -> None:
    """What is left of a pool that was garbage-collected."""
    for connection in connections:
        connection.give_up_later(None)


def _is_timeout(error: BaseException) -> bool:
    return isinstance(error, (TimeoutError, Urllib3TimeoutError))
