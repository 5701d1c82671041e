"""Requests in flight side by side, and what their callers get, for tests of faults."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any
from unittest import mock

import requests
from hyperframe.frame import HeadersFrame

from .peer import Peer, PeerConnection
from .threads import PROMPT, WAIT, background


class Moment:
    """When the peer did something (``now()`` comes just before it), for when the caller noticed."""

    def __init__(self) -> None:
        self._at: float | None = None

    def now(self) -> None:
        self._at = time.monotonic()

    def assert_prompt(self) -> None:
        assert self._at is not None, "the script has not come so far"
        assert time.monotonic() - self._at < PROMPT


def start(
    session: requests.Session,
    started: Peer,
    path: str,
    *,
    method: str = "GET",
    stream_id: int,
    connection: int = 0,
    **options: Any,
) -> Future[requests.Response]:
    """A request in a thread of its own; returns when the peer has got its HEADERS."""
    options = {"timeout": WAIT, **options}
    future = background(lambda: session.request(method, started.url + path, **options))
    started.connection(connection).wait_for(HeadersFrame, stream_id=stream_id)
    return future


@contextlib.contextmanager
def in_one_write(conn: PeerConnection) -> Iterator[None]:
    """What the block sends leaves as one TLS record, so that one read of the client holds it."""
    gathered = bytearray()
    with mock.patch.object(conn, "send_raw", gathered.extend):
        yield
    assert len(gathered) <= 16_384, "more than a TLS record holds"
    conn.send_raw(bytes(gathered))
