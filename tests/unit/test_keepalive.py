"""When a connection asks its server, and when it gives it up: by a clock that the tests set."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from requests_h2 import keepalive
from requests_h2.keepalive import Keepalive
from requests_h2.options import Options
from requests_h2.pump import Waiter
from requests_h2.timeouts import Deadline

INTERVAL, TIMEOUT = 30.0, 10.0


class Scene:
    """A keepalive, and what it sees of a connection."""

    def __init__(self, options: Options) -> None:
        self.now = 1000.0
        self.alarm = 0.0
        self.pings: list[bytes] = []
        self.engine: Any = SimpleNamespace(
            open_streams=0,
            pushed_streams=0,
            settings_received=True,
            ping=self.pings.append,
            take_output=lambda: b"",
        )
        self.drained: list[str] = []
        self.table: Any = SimpleNamespace(note_timeout=lambda *_: None, drain=self.drained.append)
        self.woken: list[Waiter] = []
        self.pump: Any = SimpleNamespace(
            guard=contextlib.nullcontext(),
            wake_locked=self.woken.append,
            sent=0,
            unsent=0,
            received=0,
            queue_locked=lambda data: None,
            flush_locked=lambda: None,
            set_alarm_locked=lambda at: setattr(self, "alarm", at),
            stuck_for_locked=lambda seconds: False,
        )
        self.options = options

    def begin(self) -> Keepalive:
        self.keepalive = Keepalive(self.engine, self.table, self.pump, self.options)
        return self.keepalive

    def due(self) -> float:
        """Seconds until the alarm."""
        self.keepalive.settle_locked()
        return self.alarm - self.now

    def wake(self) -> TimeoutError | None:
        """The alarm goes off."""
        self.now += self.due()
        return self.keepalive.alarm_locked()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(Options(ping_interval=INTERVAL, ping_timeout=TIMEOUT))
    monkeypatch.setattr(keepalive, "time", SimpleNamespace(monotonic=lambda: scene.now))
    scene.begin()
    return scene


@pytest.fixture
def subject(scene: Scene) -> Keepalive:
    return scene.keepalive


def test_nothing_by_default(scene: Scene) -> None:
    scene.options = Options()
    subject = scene.begin()
    scene.engine.open_streams = 1
    scene.now += 1e9
    subject.settle_locked()
    assert scene.alarm == 0.0  # was never set
    assert not subject.doubtful
    subject.timed_out_locked(SimpleNamespace(received_before=0), 1.0)  # type: ignore[arg-type]
    assert scene.pings == []


@pytest.mark.parametrize("streams", ["open_streams", "pushed_streams"])
def test_silence_question_end(scene: Scene, subject: Keepalive, streams: str) -> None:
    assert scene.due() == float("inf")
    setattr(scene.engine, streams, 1)
    assert scene.due() == INTERVAL
    assert scene.wake() is None
    assert len(scene.pings) == 1
    assert scene.due() == TIMEOUT
    assert "within 10 seconds" in str(scene.wake())
    assert len(scene.pings) == 1


def test_any_octet_starts_anew(scene: Scene, subject: Keepalive) -> None:
    scene.engine.open_streams = 1
    scene.now += INTERVAL - 1
    subject.heard_locked()
    assert scene.due() == INTERVAL
    scene.wake()
    scene.now += TIMEOUT - 1
    assert not subject.answered
    subject.heard_locked()
    assert subject.answered
    assert scene.due() == INTERVAL
    scene.wake()
    assert len(set(scene.pings)) == 2


def test_an_early_look_does_nothing(scene: Scene, subject: Keepalive) -> None:
    scene.engine.open_streams = 1
    scene.now += INTERVAL / 2
    assert subject.alarm_locked() is None
    assert scene.pings == []


def test_an_answer_is_awaited_when_no_stream_is_left(scene: Scene, subject: Keepalive) -> None:
    scene.engine.open_streams = 1
    scene.wake()
    scene.engine.open_streams = 0
    assert scene.due() == TIMEOUT
    subject.heard_locked()
    assert scene.due() == float("inf")


def test_output_that_moves_is_alive(scene: Scene, subject: Keepalive) -> None:
    """As long as the socket was full and takes more; then the answer has its time."""
    scene.engine.open_streams = 1
    scene.pump.unsent = 100_000
    scene.wake()
    for _ in range(3):
        scene.pump.sent += 1
        assert scene.wake() is None
        assert scene.due() == TIMEOUT
    scene.pump.sent += 1
    scene.pump.unsent = 0
    assert scene.wake() is None
    assert scene.wake() is not None
    assert len(scene.pings) == 1


def test_output_that_is_stuck_is_not(scene: Scene, subject: Keepalive) -> None:
    scene.engine.open_streams = 1
    scene.pump.unsent = 100_000
    scene.wake()
    assert scene.wake() is not None


def test_what_a_socket_with_room_takes_proves_nothing(scene: Scene, subject: Keepalive) -> None:
    """Requests go on being written to a host that is gone, until its buffer is full."""
    scene.engine.open_streams = 1
    scene.wake()
    scene.pump.sent += 100
    assert scene.wake() is not None


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize(("left", "waits"), [(3.0, 1.5), (None, None)])
def test_doubt(
    scene: Scene, subject: Keepalive, answered: bool, left: float | None, waits: float | None
) -> None:
    assert not subject.doubtful
    subject.dispel_doubt(Deadline(left))  # nothing to do
    scene.now += INTERVAL + 1
    assert subject.doubtful

    def wait(waiter: Waiter, ready: Callable[[], bool], deadline: Deadline) -> bool:
        assert deadline.seconds == (waits and pytest.approx(waits, abs=0.1))
        assert not ready()
        assert scene.due() == TIMEOUT
        if answered:
            subject.heard_locked()
            assert scene.woken == [waiter]
        return ready()

    scene.pump.wait = wait
    subject.dispel_doubt(Deadline(left))
    assert len(scene.pings) == 1
    assert subject.doubtful is not answered
    assert bool(scene.drained) is not answered
    subject.heard_locked()
    assert len(scene.woken) == answered


def test_one_question_in_an_interval_for_streams_that_time_out(
    scene: Scene, subject: Keepalive
) -> None:
    stream: Any = SimpleNamespace(received_before=0)
    for _ in range(5):
        subject.timed_out_locked(stream, 1.0)
        assert len(scene.pings) == 1
        subject.heard_locked()
        scene.now += INTERVAL / 6
        assert not subject.doubtful
    scene.now += INTERVAL
    subject.timed_out_locked(stream, 1.0)
    assert len(scene.pings) == 2
    assert subject.doubtful
    scene.pump.received = 1
    subject.heard_locked()
    scene.now += 2 * INTERVAL
    subject.timed_out_locked(stream, 1.0)  # not in silence
    assert len(scene.pings) == 2
