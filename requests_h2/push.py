"""Server pushes as users see them (RFC 9113 section 8.4)."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Generator
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.hooks import default_hooks
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import ReadTimeoutError, SSLError
from urllib3.util import Timeout

from .connection import Connection
from .exceptions import CallerError, StreamFault, to_urllib3
from .exchange import PUSH, Exchange
from .fields import PromisedRequest
from .notes import Promised
from .promises import Promise, joined
from .response import HTTP2Response, http2_response
from .stream import Stream
from .stream_reader import StreamReader


class PushedResponse:
    """A response that the server promised without being asked for it.

    It may be used by another thread than the one that reads the parent, and after the parent has
    ended; by one at a time, like the response, but for :meth:`cancel`. Until :meth:`response`
    claims it the server sends a window of it at most, and it is reset when the parent is closed or
    ``push_timeout`` has passed.
    """

    def __init__(
        self,
        adapter: HTTPAdapter,
        connection: Connection,
        promise: Promise,
        parent: requests.Response | None,
        timeout: float | None,
    ) -> None:
        self.request = _prepared(promise.request)
        """The promised request."""
        # Weak: the parent's list of its pushes would keep a parent that is dropped, and its stream.
        self._parent = None if parent is None else weakref.ref(parent)
        self._adapter = adapter
        self._connection = connection
        self._promise = promise
        self._timeout = timeout
        self._token = object()  # by which the promise knows its claimant, and keeps it not alive
        self._response: requests.Response | None = None
        self._cancelled = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.request.method} {self.url}]>"

    @property
    def url(self) -> str:
        """The promised request's, with scheme and host."""
        return str(self.request.url)

    @property
    def parent(self) -> requests.Response | None:
        """The response that the promise belongs to; ``None`` when nobody has kept it."""
        return None if self._parent is None else self._parent()

    @property
    def path(self) -> str:
        """Path and query, as promised."""
        return self._promise.request.path

    @property
    def headers(self) -> CaseInsensitiveDict[str | bytes]:
        """The promised request's."""
        return self.request.headers

    @property
    def claimed(self) -> bool:
        """Whether somebody has asked for the response, here or by adoption."""
        return self._promise.claimed

    def response(self, timeout: Any = None, stream: bool = False) -> requests.Response:
        """Claim it and wait for the response; the same one each time.

        :param timeout: seconds for each wait, requests' pair, of which the second counts, or
            ``urllib3.Timeout``; ``None`` for the parent's.
        :param stream: whether to leave the body to be read later.
        :raises requests.exceptions.ReadTimeout: when no headers came in time; the push is reset.
        :raises requests.exceptions.ConnectionError: when the push failed, was cancelled, timed out
            before or was claimed by another. What reading the body raises is as for any response.
        :raises ValueError: for a timeout that cannot be; nothing is claimed.
        """
        seconds = _seconds(timeout, self._timeout)
        if self._response is None:
            if not self._connection.pushing.claim(self._promise, self._token):
                raise self._lost()
            try:
                self._response = self._wait(seconds, stream)
            except BaseException:  # it is claimed, so nobody else would end it
                self._connection.close_stream(self._promise.stream)
                raise
        response = self._response
        if not stream:
            try:
                response.content  # noqa: B018  # reads it
            except BaseException:
                # Read once more it would seem complete. One that the caller has read himself is.
                if not response._content_consumed:
                    self._response = None
                raise
        return response

    def cancel(self) -> None:
        """Reset the stream with CANCEL. Nothing happens when it is over or answers a request."""
        self._cancelled = True  # before a reader is woken, who tells why it failed
        self._connection.pushing.cancel(self._promise, self._token)

    @property
    def _is_ours(self) -> bool:
        """Whether it was claimed here."""
        return self._promise.claimant is self._token

    def _lost(self) -> requests.exceptions.ConnectionError:
        why = "claimed by another" if self.claimed else "dropped: nobody had claimed it in time"
        if self._is_ours:
            why = "cancelled" if self._cancelled else "given up: it had failed or not come in time"
        text = f"{self._promise.stream.origin}: the push of {self.path} was {why}"
        return requests.exceptions.ConnectionError(text, request=self.request)

    def _wait(self, timeout: float | None, stream: bool) -> requests.Response:
        pushed, method = self._promise.stream, self._promise.request.method
        try:
            self._connection.waiting.for_response(pushed, timeout)
        except TimeoutError as error:
            text = f"Read timed out. (read timeout={timeout})"
            name: Any = pushed.origin  # where urllib3 shows a pool
            cause = ReadTimeoutError(name, self.url, text)
            raise requests.exceptions.ReadTimeout(cause, request=self.request) from error
        if pushed.response is None:
            raise self._lost() if self._cancelled else self._failure(pushed.fault)
        raw = http2_response(
            self._reader(pushed, method, timeout),
            method=method,
            url=self.path,
            preload_content=False,
            decode_content=False,
            enforce_content_length=True,
        )
        raw.pushed = True
        raw.wanted_whole = not stream
        return self._adapter.build_response(self.request, raw)

    def _reader(self, pushed: Stream, method: str, timeout: float | None) -> StreamReader:
        """Raises what making its window manager raises."""
        try:
            return StreamReader(self._connection, pushed, method, None, timeout)
        except CallerError as error:
            raise error.original from None
        except StreamFault as fault:
            raise self._failure(fault) from fault

    def _failure(self, fault: StreamFault | None) -> requests.exceptions.ConnectionError:
        assert fault is not None
        cause = to_urllib3(fault)
        kind = requests.exceptions.ConnectionError
        if isinstance(cause, SSLError):
            kind = requests.exceptions.SSLError
        return kind(cause, request=self.request)


class Pushes:
    """What was promised to one response. Used by the thread that reads it.

    :param limit: pushes that are listed; of those that nobody lists only the last are kept.
    """

    def __init__(
        self,
        adapter: HTTPAdapter,
        exchange: Exchange,
        response: requests.Response,
        limit: int,
    ) -> None:
        self._adapter = adapter
        self._exchange = exchange
        # Weak: a response that is dropped must give up its stream at once.
        self._response = weakref.ref(response)
        self._reader: StreamReader = response.raw.reader
        # A hook may have had thousands, with all their bodies, of a response that never ends.
        self._listed: deque[PushedResponse] = deque(maxlen=limit)

    def surface(self) -> None:
        """Call the hooks for what has been promised since; raises what they raise, and closes the
        response then: who gets the exception need not have it, nor what was read just now.
        """
        promises = self._reader.stream.promises
        while promises:
            promise = promises.popleft()
            push = PushedResponse(
                self._adapter,
                self._reader.connection,
                promise,
                self._response(),
                self._reader.timeout,
            )
            self._listed.append(push)
            if self._exchange.notes is not None:
                self._exchange.note(self._promised(push, promise.stream))
            try:
                self._exchange.call_hooks(PUSH, push)
            except BaseException:
                promises.clear()
                self._reader.close()
                self._reader.connection.pushing.drop(self._reader.stream)
                raise

    def _promised(self, push: PushedResponse, stream: Stream) -> Promised:
        dial = self._reader.connection.viewing.dial
        fields = [(name, str(value)) for name, value in push.headers.items()]
        method = push.request.method or ""
        return Promised(method, push.url, fields, dial, stream.id, stream.progress)

    def listed(self, capture_all: bool) -> Generator[PushedResponse]:
        """See :func:`get_pushes`."""
        self._reader.connection.pushing.glance()
        goes_on = True
        while goes_on:
            self.surface()
            while self._listed:
                yield self._listed.popleft()
            goes_on = capture_all and self._more()
        self.surface()
        while self._listed:
            yield self._listed.popleft()

    def _more(self) -> bool:
        stream = self._reader.stream
        if not stream.open or self._reader.closed:
            return False
        try:
            return self._reader.connection.receiving.read_ahead(stream, self._reader.timeout)
        except TimeoutError as error:
            raise requests.exceptions.ReadTimeout(
                f"Read timed out. (read timeout={self._reader.timeout})",
                request=self._exchange.request,
            ) from error


def get_pushes(response: requests.Response, capture_all: bool = False) -> Generator[PushedResponse]:
    """The pushes that were promised to a response, each of them once.

    Needs a ``push`` hook or ``HTTP2Adapter(enable_push=True)`` when the request is sent. Over
    HTTP/1.1 there are none.

    :param capture_all: wait for more until the response has ended. What it receives meanwhile is
        kept in memory, whatever its size, and can be read afterwards.
    :raises requests.exceptions.ReadTimeout: when nothing came for the response's read timeout.
    """
    raw = response.raw
    if isinstance(raw, HTTP2Response) and isinstance(raw.pushes, Pushes):
        yield from raw.pushes.listed(capture_all)


def _prepared(promised: PromisedRequest) -> requests.PreparedRequest:
    request = requests.PreparedRequest()
    request.method = promised.method
    request.url = f"{promised.scheme}://{promised.authority}{promised.path}"
    request.headers = CaseInsensitiveDict(joined(promised.items))
    request._cookies = RequestsCookieJar()
    request.hooks = default_hooks()
    return request


def _seconds(timeout: Any, default: float | None) -> float | None:
    """What ``HTTPAdapter.send`` makes of a timeout for reading.

    :raises ValueError: for one that cannot be.
    """
    if timeout is None:
        return default
    if isinstance(timeout, tuple):
        if len(timeout) != 2:
            raise ValueError(
                f"Invalid timeout {timeout}. Pass a (connect, read) timeout tuple, or a single "
                "float to set both timeouts to the same value."
            )
        timeout = timeout[1]
    own = timeout.clone() if isinstance(timeout, Timeout) else Timeout(read=timeout)
    own.start_connect()  # from which a total counts
    seconds: float | None = Timeout.resolve_default_timeout(own.read_timeout)
    return seconds
