"""Entries for people: a page with a waterfall, and a table for terminals."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from .entries import Entry, Phases, field_value, json_text, split_url
from .inspection import Address, Dial

_DATA = "/*DATA*/"  # where the template takes it
_URL_WIDTH = 48  # characters of a URL in the table


def page_text(entries: Sequence[Entry], zero: float) -> str:
    """A page of HTML that needs nothing but itself, and asks for nothing.

    URLs and what else came from servers are data of its script, which shows them as text only.

    :param zero: the wall clock's time, in seconds, from which the entries count.
    """
    from importlib import resources  # late: it is not small

    begun = datetime.datetime.fromtimestamp(zero, datetime.timezone.utc)
    dials = {entry.dial.connection_id: entry.dial for entry in entries if entry.dial is not None}
    data = {
        "begun": f"{begun:%Y-%m-%d %H:%M:%S} UTC",
        "connections": [_connection(dials[number]) for number in sorted(dials)],
        "entries": [_row(entry) for entry in entries],
    }
    # A script ends at "</", in a string too, and "<!--" begins something else in it.
    script = json_text(data).replace("<", "\\u003c").replace(">", "\\u003e")
    template = resources.files(__package__).joinpath("waterfall.html").read_text("utf-8")
    before, after = template.split(_DATA)
    return before + script + after


def _connection(dial: Dial) -> dict[str, Any]:
    return {
        "id": dial.connection_id,
        "origin": dial.origin,
        "alpn": dial.alpn,
        "tls": dial.tls_version,
        "cipher": dial.cipher,
        "peer": _address(dial.peer_address),
        "local": _address(dial.local_address),
        "dial": _milliseconds(dial.dial_time),
        "handshake": _milliseconds(dial.handshake_time),
    }


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "method": entry.method,
        "url": entry.url,
        "status": entry.status,
        "version": entry.http_version,
        "type": field_value(entry.response_headers, "content-type"),
        "connection": None if entry.dial is None else entry.dial.connection_id,
        "stream": entry.stream_id,
        "pushed": entry.pushed,
        "replays": entry.replays,
        "finished": entry.finished,
        "start": _milliseconds(entry.started),
        "phases": {
            name: _milliseconds(value) for name, value in vars(entry.phases).items() if value
        },
        "total": _milliseconds(entry.phases.total),
        "size": entry.response_size,
        "sent": entry.bytes_sent,
        "received": entry.bytes_received,
        "error": entry.error,
        "remark": entry.remark,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _address(address: Address | None) -> str | None:
    if not isinstance(address, tuple):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_COLUMNS = ("start", "method", "url", "status", "on", "octets", *vars(Phases()), "total", "")
_ALIGNED_LEFT = ("method", "url", "on", "")


def table_text(entries: Sequence[Entry]) -> str:
    """A line for each entry, below one with the names of the columns; times in milliseconds.

    ``on`` is the connection, and the stream behind a slash. Control characters are left out, for
    the terminal's sake.
    """
    rows = [_COLUMNS, *map(_cells, entries)]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell + " " * (width - _width(cell))
            if name in _ALIGNED_LEFT
            else " " * (width - _width(cell)) + cell
            for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _cells(entry: Entry) -> tuple[str, ...]:
    on = "" if entry.dial is None else str(entry.dial.connection_id)
    if entry.stream_id is not None:
        on += f"/{entry.stream_id}"
    size = entry.bytes_received if entry.bytes_received is not None else entry.response_size
    remarks = [
        "pushed" if entry.pushed else "",
        f"replayed {entry.replays}" if entry.replays else "",
        "" if entry.finished else "under way",
        entry.error or entry.remark,
    ]
    cells = (
        _time(entry.started),
        entry.method,
        _short(entry.url),
        str(entry.status or "-"),
        on,
        str(size),
        *map(_time, vars(entry.phases).values()),
        _time(entry.phases.total),
        "; ".join(filter(None, remarks)),
    )
    return tuple("".join(filter(str.isprintable, cell)) for cell in cells)


def _width(text: str) -> int:
    """Columns of a terminal: Chinese, say, takes two for each character, and accents none."""
    if text.isascii():
        return len(text)
    import unicodedata  # late, because it is hardly ever needed

    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}"


def _short(url: str) -> str:
    """Host and path, the middle left out when they are long."""
    parts = split_url(url)
    text = parts.netloc + parts.path + (f"?{parts.query}" if parts.query else "")
    if len(text) <= _URL_WIDTH:
        return text
    return f"{text[: _URL_WIDTH // 2 - 2]}...{text[-_URL_WIDTH // 2 + 1 :]}"
