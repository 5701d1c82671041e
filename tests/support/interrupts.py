"""Exceptions of signal handlers, raised in the main thread where a test wants them."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from tests.support.threads import WAIT


@contextlib.contextmanager
def interrupting(
    error: type[BaseException], where: Callable[[FrameType], bool]
) -> Iterator[Callable[[], None]]:
    """Yields what another thread calls: ``error`` is raised in the main thread, once, when that is
    ``where``. It returns when that was done.
    """
    struck, sending = threading.Event(), threading.Lock()

    def strike(number: int, frame: FrameType | None) -> None:
        if frame is not None and not struck.is_set() and where(frame):
            struck.set()
            raise error

    def interrupt() -> None:
        main, end = threading.main_thread().ident, time.monotonic() + WAIT
        assert main is not None
        with sending:
            # Not once: a signal that comes just before a system call does not end it.
            while not struck.wait(0.02):
                assert time.monotonic() < end, "the main thread never was there"
                signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, strike)
    try:
        yield interrupt
    finally:
        with sending:
            signal.signal(signal.SIGUSR1, before)
