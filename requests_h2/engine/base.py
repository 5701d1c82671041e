"""What an HTTP/2 engine is: the interface, and what both of ours have in common.

An engine is sans-IO and knows one connection. It is not thread-safe: the connection's lock guards
it. The contract of its user: :meth:`Engine.receive` bytes, act on the events, take the output, and
do so again until both are empty, because taking output may bring events to light.

Division of labour: the engine frames, compresses, keeps both flow-control windows and every
stream's state, and turns whatever the peer does wrong on one stream into a
:class:`StreamReset` of that stream. What a response means (status, field and length checks, who
waits for it) is decided above it, once for all engines.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar

from ..exceptions import ErrorCode
from ..fields import Field, Fields
from ..progress import Progress
from .events import Event, PingAcknowledged, PushPromised, StreamReset
from .frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_SIZE,
    HEADERS,
    MAX_STREAM_ID,
    PING,
    PRIORITY_UPDATE,
    U32,
    WINDOW_UPDATE,
    frame_header,
)
from .pushes import Pushes

DEFAULT_WINDOW = 65_535
"""Initial flow-control window before SETTINGS, in octets (RFC 9113 section 6.9.2)."""
MAX_FRAME_SIZE = 16_384
"""The largest frame payload we accept, in octets: SETTINGS_MAX_FRAME_SIZE's default."""
MAX_PUSHES = 100
"""SETTINGS_MAX_CONCURRENT_STREAMS of ours, which is about pushed streams."""
ASSUMED_CONCURRENT_STREAMS = 100
"""Streams opened before the peer's SETTINGS arrive, or when they set no limit."""


class OpenStream:
    """What both engines know of a stream that is open: its halves and the peer's credit."""

    __slots__ = ("local_open", "progress", "receive_window", "remote_open", "reserved")

    def __init__(self, local_open: bool, receive_window: int, reserved: bool) -> None:
        self.local_open = local_open
        self.remote_open = True
        self.receive_window = receive_window
        self.reserved = reserved  # promised, and no HEADERS came (RFC 9113 section 5.1)
        self.progress = Progress()


class Engine(abc.ABC):
    """One HTTP/2 client connection without its socket."""

    name: ClassVar[str]
    _streams: Mapping[int, OpenStream]

    def __init__(
        self,
        *,
        stream_window: int,
        connection_window: int,
        max_header_list_size: int,
        enable_push: bool = False,
        max_pushes: int = MAX_PUSHES,
    ) -> None:
        """A client's engine, its preface and SETTINGS in the output.

        :param stream_window: initial receive window of each stream, in octets.
        :param connection_window: receive window of the connection, in octets.
        :param max_header_list_size: the limit that is advertised, in octets.
        :param enable_push: whether the server may push, until :meth:`set_push` says otherwise.
        :param max_pushes: pushed streams at once. Promises do not count: they are limited above
            the engine, which only ends the connection when they are absurdly many.
        """
        self._stream_window = stream_window
        self._receive_window = connection_window
        self._next_stream_id = 1
        self._output: list[bytes | memoryview] = []
        self._events: list[Event] = []
        self._failed = False
        self._pushes = Pushes(enable_push, max_pushes)
        self._pings: list[bytes] = []  # that were not answered
        self._promised_progress: dict[int, Progress] = {}  # which nobody has asked for
        self.max_concurrent_streams = ASSUMED_CONCURRENT_STREAMS
        """The peer's SETTINGS_MAX_CONCURRENT_STREAMS, or the assumption before it is known."""
        self.max_header_list_size: int | None = None
        """The peer's SETTINGS_MAX_HEADER_LIST_SIZE in octets, ``None`` when it sets no limit."""
        self.settings_received = False
        """Whether the peer's SETTINGS came, which is the first thing it says."""
        self.settings_acknowledged = False
        """Whether the peer has acknowledged ours."""
        self._start(connection_window, max_header_list_size)

    @abc.abstractmethod
    def _start(self, connection_window: int, max_header_list_size: int) -> None:
        """Queue the preface, SETTINGS and the WINDOW_UPDATE of the connection."""

    @property
    def stream_window(self) -> int:
        """Initial receive window of each stream, in octets."""
        return self._stream_window

    @property
    def has_stream_ids(self) -> bool:
        """Whether another stream can be opened on this connection at all."""
        return self._next_stream_id <= MAX_STREAM_ID

    @property
    def opened_streams(self) -> int:
        """Streams that were opened so far, without pushed ones."""
        return self._next_stream_id // 2

    @property
    def receive_window(self) -> int:
        """Octets of DATA that the connection's window allows the peer now."""
        return self._receive_window

    def progress(self, stream_id: int) -> Progress:
        """Where the frames of a stream are counted. To be asked for once, after it was opened or
        :class:`PushPromised` came, when it may be over already.
        """
        if stream_id % 2 == 0:
            return self._promised_progress.pop(stream_id)
        return self._streams[stream_id].progress

    def take_output(self) -> bytes:
        """The bytes to send since the last call."""
        if not self._output:
            return b""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def go_away(self, error_code: int) -> None:
        """Queue GOAWAY. Receiving and accepted streams go on."""
        # Past the libraries beneath, which would act on it.
        self._frame(GOAWAY, 0, 0, U32.pack(self._pushes.accepted_id) + U32.pack(error_code))

    @property
    def push_enabled(self) -> bool:
        """What the peer was told last, whether it has acknowledged that or not."""
        return self._pushes.enabled

    def set_push(self, enabled: bool) -> None:
        """Queue SETTINGS that allow or forbid push; no-op when they would change nothing.

        Promises that cross a prohibition are no events: their streams are cancelled.
        """
        if enabled != self._pushes.enabled and not self._failed:
            self._send_settings(self._pushes.change(enabled))

    def ping(self, data: bytes) -> None:
        """Queue PING with these 8 octets; :class:`PingAcknowledged` is the answer."""
        if not self._failed:
            self._pings.append(data)
            self._frame(PING, 0, 0, data)

    def update_priority(self, stream_id: int, value: bytes) -> None:
        """Queue PRIORITY_UPDATE (RFC 9218 section 7.1); no-op for a closed stream.

        :param value: what a Priority field would say, in ASCII.
        """
        if stream_id in self._streams:
            self._frame(PRIORITY_UPDATE, 0, 0, U32.pack(stream_id) + value)

    def send_window_update(self, stream_id: int, increment: int) -> None:
        """Give credit to a stream, or to the connection (id 0); no-op for a closed stream."""
        if stream_id == 0:
            self._receive_window += increment
        elif (stream := self._streams.get(stream_id)) is None or not stream.remote_open:
            return
        else:
            stream.receive_window += increment
        self._frame(WINDOW_UPDATE, 0, stream_id, U32.pack(increment))

    def _promised(self, parent_id: int, stream_id: int) -> bool:
        """Whether a promise is wanted; else its stream is to be cancelled.

        :raises PeerError: when the peer may not promise that.
        """
        parent = self._streams.get(parent_id)
        is_open = parent is not None and parent.remote_open and parent_id % 2 == 1
        return self._pushes.promised(parent_id, is_open, stream_id, self.pushed_streams)

    def _start_pushed(self, stream: OpenStream) -> bool:
        """HEADERS came on a reserved stream: whether the peer may open another (section 5.1.2)."""
        started = sum(
            not other.reserved for number, other in self._streams.items() if number % 2 == 0
        )
        if started >= self._pushes.limit:
            return False
        stream.reserved = False
        return True

    def _forgotten(self, stream_id: int, stream: OpenStream) -> None:
        """A stream was reset by us; a promise for it may be under way."""
        if stream.remote_open and stream_id % 2:
            self._pushes.stream_abandoned(stream_id)

    def _promise_received(
        self, parent_id: int, stream_id: int, pushed: OpenStream, fields: Fields
    ) -> None:
        """A promise that is wanted is complete, and its stream among the open ones."""
        self._promised_progress[stream_id] = pushed.progress
        self._pushes.accepted_id = stream_id
        self._events.append(PushPromised(parent_id, stream_id, fields))

    def _refuse(self, stream_id: int, code: ErrorCode, reason: str) -> None:
        """End one stream for something the peer did on it; nothing if it is gone already."""
        if stream_id in self._streams:
            self.reset_stream(stream_id, code)
            self._events.append(StreamReset(stream_id, code, remote=False, reason=reason))

    def _ping_acknowledged(self, data: bytes) -> None:
        if data in self._pings:
            self._pings.remove(data)
            self._events.append(PingAcknowledged(data))

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes | memoryview) -> None:
        self._output.append(frame_header(kind, flags, stream_id, len(payload)))
        self._output.append(payload)

    @property
    def open_streams(self) -> int:
        """Streams that count against the peer's limit (RFC 9113 section 5.1.2)."""
        return len(self._streams) - self.pushed_streams

    @property
    def pushed_streams(self) -> int:
        """Promised streams that are not over."""
        if not self._pushes.accepted_id:
            return 0
        return sum(stream_id % 2 == 0 for stream_id in self._streams)

    def _frame_block(self, stream_id: int, block: bytes, limit: int, end_stream: bool) -> int:
        """Queue a field block as HEADERS and as many CONTINUATIONs as it needs; how many octets
        they are.
        """
        last = len(block) <= limit
        flags = (END_STREAM if end_stream else 0) | (END_HEADERS if last else 0)
        self._frame(HEADERS, flags, stream_id, block[:limit])
        for start in range(limit, len(block), limit):
            last = start + limit >= len(block)
            fragment = block[start : start + limit]
            self._frame(CONTINUATION, END_HEADERS if last else 0, stream_id, fragment)
        return len(block) + HEADER_SIZE * max(1, -(-len(block) // limit))

    @property
    @abc.abstractmethod
    def send_window(self) -> int:
        """Octets of DATA that the connection's window allows us now; may be negative."""

    @property
    @abc.abstractmethod
    def unfinished(self) -> tuple[bytes, int]:
        """Where in a frame the octets that were received end: what is kept of its beginning, and
        how many octets that are to come belong to one whose beginning is not kept.
        """

    @abc.abstractmethod
    def receive(self, data: memoryview) -> list[Event]:
        """Take bytes from the peer, in any portions. Never raises for what they hold."""

    @abc.abstractmethod
    def open_stream(self, fields: Sequence[Field], end_stream: bool) -> int:
        """Send HEADERS on a new stream; returns its id. The fields are already checked."""

    @abc.abstractmethod
    def send_capacity(self, stream_id: int) -> int:
        """Octets of DATA that both windows allow now; may be negative (section 6.9.2)."""

    @abc.abstractmethod
    def send_data(self, stream_id: int, data: memoryview, end_stream: bool) -> None:
        """Queue DATA, split into frames; the caller respects :meth:`send_capacity`, and leaves the
        data alone until :meth:`take_output`.
        """

    @abc.abstractmethod
    def _send_settings(self, settings: dict[int, int]) -> None:
        """Queue a SETTINGS frame."""

    @abc.abstractmethod
    def send_trailers(self, stream_id: int, fields: Sequence[Field]) -> None:
        """End our half of a stream by a trailer section (RFC 9113 section 8.1); no-op when it is
        over. All DATA was given to :meth:`send_data` before.
        """

    @abc.abstractmethod
    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Send RST_STREAM and forget the stream; no-op when it is closed already."""
