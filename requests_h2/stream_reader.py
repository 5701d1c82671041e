"""The file that a response is read from: what ``http.client.HTTPResponse`` is over HTTP/1.1."""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from typing import Any

from urllib3.exceptions import IncompleteRead

from .body import Upload
from .connection import Connection
from .exceptions import StreamFault, to_urllib3
from .stream import Stream

_GATHERED = 64 << 10  # octets that are worth waiting for, to be copied once


class StreamReader:
    """The bytes and fields of one response.

    urllib3 reads the body from it; requests finds the cookies in its ``msg``. It is used by one
    thread at a time, as any file.

    :raises CallerError, StreamFault: when its window manager cannot be made.
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
        self.trailers_follow = False
        """Whether :meth:`close` does nothing: the Content-Length was read, the end was not."""
        if stream.manager is not None:
            stream.manager.start(stream.expected)
        self.status = response.status
        # HTTP/2 has no reason phrase (RFC 9113 section 8.3.2); raise_for_status() prints one.
        self.reason = http.client.responses.get(response.status, "")
        self.msg = http.client.HTTPMessage()
        self._fields = response.items
        for name, value in response.items:
            self.msg.set_raw(name, value)
        self.headers = self.msg

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def stream(self) -> Stream:
        return self._stream

    @property
    def timeout(self) -> float | None:
        """Seconds for each wait."""
        return self._timeout

    @property
    def trailers(self) -> list[tuple[str, str]]:
        # They may be here long before the rest of the body is read.
        return [] if self._stream.buffer.size else list(self._stream.trailers)

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

    def ready(self, limit: int | None) -> int:
        """Octets that :meth:`read` gives at once, at most ``limit``; 0 when it gives none or fails.

        :raises TimeoutError: when nothing came within the read timeout.
        """
        if limit == 0 or not self._goes_on(until=self._has_data):
            return 0
        buffer = self._stream.buffer
        if not self._stream.owned:
            self._connection.waiting.until(
                self._stream, self._has_data, self._timeout, unguarded=True
            )
        return buffer.size if limit is None else min(buffer.size, limit)

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
        if not self._closed and not self.trailers_follow:
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
