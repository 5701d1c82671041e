"""All that can be told of an engine from above the stream table and from the peer's side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .drive import Drive, Open, Pushed, Step
from .frames import ACK, PING, PRIORITY_UPDATE, RST_STREAM, SETTINGS, WINDOW_UPDATE, Wire

REQUESTS: list[Step] = [
    Open(sending=False),
    Open(sending=True),
    Open(sending=False, method="HEAD"),
]


class Seen(NamedTuple):
    """What became of one stream."""

    status: int | None
    fields: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]]
    ended: bool
    kind: str | None
    code: int | None


class Outcome(NamedTuple):
    streams: list[Seen]
    pushed: list[Pushed]
    #: The sizes of the frames of DATA, by stream; those of streams that are over do not count.
    frame_sizes: dict[int, list[int]]
    #: The code that ended the connection.
    failure: int | None
    answers: list[tuple[int, int, bytes]]


def outcome(engine: str, steps: Iterable[Step], *, push: bool = False) -> Outcome:
    """What becomes of three requests; ``push``: whether the server may push from the start."""
    drive = Drive(engine, push=push)
    drive.run([*REQUESTS, *steps])
    streams = []
    for stream in drive.opened:
        response, fault = stream.response, stream.fault
        streams.append(
            Seen(
                None if response is None else response.status,
                [] if response is None else response.items,
                stream.buffer.take(stream.buffer.size),
                stream.trailers,
                stream.ended,
                None if fault is None else fault.kind.name,
                None if fault is None else fault.error_code,
            )
        )
    failure, answers = None, []
    if drive.failure is None:
        answers = sorted(each for frame in drive.client.frames for each in _told(frame))
    else:
        # Then it does not matter what else nghttp2 had to say, or that it gives reasons in GOAWAY.
        failure = drive.failure.error_code
    sizes = {stream_id: sizes for stream_id, sizes in drive.frame_sizes.items() if sizes}
    return Outcome(streams, list(drive.pushed.values()), sizes, failure, answers)


def _told(frame: Wire) -> list[tuple[int, int, bytes]]:
    """What an answer says, as far as it must be the same."""
    if frame.kind in (PING, WINDOW_UPDATE, PRIORITY_UPDATE):
        return [(frame.kind, frame.stream_id, frame.payload)]
    if frame.kind == SETTINGS and not frame.flags & ACK:
        starts = range(0, len(frame.payload), 6)
        settings = sorted(frame.payload[start : start + 6] for start in starts)
        return [(frame.kind, frame.stream_id, b"".join(settings))]
    if frame.kind == RST_STREAM:
        # RFC 9113 section 5.1 has STREAM_CLOSED where h2's engine says PROTOCOL_ERROR.
        return [(frame.kind, frame.stream_id, b"")]
    # GOAWAY ends nghttp2 together with the last stream: it acknowledges nothing more then.
    return []
