"""A TCP relay that makes the way longer, not narrower: all that comes in goes out some time later.

with Relay(server.port, delay=0.025) as relay:
    session.get(f"https://127.0.0.1:{relay.port}/")
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType

TIMEOUT = 10.0
#: Octets on the way in one direction; whoever sends more has to wait.
MAX_HELD = 64 << 20
_PIECE = 256 << 10


class Relay:
    """A listener on 127.0.0.1 in front of a port there, in a thread with a loop of its own.

    TCP's handshake is answered at once; everything after it, the end included, is delayed.

    :param delay: seconds, each way.
    :param record: whether to keep what passes, in :attr:`recorded`.
    """

    def __init__(self, port: int, delay: float = 0.025, *, record: bool = False) -> None:
        self._target = port
        self._delay = delay
        self._record = record
        #: Of all connections: whether it came from the client, and the octets; empty at the end.
        self.recorded: list[tuple[bool, bytes]] = []
        self._links: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        started: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="relay")
        self._thread.daemon = True
        self._thread.start()
        self.port = started.result(TIMEOUT)

    def _run(self, started: Future[int]) -> None:
        try:
            asyncio.run(self._serve(started))
        except BaseException as error:  # noqa: BLE001 - raised again at the end of the block
            self._failures.append(error)
            if not started.done():
                started.set_exception(error)

    async def _serve(self, started: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_PIECE)
        started.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = self._loop.create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._ended)

    def _ended(self, link: asyncio.Task[None]) -> None:
        self._links.discard(link)
        if not link.cancelled() and (error := link.exception()) is not None:
            self._failures.append(error)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(_close, writer)
            # Either side may break its connection off: then both end.
            stack.enter_context(contextlib.suppress(OSError))
            far_reader, far_writer = await asyncio.open_connection(
                "127.0.0.1", self._target, limit=_PIECE
            )
            stack.push_async_callback(_close, far_writer)
            record = self.recorded if self._record else None
            there, back = _Way(self._delay, record, True), _Way(self._delay, record, False)
            steps = (
                there.take(reader),
                there.give(far_writer),
                back.take(far_reader),
                back.give(writer),
            )
            tasks = [asyncio.ensure_future(step) for step in steps]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """Cut every connection, end the thread and raise what went wrong in it."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(TIMEOUT)
            assert not self._thread.is_alive(), "the relay did not end"
        if self._failures:
            raise self._failures[0]

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(*([Exception] if value is not None else [])):
            self.close()


class _Way:
    """What is on its way in one direction."""

    def __init__(
        self, delay: float, record: list[tuple[bool, bytes]] | None, from_client: bool
    ) -> None:
        self._delay = delay
        self._record = record
        self._from_client = from_client
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[tuple[float, bytes]] = deque()  # when each is due; b"" is the end
        self._held = 0
        self._changed = asyncio.Event()

    async def take(self, source: asyncio.StreamReader) -> None:
        data = b"?"
        while data:
            await self._until(lambda: self._held < MAX_HELD)
            data = await source.read(_PIECE)
            if self._record is not None:
                self._record.append((self._from_client, data))
            self._pieces.append((self._loop.time() + self._delay, data))
            self._held += len(data)
            self._changed.set()

    async def give(self, sink: asyncio.StreamWriter) -> None:
        data = b"?"
        while data:
            await self._until(lambda: bool(self._pieces))
            due, data = self._pieces.popleft()
            await asyncio.sleep(due - self._loop.time())
            if data:
                sink.write(data)
                await sink.drain()
            else:
                sink.write_eof()
            self._held -= len(data)
            self._changed.set()

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._changed.clear()
            await self._changed.wait()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
