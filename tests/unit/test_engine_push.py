"""Server push, alike on both engines (RFC 9113 section 8.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from requests_h2.engine.events import (
    ConnectionFailed,
    Event,
    GoAwayReceived,
    HeadersReceived,
    PushPromised,
    StreamReset,
)
from requests_h2.engine.pushes import MAX_EXCESS
from requests_h2.flow_control import STREAM_WINDOW
from requests_h2.options import MAX_PUSHES
from tests.fuzz.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Wire,
    settings_payload,
    u32,
)
from tests.support.engine_session import PROMISE, EngineSession, content

ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 2, 3
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 1, 3, 6, 7, 8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11
ACKNOWLEDGED = Wire(SETTINGS, ACK)


@pytest.fixture
def session(engine: str) -> EngineSession:
    """With push, and a request on stream 1."""
    session = EngineSession(engine, enable_push=True)
    session.request()
    return session


def settings_of(frame: Wire) -> dict[int, int]:
    assert (frame.kind, frame.flags, frame.stream_id) == (SETTINGS, 0, 0)
    numbers = [int.from_bytes(frame.payload[at : at + 2], "big") for at in range(0, 600, 6)]
    values = [int.from_bytes(frame.payload[at + 2 : at + 6], "big") for at in range(0, 600, 6)]
    return dict(zip(numbers[: len(frame.payload) // 6], values, strict=False))


def promised(stream_id: int, parent_id: int = 1) -> PushPromised:
    return PushPromised(parent_id, stream_id, list(PROMISE))


def failure(session: EngineSession, events: list[Event]) -> int:
    """The code with which the last of the events ends the connection, as the peer hears it."""
    failed = events[-1]
    assert isinstance(failed, ConnectionFailed)
    goaway = session.sent()[-1]
    assert goaway.kind == GOAWAY
    assert int.from_bytes(goaway.payload[4:8], "big") == failed.error_code
    return failed.error_code


def cancelled(*stream_ids: int) -> list[Wire]:
    return [Wire(RST_STREAM, 0, stream_id, u32(CANCEL)) for stream_id in stream_ids]


# -- what the client says --------------------------------------------------------------------------


def test_no_push_unless_asked_for(engine: str) -> None:
    session = EngineSession(engine)
    settings = settings_of(session.client.frames[0])
    assert settings[ENABLE_PUSH] == 0
    assert MAX_CONCURRENT_STREAMS not in settings
    assert not session.engine.push_enabled


@pytest.mark.parametrize("limit", [0, 7])
def test_push_at_dial(engine: str, limit: int) -> None:
    session = EngineSession(engine, enable_push=True, max_pushes=limit)
    settings = settings_of(session.client.frames[0])
    assert settings[ENABLE_PUSH] == 1
    assert settings[MAX_CONCURRENT_STREAMS] == limit
    assert session.engine.push_enabled


def test_push_switched_on_and_off(engine: str) -> None:
    session = EngineSession(engine, max_pushes=7)
    session.engine.set_push(False)
    assert session.sent() == []
    session.engine.set_push(True)
    assert session.engine.push_enabled
    session.engine.set_push(True)
    (frame,) = session.sent()
    assert settings_of(frame) == {ENABLE_PUSH: 1, MAX_CONCURRENT_STREAMS: 7}
    session.engine.set_push(False)
    assert not session.engine.push_enabled
    (frame,) = session.sent()
    assert settings_of(frame) == {ENABLE_PUSH: 0}


def test_settings_before_the_first_ones_are_acknowledged(engine: str) -> None:
    session = EngineSession(engine, acknowledge=False)
    for enabled in (True, False, True):
        session.engine.set_push(enabled)
    session.request()
    assert session.receive(*[ACKNOWLEDGED] * 4) == []
    assert session.receive(*session.promise(1, 2)) == [promised(2)]


def test_push_after_the_end_is_said_to_nobody(session: EngineSession) -> None:
    session.receive(Wire(HEADERS, END_HEADERS, 99, b"\x88"))
    session.sent()
    session.engine.set_push(False)
    assert session.sent() == []


def test_push_switched_off_on_a_connection_that_is_done(session: EngineSession) -> None:
    session.receive(Wire(GOAWAY, 0, 0, u32(0) + u32(0)))
    session.engine.set_push(False)
    assert not session.engine.push_enabled


# -- a pushed response -----------------------------------------------------------------------------


def test_a_pushed_response(session: EngineSession) -> None:
    engine = session.engine
    assert session.receive(*session.promise(1, 2)) == [promised(2)]
    assert (engine.open_streams, engine.pushed_streams) == (1, 1)
    note = (b"a", b"b")
    assert session.receive(*session.headers(2, 103)) == [
        HeadersReceived(2, [(b":status", b"103")], False)
    ]
    assert session.receive(*session.headers(2, 200, note)) == [
        HeadersReceived(2, [(b":status", b"200"), note], False)
    ]
    data = session.data(Wire(DATA, 0, 2, b"body"), Wire(DATA, END_STREAM | PADDED, 2, b"\1ends\0"))
    assert b"".join(each[1] for each in data) == b"bodyends"
    assert sum(each[2] for each in data) == 10
    assert data[-1][3]
    assert (engine.open_streams, engine.pushed_streams) == (1, 0)
    assert session.sent() == []


def test_everything_in_one_portion(session: EngineSession) -> None:
    events = session.receive(
        *session.promise(1, 2),
        *session.promise(1, 4),
        *session.headers(4, 404, end=True),
        *session.headers(2),
        Wire(DATA, 0, 2, b"body"),
        *session.headers(1),
        Wire(DATA, END_STREAM, 1, b"answer"),
        Wire(HEADERS, END_HEADERS | END_STREAM, 2, b"\0\1t\1v"),
    )
    assert events[:2] == [promised(2), promised(4)]
    assert content(events) == [(2, b"body", 4, False), (1, b"answer", 6, True)]
    assert events[-1] == HeadersReceived(2, [(b"t", b"v")], True)
    assert session.engine.pushed_streams == session.engine.open_streams == 0


@pytest.mark.parametrize("portion", [1, 5, 13])
def test_in_small_portions(session: EngineSession, portion: int) -> None:
    frames = [
        *session.promise(1, 2, pieces=5, padding=3),
        *session.headers(2),
        Wire(DATA, END_STREAM, 2, b"body"),
    ]
    data = b"".join(map(Wire.encode, frames))
    events: list[Event] = []
    for at in range(0, len(data), portion):
        events += session.engine.receive(memoryview(data[at : at + portion]))
    assert events[0] == promised(2)
    assert content(events) == [(2, b"body", 4, True)]


def test_a_response_without_content(session: EngineSession) -> None:
    session.receive(*session.promise(1, 2))
    assert session.receive(*session.headers(2, 204, end=True)) == [
        HeadersReceived(2, [(b":status", b"204")], True)
    ]
    assert session.engine.pushed_streams == 0


def test_credit_for_a_pushed_stream(session: EngineSession) -> None:
    engine = session.engine
    session.receive(*session.promise(1, 2))
    engine.send_window_update(2, 9)  # while it is reserved, too
    assert session.sent() == [Wire(WINDOW_UPDATE, 0, 2, u32(9))]
    session.receive(*session.headers(2))
    whole = [Wire(DATA, 0, 2, bytes(16_384))] * (STREAM_WINDOW // 16_384)
    assert sum(each[2] for each in session.data(*whole, Wire(DATA, 0, 2, bytes(9)))) == (
        STREAM_WINDOW + 9
    )
    engine.send_window_update(2, 100)
    assert session.sent() == [Wire(WINDOW_UPDATE, 0, 2, u32(100))]
    assert session.data(Wire(DATA, END_STREAM, 2, bytes(100))) == [(2, bytes(100), 100, True)]
    engine.send_window_update(2, 100)
    assert session.sent() == []


def test_data_past_the_window(session: EngineSession) -> None:
    session.receive(*session.promise(1, 2), *session.headers(2))
    whole = [Wire(DATA, 0, 2, bytes(16_384))] * (STREAM_WINDOW // 16_384)
    session.data(*whole)
    assert failure(session, session.receive(Wire(DATA, 0, 2, b"x"))) == FLOW_CONTROL_ERROR


def test_a_pushed_stream_that_we_reset(session: EngineSession) -> None:
    engine = session.engine
    session.receive(*session.promise(1, 2), *session.promise(1, 4), *session.headers(4))
    engine.reset_stream(2, CANCEL)
    engine.reset_stream(4, PROTOCOL_ERROR)
    engine.reset_stream(4, CANCEL)
    assert session.sent() == [*cancelled(2), Wire(RST_STREAM, 0, 4, u32(PROTOCOL_ERROR))]
    assert (engine.open_streams, engine.pushed_streams) == (1, 0)
    late = [
        *session.headers(2, 200, (b"late", b"late")),
        Wire(DATA, END_STREAM, 2, b"late"),
        Wire(WINDOW_UPDATE, 0, 4, u32(1)),
        Wire(RST_STREAM, 0, 4, u32(0)),
    ]
    assert session.data(*late) == [(2, b"", 4, False)]
    assert session.sent() == []
    # What was compressed is known.
    (event,) = session.receive(*session.headers(1, 200, (b"late", b"late")))
    assert event == HeadersReceived(1, [(b":status", b"200"), (b"late", b"late")], False)


@pytest.mark.parametrize("started", [False, True])
def test_a_pushed_stream_that_the_server_resets(session: EngineSession, started: bool) -> None:
    session.receive(*session.promise(1, 2))
    if started:
        session.receive(*session.headers(2))
    assert session.receive(Wire(RST_STREAM, 0, 2, u32(REFUSED_STREAM))) == [
        StreamReset(2, REFUSED_STREAM, remote=True)
    ]
    assert session.engine.pushed_streams == 0
    assert session.sent() == []


def test_a_pushed_stream_outlives_its_parent(session: EngineSession) -> None:
    session.receive(*session.promise(1, 2), *session.promise(1, 4))
    session.engine.reset_stream(1, CANCEL)
    assert (session.engine.open_streams, session.engine.pushed_streams) == (0, 2)
    events = session.receive(*session.headers(4), Wire(DATA, END_STREAM, 4, b"body"))
    assert content(events) == [(4, b"body", 4, True)]


def test_a_pushed_stream_outlives_goaway(session: EngineSession) -> None:
    """Its last id is about the client's streams."""
    session.request()
    session.receive(*session.promise(1, 4))
    assert session.receive(Wire(GOAWAY, 0, 0, u32(1) + u32(0))) == [GoAwayReceived(1, 0, b"")]
    assert (session.engine.open_streams, session.engine.pushed_streams) == (1, 1)
    session.receive(*session.headers(1, end=True))
    events = session.receive(*session.headers(4), Wire(DATA, END_STREAM, 4, b"body"))
    assert content(events) == [(4, b"body", 4, True)]


def test_goaway_of_ours_tells_what_was_accepted(session: EngineSession) -> None:
    def last_id() -> int:
        session.engine.go_away(0)
        return int.from_bytes(session.sent()[-1].payload[:4], "big")

    assert last_id() == 0
    session.receive(*session.promise(1, 2), *session.promise(1, 6))
    assert last_id() == 6
    session.engine.set_push(False)
    session.receive(*session.promise(1, 8))
    assert last_id() == 6
    failure(session, session.receive(ACKNOWLEDGED, *session.promise(1, 10)))
    assert session.client.frames[-1].payload[:4] == u32(6)


def test_a_promise_for_an_upload(engine: str) -> None:
    session = EngineSession(engine, enable_push=True)
    session.request(sending=True)
    assert session.receive(*session.promise(1, 2)) == [promised(2)]


def test_frames_out_of_turn_end_only_the_pushed_stream(session: EngineSession) -> None:
    session.receive(*session.promise(1, 2), *session.headers(2))
    assert session.receive(*session.headers(2)) == [
        StreamReset(2, PROTOCOL_ERROR, False, reason(session))
    ]
    assert session.receive(*session.headers(1, end=True)) != []


def reason(session: EngineSession) -> str:
    """Two responses on a stream."""
    if session.engine.name == "h2":
        return "trailers without END_STREAM"
    return "nghttp2 calls the response malformed"


@pytest.mark.parametrize("increment", [0, 2**31 - 1])
def test_a_window_update_may_end_the_pushed_stream(session: EngineSession, increment: int) -> None:
    session.receive(*session.promise(1, 2), *session.headers(2))
    code = FLOW_CONTROL_ERROR if increment else PROTOCOL_ERROR
    event = session.receive(Wire(WINDOW_UPDATE, 0, 2, u32(increment)))[0]
    assert isinstance(event, StreamReset)
    assert event[:3] == (2, code, False)
    assert session.sent() == [Wire(RST_STREAM, 0, 2, u32(code))]


# -- which promises are taken ----------------------------------------------------------------------


def test_a_promise_on_a_stream_that_we_have_reset(session: EngineSession) -> None:
    session.engine.reset_stream(1, CANCEL)
    session.sent()
    note = (b"x-note", b"value")
    assert session.receive(*session.promise(1, 2, [*PROMISE, note], pieces=3)) == []
    assert session.sent() == cancelled(2)
    assert session.engine.pushed_streams == 0
    late = [*session.headers(2), Wire(DATA, END_STREAM, 2, b"late")]
    assert session.data(*late) == [(2, b"", 4, False)]
    # What was compressed is known.
    session.request()
    events = session.receive(*session.promise(3, 4, [*PROMISE, note]))
    assert events == [PushPromised(3, 4, [*PROMISE, note])]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_promise_on_a_stream_that_the_engine_has_refused(
    session: EngineSession, at_once: bool
) -> None:
    early, promise = Wire(DATA, 0, 1, b"early"), session.promise(1, 2)
    for part in [[early, *promise]] if at_once else [[early], promise]:
        assert not any(isinstance(event, PushPromised) for event in session.receive(*part))
    assert session.sent() == [Wire(RST_STREAM, 0, 1, u32(PROTOCOL_ERROR)), *cancelled(2)]


def test_a_promise_after_the_prohibition_and_before_its_acknowledgement(
    session: EngineSession,
) -> None:
    session.engine.set_push(False)
    session.sent()
    assert session.receive(*session.promise(1, 2), *session.promise(1, 4, pieces=2)) == []
    assert session.sent() == cancelled(2, 4)
    assert session.engine.pushed_streams == 0
    assert failure(session, session.receive(ACKNOWLEDGED, *session.promise(1, 6))) == PROTOCOL_ERROR


def test_a_prohibition_taken_back(session: EngineSession) -> None:
    session.engine.set_push(False)
    session.receive(*session.promise(1, 2))
    session.engine.set_push(True)
    assert session.receive(*session.promise(1, 4)) == [promised(4)]
    assert session.receive(ACKNOWLEDGED, ACKNOWLEDGED, *session.promise(1, 6)) == [promised(6)]


def test_a_pushed_stream_outlives_the_prohibition(session: EngineSession) -> None:
    session.receive(*session.promise(1, 2))
    session.engine.set_push(False)
    events = session.receive(ACKNOWLEDGED, *session.headers(2), Wire(DATA, END_STREAM, 2, b"body"))
    assert content(events) == [(2, b"body", 4, True)]


def test_push_allowed_later(engine: str) -> None:
    session = EngineSession(engine)
    session.engine.set_push(True)
    session.request()
    assert session.receive(ACKNOWLEDGED, *session.promise(1, 2)) == [promised(2)]


def test_a_promise_before_the_permission_is_acknowledged(engine: str) -> None:
    """A server that has read it answers it first (RFC 9113 section 6.5.3)."""
    session = EngineSession(engine)
    session.engine.set_push(True)
    session.request()
    assert failure(session, session.receive(*session.promise(1, 2))) == PROTOCOL_ERROR


@pytest.mark.parametrize("acknowledge", [False, True])
def test_a_promise_although_push_was_never_allowed(engine: str, acknowledge: bool) -> None:
    session = EngineSession(engine, acknowledge=acknowledge)
    session.request()
    assert failure(session, session.receive(*session.promise(1, 2))) == PROTOCOL_ERROR


def test_a_promise_before_our_settings_are_acknowledged(engine: str) -> None:
    session = EngineSession(engine, acknowledge=False, enable_push=True)
    session.request()
    assert session.receive(*session.promise(1, 2)) == [promised(2)]


def end_parent(session: EngineSession) -> None:
    session.receive(*session.headers(3, end=True))


def reset_by_server(session: EngineSession) -> None:
    session.receive(Wire(RST_STREAM, 0, 3, u32(CANCEL)))


def given_up_by_goaway(session: EngineSession) -> None:
    session.receive(Wire(GOAWAY, 0, 0, u32(1) + u32(0)))


def end_and_reset(session: EngineSession) -> None:
    end_parent(session)
    session.engine.reset_stream(3, CANCEL)


@pytest.mark.parametrize("sending", [False, True])
@pytest.mark.parametrize("end", [end_parent, reset_by_server, given_up_by_goaway, end_and_reset])
def test_a_promise_on_a_stream_that_the_server_has_ended(
    session: EngineSession, end: Callable[[EngineSession], None], sending: bool
) -> None:
    session.request(sending=sending)
    end(session)
    session.sent()
    assert failure(session, session.receive(*session.promise(3, 2))) == PROTOCOL_ERROR


def test_a_promise_in_one_portion_with_the_end_of_its_parent(session: EngineSession) -> None:
    events = session.receive(
        *session.headers(1),
        Wire(DATA, END_STREAM, 1, b"answer"),
        *session.promise(1, 2),
    )
    assert content(events) == [(1, b"answer", 6, True)]
    assert failure(session, events) == PROTOCOL_ERROR


@pytest.mark.parametrize("parent_id", [0, 2, 3, 4, 99, 2**31 - 1])
def test_a_promise_on_another_stream(session: EngineSession, parent_id: int) -> None:
    session.receive(*session.promise(1, 2))
    assert failure(session, session.receive(*session.promise(parent_id, 6))) == PROTOCOL_ERROR


@pytest.mark.parametrize("stream_id", [0, 1, 2, 3, 4, 5, 7])
def test_an_id_that_cannot_be_promised(session: EngineSession, stream_id: int) -> None:
    session.receive(*session.promise(1, 4))
    assert failure(session, session.receive(*session.promise(1, stream_id))) == PROTOCOL_ERROR


def test_a_cancelled_promise_uses_up_its_id(session: EngineSession) -> None:
    session.engine.set_push(False)
    session.receive(*session.promise(1, 4))
    assert failure(session, session.receive(*session.promise(1, 4))) == PROTOCOL_ERROR


@pytest.mark.parametrize(
    "frame",
    [
        Wire(HEADERS, END_HEADERS, 4, b"\x88"),
        Wire(DATA, 0, 4, b"x"),
        Wire(WINDOW_UPDATE, 0, 4, u32(1)),
        Wire(RST_STREAM, 0, 4, u32(8)),
        # Reserved streams get HEADERS or RST_STREAM (RFC 9113 section 5.1).
        Wire(DATA, 0, 2, b"x"),
        Wire(DATA, END_STREAM, 2),
        Wire(WINDOW_UPDATE, 0, 2, u32(1)),
        Wire(WINDOW_UPDATE, 0, 2, u32(0)),
        Wire(WINDOW_UPDATE, 0, 2, u32(2**31 - 1)),
    ],
)
@pytest.mark.parametrize("at_once", [False, True])
def test_frames_of_the_server_without_a_promise(
    session: EngineSession, frame: Wire, at_once: bool
) -> None:
    promise = session.promise(1, 2)
    if at_once:
        events = session.receive(*promise, frame)
    else:
        events = session.receive(*promise) + session.receive(frame)
    assert events[0] == promised(2)
    assert failure(session, events) == PROTOCOL_ERROR


def test_ids_that_were_skipped_are_closed(session: EngineSession) -> None:
    """RFC 9113 section 5.1.1; frames on closed streams are ignored."""
    session.receive(*session.promise(1, 6))
    late = [*session.headers(4), Wire(DATA, 0, 4, b"late"), Wire(RST_STREAM, 0, 2, u32(0))]
    assert session.data(*late) == [(4, b"", 4, False)]
    assert session.sent() == []


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("acknowledge", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_more_pushed_streams_than_allowed(engine: str, acknowledge: bool, at_once: bool) -> None:
    session = EngineSession(engine, acknowledge=acknowledge, enable_push=True, max_pushes=2)
    session.request()
    frames = [frame for number in (2, 4, 6, 8) for frame in session.promise(1, number)]
    frames += [frame for number in (2, 4, 6) for frame in session.headers(number)]
    frames += [Wire(DATA, 0, 6, b"refused"), Wire(DATA, END_STREAM, 2, b"one")]
    frames += [*session.headers(8), Wire(DATA, END_STREAM, 8, b"two")]
    events: list[Event] = []
    for part in [frames] if at_once else [[frame] for frame in frames]:
        events += session.receive(*part)
    refused = StreamReset(6, REFUSED_STREAM, False, "too many pushed streams")
    assert [event for event in events if isinstance(event, StreamReset)] == [refused]
    assert content(events) == [(6, b"", 7, False), (2, b"one", 3, True), (8, b"two", 3, True)]
    assert session.engine.pushed_streams == 1
    assert session.sent() == [Wire(RST_STREAM, 0, 6, u32(REFUSED_STREAM))]


def test_no_pushed_streams_at_all(engine: str) -> None:
    session = EngineSession(engine, enable_push=True, max_pushes=0)
    session.request()
    events = session.receive(*session.promise(1, 2), *session.headers(2))
    assert events == [promised(2), StreamReset(2, REFUSED_STREAM, False, "too many pushed streams")]


@pytest.mark.parametrize("limit", [1, MAX_PUSHES])
def test_absurdly_many_promises(engine: str, limit: int) -> None:
    session = EngineSession(engine, enable_push=True, max_pushes=limit)
    session.request()
    most = limit + MAX_EXCESS
    for number in range(1, most + 1):
        assert session.receive(*session.promise(1, 2 * number)) == [promised(2 * number)]
    assert session.engine.pushed_streams == most
    session.engine.reset_stream(2, CANCEL)
    more = 2 * most + 2
    assert session.receive(*session.promise(1, more)) == [promised(more)]
    assert failure(session, session.receive(*session.promise(1, more + 2))) == ENHANCE_YOUR_CALM


def test_cancelled_promises_are_not_kept(session: EngineSession) -> None:
    session.engine.reset_stream(1, CANCEL)
    session.sent()
    for number in range(1, 4 * MAX_EXCESS):
        assert session.receive(*session.promise(1, 2 * number)) == []
        assert session.sent() == cancelled(2 * number)
    assert session.engine.pushed_streams == 0


def test_a_promise_of_the_largest_size(session: EngineSession) -> None:
    fields = [*PROMISE, *[(b"x", b"x" * 60_000)] * 16]
    (event,) = session.receive(*session.promise(1, 2, fields, pieces=62))
    assert event == PushPromised(1, 2, fields)


def test_a_promise_that_is_too_large(session: EngineSession) -> None:
    fields = [*PROMISE, *[(b"x", b"x" * 4000)] * 270]  # an octet each, but for the first
    events = session.receive(*session.promise(1, 2, fields))
    assert failure(session, events) == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("count", [63, 64])
def test_continuations_of_a_promise(session: EngineSession, count: int) -> None:
    *_, whole = session.promise(1, 2)
    frames = [whole._replace(flags=0), *[Wire(CONTINUATION, 0, 1)] * (count - 1)]
    events = session.receive(*frames, Wire(CONTINUATION, END_HEADERS, 1))
    if count == 63:
        assert events == [promised(2)]
    else:
        assert failure(session, events) == ENHANCE_YOUR_CALM


# -- frames that are not whole ---------------------------------------------------------------------

CUT = PUSH_PROMISE, END_HEADERS, 1
CUT_PADDED = PUSH_PROMISE, END_HEADERS | PADDED, 1
MALFORMED: list[tuple[list[Wire], int]] = [
    ([Wire(*CUT, b"")], FRAME_SIZE_ERROR),
    ([Wire(*CUT, b"\0\0\0")], FRAME_SIZE_ERROR),
    ([Wire(*CUT_PADDED, b"")], PROTOCOL_ERROR),
    ([Wire(*CUT_PADDED, b"\0\0\0\0")], PROTOCOL_ERROR),
    ([Wire(*CUT_PADDED, b"\3" + u32(2) + b"\x82")], PROTOCOL_ERROR),
    ([Wire(*CUT_PADDED, b"\xff" + u32(2) + b"\x82")], PROTOCOL_ERROR),
    ([Wire(*CUT, u32(2) + b"\xff\x20")], COMPRESSION_ERROR),
    ([Wire(*CUT, bytes(16_385))], FRAME_SIZE_ERROR),
    ([Wire(PUSH_PROMISE, 0, 1, u32(2)), Wire(PING, 0, 0, bytes(8))], PROTOCOL_ERROR),
    ([Wire(PUSH_PROMISE, 0, 1, u32(2)), Wire(CONTINUATION, END_HEADERS, 2)], PROTOCOL_ERROR),
    ([Wire(HEADERS, 0, 1, b"\x88"), Wire(*CUT, u32(2))], PROTOCOL_ERROR),
]


@pytest.mark.parametrize(("frames", "code"), MALFORMED)
def test_promises_that_end_the_connection(
    session: EngineSession, frames: list[Wire], code: int
) -> None:
    assert failure(session, session.receive(*frames)) == code


def test_padding_of_a_promise(session: EngineSession) -> None:
    assert session.receive(*session.promise(1, 2, padding=255)) == [promised(2)]
    frame = session.promise(1, 4, padding=0)
    assert frame[0].flags & PADDED
    assert session.receive(*frame) == [promised(4)]


def test_the_reserved_bit_of_an_id_means_nothing(session: EngineSession) -> None:
    assert session.receive(*session.promise(1, 2**31 + 2)) == [promised(2)]


def test_the_largest_id(session: EngineSession) -> None:
    last = 2**31 - 2
    assert session.receive(*session.promise(1, last)) == [promised(last)]
    events: Any = session.receive(*session.headers(last, end=True))
    assert events[0].stream_id == last


def test_initial_windows_count_for_pushed_streams_too(session: EngineSession) -> None:
    session.receive(*session.promise(1, 2), *session.headers(2))
    session.receive(Wire(WINDOW_UPDATE, 0, 2, u32(2**31 - 1 - 65_535)))
    events = session.receive(Wire(SETTINGS, 0, 0, settings_payload([(4, 65_536)])))
    assert failure(session, events) == FLOW_CONTROL_ERROR
