"""One HTTP/1.1 connection of the scripted peer, over TLS or plain TCP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .channel import TIMEOUT, Channel, Closed
from .peer_request import Request


class Http1Connection:
    """Reads requests one after another. What is sent is up to the script."""

    version = 11

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.requests: list[Request] = []
        self._buffer = bytearray()

    def next_request(self, timeout: float = TIMEOUT) -> Request:
        """The next request with its whole body."""
        head = self.read_until(b"\r\n\r\n", timeout)
        request_line, *lines = head.decode("latin-1").split("\r\n")
        fields = [line.split(": ", 1) for line in lines if line]
        request = Request(
            stream_id=len(self.requests) + 1,
            raw_fields=[
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in fields
            ],
            request_line=request_line,
        )
        self.requests.append(request)
        if request.headers.get("transfer-encoding") == "chunked":
            while size := int(self.read_until(b"\r\n"), 16):
                request.body += self.read_exactly(size)
                self.read_until(b"\r\n")
            self.read_until(b"\r\n")
        else:
            request.body += self.read_exactly(int(request.headers.get("content-length", 0)))
        request.ended, request.received = True, len(request.body)
        return request

    def respond(
        self,
        request: Request,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        """A response with Content-Length, unless the headers bring their own framing."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        names = {name.lower() for name, _ in pairs}
        if not names & {"content-length", "transfer-encoding"} and status not in (204, 304):
            pairs.append(("Content-Length", str(len(body))))
        lines = [f"HTTP/1.1 {status} Scripted"] + [f"{name}: {value}" for name, value in pairs]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self.send_raw(head if request.method == "HEAD" else head + body)

    def read_until(self, mark: bytes, timeout: float = TIMEOUT) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            self._fill(timeout)
        data = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return data

    def read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill(TIMEOUT)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _fill(self, timeout: float) -> None:
        data = self.channel.receive(timeout)
        if not data:
            raise Closed("the client closed the connection")
        self._buffer += data

    def linger(self) -> None:
        """Answer nothing until the client closes."""
        try:
            while self.channel.receive(timeout=3600):
                pass
        except Closed:
            return

    def wait_eof(self) -> None:
        while self.channel.receive():
            pass

    def send_raw(self, data: bytes) -> None:
        self.channel.send(data)

    def close(self) -> None:
        self.channel.close_gently()

    def cut(self) -> None:
        self.channel.end_stream_of_bytes()

    def abort(self) -> None:
        self.channel.abort()
