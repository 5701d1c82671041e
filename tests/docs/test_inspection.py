"""The blocks of docs/inspection.rst."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import requests

import requests_h2
from tests.support.har import checked
from tests.support.pages import ROOT, Example
from tests.support.peer import PeerConnection, StartPeer, hold, serve
from tests.support.threads import WAIT

PAGE = "inspection.rst"

answering = serve(lambda request: (200, {}, b"answer"))


def test_connection_info(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    capsys: pytest.CaptureFixture[str],
    engine: str,
) -> None:
    example(peer(answering).url, session=session)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith(f"HTTP/2 {engine} TLSv1.3 TLS_")
    assert second.endswith("stream 1, reused: False")
    assert third.startswith("0.")


def test_connections(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.goaway(request.stream_id, 11)
        conn.send_data(request, b"x")
        hold(conn)

    started = peer(script)
    with session.get(started.url, stream=True, timeout=WAIT) as response:
        assert response.raw.read(1) == b"x"
        example(started.url, session=session)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].endswith(f"{started.url.removeprefix('https://')}, 0 s old")
    assert shown[1:] == ["  1 of 100 streams", "  retired by the server with error code 11"]


def test_recording(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started = peer(answering)
    example(started.url, session=session)
    assert len(checked((folder / "trace.har").read_text(encoding="utf-8"))) == 1
    assert started.url in (folder / "trace.html").read_text(encoding="utf-8")
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_redact(example: Example, session: requests.Session, peer: StartPeer) -> None:
    names = example(peer(answering).url, session=session, requests_h2=requests_h2)
    (entry,) = names["recording"].entries
    assert ("X-Api-Key", "[redacted]") in entry.request_headers


@pytest.mark.extra("demo")
def test_what_the_picture_is_made_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("waterfall_picture", ROOT / "docs/waterfall.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.recorded(tmp_path) == tmp_path / "waterfall.html"
    entries = checked((tmp_path / "waterfall.har").read_text(encoding="utf-8"))
    assert len(entries) == 2 + len(script.PATHS)
    assert len({entry["connection"] for entry in entries}) == 1
    assert [entry["_pushed"] for entry in entries].count(True) == 1
    assert script.PICTURE.stat().st_size < 150 << 10
