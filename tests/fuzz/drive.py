"""The engine, and the stream table above it, driven by a list of steps and checked after each.

No I/O; Hypothesis makes the steps in CI and Atheris by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from h2.errors import ErrorCodes
from urllib3.exceptions import InvalidHeader

from requests_h2.engine.base import (
    ConnectionFailed,
    DataReceived,
    Event,
    HeadersReceived,
)
from requests_h2.exceptions import StreamFault
from requests_h2.fields import RequestTarget, request_fields
from requests_h2.flow_control import STREAM_WINDOW
from requests_h2.stream import Request, Stream
from requests_h2.stream_table import StreamTable
from tests.support.engine_session import new_engine

from .frames import CONTINUATION, DATA, GOAWAY, HEADERS, RST_STREAM
from .received import ClientBytes

TARGET = RequestTarget("https", "stub.invalid", "/path")


class Receive(NamedTuple):
    data: bytes


class Open(NamedTuple):
    sending: bool
    method: str = "GET"
    secret: str = "x"


class Act(NamedTuple):
    """``what``: send, end, consume, close, drain, or take (the output)."""

    what: str
    number: int = 0
    size: int = 0


Step = Receive | Open | Act


class Drive:
    """As ``Connection`` uses them, with every promise of ``engine.base`` asserted."""

    def __init__(self, engine: str) -> None:
        self.engine = new_engine(engine)
        self.table = StreamTable(self.engine, "stub.invalid:443")
        self.client = ClientBytes()
        self.opened: list[Stream] = []
        self.asked: list[list[tuple[bytes, bytes]]] = []
        self.failure: ConnectionFailed | None = None
        self._ended: set[int] = set()

    def run(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, Receive):
                self._receive(step.data)
            elif isinstance(step, Open):
                self._open(step)
            else:
                self._act(step)
            self.check()
        self._take()
        self.check()
        assert self.client.whole
        assert self.client.field_lists == self.asked

    def check(self) -> None:
        known = [stream for stream in self.opened if stream.open or stream.sending]
        assert 0 <= self.engine.open_streams <= len(known) or self.failure is not None
        for stream in self.opened:
            assert not (stream.ended and stream.fault is not None)
            if stream.ended:
                self._ended.add(stream.id)
            assert stream.ended or stream.id not in self._ended
            assert 0 <= stream.buffer.size <= STREAM_WINDOW
            if self.failure is not None:
                assert not stream.open

    def _receive(self, data: bytes) -> None:
        events = self.engine.receive(memoryview(data))
        if self.failure is not None:
            assert events == []
        for event in events:
            self._check_event(event)
            self.table.dispatch(event)

    def _check_event(self, event: Event) -> None:
        assert self.failure is None, f"{event} after {self.failure}"
        if isinstance(event, ConnectionFailed):
            assert len(event.reason) < 1000, len(event.reason)
            self.failure = event
        elif isinstance(event, (HeadersReceived, DataReceived)):
            assert event.stream_id in [stream.id for stream in self.opened]

    def _open(self, step: Open) -> None:
        fields = request_fields(step.method, TARGET, [("cookie", step.secret), ("x-a", "b")], None)
        try:
            self.opened.append(self.table.open(Request(step.method, fields, step.sending)))
        except (StreamFault, InvalidHeader):
            return
        self.asked.append([(bytes(name), bytes(value)) for name, value in fields])

    def _act(self, act: Act) -> None:
        if act.what == "take":
            self._take()
        elif act.what == "drain":
            self.table.drain("of a test")
        elif self.opened:
            self._act_on(self.opened[act.number % len(self.opened)], act)

    def _act_on(self, stream: Stream, act: Act) -> None:
        if act.what == "close":
            self.table.close(stream, ErrorCodes.CANCEL)
        elif act.what == "consume":
            size = stream.buffer.size
            stream.buffer.clear()
            self.table.consumed(stream, size)
        elif stream.wants_body:
            ends = act.what == "end"
            size = max(0, min(act.size, self.engine.send_capacity(stream.id)))
            if size or ends:
                self.engine.send_data(stream.id, memoryview(bytes(size)), ends)
            if ends:
                self.table.end_sending(stream)

    def _take(self) -> None:
        count = len(self.client.frames)
        self.client.feed(bytes(self.engine.take_output()))
        if self.failure is not None:
            kinds = {frame.kind for frame in self.client.frames[count:]}
            assert not self.client.frames or GOAWAY in [f.kind for f in self.client.frames]
            assert kinds <= {GOAWAY, RST_STREAM, *_BEFORE_THE_FAILURE}


# What may have been waiting in the output when the failure came.
_BEFORE_THE_FAILURE = {DATA, HEADERS, CONTINUATION, 4, 6, 8}
