"""The soak's peer, a process of its own: ``python -m tests.soak.peer CERT KEY SEED``.

It prints its port, then answers one JSON object a line on standard input with one on standard
output, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import ssl
import sys
from typing import Any

from hyperframe.frame import ExtensionFrame

from . import content
from .behaviour import Exchange
from .ledger import Ledger
from .peer_connection import (
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW,
    MAX_FRAME,
    MAX_STREAMS,
    PeerConnection,
    Stream,
)
from .wire import Wire

_VALUES: dict[int, tuple[int, ...]] = {
    MAX_STREAMS: (0, 1, 2, 5, 20, 100, 1000),
    INITIAL_WINDOW: (0, 1, 100, 16_384, 65_535, 1 << 20),
    MAX_FRAME: (16_384, 16_385, 65_536, (1 << 24) - 1),
    HEADER_TABLE_SIZE: (0, 64, 4096, 65_536),
    0xABCD: (0, 1),
}
_NAMES = {
    MAX_STREAMS: "MAX_CONCURRENT_STREAMS",
    INITIAL_WINDOW: "INITIAL_WINDOW_SIZE",
    MAX_FRAME: "MAX_FRAME_SIZE",
    HEADER_TABLE_SIZE: "HEADER_TABLE_SIZE",
    0xABCD: "an unknown setting",
}
_CALM_SETTINGS = {MAX_STREAMS: 100, INITIAL_WINDOW: 65_535}


class Peer:
    """All connections, their weather, and the ledger."""

    def __init__(self, context: ssl.SSLContext, seed: str) -> None:
        self.context = context
        self.seed = seed
        self.pushes = content.pushes(int(seed))
        self.rng = random.Random(f"{seed}/connections")
        self.ledger = Ledger()
        self.calm = False
        self.connections: set[PeerConnection] = set()

    def accept(self) -> Wire:
        return PeerConnection(self, self.context, random.Random(self.rng.random()))

    # -- connections -------------------------------------------------------------------------------

    def connected(self, conn: PeerConnection) -> None:
        self.connections.add(conn)
        self.ledger.counts["connections"] += 1
        self._begin(conn, conn.rng)
        conn.run(self._weather(conn))

    def disconnected(self, conn: PeerConnection) -> None:
        self.connections.discard(conn)
        if conn.ended == "client":
            self.ledger.counts["connections ended by the client"] += 1

    async def serve(self, conn: PeerConnection, stream: Stream, number: int) -> None:
        rng = random.Random(f"{self.seed}/{stream.nonce}/{number}")
        await Exchange(conn, stream, rng).run(self.calm)

    def _begin(self, conn: PeerConnection, rng: random.Random) -> None:
        kinds = ("", "end at once", "GOAWAY at once", "late SETTINGS")
        beginning = "" if self.calm else rng.choices(kinds, (95, 1, 1, 3))[0]
        if beginning:
            self.ledger.faults[f"connection begins with: {beginning}"] += 1
        if beginning == "end at once":
            conn.end(rng.choice(("fin", "notify", "cut", "rst")), beginning)
            return
        if beginning == "late SETTINGS":
            conn.hold(rng.uniform(0, 0.2))
        conn.change_settings(
            {MAX_STREAMS: rng.choice((1, 5, 50, 250)), INITIAL_WINDOW: rng.choice((0, 999, 65_535))}
        )
        if beginning == "GOAWAY at once":
            conn.goaway(0, rng.choice((0, 0, 0xB)))

    async def _weather(self, conn: PeerConnection) -> None:
        rng = conn.rng
        while not self.calm and conn.ended is None:
            await asyncio.sleep(rng.uniform(0.02, 0.3))
            await self._gust(conn, rng)
        conn.change_settings(_CALM_SETTINGS)

    async def _gust(self, conn: PeerConnection, rng: random.Random) -> None:
        what = rng.choice(("settings", "settings", "settings", "ping", "unknown frame"))
        if what == "ping":
            self.ledger.faults["PING"] += 1
            conn.ping()
        elif what == "unknown frame":
            self.ledger.faults["frame of an unknown type"] += 1
            frame = ExtensionFrame(0xFA, 0, flag_byte=0x5, body=rng.randbytes(9))
            frame.body_len = 9  # which hyperframe sets when it parses one
            conn.send_frame(frame)
        else:
            changes = {
                code: rng.choice(_VALUES[code])
                for code in rng.sample(list(_VALUES), rng.randint(1, 3))
            }
            for code in changes:
                self.ledger.faults[f"SETTINGS {_NAMES[code]}"] += 1
            conn.change_settings(changes)
            relief = {
                code: value
                for code, value in ((MAX_STREAMS, 30), (INITIAL_WINDOW, 50_000))
                if changes.get(code, value) < 5
            }
            if relief:
                await asyncio.sleep(rng.uniform(0, 0.1))
                conn.change_settings(relief)

    # -- control -----------------------------------------------------------------------------------

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        if "calm" in order:
            self.calm = order["calm"]
        for nonce, outcome in order.get("judge", ()):
            self.ledger.judge(nonce, outcome)
        answer: dict[str, Any] = {"violations": self.ledger.violations}
        if "history" in order:
            answer["history"] = self.ledger.history(order["history"])
        if order.get("figures"):
            answer.update(self.ledger.figures())
        if order.get("connections"):
            answer["connections"] = {
                str(conn.record.port): {
                    "window": conn.receive_window,
                    "streams": sorted(conn.streams),
                    "draining": conn.record.goaway_last < 2**31 - 1,
                }
                for conn in self.connections
            }
        return answer


async def main(cert: str, key: str, seed: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2"])
    peer = Peer(context, seed)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(peer.accept, "127.0.0.1", 0, backlog=200)
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(peer.obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    gc.freeze()
    asyncio.run(main(*sys.argv[1:]))
