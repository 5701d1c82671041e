"""Which connection carries a request: reuse, one dial shared by all, limits, replays."""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import (
    ClosedPoolError,
    ConnectTimeoutError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError
from urllib3.util import Timeout
from urllib3.util.proxy import connection_requires_http_tunnel
from urllib3.util.retry import Retry

from .body import RequestBody
from .connection import Connection
from .engine.h2_engine import H2Engine
from .exceptions import FaultKind, HTTP2RequiredError, StreamFault, to_urllib3
from .fields import RequestTarget, asks_to_close, request_fields
from .flow_control import CONNECTION_WINDOW, STREAM_WINDOW
from .fork import renew_in_children
from .lease import Lease
from .replay import Replays
from .response import HTTP2Response
from .stream import MAX_HEADER_LIST_SIZE
from .timeouts import Deadline
from .tls import Dialled, SSLSocketTransport, negotiated_h2, offer_h2
from .tls import renew_after_fork as renew_tls_after_fork

log = logging.getLogger(__name__)
urllib3_log = logging.getLogger("urllib3.connectionpool")

_SLICE = 0.05  # seconds that a thread waits on one of several places for a free stream


class _Dial:
    """An attempt to connect that other threads wait for."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.dialled = Dialled(
            False, None, False
        )  # how far it came, for urllib3's choice of exception


class HTTP2ConnectionPool(HTTPSConnectionPool):
    """A urllib3 pool whose requests share one or a few multiplexed connections.

    Each request gets a :class:`Lease`, which :meth:`_make_request` binds to a connection.
    Connections are made by urllib3's own ``_new_conn`` and ``connect``, one at a time while it is
    unknown what the origin speaks. Where ALPN says http/1.1, everything goes on as in the class
    above, on the same socket.

    :param http2: ``True``, or ``"required"`` to refuse servers without HTTP/2.
    :param connection_cls: replaces ``ConnectionCls`` (SOCKS pools have their own).
    :param maxsize: HTTP/2 connections at most, and what urllib3 means by it over HTTP/1.1.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        http2: bool | str = True,
        connection_cls: type[HTTPSConnection] | None = None,
        maxsize: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(host, port, maxsize=maxsize, **kwargs)
        if connection_cls is not None:
            self.ConnectionCls = connection_cls
        self._required = http2 == "required"
        self._tunnels = connection_requires_http_tunnel(self.proxy, self.proxy_config, "https")
        # TLS inside TLS goes through urllib3's SSLTransport, which cannot be non-blocking; and a
        # forwarding proxy is the peer of the TLS connection.
        self._multiplexes = self.proxy is None or (self._tunnels and self.proxy.scheme == "http")
        self._max_connections = max(1, maxsize)
        # Guards what follows. A lock of its own because a pool has several connections; whoever
        # has it may take a connection's, never the other way round.
        self._dialled = threading.Condition(threading.Lock())
        self._connections: list[Connection] = []
        self._dial: _Dial | None = None
        self._http1 = False  # what the last dial found
        self._http1_only = False  # the server sent HTTP_1_1_REQUIRED
        weakref.finalize(self, _abandon, self._connections)
        renew_in_children(self)

    # -- urllib3's interface -----------------------------------------------------------------------

    def _get_conn(self, timeout: float | None = None) -> Any:
        if self.pool is None:
            raise ClosedPoolError(self, "Pool is closed.")
        if not self._multiplexes:
            if self._required:
                raise HTTP2RequiredError(
                    f"HTTP/2 to {self.host} cannot be had through an HTTPS or forwarding proxy"
                )
            return super()._get_conn(timeout)
        return Lease(self, timeout)

    def _put_conn(self, conn: Any) -> None:
        if isinstance(conn, Lease):
            conn.release()
        elif conn is not None or not self._multiplexes:
            # None stands for a lease that urlopen has closed, which returned its place by itself.
            super()._put_conn(conn)

    def put_http1(self, conn: HTTPSConnection | None) -> None:
        """Give back a place in the HTTP/1.1 queue, with its connection if that lives."""
        super()._put_conn(conn)

    def close(self) -> None:
        """Close idle connections now, busy ones when their last stream ends."""
        super().close()
        self.drain("the pool was closed")

    def drain(self, reason: str) -> None:
        """Let every HTTP/2 connection finish what it has; later requests dial anew."""
        with self._dialled:
            connections = list(self._connections)
            self._connections.clear()
        for connection in connections:
            connection.drain(reason)

    def renew_after_fork(self) -> None:
        """In a forked child: dial anew. The connections forget themselves."""
        self._dialled = threading.Condition(threading.Lock())
        self._connections.clear()
        self._dial = None
        if self.pool is not None:
            inherited, self.pool = self.pool, self.QueueCls(self.pool.maxsize)
            for conn in filter(None, inherited.queue):
                conn.close()
            for _ in range(self.pool.maxsize):
                self.pool.put(None)
        renew_tls_after_fork()

    def _make_request(
        self,
        conn: Any,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        retries: Retry | None = None,
        timeout: Any = None,
        chunked: bool = False,
        response_conn: Any = None,
        preload_content: bool = True,
        decode_content: bool = True,
        enforce_content_length: bool = True,
    ) -> Any:
        options = {
            "preload_content": preload_content,
            "decode_content": decode_content,
            "enforce_content_length": enforce_content_length,
        }
        if not isinstance(conn, Lease):
            return super()._make_request(
                conn,
                method,
                url,
                body,
                headers,
                retries,
                timeout,
                chunked,
                response_conn,
                **options,
            )
        timeout = self._get_timeout(timeout)
        timeout.start_connect()
        response = self._make_http2_request(
            conn, method, url, body, headers or self.headers, timeout, options
        )
        if response is not None:
            response.retries = retries
            response._connection = response_conn
            response._pool = self
            # The line that urllib3 writes over HTTP/1.1.
            urllib3_log.debug(
                '%s://%s:%s "%s %s %s" %s %s',
                self.scheme,
                self.host,
                self.port,
                method,
                url,
                response.version_string,
                response.status,
                response.length_remaining,
            )
            return response
        http1 = conn.http1
        assert http1 is not None
        holder = None if response_conn is None else http1
        answer = super()._make_request(
            http1, method, url, body, headers, retries, timeout, chunked, holder, **options
        )
        if holder is not None:
            conn.http1 = None  # the response gives it back
        return answer

    # -- one request -------------------------------------------------------------------------------

    def _make_http2_request(
        self,
        lease: Lease,
        method: str,
        url: str,
        body: Any,
        headers: Mapping[str, str],
        timeout: Timeout,
        options: dict[str, bool],
    ) -> HTTP2Response | None:
        """The response, or ``None`` when the lease has got an HTTP/1.1 connection."""
        if not self._bind(lease, timeout):
            return None
        self.num_requests += 1
        request_body = RequestBody(body, method, headers)
        fields = request_fields(method, self._target(url), headers, request_body.length)
        replays = Replays(
            method, request_body, Timeout.resolve_default_timeout(timeout.read_timeout)
        )
        while True:
            self._validate_conn(lease)  # type: ignore[arg-type]  # warns, as for any connection
            try:
                lease.request(method, fields, request_body, timeout)
                if asks_to_close(headers):
                    lease.drain("the request says Connection: close")
                return lease.getresponse(method, url, **options)
            except TimeoutError as error:
                text = f"Read timed out. (read timeout={lease.read_timeout})"
                raise ReadTimeoutError(self, url, text) from error
            except StreamFault as fault:
                pause = replays.pause_before(fault, lease.stream)
                if pause is None:
                    raise to_urllib3(fault) from fault
                log.debug("%s; %s %s is sent again", fault.message, method, url)
                if fault.kind is FaultKind.HTTP_1_1_REQUIRED:
                    self._use_http1_only(fault)
            time.sleep(pause)
            if not self._bind(lease, timeout):
                return None

    def _target(self, url: str) -> RequestTarget:
        host = self.host.rstrip(".")
        if ":" in host:
            host = f"[{host.partition('%')[0]}]"  # the zone is this machine's affair
        port = "" if self.port in (None, 443) else f":{self.port}"
        return RequestTarget("https", host + port, url)

    # -- finding a connection ----------------------------------------------------------------------

    def _bind(self, lease: Lease, timeout: Timeout) -> bool:
        """Give the lease a place on a connection, made if need be; false if it speaks HTTP/1.1.

        :raises ConnectTimeoutError: when none was free in the connect timeout, or without one the
            read timeout.
        """
        limit = Timeout.resolve_default_timeout(timeout.connect_timeout)
        if limit is None:
            limit = Timeout.resolve_default_timeout(timeout.read_timeout)
        deadline = Deadline(limit)
        pending: _Dial | None = None
        tried: list[Connection] = []
        while not self._reserve(lease, tried):
            with self._dialled:
                if pending is not None and pending.error is not None:
                    lease.dialled = pending.dialled
                    raise pending.error
                pending, dial = self._dial, None
                shared = not self._http1 and not self._http1_only
                open_connections = [c for c in self._connections if c.usable]
                if any(connection not in tried for connection in open_connections):
                    continue  # a dial ended since
                if deadline.expired:
                    raise self._no_place(lease, open_connections, limit)
                if pending is None and shared and len(open_connections) < self._max_connections:
                    dial = self._dial = _Dial()
            if dial is not None:
                return self._lead(dial, lease, timeout)
            if pending is None and not shared:
                return self._connect(lease, timeout)
            self._wait(pending, open_connections, deadline)
        return True

    def _no_place(
        self, lease: Lease, full: list[Connection], limit: float | None
    ) -> ConnectTimeoutError:
        if full:
            lease.dialled = full[0].dialled  # no proxy is to blame
            text = (
                f"No free stream on {self.host}: {len(full)} of {self._max_connections} "
                "connections are open and full. Read or close responses, or raise pool_maxsize"
            )
        else:
            text = f"Connection to {self.host} timed out while another thread was connecting"
        return ConnectTimeoutError(lease, f"{text}. (connect timeout={limit})")

    def _reserve(self, lease: Lease, tried: list[Connection]) -> bool:
        """Get a place on a connection there is; ``tried`` becomes those that had none."""
        with self._dialled:
            tried[:] = self._connections
        for connection in list(tried):
            if connection.reserve():
                lease.bind(connection)
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
            connections[0].wait_for_slot(deadline)
        else:
            left = deadline.remaining()
            slice_ = Deadline(_SLICE if left is None else min(left, _SLICE))
            random.choice(connections).wait_for_slot(slice_)

    def _lead(self, dial: _Dial, lease: Lease, timeout: Timeout) -> bool:
        """Dial for every thread that waits."""
        try:
            return self._connect(lease, timeout)
        except Exception as error:
            # Followers have deadlines of their own: after a timeout of ours one of them dials.
            timed_out = isinstance(error, (TimeoutError, Urllib3TimeoutError))
            if not timed_out or isinstance(error, NewConnectionError):
                dial.error, dial.dialled = error, lease.dialled
            raise
        finally:
            with self._dialled:
                self._dial = None
                self._dialled.notify_all()

    def _connect(self, lease: Lease, timeout: Timeout) -> bool:
        """Take a connection from urllib3's queue, connected if need be, and see what it speaks."""
        conn: HTTPSConnection = super()._get_conn(lease.pool_timeout)  # type: ignore[assignment]
        try:
            if conn.is_closed:
                conn.timeout = Timeout.resolve_default_timeout(timeout.connect_timeout)
                self._dial_out(conn)
            if not negotiated_h2(conn) and self._required:
                raise HTTP2RequiredError(
                    f"{self.host}:{self.port} does not speak HTTP/2: ALPN negotiated "
                    f"{_alpn(conn)}. Use http2=True to accept HTTP/1.1"
                )
        except BaseException as error:
            lease.dialled = Dialled.of(conn)
            if isinstance(error, HTTPException):
                # Only CONNECT's answer is HTTP/1.1 here: the proxy is at fault.
                lease.dialled = lease.dialled._replace(has_connected_to_proxy=False)
            conn.close()
            self.put_http1(None)
            raise
        self._http1 = not negotiated_h2(conn)
        if self._http1:
            lease.dialled = Dialled.of(conn)
            lease.http1 = conn
            return False
        lease.bind(self._adopt(conn))
        self.put_http1(None)
        return True

    def _dial_out(self, conn: HTTPSConnection) -> None:
        if not self._http1_only:
            offer_h2(conn)
        try:
            if self._tunnels:
                self._prepare_proxy(conn)
            else:
                conn.connect()
        except TimeoutError as error:
            # urllib3 would call a stalled handshake a read timeout.
            raise ConnectTimeoutError(
                conn, f"Connecting to {self.host} timed out. (connect timeout={conn.timeout})"
            ) from error
        log.debug("%s:%s: connected, ALPN %s, %s", self.host, self.port, _alpn(conn), _tls(conn))

    def _adopt(self, conn: HTTPSConnection) -> Connection:
        """Make a multiplexed connection of a connected socket, with a place for the caller."""
        sock, conn.sock = conn.sock, None
        engine = H2Engine(
            stream_window=STREAM_WINDOW,
            connection_window=CONNECTION_WINDOW,
            max_header_list_size=MAX_HEADER_LIST_SIZE,
        )
        connection = Connection(
            SSLSocketTransport(sock), engine, f"{self.host}:{self.port}", Dialled.of(conn)
        )
        with self._dialled:
            self._connections.append(connection)
        return connection

    def _use_http1_only(self, fault: StreamFault) -> None:
        if self._required:
            raise HTTP2RequiredError(fault.message) from fault
        self._http1_only = True
        self.drain("the server wants HTTP/1.1")

    def _forget(self, connection: Connection) -> None:
        with self._dialled:
            if connection in self._connections:
                self._connections.remove(connection)


def _abandon(connections: list[Connection]) -> None:
    """What is left of a pool that was garbage-collected."""
    for connection in connections:
        connection.give_up_later(None)


def _alpn(conn: HTTPSConnection) -> str:
    protocol = getattr(conn.sock, "selected_alpn_protocol", None)
    return (protocol() if protocol is not None else None) or "nothing"


def _tls(conn: HTTPSConnection) -> str:
    version = getattr(conn.sock, "version", None)
    return (version() if version is not None else None) or "no TLS"
