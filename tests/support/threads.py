"""Threads of tests: every wait bounded, every exception seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
WAIT = 20.0
#: Seconds that "at once" may take on a busy machine; far from ``WAIT``.
PROMPT = 3.0


def background(function: Callable[[], T]) -> Future[T]:
    """Run in a daemon thread. ``.result(WAIT)`` gives the value or raises the exception."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def together(count: int, function: Callable[[int], T]) -> list[T]:
    """``function(0..count-1)``, started at the same moment in a thread each. Results in order."""
    barrier = threading.Barrier(count)

    def start(number: int) -> T:
        barrier.wait(WAIT)
        return function(number)

    futures = [background(lambda number=number: start(number)) for number in range(count)]  # type: ignore[misc]
    return [future.result(WAIT) for future in futures]


def until(condition: Callable[[], bool]) -> None:
    """Wait for a state that has no event."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.001)
