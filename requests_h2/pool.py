"""urllib3's pool with multiplexed connections in it: the interface, one request, its replays."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from urllib3.connection import HTTPConnection, port_by_scheme
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ClosedPoolError, HTTPError, ReadTimeoutError
from urllib3.response import HTTPResponse
from urllib3.util import Timeout
from urllib3.util.proxy import connection_requires_http_tunnel
from urllib3.util.retry import Retry

from .coalescing import Destination, OpenConnections, destination_of
from .exceptions import FaultKind, HTTP2RequiredError, StreamFault, on_connection, to_urllib3
from .exchange import note, observed
from .fields import Headers, RequestTarget, asks_to_close
from .fork import renew_in_children
from .lease import Lease
from .notes import Answered, Begun, Failed, Replayed, error_text
from .options import Options
from .origin import Origin
from .register import Register, version_of
from .replay import Replays
from .response import HTTP2Response
from .tls import negotiated_h2, offer
from .tls_in_tls import transport
from .transport import Transport

log = logging.getLogger(__name__)
urllib3_log = logging.getLogger("urllib3.connectionpool")


_MAX_PINGS = 4  # as often as a request is turned away


class PingBody:
    """Stands where a request has its body, to have ``urlopen`` send PING and nothing else.

    So it dials, retries that and words its errors as for any request.
    """

    def __init__(self) -> None:
        self.round_trip = 0.0
        """Seconds, when ``urlopen`` has returned."""


class HTTP2ConnectionPool(HTTPConnectionPool):
    """A urllib3 pool whose requests share one or a few multiplexed connections.

    Each request gets a :class:`Lease`, which :meth:`_make_request` binds to a connection.
    Connections are made by urllib3's own ``_new_conn`` and ``connect``, one at a time while it is
    unknown what the origin speaks. Where that is HTTP/1.1, everything goes on as in the class
    above, on the same socket. How it is found out is the affair of the classes below.

    :param options: with the engine "h2" or "nghttp2".
    :param register: where connections are noted, for those who inspect them.
    :param open_connections: of the manager's other pools, when those may be used.
    :param stock: the class that this one stands for (SOCKS has one of its own).
    :param maxsize: HTTP/2 connections at most, and what urllib3 means by it over HTTP/1.1.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        options: Options,
        register: Register,
        stock: Any,
        open_connections: OpenConnections | None = None,
        maxsize: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(host, port, maxsize=maxsize, **kwargs)
        if stock not in (HTTPConnectionPool, HTTPSConnectionPool):
            self.ConnectionCls = stock.ConnectionCls
        self._stock_name = getattr(stock, "__name__", f"{self.scheme.upper()}ConnectionPool")
        self._options = options
        self._tunnels = connection_requires_http_tunnel(self.proxy, self.proxy_config, self.scheme)
        # A forwarding proxy is the peer of the TLS connection, and speaks HTTP/1.1 with us. It is
        # the host of this pool itself when the URLs are http://.
        itself = self.proxy is not None and (self.host, self.port) == (
            (self.proxy.host or "").strip("[]"),
            self.proxy.port,
        )
        self._reaches = self.proxy is None or (self._tunnels and not itself)
        self._register = register
        self.origin_name = f"{self.host}:{self.port}"
        """For messages, and to tell other hosts' connections by."""
        self._given = kwargs
        self._origin = Origin(options, register, open_connections, max_connections=maxsize)
        renew_in_children(self)

    @property
    def multiplexes(self) -> bool:
        """Whether HTTP/2 is offered. It changes while vcrpy, say, has replaced the class."""
        return self._reaches and _is_urllib3s(self.ConnectionCls)

    # -- urllib3's interface -----------------------------------------------------------------------

    def __str__(self) -> str:
        """As of the stock class, because messages begin with it: logs are searched for that."""
        return f"{self._stock_name}(host={self.host!r}, port={self.port!r})"

    def _get_conn(self, timeout: float | None = None) -> Any:
        if self.pool is None:
            raise ClosedPoolError(self, "Pool is closed.")
        if self.multiplexes:
            return Lease(self, timeout)
        # Taken in any case: urlopen gives a place back.
        conn = super()._get_conn(timeout)
        if self._options.required:
            way = (
                f"by {self.ConnectionCls.__name__}, which speaks HTTP/1.1"
                if self._reaches
                else "through a forwarding proxy"
            )
            raise HTTP2RequiredError(f"HTTP/2 to {self.host} cannot be had {way}")
        return conn

    def _put_conn(self, conn: Any) -> None:
        if isinstance(conn, Lease):
            conn.release()
        elif conn is not None or not self.multiplexes:
            # None stands for a lease that urlopen has closed, which returned its place by itself.
            super()._put_conn(conn)

    def take_http1(self, timeout: float | None) -> HTTPConnection:
        """A place in the HTTP/1.1 queue, and its connection, which may be a new, closed one."""
        conn: Any = super()._get_conn(timeout)
        if not _is_urllib3s(type(conn)):
            conn.close()  # it is left of a time when the class was another
            conn = self._new_conn()
        taken: HTTPConnection = conn
        return taken

    def put_http1(self, conn: HTTPConnection | None) -> None:
        """Give back a place in the HTTP/1.1 queue, with its connection if that lives."""
        super()._put_conn(conn)

    def offer(self, conn: HTTPConnection, protocols: Sequence[str]) -> None:
        """Prepare a connection that is not connected to offer these protocols by ALPN."""
        raise NotImplementedError

    def connect(self, conn: HTTPConnection) -> None:
        """Open socket, tunnel and TLS."""
        if self._tunnels:
            self._prepare_proxy(conn)
        else:
            conn.connect()

    def speaks_http2(self, conn: HTTPConnection, protocols: Sequence[str]) -> bool:
        """Whether HTTP/2 is to be spoken on a connection, which may be an idle HTTP/1.1 one.

        :param protocols: what would be offered now.
        """
        raise NotImplementedError

    def transport(self, sock: Any) -> Transport:
        """The transport for what urllib3 has connected, which must not be used otherwise then."""
        raise NotImplementedError

    def destination(self) -> Destination | None:
        """What decides which other hosts' connections will do; ``None`` when none will."""
        return None

    def close(self) -> None:
        """Close idle connections now, busy ones when their last stream ends."""
        super().close()
        self.drain("the pool was closed")

    def drain(self, reason: str) -> None:
        """Let every HTTP/2 connection finish what it has; later requests dial anew."""
        self._origin.drain(reason)

    def renew_after_fork(self) -> None:
        """In a forked child: another HTTP/1.1 queue. Sockets and locks are the parent's."""
        if self.pool is not None:
            inherited, self.pool = self.pool, self.QueueCls(self.pool.maxsize)
            for conn in filter(None, inherited.queue):
                conn.close()
            for _ in range(self.pool.maxsize):
                self.pool.put(None)

    def _make_request(self, conn: Any, *args: Any, **options: Any) -> Any:
        exchange = observed()
        if exchange is None:
            return self._try(conn, *args, **options)
        try:
            answer = self._try(conn, *args, **options)
        except BaseException as error:
            exchange.note(Failed(error_text(error)))
            raise
        fields = list(answer.headers.items())
        exchange.note(Answered(version_of(answer), answer.status, fields))
        return answer

    def _try(
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
        if isinstance(body, PingBody):
            body.round_trip = self._ping(conn, url, timeout)
            return HTTPResponse(status=200, preload_content=False)
        response = self._make_http2_request(
            conn, method, url, body, list((headers or self.headers).items()), timeout, options
        )
        if response is None:
            given = (method, url, body, headers, retries, timeout, chunked)
            return self._make_http1_request(conn, response_conn, *given, **options)
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

    def _make_http1_request(
        self, lease: Lease, response_conn: Any, *given: Any, **options: bool
    ) -> Any:
        """urllib3's own, on the connection that the lease has got.

        :param given: what stands between the connections in ``_make_request``.
        """
        http1 = lease.http1
        assert http1 is not None
        holder = None if response_conn is None else http1
        if (exchange := observed()) is not None:
            exchange.note(Begun(self._register.dial_of(http1), None, None))
        begun_at = time.monotonic()
        make_request: Any = super()._make_request
        answer = make_request(http1, *given, holder, **options)
        if holder is not None:
            lease.http1 = None  # the response gives it back
        answer.connection_info = self._register.of_http1(
            http1, version_of(answer), time.monotonic() - begun_at, lease.replays
        )
        return answer

    def _ping(self, lease: Lease, url: str, timeout: Timeout) -> float:
        attempts = 0
        while True:
            attempts += 1
            if not self._origin.bind(self, lease, timeout):
                lease.release()
                raise HTTP2RequiredError(
                    f"{self.origin_name} is served over HTTP/1.1, where there is no PING"
                )
            try:
                return lease.ping(timeout)
            except TimeoutError as error:
                text = f"No answer to PING. (read timeout={lease.read_timeout})"
                raise ReadTimeoutError(self, url, text) from error
            except StreamFault as fault:
                # Servers retire connections after so many requests; that is no fault of theirs.
                if fault.kind is not FaultKind.NOT_SENT or attempts == _MAX_PINGS:
                    if lease.coalesced:
                        fault.where = on_connection(self.origin_name, fault.where)
                    raise self._failure(lease, fault) from fault

    # -- one request -------------------------------------------------------------------------------

    def _make_http2_request(
        self,
        lease: Lease,
        method: str,
        url: str,
        body: Any,
        headers: Headers,
        timeout: Timeout,
        options: dict[str, bool],
    ) -> HTTP2Response | None:
        """The response, or ``None`` when the lease has got an HTTP/1.1 connection."""
        lease.describe(method, self._target(url), headers, body, timeout)
        if self._options.adopt_pushes and self._adopt(lease, url):
            return lease.getresponse(method, url, **options)
        if not self._origin.bind(self, lease, timeout):
            return None
        self.num_requests += 1
        replays = Replays(method, lease.body, Timeout.resolve_default_timeout(timeout.read_timeout))
        while True:
            pause = 0.0
            try:
                lease.request()
                if asks_to_close(headers):
                    lease.drain("the request says Connection: close")
                response = lease.getresponse(method, url, **options)
                if response.status != 421 or not self._stay_apart(lease):
                    return response
                lease.abandon(response)
                log.debug("%s: 421, %s %s is sent again", self.origin_name, method, url)
                note(Replayed(f"{self.origin_name}: 421 on the connection to another host"))
            except TimeoutError as error:
                raise self._timed_out(lease, url) from error
            except StreamFault as fault:
                allowed = replays.pause_before(fault, lease.stream)
                if allowed is None:
                    raise self._failure(lease, fault) from fault
                pause = allowed
                log.debug("%s; %s %s is sent again", fault.message, method, url)
                note(Replayed(fault.message))
                if fault.kind is FaultKind.HTTP_1_1_REQUIRED:
                    self._origin.use_http1_only(fault)
            lease.replays += 1
            time.sleep(pause)
            if not self._origin.bind(self, lease, timeout):
                return None

    def _adopt(self, lease: Lease, url: str) -> bool:
        """Find a push that answers the request. One that fails is as good as none."""
        promise = self._origin.adopt(lease)
        if promise is None:
            return False
        try:
            return lease.wait_for_adopted(promise)
        except TimeoutError as error:
            raise self._timed_out(lease, url) from error

    def _failure(self, lease: Lease, fault: StreamFault) -> HTTPError:  # noqa: ARG002
        # CleartextPool adds to it what the lease tells.
        return to_urllib3(fault)

    def _stay_apart(self, lease: Lease) -> bool:
        """After a 421 on another host's connection, use none of those again; whether the request
        can be sent again (RFC 9110 section 15.5.20).
        """
        if not lease.coalesced:
            return False
        self._origin.stay_apart()
        return lease.body.rewind()

    def _timed_out(self, lease: Lease, url: str) -> ReadTimeoutError:
        text = f"Read timed out. (read timeout={lease.read_timeout})"
        return ReadTimeoutError(self, url, text)

    def _target(self, url: str) -> RequestTarget:
        host = self.host.rstrip(".")
        if ":" in host:
            host = f"[{host.partition('%')[0]}]"  # the zone is this machine's affair
        port = "" if self.port in (None, port_by_scheme[self.scheme]) else f":{self.port}"
        return RequestTarget(self.scheme, host + port, url)


class SecurePool(HTTP2ConnectionPool, HTTPSConnectionPool):
    """For ``https://`` URLs: ALPN decides."""

    def offer(self, conn: Any, protocols: Sequence[str]) -> None:
        offer(conn, protocols)

    def speaks_http2(self, conn: HTTPConnection, protocols: Sequence[str]) -> bool:  # noqa: ARG002
        # Nothing but ALPN decides here; it is CleartextPool that has to go by what was offered.
        return negotiated_h2(conn)

    def transport(self, sock: Any) -> Transport:
        return transport(sock)

    def destination(self) -> Destination | None:
        return destination_of(self, self._given)


def _is_urllib3s(connection_cls: Any) -> bool:
    """Whether a class of connections leaves requests and responses to urllib3. One that does not,
    as vcrpy's, wants to see them, and on a shared connection it would not.
    """
    modules = {connection_cls.request.__module__, connection_cls.getresponse.__module__}
    return modules == {"urllib3.connection"}
