"""What an engine tells of what the peer has sent."""

from __future__ import annotations

from typing import NamedTuple

from ..fields import Fields


class HeadersReceived(NamedTuple):
    """A field section: informational, final or trailers, by its place and its ``:status``."""

    stream_id: int
    fields: Fields
    end_stream: bool


class DataReceived:
    """The payloads of DATA frames of one stream that came together.

    A part is a whole frame without its padding, and an empty frame an empty part. Parts may be
    views that are valid until the engine receives again. ``flow_size`` is the flow-controlled
    length: it counts padding, and frames that have no part because their stream is over.
    """

    __slots__ = ("end_stream", "flow_size", "parts", "stream_id")

    def __init__(
        self,
        stream_id: int,
        parts: list[memoryview | bytes],
        flow_size: int,
        end_stream: bool,
    ) -> None:
        self.stream_id = stream_id
        self.parts = parts
        self.flow_size = flow_size
        self.end_stream = end_stream

    @property
    def frames(self) -> list[int]:
        """The size of each frame without its padding, in octets."""
        return list(map(len, self.parts))

    def add(self, part: bytes | None, flow_size: int, end_stream: bool) -> None:
        """One more frame."""
        if part is not None:
            self.parts.append(part)
        self.flow_size += flow_size
        self.end_stream = end_stream


class StreamReset(NamedTuple):
    """A stream ended early, by the peer or (``remote`` false) by the engine for ``reason``."""

    stream_id: int
    error_code: int
    remote: bool
    reason: str = ""


class GoAwayReceived(NamedTuple):
    """The peer takes no streams above ``last_stream_id`` (RFC 9113 section 6.8)."""

    last_stream_id: int
    error_code: int
    debug: bytes


class SendWindowOpened(NamedTuple):
    """More can be sent, or the stream limit changed: writers and slot waiters look again."""


class PushPromised(NamedTuple):
    """The peer will send, unasked, on ``stream_id`` what it would answer to these fields.

    The stream then brings the events of a response, and takes credit and a reset like any other.
    It belongs to a request on ``parent_id``, which may be over when the event is looked at.
    """

    parent_id: int
    stream_id: int
    fields: Fields


class PingAcknowledged(NamedTuple):
    """The answer to a PING of ours; the peer's answers to nothing are no events."""

    data: bytes


class ConnectionFailed(NamedTuple):
    """The peer broke the protocol; a GOAWAY is in the output and nothing more is accepted."""

    error_code: int
    reason: str


Event = (
    HeadersReceived
    | DataReceived
    | StreamReset
    | GoAwayReceived
    | SendWindowOpened
    | PushPromised
    | PingAcknowledged
    | ConnectionFailed
)
