"""PING and PRIORITY_UPDATE, on both engines."""

from __future__ import annotations

import hpack
import pytest

from requests_h2.engine.events import ConnectionFailed, PingAcknowledged
from requests_h2.engine.frames import stateless_block
from requests_h2.fields import NeverIndexedField
from tests.fuzz.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY_UPDATE,
    SETTINGS,
    Wire,
    u32,
)
from tests.support.engine_session import EngineSession

OK = b"\x88"
CANCEL = 8
ONE, TWO = b"number 1", b"number 2"


@pytest.fixture
def session(engine: str) -> EngineSession:
    return EngineSession(engine)


def break_protocol(session: EngineSession) -> None:
    (failed,) = session.receive(Wire(HEADERS, END_HEADERS, 99, OK))
    assert isinstance(failed, ConnectionFailed)
    session.sent()


def test_a_ping_is_answered(session: EngineSession) -> None:
    session.engine.ping(ONE)
    session.engine.ping(TWO)
    assert session.sent() == [Wire(PING, 0, 0, ONE), Wire(PING, 0, 0, TWO)]
    assert session.receive(Wire(PING, ACK, 0, ONE)) == [PingAcknowledged(ONE)]
    assert session.receive(Wire(PING, ACK, 0, TWO)) == [PingAcknowledged(TWO)]
    assert session.sent() == []


def test_the_same_ping_twice(session: EngineSession) -> None:
    session.engine.ping(ONE)
    session.engine.ping(ONE)
    answers = [Wire(PING, ACK, 0, ONE)] * 3
    assert session.receive(*answers) == [PingAcknowledged(ONE)] * 2


def test_answers_to_nothing_are_ignored(session: EngineSession) -> None:
    session.engine.ping(ONE)
    assert session.receive(Wire(PING, ACK, 0, TWO), Wire(PING, 0, 0, ONE)) == []
    assert session.sent() == [Wire(PING, 0, 0, ONE), Wire(PING, ACK, 0, ONE)]
    assert session.receive(Wire(PING, ACK, 0, ONE)) == [PingAcknowledged(ONE)]


def test_a_ping_after_goaway_is_answered(session: EngineSession) -> None:
    session.request()
    session.receive(Wire(GOAWAY, 0, 0, u32(1) + u32(0)))
    session.engine.ping(ONE)
    assert session.sent() == [Wire(PING, 0, 0, ONE)]
    assert session.receive(Wire(PING, ACK, 0, ONE)) == [PingAcknowledged(ONE)]


def test_a_ping_before_settings(engine: str) -> None:
    session = EngineSession(engine, acknowledge=False)
    session.engine.ping(ONE)
    events = session.receive(Wire(PING, ACK, 0, ONE), Wire(SETTINGS, ACK))
    assert events == [PingAcknowledged(ONE)]


@pytest.mark.parametrize("size", [0, 7, 9])
def test_an_answer_of_the_wrong_size_ends_the_connection(session: EngineSession, size: int) -> None:
    session.engine.ping(ONE)
    (failed,) = session.receive(Wire(PING, ACK, 0, bytes(size)))
    assert isinstance(failed, ConnectionFailed)
    assert failed.error_code == 6


def test_priority_of_an_open_stream(session: EngineSession) -> None:
    session.request()
    session.request(sending=True)
    session.engine.update_priority(1, b"u=1, i")
    session.engine.update_priority(3, b"")
    assert session.sent() == [
        Wire(PRIORITY_UPDATE, 0, 0, u32(1) + b"u=1, i"),
        Wire(PRIORITY_UPDATE, 0, 0, u32(3)),
    ]


def test_priority_of_a_stream_that_is_not_open(session: EngineSession) -> None:
    session.request()
    session.request()
    session.receive(Wire(HEADERS, END_HEADERS | END_STREAM, 1, OK))
    session.engine.reset_stream(3, CANCEL)
    session.sent()
    for stream_id in (0, 1, 3, 5):
        session.engine.update_priority(stream_id, b"u=1")
    assert session.sent() == []


def test_nothing_is_said_after_the_end(session: EngineSession) -> None:
    session.request()
    break_protocol(session)
    session.engine.ping(ONE)
    session.engine.update_priority(1, b"u=1")
    session.engine.reset_stream(1, CANCEL)
    assert session.sent() == []
    assert session.engine.open_streams == 0


@pytest.mark.parametrize("size", [0, 126, 127, 128, 254, 255, 20_000])
def test_a_stateless_block_is_what_hpack_reads(size: int) -> None:
    fields = [(b"x-name", b"a" * size), NeverIndexedField(b"x-token", b"b" * size)]
    decoder = hpack.Decoder(max_header_list_size=1 << 20)
    assert decoder.decode(stateless_block(fields), raw=True) == [tuple(f) for f in fields]
    assert not decoder.header_table.dynamic_entries
