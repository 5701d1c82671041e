"""The blocks of docs/logging.rst, and the output that it shows."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest
import requests

from requests_h2 import HTTP2Adapter
from tests.support.frame_lines import FRAMES, FrameLines, frame_lines
from tests.support.pages import ROOT, Example
from tests.support.peer import StartPeer, serve

PAGE = "logging.rst"
_connection = re.compile(r"^\S+ #\d+ ")


@pytest.fixture
def log() -> Iterator[FrameLines]:
    logger = logging.getLogger(FRAMES)
    before = list(logger.handlers)
    with frame_lines() as lines:
        yield lines
    logger.handlers[:] = before


def test_frames(
    example: Example, session: requests.Session, peer: StartPeer, log: FrameLines
) -> None:
    settings = {"max_concurrent_streams": 128, "initial_window_size": 65_536}
    started = peer(serve(lambda request: (200, {"x": "y"}, bytes(20_000))), settings=settings)
    example(started.url, session=session)
    page = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    shown = [line.strip() for line in page.splitlines() if line.startswith("    www.example.com:")]
    assert sorted(_connection.sub("", line) for line in shown) == sorted(log.text)


def test_fields(
    example: Example, session: requests.Session, peer: StartPeer, log: FrameLines
) -> None:
    started = peer(serve(lambda request: (200, {}, b"")))
    example(started.url, session=session, HTTP2Adapter=HTTP2Adapter)
    (line,) = [line for line in log.sent if line.startswith("HEADERS")]
    assert line.startswith('HEADERS stream=1 END_STREAM 8 fields: :method="GET" :scheme="https" ')
    assert line.endswith(" authorization=(hidden)")
