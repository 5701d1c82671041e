"""gevent and eventlet, each with its monkey patches in a process of its own."""

from __future__ import annotations

import pytest

from tests.support.servers import Document, Server

from .support import run

pytestmark = pytest.mark.parametrize("server", ["caddy"], indirect=True)


@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_greenlets(server: Server, engine: str, kind: str, documents: dict[str, Document]) -> None:
    found = run("greenlets", kind, server.url, server.around.ca, engine)
    assert found["met"] == ["met"] * 30
    assert found["said"] == list(range(50))
    assert found["late"] == ["late"] * 3
    assert found["ticks"] > 10
    assert found["timed out"]
    assert found["cut off"] == ["late", True] * 2 + ["late"]
    text = documents["text.txt"]
    assert found["downloads"] == [[text.size, text.sha256]] * 5
    assert found["uploads"] == [500_000] * 5
    assert found["pool"] == list(range(20))
    assert found["connections"] == 1
