"""Messages that wait until no lock is held."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from requests_h2 import news
from requests_h2.news import News
from tests.support.threads import WAIT, background

LOGGER = logging.getLogger("requests_h2.test_news")


class Told(logging.Handler):
    """What was logged, and something to do meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.meanwhile: Callable[[], Any] = lambda: None

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()


@pytest.fixture
def told() -> Iterator[Told]:
    handler = Told()
    parent = logging.getLogger("requests_h2")
    before = parent.level
    parent.addHandler(handler)
    parent.setLevel(logging.DEBUG)
    yield handler
    parent.setLevel(before)
    parent.removeHandler(handler)


def test_one_thread_tells_what_the_others_leave(told: Told) -> None:
    some = News()

    def from_another_thread() -> None:
        some.add(LOGGER, "%s", 3)
        background(some.emit).result(WAIT)
        assert told.lines == ["1"]

    told.meanwhile = from_another_thread
    some.add(LOGGER, "%s", 1)
    some.add(LOGGER, "%s", 2)
    some.emit()
    assert told.lines == ["1", "2", "3"]
    assert not some.messages


def test_a_handler_that_raises(told: Told) -> None:
    some = News()

    def fault() -> None:
        raise RuntimeError("handler")

    told.meanwhile = fault
    some.add(LOGGER, "first")
    some.add(LOGGER, "second")
    with pytest.raises(RuntimeError, match="handler"):
        some.emit()
    some.emit()
    assert told.lines == ["first", "second"]


def test_more_than_handlers_take(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "_LIMIT", 2)
    some = News()
    for number in range(5):
        some.add(LOGGER, "%s", number)
    some.emit()
    some.add(LOGGER, "more")
    some.emit()
    lost = "3 messages were lost: handlers of the log are too slow"
    assert told.lines == ["0", "1", lost, "more"]
