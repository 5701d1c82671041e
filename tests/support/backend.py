"""The dynamic paths, and the small HTTP/1.1 server that gives them to the reverse proxies.

Answers are decided by ``answer()``, which does no I/O, so that the HTTP/1.1 backend here and the
ASGI application (``servers/asgi.py``) speak the same language.

==================  =====================================================================
/echo               JSON of the method, path, headers and body that arrived
/upload             JSON of the length and SHA-256 of the body; also how it was framed
/redirect/N         302 to /redirect/N-1, and from 0 to /echo
/cookies/set        two Set-Cookie fields; ``?size=N`` adds ``big`` with N octets
/cookies            JSON of the cookies that were sent
/status/N           status N without a body
/delay?ms=N         answers after N milliseconds
/meet/N?key=K       answers when N requests with this key are waiting at the same time
/drip?sizes=A,B     pieces of these sizes, of the letters a, b, ...; ``&ms=N`` pauses between them
/early-hints        103 with two Link fields before the answer
/trailers           an answer with the trailers X-Length and X-SHA256 of its body
/echo-trailers      JSON of the trailers that followed the body
/say                what the query asks for: ``?status=N&body=text&field=Name:value``
/count/K            the same, but the body is how often K was asked for
/digest             200 for who has the password, by digest authentication; else 401
==================  =====================================================================
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import parse_qs, urlsplit

from tests.support import services

#: Bodies are hashed as they arrive; only this much of one is kept for /echo.
KEPT = 1 << 20
#: What /early-hints hints at.
HINTS = ("</style.css>; rel=preload; as=style", "</script.js>; rel=preload; as=script")
#: How long /meet waits for the others.
MEETING_TIMEOUT = 20.0


@dataclass
class Question:
    """A request. ``feed`` its body in pieces before asking for the answer."""

    method: str
    target: str
    #: Names are lower case.
    fields: list[tuple[str, str]]
    length: int = 0
    kept: bytearray = field(default_factory=bytearray)
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    #: What followed the body; names are lower case.
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def feed(self, data: bytes) -> None:
        self.length += len(data)
        self.digest.update(data)
        self.kept += data[: max(0, KEPT - len(self.kept))]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    fields: list[tuple[str, str]] = field(default_factory=list)
    delay: float = 0.0
    #: (key, how many requests must be there).
    meeting: tuple[str, int] | None = None
    #: Instead of ``body``: pieces, and the seconds between one and the next.
    pieces: list[bytes] = field(default_factory=list)
    pause: float = 0.0
    #: The Link fields of an answer 103 that comes first.
    hints: list[str] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def in_chunks(self) -> bool:
        """Whether it goes without a Content-Length."""
        return bool(self.pieces or self.trailers)

    @classmethod
    def json(cls, value: object) -> Answer:
        body = json.dumps(value).encode()
        return cls(200, body, [("content-type", "application/json")])


def answer(question: Question) -> Answer:
    """Decide what to say. Unknown paths are 404."""
    parts = urlsplit(question.target)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    match parts.path.strip("/").split("/"):
        case ["echo"]:
            return _echo(question)
        case ["upload"]:
            return Answer.json(
                {
                    "length": question.length,
                    "sha256": question.digest.hexdigest(),
                    "content-length": question.values("content-length"),
                }
            )
        case ["redirect", count] if int(count) > 0:
            return Answer(302, b"", [("location", f"/redirect/{int(count) - 1}")])
        case ["redirect", _]:
            return Answer(302, b"", [("location", "/echo")])
        case ["cookies", "set"]:
            return _set_cookies(int(query.get("size", "0")))
        case ["cookies"]:
            return Answer.json(_cookies(question))
        case ["status", code]:
            return Answer(int(code))
        case ["delay"]:
            return Answer(200, b"late", delay=int(query["ms"]) / 1000)
        case ["meet", count]:
            return Answer(200, b"met", meeting=(query["key"], int(count)))
        case ["say" | "count" | "digest", *_]:
            authorization = question.values("authorization")
            return Answer(*services.serve(question.method, question.target, authorization))
        case _:
            return _answer_in_parts(parts.path, question, query)


def _answer_in_parts(path: str, question: Question, query: dict[str, str]) -> Answer:
    """More than one field section, or a body with pauses."""
    match path:
        case "/drip":
            return _drip(query["sizes"].split(","), int(query.get("ms", "0")))
        case "/early-hints":
            return Answer(200, b"hinted", hints=list(HINTS))
        case "/trailers":
            return _with_trailers(b"a body before trailers")
        case "/echo-trailers":
            return Answer.json({"length": question.length, "trailers": question.trailers})
        case _:
            return Answer(404, b"no such path")


def _echo(question: Question) -> Answer:
    return Answer.json(
        {
            "method": question.method,
            "path": question.target,
            "headers": question.fields,
            "body": bytes(question.kept).decode("latin-1"),
        }
    )


def _set_cookies(size: int) -> Answer:
    fields = [("set-cookie", "first=1; Path=/"), ("set-cookie", "second=two; Path=/")]
    if size:
        fields.append(("set-cookie", f"big={'x' * size}; Path=/"))
    return Answer(200, b"baked", fields)


def _cookies(question: Question) -> dict[str, str]:
    # HTTP/2 may split the field; RFC 9113 section 8.2.3 joins the pieces with "; ".
    jar = SimpleCookie("; ".join(question.values("cookie")))
    return {name: morsel.value for name, morsel in jar.items()}


def _drip(sizes: list[str], milliseconds: int) -> Answer:
    pieces = [bytes([ord("a") + n % 26]) * int(size) for n, size in enumerate(sizes)]
    # nginx would collect them.
    fields = [("x-accel-buffering", "no")]
    return Answer(200, b"", fields, pieces=pieces, pause=milliseconds / 1000)


def _with_trailers(body: bytes) -> Answer:
    trailers = [("x-length", str(len(body))), ("x-sha256", hashlib.sha256(body).hexdigest())]
    names = ", ".join(name for name, _ in trailers)
    return Answer(200, body, [("trailer", names)], trailers=trailers)


class Backend(ThreadingHTTPServer):
    """HTTP/1.1 with keep-alive on an ephemeral port."""

    daemon_threads = True
    # A burst of 50 threads must not meet a full accept queue.
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._meetings: dict[str, threading.Barrier] = {}

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def meet(self, key: str, count: int) -> bool:
        with self._lock:
            barrier = self._meetings.setdefault(key, threading.Barrier(count))
        try:
            barrier.wait(MEETING_TIMEOUT)
        except threading.BrokenBarrierError:
            return False
        return True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a proxy that drops its connection is part of several tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is two writes; without this Nagle and delayed ACK cost 40 ms each.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        backend = cast(Backend, self.server)
        fields = [(name.lower(), value) for name, value in self.headers.items()]
        question = Question(self.command, self.path, fields)
        for chunk in self._body(question):
            question.feed(chunk)
        reply = answer(question)
        if reply.delay:
            backend.closing.wait(reply.delay)
        if reply.meeting and not backend.meet(*reply.meeting):
            reply = Answer(503, b"nobody came")
        self._send(reply)

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815  (http.server's names)
    do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815

    def _body(self, question: Question) -> Iterator[bytes]:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self._exactly(size)
                self.rfile.readline()
            while line := self.rfile.readline().decode("latin-1").strip():
                name, _, value = line.partition(":")
                question.trailers.append((name.lower(), value.strip()))
            return
        left = int(self.headers.get("content-length") or 0)
        while left:
            chunk = self._exactly(min(left, 65536))
            left -= len(chunk)
            yield chunk

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionError("the request body ended early")
        return data

    def _send(self, reply: Answer) -> None:
        if reply.hints:
            self.send_response_only(103, "Early Hints")
            for link in reply.hints:
                self.send_header("link", link)
            self.end_headers()
        self.send_response(reply.status)
        for name, value in reply.fields:
            self.send_header(name, value)
        if reply.in_chunks:
            self.send_header("transfer-encoding", "chunked")
        elif reply.status not in (204, 304):
            self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.in_chunks:
            self._send_chunks(reply)
        else:
            self.wfile.write(reply.body)

    def _send_chunks(self, reply: Answer) -> None:
        for number, piece in enumerate(reply.pieces or [reply.body]):
            if number:
                cast(Backend, self.server).closing.wait(reply.pause)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n")
        for name, value in reply.trailers:
            self.wfile.write(f"{name}: {value}\r\n".encode())
        self.wfile.write(b"\r\n")

    def log_message(self, *args: object) -> None:
        """Say nothing, as ``handle_error``."""


@contextmanager
def running_backend() -> Iterator[Backend]:
    """A backend served by a thread of this process."""
    backend = Backend()
    thread = threading.Thread(target=backend.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield backend
    finally:
        backend.closing.set()
        backend.shutdown()
        backend.server_close()
        thread.join(10)
