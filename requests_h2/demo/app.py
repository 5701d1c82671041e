"""The application behind the tour's server: plain ASGI, one small function a path."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

BLOCK = bytes(64 * 1024)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    handler = ROUTES.get(scope["path"], not_found)
    await handler(scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def connection(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell which connection carried the request, after ``?ms=`` milliseconds.

    Every TCP connection has a client port of its own, so the ports that the server saw count
    the connections that were used.
    """
    await asyncio.sleep(int(query(scope, "ms", "0")) / 1000)
    await send_json(send, {"protocol": scope["http_version"], "client_port": scope["client"][1]})


async def download(scope: Scope, receive: Receive, send: Send) -> None:
    """Send ``?bytes=`` zeros, a block at a time."""
    remaining = int(query(scope, "bytes", "0"))
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(remaining).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while remaining:
        size = min(remaining, len(BLOCK))
        remaining -= size
        await send({"type": "http.response.body", "body": BLOCK[:size], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    """Count and hash the request's body while it arrives."""
    digest = hashlib.sha256()
    size = 0
    async for chunk in body(receive):
        digest.update(chunk)
        size += len(chunk)
    await send_json(send, {"bytes": size, "sha256": digest.hexdigest()})


async def login(scope: Scope, receive: Receive, send: Send) -> None:
    """Set two cookies, one of them from the form, and redirect."""
    form = parse_qs(b"".join([chunk async for chunk in body(receive)]).decode("ascii"))
    user = "".join(filter(str.isalnum, form.get("user", ["nobody"])[0]))
    headers = [
        (b"location", b"/account"),
        (b"set-cookie", f"user={user}; Path=/; Secure; HttpOnly".encode()),
        (b"set-cookie", b"theme=dark; Path=/"),
    ]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def account(scope: Scope, receive: Receive, send: Send) -> None:
    """Show the cookies that came with the request."""
    cookies = SimpleCookie()
    # Over HTTP/2 cookies may come as several fields (RFC 9113, section 8.2.3).
    for name, value in scope["headers"]:
        if name == b"cookie":
            cookies.load(value.decode("latin-1"))
    await send_json(send, {name: morsel.value for name, morsel in sorted(cookies.items())})


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """Push an answer, to clients that allow it, before the one that was asked for."""
    if "http.response.push" in scope["extensions"]:
        await send({"type": "http.response.push", "path": "/download?bytes=30000", "headers": []})
    await asyncio.sleep(0.02)
    await send_json(send, {"pushed": "/download?bytes=30000"})


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(send, {"error": f"nothing at {scope['path']}"}, status=404)


ROUTES: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
    "/": connection,
    "/download": download,
    "/upload": upload,
    "/login": login,
    "/page": page,
    "/account": account,
}


async def body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return  # the client is gone
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def query(scope: Scope, name: str, default: str) -> str:
    values: dict[str, list[str]] = parse_qs(scope["query_string"].decode("ascii"))
    return values.get(name, [default])[0]


async def send_json(send: Send, value: object, status: int = 200) -> None:
    text = json.dumps(value).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(text)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
