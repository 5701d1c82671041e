"""Where the engine stands between nghttp2 and the package: what is withheld, added and counted."""

from __future__ import annotations

import pytest

from requests_h2.engine.events import GoAwayReceived, PushPromised, SendWindowOpened, StreamReset
from tests.fuzz.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    RST_STREAM,
    WINDOW_UPDATE,
    Wire,
    u32,
)
from tests.support.engine_session import FIELDS, PROMISE, EngineSession, content

pytestmark = pytest.mark.extra("nghttp2")
MAX_STREAMS, INITIAL_WINDOW = 3, 4
OK = b"\x88"


class Session(EngineSession):
    def __init__(self, settings: tuple[tuple[int, int], ...] = ()) -> None:
        super().__init__("nghttp2", settings)


def test_end_stream_needs_no_window() -> None:
    session = Session(((INITIAL_WINDOW, 0), (MAX_STREAMS, 1)))
    engine = session.engine
    for stream_id in (1, 3):
        assert engine.open_stream(FIELDS, end_stream=False) == stream_id
        assert engine.send_capacity(stream_id) == 0
        engine.send_data(stream_id, memoryview(b""), end_stream=True)
        assert [(f.kind, f.flags) for f in session.sent()][-1] == (DATA, END_STREAM)
        assert engine.open_streams == 1
        session.receive(Wire(HEADERS, END_HEADERS | END_STREAM, stream_id, OK))
        # nghttp2 is told, or it would not open the next one; the peer need not know.
        assert engine.open_streams == 0
        assert session.sent() == []


def test_end_stream_after_the_answer_needs_no_window() -> None:
    session = Session(((INITIAL_WINDOW, 0), (MAX_STREAMS, 1)))
    engine = session.engine
    engine.open_stream(FIELDS, end_stream=False)
    session.receive(Wire(HEADERS, END_HEADERS | END_STREAM, 1, OK))
    engine.send_data(1, memoryview(b""), end_stream=True)
    assert engine.open_streams == 0
    assert RST_STREAM not in [frame.kind for frame in session.sent()]
    assert engine.open_stream(FIELDS, end_stream=True) == 3


def test_an_empty_piece_without_window_waits_for_nothing() -> None:
    session = Session(((INITIAL_WINDOW, 0),))
    session.engine.open_stream(FIELDS, end_stream=False)
    session.sent()
    session.engine.send_data(1, memoryview(b""), end_stream=False)
    assert session.sent() == []


def test_a_stream_over_the_limit_is_not_held_back_in_secret() -> None:
    session = Session(((MAX_STREAMS, 1),))
    session.engine.open_stream(FIELDS, end_stream=True)
    session.sent()
    with pytest.raises(RuntimeError, match="stream 3"):
        session.engine.open_stream(FIELDS, end_stream=True)
    session.receive(Wire(HEADERS, END_HEADERS | END_STREAM, 1, OK))
    assert session.sent() == []
    assert session.engine.open_streams == 0


def test_streams_that_goaway_gives_up_are_no_resets() -> None:
    """nghttp2 closes them with REFUSED_STREAM, as if the peer had sent it."""
    session = Session()
    session.engine.open_stream(FIELDS, end_stream=True)
    session.engine.open_stream(FIELDS, end_stream=True)
    events = session.receive(Wire(GOAWAY, 0, 0, u32(1) + u32(2) + b"text"))
    assert events == [GoAwayReceived(1, 2, b"text")]
    assert session.engine.open_streams == 1


def test_a_refusal_is_a_reset_of_the_peer() -> None:
    session = Session()
    session.engine.open_stream(FIELDS, end_stream=True)
    assert session.receive(Wire(RST_STREAM, 0, 1, u32(7))) == [StreamReset(1, 7, remote=True)]


def test_what_nghttp2_resets_is_no_reset_of_the_peer() -> None:
    session = Session()
    session.engine.open_stream(FIELDS, end_stream=True)
    session.sent()
    (event,) = session.receive(Wire(HEADERS, END_HEADERS, 1, b"\x00\x01x\x01y"))
    assert event == StreamReset(1, 1, False, "nghttp2 calls the response malformed")
    assert [(f.kind, f.payload) for f in session.sent()] == [(RST_STREAM, u32(1))]


def test_credit_goes_out_when_it_is_given() -> None:
    """And not when nghttp2 thinks that it is time."""
    session = Session()
    engine = session.engine
    engine.open_stream(FIELDS, end_stream=True)
    session.receive(Wire(HEADERS, END_HEADERS, 1, OK))
    session.sent()
    for _ in range(20):
        size = sum(each[2] for each in session.data(*[Wire(DATA, 0, 1, bytes(16_000))] * 32))
        assert size == 32 * 16_000
        assert session.sent() == []
        engine.send_window_update(1, size)
        engine.send_window_update(0, 7)
        assert session.sent() == [
            Wire(WINDOW_UPDATE, 0, 1, u32(size)),
            Wire(WINDOW_UPDATE, 0, 0, u32(7)),
        ]


def test_padding_and_ignored_data_are_in_the_flow_size() -> None:
    session = Session()
    session.engine.open_stream(FIELDS, end_stream=True)
    session.engine.open_stream(FIELDS, end_stream=True)
    session.engine.reset_stream(3, 8)
    data = session.data(
        Wire(HEADERS, END_HEADERS, 1, OK),
        Wire(DATA, 0, 3, b"late"),
        Wire(DATA, PADDED | END_STREAM, 1, b"\x05body" + bytes(5)),
        Wire(DATA, 0, 3, b"later"),
    )
    assert data == [(3, b"", 4, False), (1, b"body", 10, True), (3, b"", 5, False)]


def test_data_of_a_stream_closed_in_the_middle_of_a_frame_counts() -> None:
    session = Session()
    session.engine.open_stream(FIELDS, end_stream=True)
    data = Wire(HEADERS, END_HEADERS, 1, OK).encode() + Wire(DATA, 0, 1, bytes(1000)).encode()
    session.engine.receive(memoryview(data[:500]))
    session.engine.reset_stream(1, 8)
    assert content(session.engine.receive(memoryview(data[500:]))) == [(1, b"", 1000, False)]


def test_a_number_in_pieces_is_waited_for() -> None:
    session = Session()
    session.engine.open_stream(FIELDS, end_stream=False)
    octets = Wire(WINDOW_UPDATE, 0, 1, u32(5)).encode()
    for octet in octets[:-1]:
        assert session.engine.receive(memoryview(bytes((octet,)))) == []
    assert session.engine.receive(memoryview(octets[-1:])) == [SendWindowOpened()]
    assert session.engine.send_capacity(1) == 65_535  # the connection's


@pytest.mark.parametrize("at_once", [False, True])
def test_a_promise_that_nghttp2_calls_malformed(at_once: bool) -> None:
    """It was no event, so its reset is none."""
    session = EngineSession("nghttp2", enable_push=True)
    session.request()
    promise = session.promise(1, 2, PROMISE[:1])
    late = [*session.headers(2), Wire(DATA, END_STREAM, 2, b"late")]
    if at_once:
        assert session.data(*promise, *late) == [(2, b"", 4, False)]
    else:
        assert session.receive(*promise) == []
        assert session.data(*late) == [(2, b"", 4, False)]
    assert session.sent() == [Wire(RST_STREAM, 0, 2, u32(1))]
    assert session.engine.pushed_streams == 0
    assert session.receive(*session.promise(1, 4)) == [PushPromised(1, 4, list(PROMISE))]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_promise_on_a_stream_that_nghttp2_has_reset(at_once: bool) -> None:
    session = EngineSession("nghttp2", enable_push=True)
    session.request()
    malformed, promise = session.headers(1, 200, (b"A", b"b")), session.promise(1, 2)
    events = session.receive(*malformed, *promise) if at_once else session.receive(*malformed)
    if not at_once:
        events += session.receive(*promise)
    assert events == [StreamReset(1, 1, False, "nghttp2 calls the response malformed")]
    resets = [(frame.stream_id, frame.payload) for frame in session.sent()]
    assert resets == [(1, u32(1)), (2, u32(8))]
