"""Valid sessions, damaged at random places: what came before the damage is delivered unharmed."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ENGINES

from . import exchange
from .exchange import Plan, Result
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_STREAM,
    PADDED,
    PING,
    SETTINGS,
    SPLITS,
    WINDOW_UPDATE,
    Heading,
    Item,
    Split,
    Wire,
    assemble,
    u32,
)
from .profile import fuzz
from .stub import Portion, Script, StubServers

# Hypothesis makes hundreds of sessions of each test.
pytestmark = pytest.mark.timeout(300)


class Damage(NamedTuple):
    """``what``: flip, delete, duplicate or splice. Places are in parts of a million."""

    what: str
    place: int
    size: int
    other: int

    def of(self, data: bytes) -> tuple[bytes, int]:
        """The damaged octets, and how many from the beginning are as they were."""
        at = self.place * len(data) // 1_000_000
        end = min(len(data), at + self.size)
        source = self.other * len(data) // 1_000_000
        if self.what == "flip":
            return data[:at] + bytes((data[at] ^ (1 << self.size % 8),)) + data[at + 1 :], at
        if self.what == "delete":
            return data[:at] + data[end:], at
        if self.what == "duplicate":
            return data[:end] + data[at:], end
        return data[:at] + data[source : source + self.size] + data[at:], at


DAMAGES = st.builds(
    Damage,
    st.sampled_from(["flip", "flip", "delete", "duplicate", "splice"]),
    st.integers(0, 999_999),
    st.one_of(st.integers(1, 12), st.integers(1, 20_000)),
    st.integers(0, 999_999),
)


class Answer(NamedTuple):
    """A valid response. ``parts`` of its body are told apart by their octets."""

    parts: list[int]
    padded: bool
    declared: bool
    trailers: bool

    def body(self, stream_id: int) -> list[bytes]:
        return [bytes((stream_id * 16 + number,)) * size for number, size in enumerate(self.parts)]

    def items(self, stream_id: int) -> list[Item]:
        parts = self.body(stream_id)
        fields = [(b":status", b"200"), (b"x-stream", b"%d" % stream_id)]
        if self.declared:
            fields.append((b"content-length", b"%d" % sum(self.parts)))
        items: list[Item] = [Heading(stream_id, fields, not parts and not self.trailers, 2)]
        for number, part in enumerate(parts):
            last = number == len(parts) - 1 and not self.trailers
            flags = (END_STREAM if last else 0) | (PADDED if self.padded else 0)
            payload = b"\x05" + part + bytes(5) if self.padded else part
            items.append(Wire(DATA, flags, stream_id, payload))
        if self.trailers:
            items.append(Heading(stream_id, [(b"x-trailer", b"t")], end_stream=True))
        return items


ANSWERS = st.builds(
    Answer,
    st.lists(st.sampled_from([0, 1, 10, 300, 16_000]), max_size=5),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


class Session(NamedTuple):
    """Two exchanges on one connection, and the bytes of the server."""

    answers: tuple[Answer, Answer]
    damages: list[Damage]
    split: Split
    end: str

    def halves(self) -> tuple[list[Wire], list[Wire]]:
        first: list[Item] = [
            Wire(SETTINGS),
            Wire(SETTINGS, ACK),
            *self.answers[0].items(1),
            Wire(PING, 0, 0, b"pingpong"),
        ]
        second: list[Item] = [Wire(WINDOW_UPDATE, 0, 0, u32(70_000)), *self.answers[1].items(3)]
        frames = assemble([*first, *second])
        cut = frames.index(Wire(WINDOW_UPDATE, 0, 0, u32(70_000)))
        return frames[:cut], frames[cut:]

    def octets(self) -> tuple[bytes, int, int]:
        """All, how much of it is intact, and where the second half begins."""
        first, second = (b"".join(map(Wire.encode, half)) for half in self.halves())
        data, intact = first + second, len(first) + len(second)
        for damage in self.damages:
            if data:
                data, at = damage.of(data)
                intact = min(intact, at)
        return data, intact, len(first)


SESSIONS = st.builds(
    Session,
    st.tuples(ANSWERS, ANSWERS),
    st.lists(DAMAGES, max_size=3),
    SPLITS,
    st.sampled_from(["eof", "eof", "eof", "reset", "silence"]),
)


@pytest.mark.parametrize("engine", ENGINES)
@fuzz(900)
@given(case=SESSIONS, upload=st.booleans())
def test_damage_spares_what_came_before(engine: str, case: Session, upload: bool) -> None:
    # The short timeout is for servers that fall silent; a busy machine may need the longer ones.
    for timeout in (exchange.TIMEOUT, 1.0, 20.0):
        outcomes = _outcomes(engine, case, upload, timeout)
        wrong = [outcome for outcome in outcomes if not outcome.right(case)]
        if not any(outcome.timed_out for outcome in wrong):
            break
    assert not wrong


class Outcome(NamedTuple):
    """One exchange; ``body`` is what could be read of the response until ``error``."""

    stream_id: int
    headers: dict[str, str] | None
    body: bytes
    error: Exception | None

    @property
    def timed_out(self) -> bool:
        return "timed out" in str(self.error)

    def right(self, case: Session) -> bool:
        before, headed = _delivered(case, self.stream_id, case.octets()[1])
        if not headed:
            return True
        if self.headers is None or self.headers.get("x-stream") != str(self.stream_id):
            return False
        if case.damages:
            return self.body.startswith(before)
        whole = b"".join(case.answers[self.stream_id // 2].body(self.stream_id))
        return self.error is None and self.body == whole


def _outcomes(engine: str, case: Session, upload: bool, timeout: float) -> list[Outcome]:
    data, _, half = case.octets()
    portions = [Portion(part, 1) for part in case.split.of(data[:half])]
    portions += [Portion(part, 2) for part in case.split.of(data[half:])]
    servers = StubServers(Script(portions, case.end))
    made = servers.session(engine=engine)
    with exchange.no_pauses(), exchange.verbose_log(), made as session:
        first = Plan("POST", 100_000, "keep") if upload else Plan(reading="keep")
        results = [
            exchange.perform(session, plan, timeout) for plan in (first, Plan(reading="keep"))
        ]
        # The later one is read first: it must not depend on the other.
        outcomes = [_outcome(3, results[1]), _outcome(1, results[0])]
        exchange.assert_recovers(session, servers)
    return outcomes


def _outcome(stream_id: int, result: Result) -> Outcome:
    if result.response is None:
        return Outcome(stream_id, None, b"", result.error)
    return Outcome(stream_id, dict(result.response.headers), *_read(result.response))


def _delivered(case: Session, stream_id: int, intact: int) -> tuple[bytes, bool]:
    """The content whose frames are whole, and whether the response's field section is."""
    content = b""
    headed = False
    at = 0
    for frame in [frame for half in case.halves() for frame in half]:
        at += len(frame.encode())
        if at > intact:
            break
        if frame.stream_id == stream_id:
            headed = headed or frame.kind == CONTINUATION  # the field sections come in two pieces
            content += frame.content if frame.kind == DATA else b""
    return content, headed


def _read(response: requests.Response) -> tuple[bytes, Exception | None]:
    raw: Any = response.raw
    body = b""
    try:
        while chunk := raw.read1(5000, decode_content=False):
            body += chunk
    except exchange.DOCUMENTED_RAW as error:
        return body, error
    finally:
        response.close()
    return body, None
