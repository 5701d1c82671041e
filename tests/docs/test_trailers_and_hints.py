"""The blocks of docs/trailers_and_hints.rst."""

from __future__ import annotations

import hashlib

import pytest
import requests

from tests.support.pages import Example
from tests.support.peer import PeerConnection, StartPeer, serve

PAGE = "trailers_and_hints.rst"
LINKS = ["</style.css>; rel=preload; as=style", "</script.js>; rel=preload; as=script"]

echo = serve(lambda request: (200, {}, bytes(request.body)))


def hint(conn: PeerConnection) -> None:
    request = conn.next_request()
    conn.informational(request, 103, [("link", link) for link in LINKS])
    conn.respond(request, 200, {}, b"page")


def test_informational_responses(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = example(peer(hint).url, session=session)
    assert capsys.readouterr().out == f"103 {LINKS}\n"
    assert done["response"].content == b"page"
    assert "link" not in done["response"].headers


def test_informational_hook(
    example: Example, peer: StartPeer, capsys: pytest.CaptureFixture[str]
) -> None:
    example(peer(hint).url)
    assert capsys.readouterr().out == ", ".join(LINKS) + "\n"


def test_response_trailers(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        assert request.headers["te"] == "trailers"
        conn.respond(request, 200, {}, b"body", trailers={"x-checksum": "1234"})

    example(peer(script).url, session=session)
    assert capsys.readouterr().out == "1234\n"


def test_request_trailers(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(echo)
    done = example(started.url, session=session)
    assert done["response"].content == b"first, second"
    assert started.request.trailers == [(b"x-parts", b"2")]


def test_late_request_trailers(
    example: Example, session: requests.Session, peer: StartPeer
) -> None:
    started = peer(echo)
    done = example(started.url, session=session)
    assert done["response"].content == b"first, second"
    digest = hashlib.sha256(b"first, second").hexdigest()
    assert started.request.trailers == [(b"x-sha256", digest.encode())]


def test_a_priority(example: Example, session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        assert request.headers["priority"] == "u=5"
        conn.send_headers(request, 200)
        while not conn.priority_updates:
            conn.read_frame()
        conn.send_data(request, b"soon", end_stream=True)

    started = peer(script)
    assert example(started.url, session=session)["body"] == b"soon"
    assert started.connection().priority_updates == [(1, b"u=1, i")]
