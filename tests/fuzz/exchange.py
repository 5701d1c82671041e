"""Requests against scripted connections, and what must be true of each whatever the script says."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import requests
import urllib3

from .frames import DATA, END_STREAM, Wire
from .stub import GOOD_BODY, StubServers

URL = "https://stub.invalid/path?query"
TIMEOUT = 0.04
#: Seconds that a request may take beyond its timeout, on a busy machine.
SLACK = 5.0

#: What may come out of a requests call, and of reading ``raw``.
DOCUMENTED = (requests.exceptions.RequestException,)
DOCUMENTED_RAW = (urllib3.exceptions.HTTPError,)


class Plan(NamedTuple):
    """One request and what is done with its response."""

    method: str = "GET"
    upload: int | None = None  # octets, by a generator
    reading: str = "content"  # or iter_content, lines, raw, partly, close, keep, drop


class Result(NamedTuple):
    response: requests.Response | None
    body: bytes
    error: Exception | None


@contextmanager
def no_pauses() -> Iterator[None]:
    """Replays without their waits, which would be all that a fuzz test does."""
    with mock.patch("requests_h2.replay._PAUSES", (0.0, 0.0, 0.0)):
        yield


def upload_of(size: int) -> Iterator[bytes]:
    while size > 0:
        yield b"u" * min(size, 10_000)
        size -= 10_000


def perform(session: requests.Session, plan: Plan, timeout: float = TIMEOUT) -> Result:
    """Raises whatever is not documented."""
    body = bytearray()
    response: requests.Response | None = None
    error: Exception | None = None
    began = time.monotonic()
    waits = 1
    try:
        response = session.request(
            plan.method,
            URL,
            data=None if plan.upload is None else upload_of(plan.upload),
            timeout=timeout,
            stream=plan.reading != "content",
            allow_redirects=False,
        )
        waits += _read(response, plan.reading, body)
    except DOCUMENTED as caught:
        error = caught
    except DOCUMENTED_RAW as caught:
        if response is None or plan.reading not in ("raw", "partly"):
            raise  # requests has to translate it
        error = caught
    took = time.monotonic() - began
    assert took < timeout * waits * 5 + SLACK, f"{took} s"
    assert error is None or len(str(error)) < 2000, "a message of the peer's making"
    return Result(response, bytes(body), error)


def _read(response: requests.Response, reading: str, body: bytearray) -> int:
    """Fills ``body``; returns how many waits there were."""
    waits = 0
    if reading == "content":
        body += response.content
    elif reading == "iter_content":
        for chunk in response.iter_content(1000):
            body += chunk
            waits += 1
    elif reading == "lines":
        list(response.iter_lines())
    elif reading == "raw":
        while chunk := response.raw.read1(700, decode_content=False):
            body += chunk
            waits += 1
        assert response.raw.read(10) == b""
    elif reading == "partly":
        body += response.raw.read(5, decode_content=False)
    if reading in ("raw", "partly", "close"):
        response.close()
        response.close()
    return waits


def contents(frames: list[Wire], stream_id: int) -> bytes:
    """All that a reader of this stream may ever get, in its order."""
    parts = []
    for frame in frames:
        if frame.kind == DATA and frame.stream_id & 0x7FFFFFFF == stream_id:
            parts.append(frame.content if frame.length is None else b"")
            if frame.flags & END_STREAM:
                break
    return b"".join(parts)


def assert_recovers(session: requests.Session, servers: StubServers) -> None:
    """A new request over a new connection works, and the old ones sent whole frames."""
    adapter: Any = session.get_adapter(URL)
    adapter.close()
    before = len(servers.sockets)
    response = session.get(URL, timeout=SLACK)
    assert len(servers.sockets) == before + 1
    assert response.content == GOOD_BODY
    assert response.raw.version == 20


@contextmanager
def verbose_log() -> Iterator[None]:
    """DEBUG switched on and thrown away: messages must be formattable, too."""
    log = logging.getLogger("requests_h2")
    handler = _Formatting()
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


class _Formatting(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        assert len(record.getMessage()) < 2000
