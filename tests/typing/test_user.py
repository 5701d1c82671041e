"""``user.py`` does what its types say; ``mypy`` and pyright check them in ``.ci/run``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import requests_h2
import requests_h2.adapter
from tests.support.certs import Certificates
from tests.support.peer import PeerConnection, StartPeer, hold, promise
from tests.typing import user


def test_it_runs(
    peer: StartPeer, certs: Certificates, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(conn: PeerConnection) -> None:
        page = conn.next_request()
        conn.informational(page, 103, [("link", "</style.css>")])
        style = promise(conn, page, 2, "/style.css")
        conn.respond(style, 200, {}, b"p {}")
        conn.respond(page, 200, {}, b"page")
        upload = conn.next_request()
        conn.respond(upload, 200, {}, conn.read_body(upload))
        hold(conn)

    monkeypatch.setattr(requests_h2.adapter, "choose", lambda name: engine)
    done = user.main(peer(script).url, certs.client_context())
    assert 0 < done.pop("seconds") < 5
    assert done == {
        "told": ["103 </style.css>", "/style.css"],
        "pushes": [b"p {}"],
        "echoed": b"one, two",
        "engine": engine,
        "mounted": True,
        "recorded": ["POST"],
        "reused": True,
        "retired": [],
        "version": requests_h2.__version__,
    }


def test_it_has_every_public_name() -> None:
    source = Path(user.__file__).read_text(encoding="utf-8")
    assert [name for name in requests_h2.__all__ if not re.search(rf"\b{name}\b", source)] == []
