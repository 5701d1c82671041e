"""What the logger "requests_h2.frames" tells, while a test looks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.threads import until

FRAMES = "requests_h2.frames"


class FrameLines(logging.Handler):
    """Keeps every line; ``text``, ``sent`` and ``received`` are those of one connection."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def connections(self) -> list[str]:
        """What lines begin with, in order of appearance."""
        return list(dict.fromkeys(" ".join(line.split(" ")[:2]) for line in self.lines))

    @property
    def text(self) -> list[str]:
        """The lines, without the one connection that they are about."""
        (connection,) = self.connections
        return [line.removeprefix(f"{connection} ") for line in self.lines]

    @property
    def sent(self) -> list[str]:
        return [line[2:] for line in self.text if line.startswith("> ")]

    @property
    def received(self) -> list[str]:
        return [line[2:] for line in self.text if line.startswith("< ")]

    def wait_for(self, ending: str) -> None:
        """Until a line ends with that."""
        until(lambda: any(line.endswith(ending) for line in self.lines))


@contextmanager
def frame_lines() -> Iterator[FrameLines]:
    """The logger is on within the block."""
    logger = logging.getLogger(FRAMES)
    handler, before = FrameLines(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
