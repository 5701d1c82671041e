"""What a server may send, right and wrong: frames as values, and Hypothesis strategies of them."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hpack import Encoder
from hypothesis import strategies as st

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
PRIORITY_UPDATE = 0x10
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

Fields = Sequence[tuple[bytes, bytes]]


class Wire(NamedTuple):
    """One frame, which need not be a legal one. ``length`` lies about the payload's size."""

    kind: int
    flags: int = 0
    stream_id: int = 0
    payload: bytes = b""
    length: int | None = None

    def encode(self) -> bytes:
        """The frame as octets."""
        size = len(self.payload) if self.length is None else self.length
        head = struct.pack(">HBBBL", size >> 8, size & 0xFF, self.kind, self.flags, self.stream_id)
        return head + self.payload

    @property
    def content(self) -> bytes:
        """The octets of a DATA frame that a reader may get to see."""
        if not self.flags & PADDED:
            return self.payload
        if not self.payload or self.payload[0] >= len(self.payload):
            return b""
        return self.payload[1 : len(self.payload) - self.payload[0]]


class Heading(NamedTuple):
    """A field section to be compressed when the whole sequence is known."""

    stream_id: int
    fields: Fields
    end_stream: bool
    pieces: int = 1
    padding: int | None = None
    priority: bytes = b""
    flaw: int | None = None  # where the block is damaged
    end_headers: bool = True
    promised: int | None = None  # makes it a PUSH_PROMISE, on stream_id

    def frames(self, encoder: Encoder) -> list[Wire]:
        block = encoder.encode(self.fields, huffman=bool(self.pieces % 2))
        if self.flaw is not None and block:
            at = self.flaw % len(block)
            block = block[:at] + bytes((block[at] ^ 0xFF,)) + block[at + 1 :]
        size = max(1, -(-len(block) // self.pieces))
        parts = [block[start : start + size] for start in range(0, len(block), size)] or [b""]
        kind, flags = HEADERS, END_STREAM if self.end_stream else 0
        first = self.priority + parts[0]
        if self.promised is not None:
            kind, flags, first = PUSH_PROMISE, 0, u32(self.promised) + parts[0]
        elif self.priority:
            flags |= PRIORITISED
        if self.padding is not None:
            flags |= PADDED
            first = bytes((self.padding,)) + first + bytes(self.padding)
        made = [Wire(kind, flags, self.stream_id, first)]
        made += [Wire(CONTINUATION, 0, self.stream_id, part) for part in parts[1:]]
        if self.end_headers:
            made[-1] = made[-1]._replace(flags=made[-1].flags | END_HEADERS)
        return made


class Repeated(NamedTuple):
    """A flood."""

    item: Wire | Heading
    times: int


Item = Wire | Heading | Repeated


def assemble(items: Iterable[Item]) -> list[Wire]:
    """The frames of a sequence; its field sections share one compression context."""
    encoder = Encoder()
    made: list[Wire] = []
    for each in items:
        item, times = each if isinstance(each, Repeated) else (each, 1)
        for _ in range(times):
            made += item.frames(encoder) if isinstance(item, Heading) else [item]
    return made


def settings_payload(entries: Iterable[tuple[int, int]]) -> bytes:
    return b"".join(struct.pack(">HL", *entry) for entry in entries)


def u32(number: int) -> bytes:
    return struct.pack(">L", number)


# -- strategies ------------------------------------------------------------------------------------

NUMBERS = st.sampled_from([0, 1, 2, 100, 16_384, 65_535, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1])
CODES = st.one_of(st.integers(0, 13), st.just(0xFFFFFFFF))
STREAM_IDS = st.one_of(
    st.just(1), st.just(1), st.sampled_from([0, 1, 2, 3, 5, 7, 99, 2**31 - 1, 2**31 + 1])
)
FLAGS = st.one_of(st.just(0), st.just(END_STREAM), st.just(END_HEADERS), st.integers(0, 255))
SMALL = st.binary(max_size=40)

_NAMES = st.sampled_from(
    b"x-a server content-type content-length set-cookie content-encoding te connection "
    b"transfer-encoding retry-after link trailer :status :path :foo X-Upper".split()
) | st.binary(max_size=8)
_VALUES = (
    st.sampled_from(
        [
            *b"0 3 5 -1 +5 5,5 3,5 99999999999999999999 gzip br zstd deflate identity".split(),
            b"a=b; Path=/; Max-Age=x",
            b"text/html; charset=\xff",
            b"\xe9",
            b" padded ",
            b"1" * 5000,
        ]
    )
    | SMALL
)
_STATUSES = st.sampled_from(
    b"200 204 206 304 404 500 100 103 199 101 99 1000 abc +20 600 999 413".split()
)
EXTRA_FIELDS = st.lists(st.tuples(_NAMES, _VALUES), max_size=4)


@st.composite
def headings(draw: st.DrawFn) -> Heading:
    fields = list(draw(EXTRA_FIELDS))
    if draw(st.integers(0, 7)):
        fields.insert(0, (b":status", draw(st.just(b"200") | _STATUSES)))
    flawed = not draw(st.integers(0, 7))
    return Heading(
        draw(STREAM_IDS),
        fields,
        draw(st.booleans()),
        draw(st.sampled_from([1, 1, 2, 5])),
        draw(st.none() | st.integers(0, 255)),
        draw(st.sampled_from([b"", b"", b"\0\0\0\0\x10", b"\0\0\0\1\x10", b"\0\0"])),
        draw(st.integers(0, 200)) if flawed else None,
        bool(draw(st.integers(0, 9))),
    )


@st.composite
def data_frames(draw: st.DrawFn) -> Wire:
    flags = draw(st.sampled_from([0, 0, END_STREAM, PADDED, PADDED | END_STREAM, 0xFF]))
    content = draw(SMALL | st.sampled_from([b"\x1f\x8b", b"x" * 16_000, b"x" * 16_384]))
    if flags & PADDED and draw(st.integers(0, 4)):
        room = min(255, 16_383 - min(16_383, len(content)))
        padding = draw(st.integers(0, room))
        content = bytes((padding,)) + content[:16_383] + bytes(padding)
    return Wire(DATA, flags, draw(STREAM_IDS), content)


SETTINGS_ENTRIES = st.lists(st.tuples(st.integers(0, 10), NUMBERS), max_size=40)
CONTROL = st.one_of(
    SETTINGS_ENTRIES.map(lambda entries: Wire(SETTINGS, 0, 0, settings_payload(entries))),
    st.sampled_from(
        [Wire(SETTINGS, ACK), Wire(PING, 0, 0, b"ping" * 2), Wire(PING, ACK, 0, b"ping" * 2)]
    ),
    st.builds(lambda on, code: Wire(RST_STREAM, 0, on, u32(code)), STREAM_IDS, CODES),
    st.builds(lambda on, by: Wire(WINDOW_UPDATE, 0, on, u32(by)), STREAM_IDS, NUMBERS),
    st.builds(
        lambda last, code, debug: Wire(GOAWAY, 0, 0, u32(last) + u32(code) + debug),
        st.sampled_from([0, 1, 3, 2**31 - 1]),
        CODES,
        SMALL,
    ),
    st.builds(
        lambda on, block: Wire(PUSH_PROMISE, END_HEADERS, on, u32(2) + block), STREAM_IDS, SMALL
    ),
)
WILD = st.builds(
    Wire,
    st.integers(0, 12) | st.integers(0, 255),
    FLAGS,
    STREAM_IDS,
    SMALL,
    st.sampled_from([None, None, None, None, 0, 3, 16_384, 16_385, 2**24 - 1]),
)
BROKEN = st.builds(
    lambda frame, on, cut, longer: frame._replace(
        stream_id=on, payload=frame.payload[:cut] + longer
    ),
    CONTROL,
    STREAM_IDS,
    st.integers(0, 12),
    st.sampled_from([b"", b"\0"]),
)
FLOODS: st.SearchStrategy[Repeated] = st.builds(
    Repeated,
    st.one_of(CONTROL, headings(), data_frames(), WILD),
    st.sampled_from([3, 70, 300]),
)
DOWNLOADS = st.builds(
    lambda on, size, times: Repeated(Wire(DATA, 0, on, b"d" * size), times),
    st.sampled_from([1, 3]),
    st.sampled_from([16_384, 16_384, 100]),
    st.sampled_from([33, 64, 65]),
)
ITEMS: st.SearchStrategy[Item] = st.one_of(
    headings(), headings(), data_frames(), data_frames(), CONTROL, CONTROL, WILD, BROKEN, FLOODS,
    DOWNLOADS,
)  # fmt: skip
GREETING = Wire(SETTINGS)
PUSHED_IDS = st.sampled_from([2, 2, 4, 4, 6, 1])
PUSHES: st.SearchStrategy[Item] = st.one_of(
    st.builds(
        lambda on, promised, flawed, pieces: Heading(
            on,
            [
                *((b":" + name, b"GET") for name in (b"method", b"scheme", b"path")),
                (b":authority" if flawed < 5 else b"Host", b"a"),
            ],
            end_stream=False,
            pieces=pieces,
            promised=promised,
        ),
        st.sampled_from([1, 1, 1, 1, 3, 2]),
        st.sampled_from([2, 4, 4, 6, 8, 10, 2**31 - 2]),
        st.integers(0, 5),
        st.sampled_from([1, 1, 2, 5]),
    ),
    st.builds(lambda heading, on: heading._replace(stream_id=on), headings(), PUSHED_IDS),
    st.builds(lambda frame, on: frame._replace(stream_id=on), data_frames(), PUSHED_IDS),
    st.builds(lambda frame, on: frame._replace(stream_id=on), CONTROL, PUSHED_IDS),
)


@st.composite
def sequences(draw: st.DrawFn, items_of: st.SearchStrategy[Item] = ITEMS) -> list[Wire]:
    """Mostly a greeting and a heading first, else nothing behind them would ever be reached."""
    items: list[Item] = []
    if draw(st.integers(0, 19)):
        entries = draw(st.just([]) | st.just([]) | SETTINGS_ENTRIES)
        items.append(GREETING._replace(payload=settings_payload(entries)))
    if draw(st.integers(0, 3)):
        items.append(Heading(1, [(b":status", b"200"), *draw(EXTRA_FIELDS)], end_stream=False))
    items += draw(st.lists(items_of, max_size=8))
    return assemble(items)


class Split(NamedTuple):
    """Where the network cuts: at these parts of a million, or everywhere."""

    cuts: Sequence[int]
    octets: bool = False

    def of(self, data: bytes) -> list[bytes]:
        if self.octets and len(data) <= 600:
            return [data[at : at + 1] for at in range(len(data))]
        at = sorted({0, len(data), *(cut * len(data) // 1_000_000 for cut in self.cuts)})
        return [data[a:b] for a, b in itertools.pairwise(at)]


SPLITS = st.builds(
    Split, st.lists(st.integers(0, 1_000_000), max_size=8), st.sampled_from([False, False, True])
)
