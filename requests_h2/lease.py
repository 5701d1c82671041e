"""The urllib3-shaped handle of one exchange.

``urlopen`` wants a connection to work with: something with a ``timeout``, with ``request``,
``getresponse`` and ``close``. Over HTTP/2 that is one stream of a shared connection; when ALPN
says http/1.1, it is urllib3's own connection, which then has the socket to itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection
from urllib3.util import Timeout, Url

from .body import RequestBody, Upload
from .connection import Connection
from .exceptions import CallerError
from .exchange import INFORMATIONAL, current_exchange, observed
from .fields import Headers, RequestTarget, expects_continue, request_fields
from .notes import Begun
from .promises import Promise
from .response import HTTP2Response, http2_response, informational_response
from .stream import Request, Stream
from .stream_reader import StreamReader
from .timeouts import Deadline
from .tls import NOT_DIALLED

if TYPE_CHECKING:
    from .pool import HTTP2ConnectionPool

_CONTINUE_WAIT = 1.0  # seconds, as curl


class Lease:
    """One exchange's hold on a connection; used by one thread at a time.

    :param pool: gets an HTTP/1.1 connection back.
    :param pool_timeout: seconds to wait for an HTTP/1.1 connection when the pool blocks.
    """

    is_closed = False  # urlopen would open tunnels itself otherwise

    def __init__(self, pool: HTTP2ConnectionPool, pool_timeout: float | None) -> None:
        self._pool = pool
        self._outgoing: _Outgoing | None = None
        self.pool_timeout = pool_timeout
        self.timeout: float | None = None  # set by urlopen, which also gives us the Timeout
        self.host = pool.host
        self.proxy: Url | None = pool.proxy
        self.dialled = NOT_DIALLED
        self.http1: HTTPConnection | None = None
        self.connection: Connection | None = None
        self.stream: Stream | None = None
        self.read_timeout: float | None = None
        self.replays = 0
        """How often the request was sent again."""
        self._upload: Upload | None = None
        self._told = 0  # informational responses that hooks were called for
        self._reserved = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pool.host}:{self._pool.port}>"

    @property
    def sock(self) -> Any:
        """The socket, for its certificate and addresses; over HTTP/2 others use it too."""
        return self.connection and self.connection.sock

    @property
    def coalesced(self) -> bool:
        """Whether the HTTP/2 connection was dialled for another host."""
        return self.connection is not None and self.connection.origin != self._pool.origin_name

    @property
    def is_verified(self) -> bool:
        return self.dialled.is_verified

    @property
    def proxy_is_verified(self) -> bool | None:
        return self.dialled.proxy_is_verified

    @property
    def has_connected_to_proxy(self) -> bool:
        return self.dialled.has_connected_to_proxy

    def describe(
        self, method: str, target: RequestTarget, headers: Headers, body: Any, timeout: Timeout
    ) -> None:
        """Say what is to be sent. It is checked when there is an HTTP/2 connection for it."""
        self._outgoing = _Outgoing(method, target, headers, body, self._pool.origin_name)
        self.read_timeout = Timeout.resolve_default_timeout(timeout.read_timeout)

    @property
    def body(self) -> RequestBody:
        """The request's body.

        :raises InvalidHeader, TypeError: see :class:`RequestBody`.
        """
        assert self._outgoing is not None
        return self._outgoing.body

    def open_on(self, connection: Connection, deadline: Deadline) -> bool:
        """Open the stream on a connection that others use too, if there is a place. A lease that
        nothing was described to needs none.

        :param deadline: of the wait for a silent server to show that it lives.
        :raises InvalidHeader: when the request must not be sent.
        """
        request = None if self._outgoing is None else self._outgoing.request
        self._use(connection)
        self._pool._validate_conn(self)  # type: ignore[arg-type]  # warns, as for any connection
        if request is None:
            return connection.look() or connection.usable
        self.stream = connection.open_stream(request, deadline)
        if self.stream is None:
            return False
        self._note_begun(connection, self.stream)
        return True

    def bind(self, connection: Connection) -> None:
        """Hold the reservation on a new connection."""
        self._use(connection)
        self._reserved = True

    def adopt(self, connection: Connection) -> Promise | None:
        """Take an unclaimed push that may answer the request, which has no body then.

        :raises InvalidHeader: when the request must not be sent.
        """
        assert self._outgoing is not None
        request = self._outgoing.request
        promise = None if request.sending else connection.pushing.find(request.fields)
        if promise is not None:
            self._use(connection)
            self.stream = promise.stream
            self._note_begun(connection, self.stream)
        return promise

    def request(self) -> None:
        """Send HEADERS and the body, until the server has answered or wants no more of it.

        :raises InvalidHeader: when the request must not be sent.
        :raises TimeoutError: when nothing could be sent for the read timeout.
        :raises StreamFault: when the stream failed.
        :raises CallerError: what the caller's iterator raised, or a hook for informational
            responses.
        """
        assert self.connection is not None
        assert self._outgoing is not None
        request = self._outgoing.request
        if self._reserved:
            self._pool._validate_conn(self)  # type: ignore[arg-type]  # as in open_on
            self._reserved = False
            self.stream = self.connection.open_reserved(request)
            self._note_begun(self.connection, self.stream)
        stream = self.stream
        assert stream is not None
        if not request.sending:
            return
        if expects_continue(request.fields):
            self.connection.waiting.for_continue(stream, _CONTINUE_WAIT)
        self._upload = Upload(self.connection, stream, self.body, self.read_timeout)
        if not self._listened_to:
            self._upload.advance(until=lambda: stream.response is not None)
            return
        while not self._upload.done and stream.response is None:
            self._tell_informational(stream)
            self._upload.advance(
                until=lambda: stream.response is not None or len(stream.informational) > self._told
            )

    def getresponse(
        self,
        method: str,
        url: str,
        *,
        preload_content: bool,
        decode_content: bool,
        enforce_content_length: bool,
    ) -> HTTP2Response:
        """Wait for the final HEADERS.

        :raises TimeoutError: when they do not come within the read timeout.
        :raises StreamFault: when the stream failed before.
        :raises CallerError: what a hook for informational responses raised, or the making of a
            window manager.
        """
        connection, stream = self.connection, self.stream
        assert connection is not None
        assert stream is not None
        self._wait_for_response(connection, stream)
        if stream.response is None:
            assert stream.fault is not None
            raise stream.fault
        reader = StreamReader(connection, stream, method, self._upload, self.read_timeout)
        response = http2_response(
            reader,
            method=method,
            url=url,
            preload_content=preload_content,
            decode_content=decode_content,
            enforce_content_length=enforce_content_length,
        )
        response.pushed = not stream.id % 2
        response.replays = self.replays
        return response

    def wait_for_adopted(self, promise: Promise) -> bool:
        """Wait for a push's final HEADERS; whether it is what the request asks for.

        :raises TimeoutError, StreamFault: as :meth:`getresponse`.
        """
        connection, stream = self.connection, promise.stream
        assert connection is not None
        assert self._outgoing is not None
        connection.waiting.for_response(stream, self.read_timeout)
        if stream.response is not None and not promise.varies(self._outgoing.request.fields):
            return True
        connection.close_stream(stream)
        return False

    def _wait_for_response(self, connection: Connection, stream: Stream) -> None:
        if not self._listened_to:
            connection.waiting.for_response(stream, self.read_timeout)
            return
        deadline = Deadline(self.read_timeout)
        while True:
            self._tell_informational(stream)
            if stream.response is not None or not stream.open:
                return
            connection.waiting.for_response(stream, deadline.remaining(), informational=self._told)

    @property
    def _listened_to(self) -> bool:
        """Whether there are hooks for informational responses."""
        exchange = current_exchange()
        return exchange is not None and bool(exchange.hooks(INFORMATIONAL))

    def _tell_informational(self, stream: Stream) -> None:
        """Call the hooks for what has come since.

        :raises CallerError: what a hook raised.
        """
        exchange = current_exchange()
        assert exchange is not None
        for received in stream.informational[self._told :]:
            self._told += 1
            try:
                exchange.call_hooks(INFORMATIONAL, informational_response(received))
            except Exception as error:
                raise CallerError(error) from error

    def _note_begun(self, connection: Connection, stream: Stream) -> None:
        if (exchange := observed()) is not None:
            exchange.note(Begun(connection.viewing.dial, stream.id, stream.progress))

    def _use(self, connection: Connection) -> None:
        self.connection = connection
        self.dialled = connection.dialled
        self.stream = self._upload = None
        self._told = 0

    def ping(self, timeout: Timeout) -> float:
        """Seconds of a round trip, of a PING without a request.

        :raises TimeoutError: when no answer came within the read timeout.
        :raises StreamFault: when the connection was lost.
        """
        assert self.connection is not None
        self.read_timeout = Timeout.resolve_default_timeout(timeout.read_timeout)
        if self._reserved:
            self._pool._validate_conn(self)  # type: ignore[arg-type]  # as in open_on
            self.release()
        return self.connection.keepalive.ping(self.read_timeout)

    def abandon(self, response: HTTP2Response) -> None:
        """Nobody wants a response, nor what was pushed with it."""
        response.close()
        assert self.connection is not None
        assert self.stream is not None
        self.connection.pushing.drop(self.stream)

    def drain(self, reason: str) -> None:
        """Let the connection carry no other request."""
        assert self.connection is not None
        self.connection.drain(reason)

    def close(self) -> None:
        """End the exchange only: other streams share the connection."""
        if self.http1 is not None:
            self.http1.close()
        elif self.connection is not None and self.stream is not None:
            self.connection.close_stream(self.stream)
        self.release()

    def release(self) -> None:
        """Let go of whatever place is held; a stream that was opened goes on."""
        if self.http1 is not None:
            http1, self.http1 = self.http1, None
            self._pool.put_http1(None if http1.is_closed else http1)
        elif self.connection is not None and self._reserved:
            self._reserved = False
            self.connection.cancel_reservation()


class _Outgoing:
    """A request whose fields and body are made and checked at their first use."""

    def __init__(
        self, method: str, target: RequestTarget, headers: Headers, body: Any, origin: str
    ) -> None:
        self._origin = origin
        self._method = method
        self._target = target
        self._headers = headers
        self._raw_body = body
        self._body: RequestBody | None = None
        self._request: Request | None = None

    @property
    def body(self) -> RequestBody:
        if self._body is None:
            self._body = RequestBody(self._raw_body, self._method, self._headers)
        return self._body

    @property
    def request(self) -> Request:
        if self._request is None:
            body = self.body
            fields = request_fields(self._method, self._target, self._headers, body.length)
            self._request = Request(
                self._method, fields, not body.empty, current_exchange(), self._origin
            )
        return self._request
