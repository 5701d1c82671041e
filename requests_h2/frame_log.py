"""The logger ``requests_h2.frames``: a line for every frame, whichever engine makes or takes it.

It reads the octets that go into an engine and come out of it. Fields are counted there too; their
names and values, where they are asked for, are those that the engine was given or gave.

Nothing is done while the logger is off but to ask whether it is, once for each time that octets go
in or out. Turned on in a connection's life, it starts with the next frame each way.
"""

from __future__ import annotations

import functools
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from .engine.base import MAX_FRAME_SIZE, Engine
from .engine.events import Event, HeadersReceived, PushPromised
from .engine.frames import (
    CONTINUATION,
    END_HEADERS,
    HEADER_SIZE,
    HEADERS,
    MAX_STREAM_ID,
    PUSH_PROMISE,
    PeerError,
    RawFrame,
    block_fragment,
    promise,
    unpack_header,
)
from .fields import Field
from .frame_text import count_fields, count_text, fields_text, frame_text, oversized_text
from .news import News

log = logging.getLogger("requests_h2.frames")

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 section 3.4
_LARGEST_FRAME = 2**24 - 1  # octets

#: Field sections by the stream that they are on, or that they promise; in order.
Sections = dict[int, deque[Sequence[Field]]]


class FrameLog:
    """The frames of one connection. Guarded by the connection's lock.

    :param name: ``host:port`` and the connection's number, which each line begins with.
    :param values: whether fields are shown by name and value, but for those never shown.
    :param news: takes the lines.
    """

    def __init__(self, name: str, values: bool, news: News) -> None:
        self._name = name
        self._values = values
        self._news = news
        self._ended = False
        # All below is forgotten while nobody wants the lines.
        self._began = False
        self._inbound: _Direction | None = None
        self._outbound: _Direction | None = None
        self._given: Sections = {}

    @property
    def wanted(self) -> bool:
        """Whether somebody wants the lines, asked before octets are taken in or out."""
        if log.isEnabledFor(logging.DEBUG) and not self._ended:
            self._began = True
            return True
        if self._began:
            self._began = False
            self._inbound = self._outbound = None
            self._given.clear()
        return False

    def end(self) -> None:
        """What the engine makes from now on does not leave."""
        self._ended = True

    def begin_receiving(self, rest: bytes, left: int) -> None:
        """Where in the peer's octets the engine is: see :attr:`Engine.unfinished`."""
        if self._inbound is None:
            self._inbound = _Direction(MAX_FRAME_SIZE, self._values, rest, left)

    def received(self, data: memoryview, events: list[Event]) -> None:
        """Octets that the engine took, and what it made of them."""
        sections: Sections = {}
        if self._values:
            for event in events:
                if isinstance(event, HeadersReceived | PushPromised):
                    sections.setdefault(event.stream_id, deque()).append(event.fields)
        if self._inbound is not None:
            self._note("<", self._inbound, data, sections)

    def given(self, stream_id: int, fields: Sequence[Field]) -> None:
        """Fields that the next output encodes."""
        if self._values and self.wanted:
            self._given.setdefault(stream_id, deque()).append(fields)

    def sent(self, output: bytes) -> None:
        """Whole frames that the engine gave."""
        if self._outbound is None:
            self._outbound = _Direction(_LARGEST_FRAME, self._values)
        if output.startswith(_PREFACE):
            output = output[len(_PREFACE) :]
        self._note(">", self._outbound, memoryview(output), self._given)
        self._given.clear()

    def _note(
        self, arrow: str, direction: _Direction, data: memoryview, sections: Sections
    ) -> None:
        for line in direction.lines(data, sections):
            self._news.add(log, "%s %s %s", self._name, arrow, line)


class _Direction:
    """Cuts octets into frames, more patiently than an engine: it shows what is wrong, too.

    :param limit: the largest payload, in octets.
    :param rest: what there is of a frame that began before.
    :param left: octets of one to pass over.
    """

    def __init__(self, limit: int, values: bool, rest: bytes = b"", left: int = 0) -> None:
        self._limit = limit
        self._values = values
        if len(rest) >= HEADER_SIZE:
            # Some engines keep it and some pass it on: no line tells of it in either case.
            high, low, *_ = unpack_header(rest)
            rest, left = b"", HEADER_SIZE + (high << 8 | low) - len(rest)
        self._rest = rest
        self._left = left
        self._stuck = False  # these are no frames
        self._block: bytearray | None = None  # a field block that has begun
        self._block_of = 0  # the stream that it is about

    def lines(self, data: memoryview, sections: Sections) -> Iterator[str]:
        at = min(self._left, len(data))
        self._left -= at
        octets = self._rest + bytes(data[at:])
        view, at, end = memoryview(octets), 0, len(octets)
        while end - at >= HEADER_SIZE and not self._stuck:
            high, low, kind, flags, stream_id = unpack_header(octets, at)
            size, stream_id = high << 8 | low, stream_id & MAX_STREAM_ID
            if size > self._limit:
                yield oversized_text(kind, stream_id, size)
                self._stuck = True
                break
            start, stop = at + HEADER_SIZE, at + HEADER_SIZE + size
            if stop > end:
                break
            frame = RawFrame(kind, flags, stream_id, view[start:stop])
            yield frame_text(frame, self._block_text(frame, sections), values=self._values)
            at = stop
        self._rest = b"" if self._stuck else octets[at:]

    def _block_text(self, frame: RawFrame, sections: Sections) -> str:
        if frame.kind not in (HEADERS, PUSH_PROMISE, CONTINUATION):
            return ""
        try:
            if frame.kind == PUSH_PROMISE:
                self._block_of, fragment = promise(frame)
            else:
                fragment = block_fragment(frame)
        except PeerError:
            return f"malformed, {len(frame.payload)} octets"
        if frame.kind != CONTINUATION:
            self._block = bytearray()
        if frame.kind == HEADERS:
            self._block_of = frame.stream_id
        if self._block is not None:
            self._block += fragment
        if not frame.flags & END_HEADERS:
            return f"{len(fragment)} octets of a field block"
        block, self._block = self._block, None
        if section := sections.get(self._block_of):
            return fields_text(section.popleft())
        count = None if block is None else count_fields(bytes(block))
        return f"{len(fragment)} octets of a field block" if count is None else count_text(count)


class LoggedEngine(Engine):
    """Comes before a class of engine. The frame log must be set before there is any output.

    What it calls is abstract in ``Engine``, of which type checkers warn, but not in that class.
    """

    frame_log: FrameLog

    def receive(self, data: memoryview) -> list[Event]:
        frame_log = self.frame_log
        if not frame_log.wanted or self._failed:
            return super().receive(data)  # type: ignore[safe-super]
        frame_log.begin_receiving(*self.unfinished)
        events = super().receive(data)  # type: ignore[safe-super]
        frame_log.received(data, events)
        return events

    def take_output(self) -> bytes:
        output = super().take_output()
        if output and self.frame_log.wanted:
            self.frame_log.sent(output)
        return output

    def open_stream(self, fields: Sequence[Field], end_stream: bool) -> int:
        stream_id = super().open_stream(fields, end_stream)  # type: ignore[safe-super]
        self.frame_log.given(stream_id, fields)
        return stream_id

    def send_trailers(self, stream_id: int, fields: Sequence[Field]) -> None:
        super().send_trailers(stream_id, fields)  # type: ignore[safe-super]
        self.frame_log.given(stream_id, fields)


@functools.cache
def logged(base: type[Engine]) -> Any:
    """A class of engine like ``base`` that is a :class:`LoggedEngine`."""
    return type(f"Logged{base.__name__}", (LoggedEngine, base), {})
