"""Ready scripts: ``serve(handler)`` answers whatever comes, ``hold`` answers nothing.

``promise(conn, request, 2, "/path")`` is a part of others: a GET that is likely to be taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from hyperframe.frame import DataFrame

from .channel import Closed
from .peer_connection import PeerConnection
from .peer_http1 import Http1Connection
from .peer_request import Request

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
#: Status, headers, body. Bytes get a Content-Length; other bodies are sent piece by piece.
Answer = tuple[int, Headers, bytes | Iterable[bytes]]
Handler = Callable[[Request], Answer]

_FOREVER = 3600.0
_WITHOUT_BODY = (204, 304)


def hold(conn: PeerConnection | Http1Connection) -> None:
    """Read and record, answer nothing."""
    conn.linger()


def promise(conn: PeerConnection, request: Request, stream_id: int, path: str) -> Request:
    """PUSH_PROMISE of a GET from the server that was asked; what it promises, to be answered."""
    pseudo = {"method": "GET", "scheme": "https", "authority": request.authority, "path": path}
    fields = [(f":{name}", value) for name, value in pseudo.items()]
    return conn.push_promise(request, stream_id, fields)


def serve(handler: Handler) -> Callable[[PeerConnection | Http1Connection], None]:
    """Answer each request with ``handler(request)`` once its body has come, over either protocol.

    Over HTTP/2 the streams take turns, the client's windows are obeyed and its uploads credited.
    """

    def script(conn: PeerConnection | Http1Connection) -> None:
        try:
            if isinstance(conn, PeerConnection):
                _Server(conn, handler).run()
            else:
                _serve_http1(conn, handler)
        except Closed:
            return

    return script


def _serve_http1(conn: Http1Connection, handler: Handler) -> None:
    while True:
        request = conn.next_request(_FOREVER)
        status, headers, body = handler(request)
        conn.respond(request, status, headers, body if isinstance(body, bytes) else b"".join(body))


@dataclass
class _Outgoing:
    request: Request
    pieces: Iterator[bytes]
    piece: memoryview
    #: The piece after this one, which tells whether this one is the last.
    following: bytes | None

    @classmethod
    def start(cls, request: Request, body: Iterable[bytes]) -> _Outgoing:
        pieces = iter(body)
        first = next(pieces, b"")
        return cls(request, pieces, memoryview(first), next(pieces, None))

    def advance(self) -> None:
        if not self.piece and self.following is not None:
            self.piece, self.following = memoryview(self.following), next(self.pieces, None)


class _Server:
    """Several responses on one connection, a few frames of each in turn."""

    def __init__(self, conn: PeerConnection, handler: Handler) -> None:
        self._conn = conn
        self._handler = handler
        self._waiting: list[Request] = []
        self._sending: list[_Outgoing] = []
        self._credited: dict[int, int] = {}

    def run(self) -> None:
        while True:
            frames_before = len(self._conn.frames)
            if not self._conn.read_available() and not self._send_some():
                self._conn.read_frame(_FOREVER)
            self._credit(frames_before)
            while self._conn.has_request:
                self._waiting.append(self._conn.next_request())
            for request in [each for each in self._waiting if each.ended]:
                self._answer(request)
            self._waiting = [
                each for each in self._waiting if not each.ended and each.reset_code is None
            ]

    def _credit(self, frames_before: int) -> None:
        for frame in self._conn.frames[frames_before:]:
            if isinstance(frame, DataFrame) and frame.body_len:
                self._conn.credit(frame.stream_id, frame.body_len)

    def _answer(self, request: Request) -> None:
        if request.reset_code is not None:
            return
        status, headers, body = self._handler(request)
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        if isinstance(body, bytes):
            if status not in _WITHOUT_BODY and "content-length" not in dict(pairs):
                pairs.append(("content-length", str(len(body))))
            body = [body] if body else []
        ends = body == [] or request.method == "HEAD" or status in _WITHOUT_BODY
        self._conn.send_headers(request, status, pairs, end_stream=ends)
        if not ends:
            self._sending.append(_Outgoing.start(request, body))

    def _send_some(self) -> bool:
        progress = False
        for outgoing in list(self._sending):
            if outgoing.request.reset_code is not None:
                self._sending.remove(outgoing)
                continue
            stream_id = outgoing.request.stream_id
            room = min(self._conn.send_window, self._conn.window_of(stream_id), 65_536)
            if room <= 0 and outgoing.piece:
                continue
            data = bytes(outgoing.piece[:room])
            outgoing.piece = outgoing.piece[len(data) :]
            outgoing.advance()
            last = not outgoing.piece and outgoing.following is None
            self._conn.send_data(stream_id, data, end_stream=last)
            progress = True
            if last:
                self._sending.remove(outgoing)
        return progress
