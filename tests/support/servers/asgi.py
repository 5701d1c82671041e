"""The ASGI application that Hypercorn serves, and the process that runs it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import zlib
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from tests.support.backend import MEETING_TIMEOUT, Answer, Question, answer
from tests.support.servers.documents import PUSHED

PUSHES: dict[str, tuple[str, ...]] = {"/pushing": PUSHED, "/pushing-large": ("/100m",)}
STATIC = {"/1k", "/100m", "/text.txt", *PUSHES, *PUSHED}
CHUNK = 1 << 16


class Application:
    """The paths of ``backend.answer`` and the static files."""

    def __init__(self, documents: Path) -> None:
        self.documents = documents
        self.meetings: dict[str, list[asyncio.Future[None]]] = {}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
            return
        port = scope["client"][1]
        common = [("x-client-port", str(port))]
        if scope["path"] in STATIC:
            if "http.response.push" in scope["extensions"]:
                for path in PUSHES.get(scope["path"], ()):
                    await send({"type": "http.response.push", "path": path, "headers": []})
            await self.static(scope, send, common)
        else:
            await self.dynamic(scope, receive, send, common)

    async def lifespan(self, receive: Any, send: Any) -> None:
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})

    async def dynamic(
        self, scope: dict[str, Any], receive: Any, send: Any, common: list[tuple[str, str]]
    ) -> None:
        query = scope["query_string"].decode()
        question = Question(
            scope["method"],
            scope["path"] + (f"?{query}" if query else ""),
            [(name.decode(), value.decode()) for name, value in scope["headers"]],
        )
        async for chunk in request_body(receive):
            question.feed(chunk)
        reply = answer(question)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.meeting and not await self.meet(*reply.meeting):
            reply = Answer(503, b"nobody came")
        await deliver(scope, send, reply, common)

    async def meet(self, key: str, count: int) -> bool:
        present = self.meetings.setdefault(key, [])
        present.append(asyncio.get_running_loop().create_future())
        if len(present) == count:
            for each in present:
                each.set_result(None)
        try:
            await asyncio.wait_for(present[-1], MEETING_TIMEOUT)
        except asyncio.TimeoutError:
            return False
        return True

    async def static(self, scope: dict[str, Any], send: Any, common: list[tuple[str, str]]) -> None:
        path = self.documents / scope["path"].lstrip("/")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        stat = path.stat()
        etag = f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"'
        fields = [
            *common,
            ("etag", etag),
            ("last-modified", formatdate(stat.st_mtime, usegmt=True)),
            ("accept-ranges", "bytes"),
        ]
        if headers.get("if-none-match") == etag:
            await start(send, 304, fields)
            await send({"type": "http.response.body"})
            return
        if path.suffix == ".txt" and "gzip" in headers.get("accept-encoding", ""):
            # As servers that compress on the fly: no Content-Length.
            await start(send, 200, [*fields, ("content-encoding", "gzip")])
            body = gzipped(path.read_bytes())
            await send({"type": "http.response.body", "body": body})
            return
        status, first, last = 200, 0, stat.st_size - 1
        if "range" in headers:
            # The tests ask for one "bytes=A-B".
            first, last = map(int, headers["range"].removeprefix("bytes=").split("-"))
            status = 206
            fields.append(("content-range", f"bytes {first}-{last}/{stat.st_size}"))
        await start(send, status, [*fields, ("content-length", str(last - first + 1))])
        if scope["method"] != "HEAD":
            await send_file(send, path, first, last)
        await send({"type": "http.response.body"})


async def deliver(
    scope: dict[str, Any], send: Any, reply: Answer, common: list[tuple[str, str]]
) -> None:
    """Send all of an answer. Over HTTP/1.1 Hypercorn has neither early hints nor trailers."""
    if reply.hints and "http.response.early_hint" in scope["extensions"]:
        links = [link.encode() for link in reply.hints]
        await send({"type": "http.response.early_hint", "links": links})
    fields = [*common, *reply.fields]
    if not reply.in_chunks and reply.status not in (204, 304):
        fields.append(("content-length", str(len(reply.body))))
    has_trailers = bool(reply.trailers) and "http.response.trailers" in scope["extensions"]
    await start(send, reply.status, fields, trailers=has_trailers)
    for number, piece in enumerate(reply.pieces):
        if number:
            await asyncio.sleep(reply.pause)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    body = b"" if scope["method"] == "HEAD" else reply.body
    await send({"type": "http.response.body", "body": body})
    if has_trailers:
        # It sends them when the request has "TE: trailers".
        await send({"type": "http.response.trailers", "headers": encoded(reply.trailers)})


def gzipped(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(data) + compressor.flush()


async def request_body(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


def encoded(fields: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in fields]


async def start(
    send: Any, status: int, fields: list[tuple[str, str]], *, trailers: bool = False
) -> None:
    message = {"type": "http.response.start", "status": status, "headers": encoded(fields)}
    await send({**message, "trailers": trailers})


async def send_file(send: Any, path: Path, first: int, last: int) -> None:
    with path.open("rb") as file:
        file.seek(first)
        left = last - first + 1
        while left:
            chunk = file.read(min(CHUNK, left))
            left -= len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


def configuration(options: dict[str, Any], port: int, alpn: list[str]) -> Config:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile = options["certificate"]
    config.keyfile = options["key"]
    config.alpn_protocols = alpn
    config.keep_alive_timeout = 120
    # On reaching it Hypercorn sends a GOAWAY that claims requests which it then never answers.
    config.keep_alive_max_requests = 1_000_000
    config.h2_max_concurrent_streams = 100
    config.errorlog = "-"
    config.graceful_timeout = 1
    return config


async def main(options: dict[str, Any]) -> None:
    app: Any = Application(Path(options["documents"]))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    both = configuration(options, options["port"], ["h2", "http/1.1"])
    http11 = configuration(options, options["http11_port"], ["http/1.1"])
    await asyncio.gather(
        serve(app, both, shutdown_trigger=stop.wait),
        serve(app, http11, shutdown_trigger=stop.wait),
    )


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
