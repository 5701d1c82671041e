"""The scripted peer's pushes, PINGs and priorities, as an engine gets them."""

from __future__ import annotations

from typing import Any

import pytest
from hyperframe.frame import ExtensionFrame, PingFrame, RstStreamFrame, SettingsFrame

from requests_h2.engine.base import Engine
from requests_h2.engine.events import (
    DataReceived,
    Event,
    HeadersReceived,
    PingAcknowledged,
    PushPromised,
)
from tests.support.channel import Closed
from tests.support.engine_session import FIELDS, PROMISE, new_engine
from tests.support.peer_connection import PeerConnection

CANCEL = 8


class EngineChannel:
    """In place of a socket: what the peer sends is received by an engine, and the reverse."""

    patience = 0.0
    eof = closed = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.events: list[Event] = []

    def send(self, data: bytes) -> None:
        self.events += self._engine.receive(memoryview(data))

    def receive_now(self) -> bytes:
        return self._engine.take_output()

    def receive(self, timeout: float) -> bytes:
        data = self.receive_now()
        if not data:
            raise Closed("the engine has nothing to say")
        return data


class Pair:
    """An engine and a peer after their greetings, with a request on stream 1."""

    def __init__(self, engine: str, **options: Any) -> None:
        self.engine = new_engine(engine, **options)
        self.channel = EngineChannel(self.engine)
        channel: Any = self.channel
        self.peer = PeerConnection(channel)
        self.peer.preface()
        self.engine.open_stream(FIELDS, end_stream=True)
        self.request = self.peer.next_request()
        self.channel.events.clear()

    def events(self) -> list[Event]:
        events, self.channel.events = self.channel.events, []
        return events


@pytest.fixture
def pair(engine: str) -> Pair:
    return Pair(engine, enable_push=True)


def test_a_push(pair: Pair) -> None:
    assert pair.peer.may_push
    promised = pair.peer.push(pair.request, 2, PROMISE, 404, {"a": "b"}, b"body")
    promise, head, data = pair.events()
    assert promise == PushPromised(1, 2, list(PROMISE))
    assert head == HeadersReceived(2, [(b":status", b"404"), (b"a", b"b")], False)
    assert isinstance(data, DataReceived)
    assert (data.stream_id, data.frames, data.end_stream) == (2, [4], True)
    assert pair.peer.promises == [promised]
    assert (promised.path, promised.authority, promised.reset_code) == ("/p", "a", None)
    assert pair.peer.requests == [pair.request]


def test_a_promise_in_pieces(pair: Pair) -> None:
    pair.peer.push_promise(1, 2, PROMISE, padding=9, frame_size=3)
    assert pair.events() == [PushPromised(1, 2, list(PROMISE))]


def test_a_promise_that_the_client_cancels(pair: Pair) -> None:
    promised = pair.peer.push_promise(1, 2, PROMISE)
    pair.engine.send_window_update(2, 5)
    pair.engine.reset_stream(2, CANCEL)
    pair.peer.expect(RstStreamFrame, stream_id=2, error_code=CANCEL)
    assert promised.reset_code == CANCEL
    assert pair.peer.window_of(2) == pair.peer.window_of(1) + 5


def test_push_switched_off(pair: Pair) -> None:
    pair.engine.set_push(False)
    pair.peer.expect(SettingsFrame, settings={SettingsFrame.ENABLE_PUSH: 0})
    assert not pair.peer.may_push


def test_a_ping_is_acknowledged(pair: Pair) -> None:
    pair.engine.ping(b"12345678")
    pair.peer.expect(PingFrame, opaque_data=b"12345678")
    assert pair.events() == [PingAcknowledged(b"12345678")]


def test_priorities(pair: Pair) -> None:
    pair.engine.update_priority(1, b"u=1")
    pair.engine.update_priority(1, b"i")
    pair.peer.expect(ExtensionFrame)
    pair.peer.expect(ExtensionFrame)
    assert pair.peer.priority_updates == [(1, b"u=1"), (1, b"i")]
