"""A stream as ``urllib3.HTTPResponse``."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from requests.models import CONTENT_CHUNK_SIZE
from urllib3 import HTTPHeaderDict

from .exceptions import CallerError
from .fields import ResponseFields
from .framewise import FramewiseResponse
from .stream_reader import StreamReader

if TYPE_CHECKING:
    from .inspection import ConnectionInfo


class InformationalResponse(NamedTuple):
    """A 1xx response that came before the final one (RFC 9110 section 15.2)."""

    status: int
    """100 to 199, but not 101, which HTTP/2 does not have."""
    headers: HTTPHeaderDict
    """Its fields; ``Link``, for one."""


def informational_response(received: ResponseFields) -> InformationalResponse:
    return InformationalResponse(received.status, HTTPHeaderDict(received.items))


class PushSink(Protocol):
    """What surfaces the pushes that were promised to a response."""

    def surface(self) -> None:
        """Call the hooks for what has been promised since; raises what they raise."""


class HTTP2Response(FramewiseResponse):
    """A urllib3 response whose bytes come from a stream."""

    wanted_whole = False
    """Whether requests reads all of the body itself (``stream=False``)."""
    pushed = False
    """Whether the server sent it without being asked."""
    replays = 0
    """How often the request was sent again."""
    pushes: PushSink | None = None
    _reads = 0  # how deep this thread is in methods that read

    @property
    def reader(self) -> StreamReader:
        """What this response reads from."""
        reader: Any = self._original_response
        taken: StreamReader = reader
        return taken

    @property
    def connection_info(self) -> ConnectionInfo:
        """Its connection, and what the exchange has cost by now."""
        return self.reader.connection.viewing.response(self.reader.stream, self.replays)

    @property
    def trailers(self) -> HTTPHeaderDict:
        """The trailer section, complete once the body has been read; empty before and without."""
        return HTTPHeaderDict(self.reader.trailers)

    @property
    def informational(self) -> list[InformationalResponse]:
        """The 1xx responses before this one, as 103 with its Link fields (RFC 8297)."""
        return [informational_response(one) for one in self.reader.stream.informational]

    def reprioritize(self, urgency: int = 3, incremental: bool = False) -> None:
        """Tell the server how soon the rest is wanted: PRIORITY_UPDATE (RFC 9218 section 7.1).

        A server may ignore it. Nothing is sent when the response is complete.

        :param urgency: from 0, the most urgent, to 7.
        :param incremental: whether the response is of use in pieces.
        :raises ValueError: for any other urgency.
        """
        given: Any = urgency
        if not isinstance(given, int) or given not in range(8):
            raise ValueError(f"urgency goes from 0 to 7, not {urgency!r}")
        priority = f"u={urgency:d}, i" if incremental else f"u={urgency:d}"
        self.reader.connection.reprioritize(self.reader.stream, priority.encode())

    def release_conn(self) -> None:
        """As urllib3's. requests calls it to close a response that was read to its end, which is
        when pushes that nobody has claimed go.
        """
        super().release_conn()
        if not self._reads and self.pushes is not None:
            self.reader.connection.pushing.drop(self.reader.stream)

    def close(self) -> None:
        super().close()
        if self.pushes is not None:
            self.reader.connection.pushing.drop(self.reader.stream)

    def stream(
        self, amt: int | None = 2**16, decode_content: bool | None = None
    ) -> Generator[bytes]:
        """As urllib3 does it over HTTP/1.1, where a Content-Length makes pieces of ``amt`` octets
        and a chunked body comes as it arrives, in pieces of at most ``amt``.

        For ``Response.content``, which would join small pieces, all of it at once; but what is
        to be decoded comes in pieces, so that an error in it is known at once, and while there may
        be pushes it comes as it arrives, so that hooks are called between.
        """
        if (
            amt == CONTENT_CHUNK_SIZE
            and self.wanted_whole
            and "content-encoding" not in self.headers
        ):
            if self.pushes is None:
                if data := self.read(decode_content=decode_content):
                    yield data
                return
            while data := self.read1(decode_content=decode_content):
                yield data
        elif self.length_remaining is not None and (amt is not None or self._is_overheard):
            yield from super().stream(amt, decode_content)
        elif amt != 0:
            while data := self.read1(amt, decode_content):
                yield data

    def read(
        self,
        amt: int | None = None,
        decode_content: bool | None = None,
        cache_content: bool = False,
    ) -> bytes:
        if self.pushes is not None:
            return self._surfacing(super().read, amt, decode_content, cache_content)
        try:
            return super().read(amt, decode_content, cache_content)
        except CallerError as error:
            raise error.original from None

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        try:
            if self.pushes is not None:
                return self._surfacing(super().read1, amt, decode_content)
            return super().read1(amt, decode_content)
        except CallerError as error:
            raise error.original from None
        finally:
            self.reader.trailers_follow = False

    @property
    def _is_overheard(self) -> bool:
        """Whether a library has put an object of its own before the file, to see what is read.

        CacheControl does; what it misses, it does not keep. Over HTTP/1.1 nothing but ``read`` is
        called where requests reads, so that is all it has.
        """
        return self._fp is not self._original_response and not hasattr(type(self._fp), "read1")

    def _fp_read(self, amt: int | None = None, *, read1: bool = False) -> bytes:
        if read1 and self._is_overheard:
            assert self._fp is not None
            return self._fp.read(self.reader.ready(amt) or amt)
        data = super()._fp_read(amt, read1=read1)
        # urllib3 closes its file after the last octet then. It knows nothing of trailers.
        self.reader.trailers_follow = read1 and self.length_remaining == len(data) > 0
        return data

    def _read_frame(self, limit: int | None) -> bytes | None:
        self._surface_pushes()
        self._reads += 1
        try:
            with self._error_catcher():
                frame = self.reader.read_frame(limit)
        except CallerError as error:
            raise error.original from None
        finally:
            self._reads -= 1
        if frame is None:
            self._surface_pushes()
            return None
        self._fp_bytes_read += len(frame)
        if self.length_remaining is not None:
            self.length_remaining -= len(frame)
        return frame

    def _surfacing(self, read: Callable[..., bytes], *arguments: Any) -> bytes:
        """Read, and call the hooks for pushes before and, at the end, after it: no lock is held
        there, and no data is in flight that their exceptions could lose.
        """
        self._surface_pushes()
        self._reads += 1
        try:
            data = read(*arguments)
        except CallerError as error:
            raise error.original from None
        finally:
            self._reads -= 1
        if self.reader.stream.ended:
            self._surface_pushes()
        return data

    def _surface_pushes(self) -> None:
        if self.pushes is not None and not self._reads:
            self.pushes.surface()

    def __del__(self) -> None:
        # Instead of IOBase's, which would call close() and wait for a lock.
        abandon = getattr(getattr(self, "_fp", None), "abandon", None)
        if abandon is not None:
            abandon()


def http2_response(
    reader: StreamReader,
    *,
    method: str,
    url: str,
    preload_content: bool,
    decode_content: bool,
    enforce_content_length: bool,
) -> HTTP2Response:
    """What ``HTTPConnection.getresponse`` makes of an ``http.client.HTTPResponse``."""
    headers = HTTPHeaderDict()
    for name, value in reader.getheaders():
        headers.add(name, value)  # all at once it asks first, and slowly, what they are given as
    return HTTP2Response(
        body=reader,  # type: ignore[arg-type]  # a file, like http.client's response
        headers=headers,
        status=reader.status,
        version=reader.version,
        version_string="HTTP/2",
        reason=reader.reason,
        preload_content=preload_content,
        decode_content=decode_content,
        original_response=reader,  # type: ignore[arg-type]  # for its msg, closed and close()
        enforce_content_length=enforce_content_length,
        request_method=method,
        request_url=url,
    )
