"""What the soak's peer does with a request: mostly answer, sometimes anything else."""

from __future__ import annotations

import asyncio
import contextlib
import random
import zlib
from collections.abc import Awaitable, Callable

from hyperframe.frame import DataFrame

from . import content
from .peer_connection import PeerConnection, Stream

REFUSED_STREAM = 0x7
#: HTTP_1_1_REQUIRED (0xd) is left out: it ends HTTP/2 to the origin for good.
_RESET_CODES = (0x0, 0x1, 0x2, 0x3, 0x5, 0x6, 0x8, 0x9, 0xB, 0xC, 0x1234)
_GOAWAY_ERRORS = (0x1, 0x2, 0x3, 0xB)
_PAUSE = 0.05  # between two looks at an upload that makes no progress
_LITTLE = 1500


class Exchange:
    """One attempt of one request, and the ways to end it."""

    def __init__(self, conn: PeerConnection, stream: Stream, rng: random.Random) -> None:
        self.conn = conn
        self.stream = stream
        self.rng = rng
        self.size = int(stream.fields[content.SIZE])
        self.ledger = conn.ledger

    async def run(self, calm: bool) -> None:
        behaviour = answer if calm else self.rng.choices(_BEHAVIOURS, _WEIGHTS)[0]
        await behaviour(self)

    # -- parts -------------------------------------------------------------------------------------

    def fault(self, kind: str) -> None:
        """What follows excuses a failure."""
        self.stream.attempt.fault = kind
        self.ledger.faults[kind] += 1

    def note(self, kind: str) -> None:
        """What follows is legal and must not make the request fail."""
        self.ledger.faults[kind] += 1

    async def upload(self, until: int | None = None) -> None:
        """Take the request body, giving the windows back as it pleases."""
        stream, conn = self.stream, self.conn
        while not stream.request_ended and stream.id in conn.streams:
            if until is not None and len(stream.upload) >= until:
                return
            for window, target in ((conn.receive_window, None), (stream.receive_window, stream)):
                if window < self.rng.choice((1, 1000, 30_000, 60_000)):
                    conn.credit(target, self.rng.choice((7, 900, 16_384, 65_535, 200_000)))
            stream.changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stream.changed.wait(), _PAUSE)

    def head(self, status: int = 200, *, end: bool = False, **more: str) -> None:
        body = content.response_body(self.stream.nonce, self.size)
        fields = [
            (":status", str(status)),
            (content.NONCE, self.stream.nonce),
            (content.SIZE, str(self.size)),
            (content.CHECKSUM, str(zlib.crc32(body))),
        ]
        if self.rng.random() < 0.6:
            fields.append(("content-length", str(self.size)))
        fields += [(name.replace("_", "-"), value) for name, value in more.items()]
        split = self.rng.random() < 0.1
        if self.bodiless or end:
            self.ledger.finish(self.stream.attempt)
        self.conn.headers(self.stream, fields, self.bodiless or end, split)

    @property
    def bodiless(self) -> bool:
        return self.stream.method == "HEAD"

    def promise(self) -> None:
        """A push, if the client wants any, whose response comes when it comes."""
        pushed = self.conn.promise(self.stream, self.rng.choice((0, 300, 70_000)))
        if pushed is not None:
            self.note("push")
            exchange = Exchange(self.conn, pushed, random.Random(pushed.nonce))
            pushed.task = self.conn.run(_serve_push(exchange))

    async def send_body(self, most: int = 16_384, padded: bool = False, end: bool = True) -> None:
        body = content.response_body(self.stream.nonce, self.size)
        await self.conn.body(self.stream, body, end=end, most=most, padded=padded)
        if end:
            self.ledger.finish(self.stream.attempt)

    async def sleep(self, most: float) -> None:
        await asyncio.sleep(self.rng.uniform(0, most))


async def answer(it: Exchange, most: int = 16_384, padded: bool = False) -> None:
    await it.upload()
    it.head()
    if not it.bodiless:
        await it.send_body(most, padded)


async def late(it: Exchange) -> None:
    it.note("late answer")
    await it.sleep(0.08)
    await answer(it)


async def slow_body(it: Exchange) -> None:
    it.note("headers long before the body")
    await it.upload()
    it.head()
    await it.sleep(0.1)
    if not it.bodiless:
        await it.send_body()


async def crumbs(it: Exchange) -> None:
    it.note("body in tiny frames")
    it.size = min(it.size, _LITTLE)
    await answer(it, most=it.rng.randrange(1, 60))


async def padded(it: Exchange) -> None:
    it.note("padded DATA")
    await answer(it, padded=True)


async def informational(it: Exchange) -> None:
    it.note("1xx before the answer")
    for _ in range(it.rng.randrange(1, 4)):
        it.conn.headers(it.stream, [(":status", str(it.rng.choice((100, 102, 103, 199))))])
        await it.sleep(0.01)
    await answer(it)


async def trailers(it: Exchange) -> None:
    it.note("trailers")
    await it.upload()
    it.head(trailer="x-end")
    if it.bodiless:
        return
    await it.send_body(end=False)
    it.ledger.finish(it.stream.attempt)
    it.conn.headers(it.stream, [("x-end", it.stream.nonce)], end=True)


async def push(it: Exchange) -> None:
    await it.upload()
    it.promise()
    it.head()
    it.promise()  # unless that was all of the answer
    if not it.bodiless:
        await it.send_body()


async def _serve_push(it: Exchange) -> None:
    await it.sleep(0.1)
    if it.rng.random() < 0.1:
        return it.conn.reset(it.stream, it.rng.choice(_RESET_CODES))
    it.head()
    return await it.send_body()


async def duplex(it: Exchange) -> None:
    """The answer begins before the request has ended."""
    if it.stream.request_ended:
        return await answer(it)
    it.note("2xx while uploading")
    it.head()
    if it.rng.random() < 0.5:
        await it.upload()
    if not it.bodiless:
        await it.send_body()
    return await it.upload()


async def reject(it: Exchange) -> None:
    """A complete answer before the request has ended."""
    await it.upload(until=it.rng.choice((0, 1, 70_000)))
    if it.stream.request_ended:
        return await answer(it)
    it.note("final answer while uploading")
    it.size = min(it.size, _LITTLE)
    it.head(it.rng.choice((401, 403, 413, 503)), end=it.size == 0)
    if it.size and not it.bodiless:
        await it.send_body()
    if it.rng.random() < 0.7:
        it.conn.reset(it.stream, 0)
        return None
    return await it.upload()


async def refuse(it: Exchange) -> None:
    await it.sleep(0.01)
    it.stream.attempt.refused = True
    it.ledger.faults["RST_STREAM REFUSED_STREAM"] += 1
    it.conn.reset(it.stream, REFUSED_STREAM)


async def reset_before(it: Exchange) -> None:
    if it.rng.random() < 0.5:
        await it.upload(until=20_000)
    it.fault("RST_STREAM before headers")
    it.conn.reset(it.stream, it.rng.choice(_RESET_CODES))


async def reset_after(it: Exchange) -> None:
    await it.upload()
    it.fault("RST_STREAM after headers")
    it.size += 1
    codes: tuple[int, ...] = _RESET_CODES
    if it.bodiless:
        it.conn.headers(it.stream, [(":status", "103")])
    else:
        codes = (*codes, REFUSED_STREAM)
        it.head()
        body = content.response_body(it.stream.nonce, it.size)
        await it.conn.body(it.stream, body[: it.rng.randrange(it.size)], end=False)
    it.conn.reset(it.stream, it.rng.choice(codes))


async def truncate(it: Exchange) -> None:
    """END_STREAM before Content-Length is reached."""
    await it.upload()
    it.fault("body shorter than Content-Length")
    head = [(":status", "200"), (content.NONCE, it.stream.nonce), (content.SIZE, str(it.size + 5))]
    it.conn.headers(it.stream, [*head, ("content-length", str(it.size + 5))])
    await it.conn.body(it.stream, content.response_body(it.stream.nonce, it.size), end=True)


async def malformed(it: Exchange) -> None:
    it.fault("malformed response")
    field = it.rng.choice(
        ((":status", "2000"), ("Upper", "case"), ("connection", "close"), ("x", "a\nb"))
    )
    status = [] if field[0] == ":status" else [(":status", "200")]
    it.conn.headers(it.stream, [*status, field])
    it.conn.forget(it.stream) if it.stream.request_ended else None
    await it.upload()


async def overlong(it: Exchange) -> None:
    if it.bodiless:
        return await answer(it)
    await it.upload()
    it.fault("body longer than Content-Length")
    head = [(":status", "200"), (content.NONCE, it.stream.nonce), (content.SIZE, "3")]
    it.conn.headers(it.stream, [*head, ("content-length", "3")])
    it.conn.send_frame(DataFrame(it.stream.id, b"12345"))
    return None


async def hang(it: Exchange) -> None:
    """Never say anything, to clients that do not wait long."""
    if it.stream.attempt.patient:
        return await late(it)
    it.fault("no answer")
    if it.rng.random() < 0.3:
        await it.upload(until=10_000)
    return None


async def stall(it: Exchange) -> None:
    """Headers, a part of the body, silence."""
    if it.stream.attempt.patient or it.bodiless:
        return await late(it)
    await it.upload()
    it.fault("answer that stops")
    it.size += 10
    it.head()
    body = content.response_body(it.stream.nonce, it.size)
    await it.conn.body(it.stream, body[: it.rng.randrange(it.size)], end=False)
    return None


async def goaway(it: Exchange) -> None:
    conn, rng = it.conn, it.rng
    code = 0 if rng.random() < 0.6 else rng.choice(_GOAWAY_ERRORS)
    place = rng.choice(("graceful", "at", "above", "below", "none"))
    it.ledger.faults[f"GOAWAY {'error' if code else 'NO_ERROR'}, last id {place}"] += 1
    last = {
        "graceful": 2**31 - 1,
        "at": conn.last_id,
        "above": conn.last_id + 2 * rng.randrange(1, 20),
        "below": max(0, it.stream.id - 2 * rng.randrange(1, 6)),
        "none": 0,
    }[place]
    conn.goaway(last, code)
    if code or rng.random() < 0.3:
        conn.run(_end_later(conn, rng.uniform(0, 0.4), rng.choice(_ENDS)))
    if it.stream.id in conn.streams:
        await answer(it)
    if place == "graceful":
        await it.sleep(0.05)
        conn.goaway(conn.last_id, code)


async def _end_later(conn: PeerConnection, seconds: float, how: str) -> None:
    await asyncio.sleep(seconds)
    if conn.streams:
        conn.ledger.faults[f"connection dropped after GOAWAY: {how}"] += 1
    conn.end(how, f"{how} after GOAWAY")


async def drop(it: Exchange) -> None:
    how = it.rng.choice(_ENDS)
    when = it.rng.choice(("unanswered", "answered", "in the body"))
    if when != "unanswered":
        await it.upload()
        it.head()
    if when == "in the body" and not it.bodiless:
        body = content.response_body(it.stream.nonce, it.size)
        await it.conn.body(it.stream, body[: it.size // 2], end=False)
    it.ledger.faults[f"connection dropped: {how}"] += 1
    it.conn.end(how, f"{how}, {when}")


async def go_quiet(it: Exchange) -> None:
    """Nothing is read from the socket for a while."""
    it.note("peer stops reading")
    transport = it.conn.transport
    transport.pause_reading()
    try:
        await it.sleep(0.15)
    finally:
        # Also when a GOAWAY of another stream's cancels this one: others are still served.
        if not transport.is_closing():
            transport.resume_reading()
    await answer(it)


_ENDS = ("fin", "notify", "cut", "rst")
_TABLE: dict[Callable[[Exchange], Awaitable[None]], float] = {
    answer: 560,
    late: 120,
    slow_body: 40,
    crumbs: 30,
    padded: 40,
    informational: 40,
    trailers: 40,
    push: 60,
    duplex: 50,
    reject: 50,
    refuse: 8,
    reset_before: 20,
    reset_after: 20,
    truncate: 6,
    malformed: 6,
    overlong: 6,
    hang: 60,
    stall: 40,
    goaway: 8,
    drop: 4,
    go_quiet: 4,
}
_BEHAVIOURS = list(_TABLE)
_WEIGHTS = list(_TABLE.values())
