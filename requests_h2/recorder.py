"""``with record(session) as recording``: timings of requests, connections and pushes."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
from urllib3 import HTTPResponse

from .adapter import HTTP2Adapter
from .entries import Body, Entry, Sighting, redacted, without_credentials
from .exchange import Exchange
from .fields import SECRET_HEADERS
from .har import har_text
from .notes import Answered, Failed, error_text
from .register import version_of
from .response import HTTP2Response
from .waterfall import page_text, table_text


def record(session: requests.Session, *, redact: Iterable[str] = SECRET_HEADERS) -> Recording:
    """Record what the session does, in a ``with`` block::

        with requests_h2.record(session) as recording:
            session.get("https://www.example.com/", timeout=10)
        recording.save("trace.har")

    Recorded is what goes through the :class:`HTTP2Adapter` objects that are mounted on the session
    now, over HTTP/2 and HTTP/1.1, by any thread, and also by other sessions that have the same
    adapter. Content is never kept. Several recordings at once do not disturb each other.

    :param redact: names of headers whose values are replaced, in either direction.
    :raises ValueError: when no such adapter is mounted.
    :raises TypeError: when ``redact`` is a text, of whose letters nobody thinks as names, or when
        one of the names is no text, which would keep nothing secret.
    """
    if isinstance(redact, str | bytes):
        raise TypeError(f"redact takes a list of header names: [{redact!r}]")
    names = list(redact)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"redact takes header names as str, of which there are others: {names!r}")
    adapters = {id(one): one for one in session.adapters.values() if isinstance(one, HTTP2Adapter)}
    if not adapters:
        raise ValueError(
            "No HTTP2Adapter is mounted on this session, and others are not recorded: "
            "requests_h2.mount(session) mounts one"
        )
    return Recording(adapters.values(), names)


class Recording:
    """What has gone through the adapters during the block; see :func:`record`. Thread-safe.

    It can be looked at at any time. What is under way then is shown as far as it has come.
    """

    def __init__(self, adapters: Iterable[HTTP2Adapter], redact: Iterable[str]) -> None:
        # Weak: who keeps a recording does not keep connections open.
        self._adapters = [weakref.ref(adapter) for adapter in adapters]
        self._secret = frozenset(name.lower() for name in redact)
        self._zero, self._wall_zero = time.monotonic(), time.time()
        self._sightings: list[Sighting] = []  # only ever appended to, which is atomic
        self._on = False

    def __enter__(self) -> Recording:
        """Go on with it.

        :raises RuntimeError: inside its own block.
        """
        if self._on:
            raise RuntimeError("this recording is on already; record(session) makes another")
        self._on = True
        for adapter in self._living():
            adapter.observe(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for adapter in self._living():
            adapter.ignore(self)
        self._on = False

    def _living(self) -> Iterator[HTTP2Adapter]:
        return filter(None, (reference() for reference in self._adapters))

    @property
    def entries(self) -> list[Entry]:
        """One for each request that went out and each push, in the order of their beginnings."""
        now = time.monotonic()
        sightings = list(self._sightings)
        # A push that has answered a request is shown as that.
        adopted = {id(progress) for sighting in sightings for progress in sighting.progresses()}
        made = [
            entry
            for sighting in sightings
            for entry in sighting.entries(self._zero, now, adopted, self._secret)
        ]
        return sorted(made, key=lambda entry: entry.started)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file: ``.har`` for an HTTP Archive (HAR 1.2), ``.html`` for a page that shows a
        waterfall, and needs nothing but itself.

        :raises ValueError: for any other suffix; nothing is written.
        :raises OSError: when it cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".har":
            text = har_text(self.entries, self._wall_zero)
        elif suffix == ".html":
            text = page_text(self.entries, self._wall_zero)
        else:
            raise ValueError(f"A recording is saved as .har or .html, which {path!r} is not")
        Path(path).write_text(text, encoding="utf-8")

    def table(self) -> str:
        """A table for terminals, a line for each entry. Times are milliseconds."""
        return table_text(self.entries)

    def watch(self, exchange: Exchange) -> _Watch:
        """What the adapters call."""
        request = exchange.request
        assert exchange.notes is not None
        sighting = Sighting(
            method=request.method or "",
            # Fragments are not sent, and HAR leaves them out of URLs.
            url=without_credentials((request.url or "").partition("#")[0]),
            headers=redacted(
                [(_text(name), _text(value)) for name, value in request.headers.items()],
                self._secret,
            ),
            size=_body_size(request),
            began_at=time.monotonic(),
            notes=exchange.notes,
        )
        self._sightings.append(sighting)
        return _Watch(sighting)


class _Watch:
    """How one exchange ends."""

    def __init__(self, sighting: Sighting) -> None:
        self._sighting = sighting

    def failed(self, error: BaseException) -> None:
        self._sighting.failed = (time.monotonic(), Failed(error_text(error)))

    def answered(self, response: requests.Response) -> None:
        raw = response.raw
        if not isinstance(raw, HTTPResponse):
            # A library has put something else in the place of a server's response.
            answer = Answered("", response.status_code, list(response.headers.items()))
            self._sighting.body = Body(ended_at=time.monotonic())
        else:
            fields = list(raw.headers.items())
            answer = Answered(version_of(raw), response.status_code, fields)
            if not isinstance(raw, HTTP2Response):
                self._sighting.dial = getattr(raw, "connection_info", None)
                self._sighting.body = _Http1Body(raw)
        self._sighting.answered = (time.monotonic(), answer)


class _Http1Body(Body):
    """Told by urllib3, which lets go of the connection when the body is at its end."""

    def __init__(self, raw: HTTPResponse) -> None:
        super().__init__()
        self._raw = weakref.ref(raw)  # weak, because the response keeps the functions below
        self._in_chunks = 0  # octets, which tell() leaves out
        # What another recording has put there.
        self._next_end = vars(raw).get("release_conn")
        self._next_chunk = vars(raw).get("_handle_chunk")
        # The second is one that a cache has put in the place of a 304: urllib3 has no end to tell
        # of.
        if raw.closed or raw._original_response is None:
            self.ended_at = time.monotonic()
            return
        raw.release_conn = self._end  # type: ignore[method-assign]  # of this one
        if raw.chunked:
            raw._handle_chunk = self._chunk  # type: ignore[method-assign]  # as above

    def look(self) -> None:
        raw = self._raw()
        if raw is None:
            return
        left = getattr(raw._fp, "length", None)
        if isinstance(left, int) and raw.length_remaining is not None:
            # tell() counts when a read is over, which is after the end of the body.
            self.received = raw.tell() + raw.length_remaining - left
        else:
            self.received = raw.tell() + self._in_chunks

    def _end(self) -> None:
        self.ended_at = self.ended_at or time.monotonic()
        if (raw := self._raw()) is not None:
            self.look()
            self.remark = "closed before its end" if self._is_cut_off(raw) else ""
            if self._next_end is None:
                type(raw).release_conn(raw)
            else:
                self._next_end()

    def _chunk(self, amt: int | None) -> bytes:
        raw = self._raw()
        assert raw is not None  # it is the caller
        chunk: bytes
        if self._next_chunk is None:
            chunk = type(raw)._handle_chunk(raw, amt)
        else:
            chunk = self._next_chunk(amt)
        self._in_chunks += len(chunk)
        return chunk

    def _is_cut_off(self, raw: HTTPResponse) -> bool:
        """Whether the end was not reached, as far as what was read tells."""
        if self._in_chunks:
            return raw.chunk_left != 0  # the last chunk has no octets
        # What http.client has not read of a Content-Length, or where it is among chunks.
        left = getattr(raw._fp, "chunk_left" if raw.chunked else "length", None)
        return isinstance(left, int) and (raw.chunked or left > 0)


def _body_size(request: requests.PreparedRequest) -> int | None:
    """Octets, unless they are to be counted while they are sent."""
    length = request.headers.get("Content-Length")
    if length is not None and _text(length).isdigit():
        return int(length)
    return 0 if request.body is None else None


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
