"""The blocks of README.rst."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from requests_h2 import HTTP2Adapter
from tests.support.pages import Example
from tests.support.peer import StartPeer, serve

PAGE = "../README.rst"
BODY = bytes(100_000)

answer = serve(lambda request: (200, {}, BODY))


def test_in_short(example: Example, peer: StartPeer, capsys: pytest.CaptureFixture[str]) -> None:
    started = peer(answer)
    example(started.url)
    version, *sizes = capsys.readouterr().out.split("\n")
    assert version == "HTTP/2"
    assert sum(map(int, filter(None, sizes))) == len(BODY)
    assert started.accepted == 1


def test_recording(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    example(peer(answer).url, session=session)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert "<title>" in (folder / "trace.html").read_text(encoding="utf-8")


def test_one_line(example: Example, session: requests.Session, peer: StartPeer) -> None:
    example(session=session, HTTP2Adapter=HTTP2Adapter)
    assert session.get(peer(answer).url, timeout=10).raw.version == 20
