"""An engine without a socket: frames in, events and the client's frames out."""

from __future__ import annotations

from typing import Any

from hpack import Encoder

from requests_h2.engine.base import Engine
from requests_h2.engine.choice import engine_class
from requests_h2.engine.events import DataReceived, Event
from requests_h2.flow_control import CONNECTION_WINDOW, STREAM_WINDOW
from requests_h2.stream import MAX_HEADER_LIST_SIZE
from tests.fuzz.frames import ACK, SETTINGS, Fields, Heading, Wire, settings_payload
from tests.fuzz.received import ClientBytes

FIELDS = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")]
PROMISE = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/p")]


def new_engine(name: str, **options: Any) -> Engine:
    """With the windows and limits of a connection."""
    return engine_class(name)(
        stream_window=STREAM_WINDOW,
        connection_window=CONNECTION_WINDOW,
        max_header_list_size=MAX_HEADER_LIST_SIZE,
        **options,
    )


class EngineSession:
    """An engine with the client's output parsed.

    :param settings: what the server's SETTINGS say, by their numbers.
    :param acknowledge: whether the server has acknowledged the client's.
    :param options: of the engine.
    """

    def __init__(
        self,
        engine: str,
        settings: tuple[tuple[int, int], ...] = (),
        *,
        acknowledge: bool = True,
        **options: Any,
    ) -> None:
        self.engine = new_engine(engine, **options)
        self.client = ClientBytes()
        self._encoder = Encoder()
        self.receive(Wire(SETTINGS, 0, 0, settings_payload(settings)))
        if acknowledge:
            self.receive(Wire(SETTINGS, ACK))
        self.sent()

    def request(self, *, sending: bool = False) -> int:
        """The id of a new stream, its HEADERS taken."""
        stream_id = self.engine.open_stream(FIELDS, end_stream=not sending)
        self.sent()
        return stream_id

    def headers(
        self, stream_id: int, status: int = 200, *fields: tuple[bytes, bytes], end: bool = False
    ) -> list[Wire]:
        """A response's, for :meth:`receive`; it must be used, before any other."""
        section = [(b":status", str(status).encode()), *fields]
        return Heading(stream_id, section, end).frames(self._encoder)

    def promise(
        self, parent_id: int, stream_id: int, fields: Fields = PROMISE, **options: Any
    ) -> list[Wire]:
        """A PUSH_PROMISE, with its CONTINUATIONs; it must be used, before any other."""
        heading = Heading(parent_id, fields, end_stream=False, promised=stream_id, **options)
        return heading.frames(self._encoder)

    def receive(self, *frames: Wire) -> list[Event]:
        return self.engine.receive(memoryview(b"".join(map(Wire.encode, frames))))

    def data(self, *frames: Wire) -> list[tuple[int, bytes, int, bool]]:
        """What the frames bring in DATA: stream, content, flow-controlled size, its end."""
        return content(self.receive(*frames))

    def sent(self) -> list[Wire]:
        """The frames since the last call."""
        seen = len(self.client.frames)
        self.client.feed(bytes(self.engine.take_output()))
        assert self.client.whole
        return self.client.frames[seen:]


def content(events: list[Event]) -> list[tuple[int, bytes, int, bool]]:
    return [
        (event.stream_id, b"".join(event.parts), event.flow_size, event.end_stream)
        for event in events
        if isinstance(event, DataReceived)
    ]
