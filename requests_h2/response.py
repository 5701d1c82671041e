"""A stream as ``urllib3.HTTPResponse``."""

from __future__ import annotations

import http.client
import inspect
import io
from collections.abc import Callable, Generator, Iterator
from typing import Any

import urllib3
from requests.models import CONTENT_CHUNK_SIZE
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import IncompleteRead

from .body import Upload
from .connection import Connection
from .exceptions import RequestBodyError, StreamFault, to_urllib3
from .stream import Stream

# Since urllib3 2.6: a frame may be a decompression bomb.
_DECODES_IN_PARTS = "max_length" in inspect.signature(urllib3.HTTPResponse._decode).parameters
_GATHERED = 64 << 10  # octets that are worth waiting for, to be copied once


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
        self._receiving = connection.receiving
        self._stream = stream
        self._upload = upload
        self._timeout = timeout
        self._method = method  # urllib3.util.response.is_response_to_head
        self._closed = False
        self.status = response.status
        # HTTP/2 has no reason phrase (RFC 9113 section 8.3.2); raise_for_status() prints one.
        self.reason = http.client.responses.get(response.status, "")
        self.msg = http.client.HTTPMessage()
        self._fields = response.items
        for name, value in response.items:
            self.msg.set_raw(name, value)
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
        return self._fields

    def getheader(self, name: str, default: str | None = None) -> str | None:
        values = self.msg.get_all(name)
        return ", ".join(values) if values else default

    def read(self, amount: int | None = None) -> bytes:
        """``amount`` octets, fewer only at the end of the body; all of it without an amount."""
        if amount is None or amount < 0:
            return self._read_all()
        data = self._take(amount, min(amount, _GATHERED))
        if len(data) == amount or not data:
            return data
        parts = [data]
        left = amount - len(data)
        while left > 0 and (data := self._take(left, min(left, _GATHERED))):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def read1(self, amount: int | None = None) -> bytes:
        """What is there, at least one octet and at most ``amount``; ``b""`` at the end.

        :raises TimeoutError: when nothing came within the read timeout.
        :raises urllib3.exceptions.ProtocolError: when the stream failed.
        :raises urllib3.exceptions.IncompleteRead: when Content-Length promised more.
        """
        return self._take(None if amount is None or amount < 0 else amount, 1)

    def read_frame(self, limit: int | None = None) -> bytes | None:
        """A DATA frame's content, or what is left of it, at most ``limit`` octets.

        :returns: ``b""`` for an empty frame, ``None`` at the end.
        :raises TimeoutError, ProtocolError, IncompleteRead: as :meth:`read1`.
        """
        if not self._goes_on(until=lambda: self._stream.buffer.has_frame):
            return None
        try:
            frame = self._receiving.take_frame(self._stream, limit, self._timeout)
        except StreamFault as fault:
            raise to_urllib3(fault) from fault
        if frame is None:
            self._finish()
        return frame

    def _take(self, limit: int | None, wanted: int) -> bytes:
        if limit == 0 or not self._goes_on(until=self._has_data):
            return b""
        try:
            data = self._receiving.take(self._stream, limit, self._timeout, wanted)
        except StreamFault as fault:
            raise to_urllib3(fault) from fault
        if not data:
            self._finish()
        return data

    def _read_all(self) -> bytes:
        body = io.BytesIO()  # gives its buffer away without a copy
        try:
            while self._goes_on(until=self._has_data):
                if self._receiving.take_all(self._stream, body, self._timeout):
                    self._finish()
        except StreamFault as fault:
            raise to_urllib3(fault) from fault
        return body.getvalue()

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

    def _has_data(self) -> bool:
        return self._stream.buffer.size > 0

    def _goes_on(self, until: Callable[[], bool]) -> bool:
        """Whether there may be more to read; drives the rest of an upload ``until()`` there is."""
        if not self._closed and self._stream.bodiless:
            self.close()
        if self._upload is not None and not self._upload.done and not self._closed:
            self._upload.advance(until)
        return not self._closed

    def _finish(self) -> None:
        """The stream has ended and all of it was read."""
        if self._stream.missing:
            raise IncompleteRead(self._stream.received, self._stream.missing)
        if self._stream.sending:
            self.close()
        self._closed = True


class HTTP2Response(urllib3.HTTPResponse):
    """A urllib3 response whose bytes come from a stream."""

    wanted_whole = False
    """Whether requests reads all of the body itself (``stream=False``)."""

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

        For ``Response.content``, which would join small pieces, all of it at once; but what is
        to be decoded comes in pieces, so that an error in it is known at once.
        """
        if (
            amt == CONTENT_CHUNK_SIZE
            and self.wanted_whole
            and "content-encoding" not in self.headers
        ):
            if data := self.read(decode_content=decode_content):
                yield data
        elif amt is not None and self.length_remaining is not None:
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

    def read_chunked(
        self, amt: int | None = None, decode_content: bool | None = None
    ) -> Generator[bytes]:
        """One item for each DATA frame, as it arrives; empty frames are items too.

        What the other methods have left of a frame comes first. Where the content is decoded an
        item is what the decoder makes of a frame, which may be nothing yet; if it has kept anything
        at the end, that is the last item.

        :param amt: octets in an item at most: a larger frame makes several. ``None`` or below 0
            for no limit; 0 gives nothing.
        :param decode_content: ``False`` for the frames as they were sent.
        :raises urllib3.exceptions.HTTPError: as :meth:`read`.
        """
        if amt == 0:
            return
        limit = None if amt is None or amt < 0 else amt
        decode = decode_content is None or decode_content
        self._init_decoder()
        self._decoded_buffer.put(self._decode(b"", decode, flush_decoder=False))
        if len(self._decoded_buffer):
            yield from self._decoded_items(limit)
        while (frame := self._read_frame(limit)) is not None:
            if decode:
                yield from self._items_of(frame, limit)
            else:
                yield frame
        if decode:
            self._decoded_buffer.put(self._decode(b"", decode, flush_decoder=True))
            if len(self._decoded_buffer):
                yield from self._decoded_items(limit)

    def _read_frame(self, limit: int | None) -> bytes | None:
        reader: Any = self._original_response
        frame: bytes | None
        try:
            with self._error_catcher():
                frame = reader.read_frame(limit)
        except RequestBodyError as error:
            raise error.original from None
        if frame:
            self._fp_bytes_read += len(frame)
            if self.length_remaining is not None:
                self.length_remaining -= len(frame)
        return frame

    def _items_of(self, frame: bytes, limit: int | None) -> Iterator[bytes]:
        """What the decoder makes of a frame, in items of at most ``limit`` octets."""
        options: dict[str, Any] = {"max_length": limit} if _DECODES_IN_PARTS else {}
        while True:
            self._decoded_buffer.put(self._decode(frame, True, flush_decoder=False, **options))
            yield from self._decoded_items(limit)
            if not getattr(self._decoder, "has_unconsumed_tail", False):
                return
            frame = b""

    def _decoded_items(self, limit: int | None) -> Iterator[bytes]:
        """What is decoded already: one item, more past the limit."""
        buffer = self._decoded_buffer
        if limit is None:
            yield buffer.get_all()
            return
        yield buffer.get(limit)
        while len(buffer):
            yield buffer.get(limit)

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
        headers=HTTPHeaderDict(reader.getheaders()),
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
