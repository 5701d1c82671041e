"""The blocks of docs/quickstart.rst."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from requests_h2 import HTTP2Adapter
from tests.support.pages import Example
from tests.support.peer import PeerConnection, Request, StartPeer, hold, serve

PAGE = "quickstart.rst"


def answer(request: Request) -> Any:
    """What was sent, or the path."""
    return 200, {}, bytes(request.body) or request.path.encode()


def test_a_session(example: Example, peer: StartPeer, capsys: pytest.CaptureFixture[str]) -> None:
    example(peer(serve(answer)).url)["session"].close()
    assert capsys.readouterr().out == "200 HTTP/2\n"


def test_many_at_once(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(answer))
    assert example(started.url, session=session)["statuses"] == [200] * 100
    assert started.accepted == 1
    assert {request.path for request in started.requests} == {f"/items/{n}" for n in range(100)}


def test_sending(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    folder: Path,
) -> None:
    (folder / "report.pdf").write_bytes(bytes(100_000))
    done = example(peer(serve(answer)).url, session=session)
    assert done["created"].json() == {"name": "lamp"}
    assert done["uploaded"].content == bytes(100_000)


def test_receiving_much(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    folder: Path,
) -> None:
    body = bytes(range(256)) * 1000
    started = peer(serve(lambda request: (200, {}, body)))
    example(started.url, session=session)
    assert (folder / "large.bin").read_bytes() == body


def silent(conn: PeerConnection) -> None:
    hold(conn)


def refusing(conn: PeerConnection) -> None:
    conn.reset(conn.next_request(), 2)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (silent, "too slow"),
        (refusing, "no answer"),
        (serve(lambda request: (503, {}, b"")), "status 503"),
        (serve(answer), "fine"),
    ],
)
def test_when_something_fails(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    monkeypatch: pytest.MonkeyPatch,
    script: Any,
    outcome: str,
) -> None:
    get = session.get
    # The block's ten seconds are for readers.
    monkeypatch.setattr(session, "get", lambda url, timeout: get(url, timeout=(timeout[0], 0.5)))
    done = example(peer(script).url, session=session, requests=requests)
    assert done["outcome"] == outcome


def test_retries(example: Example, session: requests.Session, peer: StartPeer) -> None:
    answers = iter([503, 200])
    started = peer(serve(lambda request: (next(answers), {}, b"")))
    example(session=session, HTTP2Adapter=HTTP2Adapter)
    assert session.get(started.url, timeout=10).status_code == 200
