"""Request bodies: what requests hands over, as pieces with a checked length."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from requests.utils import super_len
from urllib3.exceptions import InvalidHeader, UnrewindableBodyError
from urllib3.util.request import body_to_chunks, rewind_body, set_file_position

from .connection import Connection
from .exceptions import CallerError
from .fields import Fields, Headers, declared_length, request_trailers
from .sending import WRITE_SIZE
from .stream import Stream

Trailers = Mapping[str, str] | Sequence[tuple[str, str]]
_REUSABLE = (str, bytes, bytearray, memoryview)


class BodyWithTrailers:
    """A body for ``data=``: what the iterable gives, and then a trailer section.

    Trailers are sent over HTTP/2 only; over HTTP/1.1 the body is sent alone. It can be sent again,
    after a redirect say, if the iterable can be iterated over again. Where the adapter sends a
    request again by itself, it does so with a list or a tuple.

    :param body: an iterable of ``bytes`` or ``str``.
    :param trailers: a mapping or pairs of names and values, or a function that returns them, which
        is called when all of the body was taken from the iterable.
    :raises TypeError: for a body that is no iterable, or one of integers, as ``bytes`` are.
    """

    def __init__(self, body: Iterable[Any], trailers: Trailers | Callable[[], Trailers]) -> None:
        if isinstance(body, (bytes, bytearray, memoryview)) or not isinstance(body, Iterable):
            raise TypeError(
                f"the body must be an iterable of bytes or str, not {type(body).__name__}; "
                "for one piece, make it a list"
            )
        self._body = body
        self._trailers = trailers

    def __iter__(self) -> Iterator[Any]:
        return iter(self._body)

    @property
    def repeatable(self) -> bool:
        """Whether it is certain to be the same when it is taken again."""
        return isinstance(self._body, Sequence)

    @property
    def known_trailers(self) -> Trailers | None:
        """Those that can be told before the body; ``None`` when a function tells them."""
        return None if callable(self._trailers) else self._trailers

    def trailers(self) -> Trailers:
        """Those to be sent, once the body was taken from the iterable."""
        return self._trailers() if callable(self._trailers) else self._trailers


class RequestBody:
    """One request's body, read piece by piece and never as a whole.

    :param body: ``None``, ``str``, ``bytes``, a buffer, anything with ``read`` or an iterable.
    :param headers: the caller's; a Content-Length among them binds the body.
    :raises InvalidHeader: when that Content-Length is no number or not the body's length, or for
        trailers that must not be sent.
    :raises TypeError: for a body that can be none of these.
    """

    def __init__(self, body: Any, method: str, headers: Headers) -> None:
        self._body = body
        self._method = method
        self._position = set_file_position(body, None)
        known = body_to_chunks(body, method=method, blocksize=WRITE_SIZE).content_length
        declared = declared_length(headers)
        if declared is not None:
            measured = _measure(body) if known is None else known
            if measured not in (None, declared):
                raise InvalidHeader(
                    f"Content-Length is {declared} but the body has {measured} bytes; "
                    "leave the header out and requests sets it"
                )
        self.length = known
        """Octets for a Content-Length of our own, when the body tells them."""
        self._expected = declared if known is None else known
        self.started = False
        if isinstance(body, BodyWithTrailers) and body.known_trailers is not None:
            request_trailers(_pairs(body.known_trailers))

    @property
    def empty(self) -> bool:
        """Whether END_STREAM goes on HEADERS."""
        return self._body is None or (self._expected == 0 and not self.has_trailers)

    @property
    def has_trailers(self) -> bool:
        return isinstance(self._body, BodyWithTrailers)

    def trailers(self) -> Fields:
        """The trailer section, after the last piece.

        :raises CallerError: carrying what the caller's function raised.
        :raises InvalidHeader: for what must not be sent, or not in trailers.
        """
        assert isinstance(self._body, BodyWithTrailers)
        try:
            pairs = _pairs(self._body.trailers())
        except Exception as error:
            raise CallerError(error) from error
        return request_trailers(pairs)

    def pieces(self) -> Iterator[tuple[memoryview, bool]]:
        """Pairs of octets and whether they are the last.

        :raises CallerError: carrying what the caller's iterator or file raised.
        :raises InvalidHeader: when the body does not have the length that was declared.
        """
        self.started = True
        chunks = self._chunks()
        sent = 0
        for chunk in chunks:
            sent += len(chunk)
            if self._expected is None:
                yield chunk, False
                continue
            # RFC 9113 section 8.1.1: the peer would see a malformed request.
            if sent > self._expected or (sent == self._expected and next(chunks, None)):
                raise InvalidHeader(f"the body is longer than its Content-Length {self._expected}")
            yield chunk, sent == self._expected
        if self._expected is None:
            yield memoryview(b""), True
        elif sent < self._expected:
            raise InvalidHeader(f"the body ended after {sent} of {self._expected} bytes")

    def rewind(self) -> bool:
        """Make the body ready to be sent again; false when it cannot be."""
        if not self.started or self._body is None or isinstance(self._body, _REUSABLE):
            return True
        if isinstance(self._body, BodyWithTrailers):
            return self._body.repeatable
        if self._position is None:
            return False
        try:
            rewind_body(self._body, self._position)
        except (UnrewindableBodyError, ValueError):
            return False  # it has no position, or is closed
        return True

    def _chunks(self) -> Iterator[memoryview]:
        chunks = body_to_chunks(self._body, method=self._method, blocksize=WRITE_SIZE).chunks
        iterator = iter(chunks or ())
        while True:
            try:
                chunk: Any = next(iterator)  # typed bytes, but users yield str too
                data = memoryview(chunk.encode() if isinstance(chunk, str) else chunk).cast("B")
            except StopIteration:
                return
            except Exception as error:
                raise CallerError(error) from error
            if data:
                yield data


def _pairs(trailers: Trailers) -> Headers:
    return list(trailers.items() if isinstance(trailers, Mapping) else trailers)


def _measure(body: Any) -> int | None:
    """The length of a file or sized body as requests counts it, if it can be told beforehand."""
    if body is None or isinstance(body, io.TextIOBase):
        return None  # characters are no octets
    length: int = super_len(body)
    return length or None  # 0 stands for "cannot tell"


class Upload:
    """Sends one body on one stream, whenever a thread gives it the time.

    The first is the one that sends the request; when final 2xx headers come before the body is
    sent, whoever reads the response drives the rest (full duplex without a second thread).
    """

    def __init__(
        self, connection: Connection, stream: Stream, body: RequestBody, timeout: float | None
    ) -> None:
        self._sending = connection.sending
        self._stream = stream
        self._timeout = timeout
        self._body = body
        self._pieces = body.pieces()
        self._rest = memoryview(b"")
        self._last = False
        self.done = False

    def advance(self, until: Callable[[], bool]) -> None:
        """Send until the body ends, the peer wants no more of it, or ``until()`` is true.

        :param until: asked under the connection's lock.
        :raises TimeoutError: when nothing could be sent for the read timeout.
        :raises StreamFault: when the stream failed without a response.
        """
        while not self.done and not until():
            # Without the lock: whatever was sent or waited for last has looked at the socket.
            if not self._stream.wants_body and not self._sending.wants_body(self._stream):
                self._sending.stop(self._stream)
                self.done = True
                return
            if not self._rest:
                self._rest, self._last = next(self._pieces)
            ends = self._last and not self._body.has_trailers
            sent = self._sending.send_some(self._stream, self._rest, ends)
            if sent is None:
                continue
            if sent == len(self._rest):
                self.done = self._last
                if self._last and not ends:
                    self._sending.send_trailers(self._stream, self._body.trailers())
            elif not sent:
                self._sending.wait_to_send(self._stream, until, self._timeout)
            self._rest = self._rest[sent:]
