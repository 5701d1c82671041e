"""What must be as it was at the beginning when the load is over."""

from __future__ import annotations

import gc
import os
import pathlib
import socket
import time
from collections import Counter
from typing import Any

import requests

from requests_h2.connection import Connection
from requests_h2.flow_control import CONNECTION_WINDOW
from requests_h2.lease import Lease
from requests_h2.response import HTTP2Response
from requests_h2.stream import Stream
from requests_h2.stream_reader import StreamReader

from .control import PeerProcess

_PROC = pathlib.Path("/proc/self")
_OURS = (Connection, Stream, Lease, HTTP2Response, StreamReader)
_SETTLING = 20.0  # seconds for frames that are under way


def rss() -> int:
    """Resident memory in octets; 0 where /proc is not."""
    try:
        pages = int((_PROC / "statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    try:
        return len(os.listdir(_PROC / "fd"))
    except OSError:
        return 0


def objects() -> Counter[str]:
    """Instances alive of what exists once a connection or a request."""
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, _OURS))


def connections(session: requests.Session) -> list[Connection]:
    manager: Any = session.get_adapter("https://").poolmanager  # type: ignore[attr-defined]
    return [c for key in manager.pools.keys() for c in manager.pools.get(key)._origin._connections]  # noqa: SIM118


def unbalanced(session: requests.Session, peer: PeerProcess) -> list[str]:
    """What is not back in its place; asked again until frames under way have arrived."""
    deadline = time.monotonic() + _SETTLING
    while True:
        gc.collect()
        seen = peer.ask(connections=True)["connections"]
        wrong = [text for c in connections(session) for text in _unbalanced(c, seen)]
        if not wrong or time.monotonic() > deadline:
            return wrong


def _port(fileno: int) -> int:
    """The local port of a socket that stays open."""
    with socket.socket(fileno=os.dup(fileno)) as sock:
        port: int = sock.getsockname()[1]
    return port


def _unbalanced(connection: Connection, seen: dict[str, Any]) -> list[str]:
    connection.look()
    with connection._guard:
        if not connection.usable:
            return []
        port = _port(connection._pump._transport.fileno())
        engine: Any = connection._engine
        send_window = (
            engine._ngh2.remote_window_size if engine.name == "nghttp2" else engine._send_window
        )
        table = connection._table
        facts = {
            "streams of the engine": (engine.open_streams, 0),
            "streams of the table": (sorted(table._streams), []),
            "reservations": (table.reserved, 0),
            "unsent octets": (connection._pump.unsent, 0),
            "waiters for a stream": (len(connection.waiting._for_slots), 0),
            "blocked threads": (len(connection._pump._bells), 0),
            "thread that has the pump's role": (connection._pump._pumper, 0),
            "receive window": (
                engine._receive_window + CONNECTION_WINDOW - table.credit._window.window_size,
                CONNECTION_WINDOW,
            ),
        }
        at_peer = seen.get(str(port))
        if at_peer is not None:
            facts["send window"] = (send_window, at_peer["window"])
            facts["streams of the peer"] = (at_peer["streams"], [])
        return [f"port {port}: {name}: {a}, not {b}" for name, (a, b) in facts.items() if a != b]
