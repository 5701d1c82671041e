"""Server push: the same frames and commands to both engines, and the same comes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from .drive import Act, Receive, Step
from .frames import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    PADDED,
    PING,
    RST_STREAM,
    SETTINGS,
    SPLITS,
    WINDOW_UPDATE,
    Heading,
    Split,
    Wire,
    u32,
)
from .outcome import outcome
from .profile import fuzz

# Hypothesis makes hundreds of sessions of each test.
pytestmark = pytest.mark.timeout(300)

PROMISE = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/p")]
OK = [(b":status", b"200"), (b"n", b"v")]
ACKNOWLEDGED = Wire(SETTINGS, ACK)

Item = Wire | Heading | Act


def promise(stream_id: int, parent_id: int = 1, pieces: int = 1) -> Heading:
    fields = [*PROMISE, (b"x-id", b"%d" % stream_id)]
    return Heading(parent_id, fields, end_stream=False, pieces=pieces, promised=stream_id)


def head(stream_id: int, *, end: bool = False) -> Heading:
    return Heading(stream_id, OK, end)


def trailers(stream_id: int) -> Heading:
    return Heading(stream_id, [(b"t", b"v")], end_stream=True)


def steps(items: Iterable[Item], split: Split) -> list[Step]:
    """Octets are cut anywhere but at commands."""
    encoder, made, data = Encoder(), list[Step](), b""
    for item in items:
        if isinstance(item, Act):
            made += [*map(Receive, split.of(data)), item]
            data = b""
        else:
            frames = item.frames(encoder) if isinstance(item, Heading) else [item]
            data += b"".join(map(Wire.encode, frames))
    return [*made, *map(Receive, split.of(data))]


def assert_same(items: list[Item], split: Split, *, push: bool = True) -> None:
    done = steps([Wire(SETTINGS), *items], split)
    assert outcome("nghttp2", done, push=push) == outcome("h2", done, push=push)


CASES: dict[str, list[Item]] = {
    "a pushed response": [promise(2), head(2), Wire(DATA, END_STREAM, 2, b"body")],
    "three of them": [
        *[promise(stream_id, 1, stream_id) for stream_id in (2, 4, 8)],
        head(8),
        head(2, end=True),
        Wire(DATA, 0, 8),
        Wire(DATA, PADDED, 8, b"\2abc\0\0"),
        head(4),
        trailers(8),
        Wire(DATA, END_STREAM, 4),
    ],
    "one that ends with its parent": [
        promise(2, 3),
        head(3, end=True),
        head(2),
        Wire(DATA, 0, 2, b"body"),
    ],
    "for three requests": [promise(2, 5), promise(4, 3), promise(6, 1), head(4, end=True)],
    "informational": [promise(2), Heading(2, [(b":status", b"103")], False), head(2, end=True)],
    "cancelled": [
        promise(2),
        Act("cancel"),
        head(2),
        Wire(DATA, 0, 2, b"late"),
        promise(4),
        head(4),
    ],
    "credit": [promise(2), Act("credit"), head(2), Act("credit", 0, 99), head(1, end=True)],
    "reset": [promise(2), promise(4), Wire(RST_STREAM, 0, 2, u32(7)), head(4, end=True)],
    "parent closed": [promise(2), Act("close", 0), promise(4, 1, 3), head(4), head(2), promise(6)],
    "parent refused": [Wire(DATA, 0, 1, b"early"), promise(2), promise(4, 3)],
    "switched off": [Act("no push"), promise(2), ACKNOWLEDGED, ACKNOWLEDGED, head(1, end=True)],
    "switched off, and pushed": [Act("no push"), ACKNOWLEDGED, ACKNOWLEDGED, promise(2)],
    "off and on": [Act("no push"), promise(2), Act("push"), promise(4), head(4, end=True)],
    "goaway": [promise(2, 1), Wire(GOAWAY, 0, 0, u32(1) + u32(0)), head(2), Wire(DATA, 1, 2, b"x")],
    "on a stream that goaway gives up": [Wire(GOAWAY, 0, 0, u32(1) + u32(0)), promise(2, 3)],
    "on a stream that is over": [head(3, end=True), promise(2, 3)],
    "on a pushed stream": [promise(2), head(2), promise(4, 2)],
    "on an idle stream": [promise(2, 7)],
    "of an odd stream": [promise(3)],
    "twice": [promise(2), promise(2)],
    "downwards": [promise(4), promise(2)],
    "data on a reserved stream": [promise(2), Wire(DATA, 0, 2, b"x")],
    "credit on a reserved stream": [promise(2), Wire(WINDOW_UPDATE, 0, 2, u32(1))],
    "data before and after": [promise(2), head(2, end=True), Wire(DATA, 0, 2, b"late"), head(1)],
    "two heads": [promise(2), head(2), head(2), head(1, end=True)],
    "window update by 0": [promise(2), head(2), Wire(WINDOW_UPDATE, 0, 2, u32(0)), promise(4)],
    "interrupted": [Heading(1, PROMISE, False, promised=2, end_headers=False), Wire(PING, 0, 0)],
    "skipped": [promise(6), head(2), Wire(DATA, 0, 4, b"x"), head(6, end=True)],
    "more than there may be": [
        *[promise(2 * number) for number in range(1, 103)],
        *[head(2 * number) for number in range(1, 102)],
        Wire(DATA, END_STREAM, 10, b"x"),
        head(204),
    ],
}  # fmt: skip


@pytest.mark.parametrize("pieces", [1, 3, 100])
@pytest.mark.parametrize("case", CASES)
def test_both_do_the_same(case: str, pieces: int) -> None:
    split = Split([number * 1_000_000 // pieces for number in range(pieces)])
    assert_same(CASES[case], split)


@pytest.mark.parametrize("case", CASES)
def test_both_do_the_same_octet_by_octet(case: str) -> None:
    assert_same(CASES[case], Split([], octets=True))


class Kind(NamedTuple):
    """What a server, or the client, does next; the numbers mean what suits it."""

    what: str
    one: int
    two: int


KINDS = st.builds(
    Kind,
    st.sampled_from(
        "promise promise promise head head head data data data trailers reset window close "
        "cancel credit push acknowledge ping prioritise".split()
    ),
    st.integers(0, 7),
    st.integers(0, 9),
)


class Script:
    """Makes frames of kinds: legal ones for the most part, and messages are well-formed."""

    def __init__(self, push: bool) -> None:
        self.items: list[Item] = []
        self._push = push
        self._promised: list[int] = []
        self._parents = [1, 3, 5]  # the last a HEAD request, with no response
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._unacknowledged = 1

    def add(self, kind: Kind) -> None:
        what, one, two = kind
        wild = two == 9 and one > 5
        known = [2, 4, 6, 9] if wild else [*self._promised[-3:], 1]
        stream_id = known[one % len(known)]
        ends = two % 4 == 0
        if what == "promise":
            self._promise(one, two, wild)
        elif what == "head" and stream_id not in self._begun:
            self._begin(stream_id, ends)
        elif stream_id in self._ended and not wild:
            pass
        elif what == "trailers" and stream_id in self._begun:
            self._ended.add(stream_id)
            self.items.append(trailers(stream_id)._replace(end_stream=two != 8))
        elif what == "data" and (stream_id in self._begun or wild):
            self._data(stream_id, one, two, ends)
        elif what == "reset":
            self._ended.add(stream_id)
            self.items.append(Wire(RST_STREAM, 0, stream_id, u32(two)))
        elif what == "window" and (stream_id in self._begun or wild):
            self.items.append(Wire(WINDOW_UPDATE, 0, stream_id, u32((1, 1, 1, 0)[two % 4])))
        else:
            self._act(what, one, two)

    def _promise(self, one: int, two: int, wild: bool) -> None:
        if not (self._push or wild):
            return
        latest = self._promised[-1] if self._promised else 0
        parents = (
            [1, 3, 5, 7, 2] if wild else [each for each in self._parents if each not in self._ended]
        )
        if parents:
            self._promised.append(latest + ((0, 1, 2)[two % 3] if wild else 2 + one % 2 * 2))
            self.items.append(promise(self._promised[-1], parents[two % len(parents)], 1 + one % 3))

    def _begin(self, stream_id: int, ends: bool) -> None:
        self._begun.add(stream_id)
        if ends:
            self._ended.add(stream_id)
        self.items.append(head(stream_id, end=ends))

    def _data(self, stream_id: int, one: int, two: int, ends: bool) -> None:
        padding = b"" if two % 2 else bytes((two,))
        payload = padding + b"d" * (two * one) + bytes(sum(padding))
        flags = (PADDED if padding else 0) | (END_STREAM if ends else 0)
        if ends:
            self._ended.add(stream_id)
        self.items.append(Wire(DATA, flags, stream_id, payload))

    def _act(self, what: str, one: int, two: int) -> None:
        if what == "ping":
            answer = (two + one % 2).to_bytes(8, "big")
            self.items += [Act("ping", 0, two), Wire(PING, ACK, 0, answer)]
        elif what == "push":
            self._push = not self._push
            self._unacknowledged += 1
            self.items.append(Act("push" if self._push else "no push"))
        elif what == "acknowledge" and self._unacknowledged:
            self._unacknowledged -= 1
            self.items.append(ACKNOWLEDGED)
        elif what in ("close", "cancel", "credit", "prioritise"):
            self.items.append(Act(what, one, two))


@fuzz(1000)
@given(st.lists(KINDS, max_size=25), SPLITS, st.sampled_from([True, True, False]))
def test_both_do_the_same_whatever_is_pushed(kinds: list[Kind], split: Split, push: bool) -> None:
    script = Script(push)
    for kind in kinds:
        script.add(kind)
    assert_same(script.items, split, push=push)
