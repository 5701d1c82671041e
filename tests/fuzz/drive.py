"""The engine, and the stream table above it, driven by a list of steps and checked after each.

No I/O; Hypothesis makes the steps in CI and Atheris by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from h2.errors import ErrorCodes
from urllib3.exceptions import InvalidHeader

from requests_h2.credit import Credit
from requests_h2.engine.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    HeadersReceived,
    PushPromised,
    StreamReset,
)
from requests_h2.exceptions import StreamFault
from requests_h2.fields import RequestTarget, request_fields
from requests_h2.flow_control import STREAM_WINDOW
from requests_h2.promises import Authority, Promises
from requests_h2.stream import Request, Stream
from requests_h2.stream_table import StreamTable
from tests.support.engine_session import new_engine

from .frames import CONTINUATION, DATA, GOAWAY, HEADERS, PRIORITY_UPDATE, RST_STREAM
from .received import ClientBytes

TARGET = RequestTarget("https", "stub.invalid", "/path")


class Receive(NamedTuple):
    data: bytes


class Open(NamedTuple):
    sending: bool
    method: str = "GET"
    secret: str = "x"


class Act(NamedTuple):
    """``what``: send, end, consume, close, drain, take (the output), push or no push (SETTINGS),
    cancel or credit (a pushed stream), ping, or prioritise.
    """

    what: str
    number: int = 0
    size: int = 0


@dataclass
class Pushed:
    """A promised stream, as the events tell it. ``reset``: the code, and whether of the server."""

    promise: PushPromised
    sections: list[HeadersReceived] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: tuple[int, bool] | None = None

    @property
    def live(self) -> bool:
        return not self.ended and self.reset is None


Step = Receive | Open | Act


class Drive:
    """As ``Connection`` uses them, with every promise of ``engine.base`` asserted."""

    def __init__(self, engine: str, *, push: bool = False) -> None:
        self.engine = new_engine(engine, enable_push=push)
        origin = "stub.invalid:443"
        promises = Promises(Authority("stub.invalid", 443, None), limit=100, timeout=30.0)
        self.table = StreamTable(self.engine, origin, promises, Credit(self.engine, origin, None))
        self.client = ClientBytes()
        self.opened: list[Stream] = []
        self.asked: list[list[tuple[bytes, bytes]]] = []
        self.pushed: dict[int, Pushed] = {}
        self.frame_sizes: dict[int, list[int]] = {}  # of DATA, by stream
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
        if self.failure is None:
            assert 0 <= self.engine.open_streams <= len(known)
            live = sum(pushed.live for pushed in self.pushed.values())
            assert self.engine.pushed_streams == live
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
            if not isinstance(event, PushPromised):  # what becomes of promises is told here
                self.table.dispatch(event)

    def _check_event(self, event: Event) -> None:
        assert self.failure is None, f"{event} after {self.failure}"
        if isinstance(event, ConnectionFailed):
            assert len(event.reason) < 1000, len(event.reason)
            self.failure = event
        elif isinstance(event, PushPromised):
            self._promised(event)
        elif isinstance(event, (HeadersReceived, DataReceived, StreamReset)):
            if isinstance(event, DataReceived):
                sizes = self.frame_sizes.setdefault(event.stream_id, [])
                sizes += event.frames
                assert sum(event.frames) == sum(map(len, event.parts)) <= event.flow_size
            if event.stream_id % 2 == 0:
                self._pushed(event)
            else:
                assert event.stream_id in [stream.id for stream in self.opened]

    def _promised(self, event: PushPromised) -> None:
        assert self.engine.push_enabled
        assert event.stream_id % 2 == 0
        assert event.stream_id > max(self.pushed, default=0)
        assert event.parent_id in [stream.id for stream in self.opened]
        self.pushed[event.stream_id] = Pushed(event)

    def _pushed(self, event: HeadersReceived | DataReceived | StreamReset) -> None:
        pushed = self.pushed.get(event.stream_id)
        if isinstance(event, DataReceived) and not event.parts:
            return  # of a stream that is over, or was never wanted
        assert pushed is not None
        assert pushed.live
        if isinstance(event, StreamReset):
            pushed.reset = event.error_code, event.remote
            return
        if isinstance(event, HeadersReceived):
            pushed.sections.append(event)
        else:
            assert pushed.sections
            pushed.body += b"".join(event.parts)
        pushed.ended = event.end_stream

    def _open(self, step: Open) -> None:
        fields = request_fields(step.method, TARGET, [("cookie", step.secret), ("x-a", "b")], None)
        try:
            self.table.require_slot()
            self.opened.append(self.table.open(Request(step.method, fields, step.sending)))
        except (StreamFault, InvalidHeader):
            return
        self.asked.append([(bytes(name), bytes(value)) for name, value in fields])

    def _act(self, act: Act) -> None:
        if act.what == "take":
            self._take()
        elif act.what == "drain":
            self.table.drain("of a test")
        elif act.what in ("push", "no push"):
            self.engine.set_push(act.what == "push")
            assert self.engine.push_enabled == (act.what == "push") or self.failure is not None
        elif act.what == "ping":
            self.engine.ping(act.size.to_bytes(8, "big"))
        elif act.what in ("cancel", "credit"):
            self._act_on_pushed(act)
        elif self.opened:
            self._act_on(self.opened[act.number % len(self.opened)], act)

    def _act_on(self, stream: Stream, act: Act) -> None:
        if act.what == "close":
            self.table.close(stream, ErrorCodes.CANCEL)
        elif act.what == "prioritise":
            self.engine.update_priority(stream.id, b"u=%d" % (act.size % 8))
        elif act.what == "consume":
            size = stream.buffer.size
            stream.buffer.clear()
            self.table.credit.read(stream, size)
        elif stream.wants_body:
            ends = act.what == "end"
            size = max(0, min(act.size, self.engine.send_capacity(stream.id)))
            if size or ends:
                self.engine.send_data(stream.id, memoryview(bytes(size)), ends)
            if ends:
                self.table.end_sending(stream)

    def _act_on_pushed(self, act: Act) -> None:
        """On any promised stream, be it over or not."""
        if not self.pushed:
            return
        stream_id = list(self.pushed)[act.number % len(self.pushed)]
        if act.what == "credit":
            self.engine.send_window_update(stream_id, act.size + 1)
            return
        self.engine.reset_stream(stream_id, ErrorCodes.CANCEL)
        if self.pushed[stream_id].live:
            self.pushed[stream_id].reset = ErrorCodes.CANCEL, False

    def _take(self) -> None:
        count = len(self.client.frames)
        self.client.feed(bytes(self.engine.take_output()))
        if self.failure is not None:
            kinds = {frame.kind for frame in self.client.frames[count:]}
            assert not self.client.frames or GOAWAY in [f.kind for f in self.client.frames]
            assert kinds <= {GOAWAY, RST_STREAM, *_BEFORE_THE_FAILURE}


# What may have been waiting in the output when the failure came.
_BEFORE_THE_FAILURE = {DATA, HEADERS, CONTINUATION, PRIORITY_UPDATE, 4, 6, 8}
