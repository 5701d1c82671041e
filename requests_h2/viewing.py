"""What may be seen of one HTTP/2 connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .engine.base import Engine
from .pump import Pump
from .stream import Stream
from .stream_table import State, StreamTable

if TYPE_CHECKING:
    from .inspection import ConnectionInfo, Dial, OpenConnection


class Viewing:
    """The part of a connection for those who inspect it. Thread-safe.

    :param dial: how it was made.
    """

    def __init__(self, pump: Pump, table: StreamTable, engine: Engine, dial: Dial) -> None:
        self._pump = pump
        # Guarded by the pump's lock.
        self._table = table
        self._engine = engine
        self._made_at = time.monotonic()
        self.dial = dial

    def response(self, stream: Stream, replays: int) -> ConnectionInfo:
        """What a response's exchange has cost so far."""
        from .inspection import ConnectionInfo

        progress = stream.progress
        return ConnectionInfo(
            **vars(self.dial),
            http_version="HTTP/2",
            engine=self._engine.name,
            stream_id=stream.id,
            reused=not stream.first,
            time_to_first_byte=progress.time_to_first_byte,
            bytes_sent=progress.bytes_sent,
            bytes_received=progress.bytes_received,
            replays=replays,
        )

    def connection(self) -> OpenConnection | None:
        """The connection as it is now, without a look at its socket; ``None`` when it is closed."""
        from .inspection import GoAway, OpenConnection

        with self._pump.guard:
            if self._table.state is State.CLOSED:
                return None
            last = self._table.goaway
            return OpenConnection(
                **vars(self.dial),
                http_version="HTTP/2",
                engine=self._engine.name,
                age=time.monotonic() - self._made_at,
                takes_requests=self._table.state is State.OPEN,
                streams_opened=self._engine.opened_streams,
                streams_active=self._engine.open_streams,
                stream_limit=self._engine.max_concurrent_streams,
                send_window=self._engine.send_window,
                receive_window=self._engine.receive_window,
                bytes_sent=self._pump.sent,
                bytes_received=self._pump.received,
                goaway=None if last is None else GoAway(last.last_stream_id, last.error_code),
            )
