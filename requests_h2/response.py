"""A stream as ``urllib3.HTTPResponse``."""

from __future__ import annotations

import http.client
from collections import deque
from collections.abc import Generator
from typing import Any

import urllib3
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import IncompleteRead

from .body import Upload
from .connection import Connection
from .exceptions import RequestBodyError, StreamFault, to_urllib3
from .stream import Stream

_CREDIT_STEP = 128 << 10  # octets read between two looks at the windows


class StreamReader:
    """The bytes and fields of one response: what ``http.client.HTTPResponse`` is over HTTP/1.1.

    urllib3 reads the body from it; requests finds the cookies in its ``msg``. It is used by one
    thread at a time, as any file.
    """

    version = 20

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        method: str,
        upload: Upload | None,
        timeout: float | None,
    ) -> None:
        response = stream.response
        assert response is not None
        self._connection = connection
        self._stream = stream
        self._upload = upload
        self._timeout = timeout
        self._method = method  # urllib3.util.response.is_response_to_head
        self._chunks: deque[bytes] = deque()
        self._offset = 0  # into the first chunk
        self._uncredited = 0
        self._at_end = stream.bodiless
        self._closed = False
        self.status = response.status
        # HTTP/2 has no reason phrase (RFC 9113 section 8.3.2); raise_for_status() prints one.
        self.reason = http.client.responses.get(response.status, "")
        self.msg = http.client.HTTPMessage()
        for name, value in response.items:
            self.msg[name] = value
        self.headers = self.msg

    @property
    def trailers(self) -> list[tuple[str, str]]:
        return list(self._stream.trailers)

    @property
    def closed(self) -> bool:
        return self._closed

    def isclosed(self) -> bool:
        return self._closed

    def getheaders(self) -> list[tuple[str, str]]:
        return self.msg.items()

    def getheader(self, name: str, default: str | None = None) -> str | None:
        values = self.msg.get_all(name)
        return ", ".join(values) if values else default

    def read(self, amount: int | None = None) -> bytes:
        """``amount`` octets, fewer only at the end of the body; all of it without an amount."""
        if amount is not None and amount < 0:
            amount = None
        parts = []
        left = amount
        while left is None or left > 0:
            part = self.read1(left)
            if not part:
                break
            parts.append(part)
            if left is not None:
                left -= len(part)
        if amount is None:
            self.close()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read1(self, amount: int | None = None) -> bytes:
        """What is there, at least one octet and at most ``amount``; ``b""`` at the end.

        :raises TimeoutError: when nothing came within the read timeout.
        :raises urllib3.exceptions.ProtocolError: when the stream failed.
        :raises urllib3.exceptions.IncompleteRead: when Content-Length promised more.
        """
        if amount == 0 or self._closed:
            return b""
        if not self._chunks and not self._fill():
            return b""
        chunk, offset = self._chunks[0], self._offset
        size = len(chunk) - offset
        if amount is not None and 0 <= amount < size:
            size = amount
            self._offset += size
        else:
            self._chunks.popleft()
            self._offset = 0
        self._consumed(size)
        return chunk if size == len(chunk) else chunk[offset : offset + size]

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """End the exchange; RST_STREAM(CANCEL) when it is not complete. Never raises."""
        if not self._closed:
            self._closed = True
            self._connection.close_stream(self._stream)

    def abandon(self) -> None:
        """:meth:`close` for finalizers, which must not wait for a lock."""
        if not self._closed:
            self._closed = True
            self._connection.give_up_later(self._stream)

    def _fill(self) -> bool:
        if self._at_end:
            self.close()
            return False
        try:
            if self._upload is not None and not self._upload.done:
                self._upload.advance(until=lambda: bool(self._stream.chunks))
            self._chunks = self._connection.take_chunks(self._stream, self._timeout)
        except StreamFault as fault:
            raise to_urllib3(fault) from fault
        if not self._chunks:
            self._at_end = True
            if self._stream.missing:
                raise IncompleteRead(self._stream.received, self._stream.missing)
            self.close()
        return bool(self._chunks)

    def _consumed(self, size: int) -> None:
        self._uncredited += size
        if self._uncredited >= _CREDIT_STEP:
            self._connection.consumed(self._stream, self._uncredited)
            self._uncredited = 0


class HTTP2Response(urllib3.HTTPResponse):
    """A urllib3 response whose bytes come from a stream."""

    @property
    def trailers(self) -> HTTPHeaderDict:
        """The trailer section, complete once the body has been read; empty before and without."""
        reader: Any = self._original_response
        return HTTPHeaderDict(reader.trailers)

    def stream(
        self, amt: int | None = 2**16, decode_content: bool | None = None
    ) -> Generator[bytes]:
        """As urllib3 does it over HTTP/1.1, where a Content-Length makes pieces of ``amt`` octets
        and a chunked body comes as it arrives, in pieces of at most ``amt``.
        """
        if amt is not None and self.length_remaining is not None:
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
        try:
            return super().read(amt, decode_content, cache_content)
        except RequestBodyError as error:
            raise error.original from None

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        try:
            return super().read1(amt, decode_content)
        except RequestBodyError as error:
            raise error.original from None

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
    return HTTP2Response(
        body=reader,  # type: ignore[arg-type]  # a file, like http.client's response
        headers=HTTPHeaderDict(reader.msg.items()),
        status=reader.status,
        version=reader.version,
        version_string="HTTP/2",
        reason=reader.reason,
        preload_content=preload_content,
        decode_content=decode_content,
        original_response=reader,  # type: ignore[arg-type]
        enforce_content_length=enforce_content_length,
        request_method=method,
        request_url=url,
    )
