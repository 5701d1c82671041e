"""A client on the bare h2 library: what a server sends, without the code under test."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from h2.settings import SettingCodes

Fields = list[tuple[str, str]]
TIMEOUT = 20.0
WINDOW = 1 << 20


@dataclass
class Stream:
    """What arrived on one stream. Fields include the pseudo-header fields."""

    number: int
    #: For a pushed one: the stream it was promised on, and the promised request.
    parent: int | None = None
    request: Fields = field(default_factory=list)
    interim: list[Fields] = field(default_factory=list)
    fields: Fields = field(default_factory=list)
    #: The octets of each DATA frame that was not empty, and when they were read from the socket.
    data: list[tuple[float, bytes]] = field(default_factory=list)
    trailers: Fields = field(default_factory=list)
    ended: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.data)


class RawClient:
    """One connection to 127.0.0.1."""

    def __init__(self, port: int, ca: str, *, push: bool = False) -> None:
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(["h2"])
        self.authority = f"127.0.0.1:{port}"
        plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._sock = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: int(push),
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                SettingCodes.MAX_CONCURRENT_STREAMS: 100,
            },
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(16 * WINDOW)
        self._streams: dict[int, Stream] = {}

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sock.close()

    def request(
        self,
        path: str,
        fields: Iterable[tuple[str, str]] = (),
        *,
        method: str = "GET",
        body: bytes | None = None,
        trailers: Fields | None = None,
    ) -> Stream:
        """Send a request. ``wait`` for its answer."""
        number = self._h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", self.authority)]
        head = [*pseudo, (":path", path), *fields]
        self._h2.send_headers(number, head, end_stream=body is None)
        if body is not None:
            self._h2.send_data(number, body, end_stream=trailers is None)
        if trailers is not None:
            self._h2.send_headers(number, trailers, end_stream=True)
        self._streams[number] = Stream(number)
        self._flush()
        return self._streams[number]

    def get(self, path: str, fields: Iterable[tuple[str, str]] = ()) -> Stream:
        """A whole answer; every stream has ended, those that were promised too."""
        stream = self.request(path, fields)
        self.wait(lambda: all(each.ended for each in self._streams.values()))
        return stream

    def pushed(self, parent: Stream) -> list[Stream]:
        """What has been promised on a stream so far."""
        return [each for each in self._streams.values() if each.parent == parent.number]

    def cancel(self, stream: Stream) -> None:
        self._h2.reset_stream(stream.number, h2.errors.ErrorCodes.CANCEL)
        stream.ended = True
        self._flush()

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            self._sock.settimeout(max(0.01, deadline - time.monotonic()))
            data = self._sock.recv(65536)
            assert data, "the server closed the connection"
            now = time.monotonic()
            for event in self._h2.receive_data(data):
                self._take(event, now)
            self._flush()

    def _flush(self) -> None:
        self._sock.sendall(self._h2.data_to_send())

    def _take(self, event: Any, now: float) -> None:
        stream = self._streams.get(getattr(event, "stream_id", None) or 0, Stream(0))
        match event:
            case h2.events.PushedStreamReceived():
                number = event.pushed_stream_id or 0
                promised = Stream(number, event.parent_stream_id, _pairs(event.headers))
                self._streams[number] = promised
            case h2.events.InformationalResponseReceived():
                stream.interim.append(_pairs(event.headers))
            case h2.events.ResponseReceived():
                stream.fields = _pairs(event.headers)
            case h2.events.TrailersReceived():
                stream.trailers = _pairs(event.headers)
            case h2.events.DataReceived():
                if event.data:
                    stream.data.append((now, event.data))
                if event.flow_controlled_length:
                    self._h2.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
            case h2.events.StreamEnded():
                stream.ended = True
            case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                raise AssertionError(f"the server sent {event}")


def _pairs(fields: Any) -> Fields:
    return [(name, value) for name, value in fields]
