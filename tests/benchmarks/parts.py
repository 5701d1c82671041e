"""The parts of an exchange without sockets, for both engines."""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Callable, Iterable

from hpack import Encoder

from requests_h2.engine.base import Engine
from requests_h2.engine.choice import engine_class
from requests_h2.engine.events import ConnectionFailed, DataReceived, Event, StreamReset
from requests_h2.fields import Fields, RequestTarget, request_fields, response_fields
from requests_h2.flow_control import CONNECTION_WINDOW, STREAM_WINDOW
from requests_h2.stream import MAX_HEADER_LIST_SIZE

from .workloads import KIB, MIB

#: What a read from the socket brings at once.
READ = 128 * KIB
DOWNLOAD = 64 * MIB
EXCHANGES = 1000
REPEATS = 5

HEADERS = [
    ("User-Agent", "python-requests/2.32.3"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept", "*/*"),
    ("Connection", "keep-alive"),
]
TARGET = RequestTarget("https", "www.example.com", "/path/of/a/resource?with=a&query=string")
ANSWER: Fields = [
    (b":status", b"200"),
    (b"server", b"nginx/1.22.1"),
    (b"date", b"Thu, 14 May 2015 12:00:00 GMT"),
    (b"content-type", b"application/octet-stream"),
    (b"content-length", b"1024"),
    (b"last-modified", b"Thu, 14 May 2015 12:00:00 GMT"),
    (b"etag", b'"5554a980-400"'),
    (b"accept-ranges", b"bytes"),
]
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """RFC 9113 section 4.1."""
    size = len(payload)
    return struct.pack(">BHBBL", size >> 16, size & 0xFFFF, kind, flags, stream_id) + payload


def block(fields: Fields) -> bytes:
    """As nginx does it, an encoder that remembers nothing: the same octets every time."""
    return bytes(Encoder().encode(fields))


def new_engine(name: str) -> Engine:
    """A connection that has exchanged SETTINGS."""
    engine = engine_class(name)(
        stream_window=STREAM_WINDOW,
        connection_window=CONNECTION_WINDOW,
        max_header_list_size=MAX_HEADER_LIST_SIZE,
    )
    receive(engine, frame(_SETTINGS, 0, 0) + frame(_SETTINGS, _ACK, 0))
    return engine


def receive(engine: Engine, data: bytes | memoryview) -> list[Event]:
    """As the pump does it: receive, act, take the output."""
    events = engine.receive(memoryview(data))
    assert not any(isinstance(event, ConnectionFailed | StreamReset) for event in events), events
    engine.take_output()
    return events


def request() -> Fields:
    return request_fields("GET", TARGET, HEADERS, None)


def data_rate(name: str, frame_size: int) -> float:
    """DATA through ``receive``, in MB/s, and copied once: what an engine gives may be views."""
    engine = new_engine(name)
    stream_id = engine.open_stream(request(), True)
    receive(engine, frame(_HEADERS, _END_HEADERS, stream_id, block(ANSWER[:1])))
    frames = READ // (frame_size + 9)
    piece = memoryview(frame(_DATA, 0, stream_id, bytes(frame_size)) * frames)
    reads = DOWNLOAD // len(piece)

    def work() -> None:
        for _ in range(reads):
            (event,) = receive(engine, piece)
            assert isinstance(event, DataReceived)
            b"".join(event.parts)
            engine.send_window_update(stream_id, frames * frame_size)
            engine.send_window_update(0, frames * frame_size)
            engine.take_output()

    return reads * frames * frame_size / seconds(work) / 1e6


def exchange_time(name: str) -> float:
    """A request of an engine and an answer of 1 KiB, in microseconds."""
    engine = new_engine(name)
    fields, head, body = request(), block(ANSWER), bytes(KIB)

    def work() -> None:
        for _ in range(EXCHANGES):
            stream_id = engine.open_stream(fields, True)
            engine.take_output()
            answer = frame(_HEADERS, _END_HEADERS, stream_id, head)
            receive(engine, answer + frame(_DATA, _END_STREAM, stream_id, body))
            engine.send_window_update(0, KIB)

    return seconds(work) / EXCHANGES * 1e6


def request_time() -> float:
    """requests' headers to a field list, in microseconds."""
    return seconds(lambda: repeat(request)) / EXCHANGES * 1e6


def response_time() -> float:
    """A received field list to checked headers, in microseconds."""
    return seconds(lambda: repeat(lambda: response_fields(ANSWER))) / EXCHANGES * 1e6


def repeat(work: Callable[[], object]) -> None:
    for _ in range(EXCHANGES):
        work()


def seconds(work: Callable[[], None]) -> float:
    """The median CPU time of a few runs, after one that warms up."""
    times = []
    for _ in range(1 + REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times[1:])


def report(engines: Iterable[str]) -> Iterable[str]:
    """Lines of text, as they are ready."""
    yield f"request_fields:  {request_time():7.1f} us"
    yield f"response_fields: {response_time():7.1f} us"
    for name in engines:
        yield f"{name + ', exchange of 1 KiB:':34}{exchange_time(name):8.1f} us"
        for size in (8 * KIB, 16 * KIB):
            title = f"{name}, DATA frames of {size // KIB} KiB:"
            yield f"{title:34}{data_rate(name, size):8.0f} MB/s"
