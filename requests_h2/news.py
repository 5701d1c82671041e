"""What a connection has to tell the logs, kept until its lock is released.

Handlers of a log are others' code: one may make a request through the very session that it logs.
So a message is noted under the lock, and emitted by a thread that holds neither the lock nor the
pump's role, for which others wait.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

log = logging.getLogger("requests_h2")

_LIMIT = 1 << 16  # messages


class News:
    """Messages for loggers at DEBUG, in order."""

    def __init__(self) -> None:
        self.messages: deque[tuple[logging.Logger, tuple[Any, ...]]] = deque()
        """What is to be emitted."""
        self._lost = 0
        # Never waited for: who does not get it leaves its messages to who has it. So they stay in
        # order, and a handler that waits for another thread does not make that one wait for it.
        self._emitting = threading.Lock()

    def add(self, logger: logging.Logger, *message: Any) -> None:
        """Under the connection's lock. Beyond 65,536 of them they are only counted: then a handler
        takes its time, while other threads receive.
        """
        if len(self.messages) < _LIMIT:
            self.messages.append((logger, message))
        else:
            self._lost += 1

    def emit(self) -> None:
        """Under no lock."""
        while self.messages and self._emitting.acquire(blocking=False):
            try:
                while self.messages:
                    logger, message = self.messages.popleft()
                    logger.debug(*message)
                if self._lost:
                    lost, self._lost = self._lost, 0
                    log.debug("%d messages were lost: handlers of the log are too slow", lost)
            finally:
                self._emitting.release()
