"""The shape of the package: imports point only downwards, and importing does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import requests_h2
from tests.support.pages import extension

rooms = extension("rooms")
PACKAGE = Path(requests_h2.__file__).parent
#: From the top down; a module imports from lower rows only.
LAYERS = (
    ("demo",),
    ("__main__",),
    ("doctor",),
    ("remedies",),
    ("witness",),
    ("__init__",),
    ("httpie", "install", "launch", "recorder"),
    ("har", "waterfall"),
    ("entries",),
    ("adapter",),
    ("pool_classes", "push"),
    ("cleartext",),
    ("pool",),
    ("origin", "replay"),
    ("coalescing", "lease"),
    ("response",),
    ("stream_reader",),
    ("body",),
    ("connection",),
    ("pushing", "receiving", "sending", "viewing"),
    ("managed_reading",),
    ("waiting",),
    ("keepalive",),
    ("stream_table",),
    ("credit",),
    ("stream",),
    ("ending",),
    ("managed_window", "promises"),
    ("pump",),
    ("poller",),
    ("frame_log",),
    ("engine.choice",),
    ("engine.h2_engine", "engine.nghttp2_engine"),
    ("engine.h2_client", "engine.field_blocks", "engine.nghttp2_client"),
    ("engine.nghttp2_gate",),
    ("engine.base",),
    ("engine.events", "engine.pushes", "frame_text"),
    ("engine.frames", "engine.__init__"),
    ("tls_in_tls",),
    ("options", "receive_buffer"),
    (
        "exchange",
        "fields",
        "flow_control",
        "fork",
        "frame_sizes",
        "framewise",
        "http1",
        "outbound",
        "tls",
    ),
    ("notes", "register", "transport", "unix_socket"),
    (
        "exceptions",
        "inspection",
        "news",
        "progress",
        "proxy_settings",
        "timeouts",
        "urllib3_future",
    ),
)
RANK = {name: row for row, names in enumerate(LAYERS) for name in names}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0] if parts[0] == "demo" else ".".join(parts)


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("room", rooms.rooms_of(PACKAGE), ids=lambda room: room.name)
def test_imports_point_downwards(room: rooms.Room) -> None:
    if room.name == "demo":
        return  # a program on top: it may import what it likes
    assert room.imports <= {other for other in RANK if RANK[other] > RANK[room.name]}


def test_importing_starts_nothing() -> None:
    code = (
        "import socket, threading\n"
        "def forbidden(*args, **kwargs): raise AssertionError('at import')\n"
        "socket.socket.__init__ = forbidden\n"
        "threading.Thread.start = forbidden\n"
        "import requests_h2\n"
        "import requests\n"
        "assert requests.hooks.HOOKS == ['response'], requests.hooks.HOOKS\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_what_writes_recordings_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys, requests_h2\n"
        "late = {'requests_h2.' + name for name in ('recorder', 'entries', 'har', 'waterfall')}\n"
        "assert not late & set(sys.modules), late & set(sys.modules)\n"
        "assert set(requests_h2.__all__) <= set(dir(requests_h2))\n"
        "assert not late & set(sys.modules)\n"
        "from requests_h2 import *\n"
        "assert record is requests_h2.record\n"
        "assert late <= set(sys.modules)\n"
        "assert not hasattr(requests_h2, 'recorders')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_what_shows_connections_is_imported_when_there_is_one() -> None:
    """Data classes would make importing the package half as dear again."""
    code = (
        "import sys, requests\n"
        "late = {'requests_h2.inspection', 'dataclasses', 'inspect'} - set(sys.modules)\n"
        "import requests_h2\n"
        "requests_h2.HTTP2Adapter(engine='h2')\n"
        "assert not late & set(sys.modules), late & set(sys.modules)\n"
        "assert requests_h2.GoAway(1, 0) == requests_h2.inspection.GoAway(1, 0)\n"
        "from requests_h2 import ConnectionInfo, OpenConnection\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_are_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 420
