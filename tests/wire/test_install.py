"""What ``install()`` does to programs that know nothing of it."""

from __future__ import annotations

from typing import Any

import pytest
import requests

import requests_h2
from tests.support.certs import Certificates
from tests.support.peer import PeerConnection, Request, StartPeer, serve


def answer(request: Request) -> Any:
    return 200, {}, request.path.encode()


@pytest.fixture(autouse=True)
def bundle(certs: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certs.ca_path)


def test_the_functions_of_requests_speak_http2(peer: StartPeer, engine: str) -> None:
    started = peer(serve(answer))
    with requests_h2.install(engine=engine):
        response = requests.get(started.url + "/path", timeout=10)
        assert (response.raw.version, response.content) == (20, b"/path")
    assert requests.get(started.url + "/path", timeout=10).raw.version == 11


def test_a_session_outlives_the_installation(peer: StartPeer, engine: str) -> None:
    started = peer(serve(answer))
    with requests_h2.install(engine=engine):
        session = requests.Session()
    with session:
        assert [session.get(started.url, timeout=10).raw.version for _ in range(2)] == [20, 20]
    assert started.accepted == 1


def test_hooks_of_session_and_request(peer: StartPeer, engine: str) -> None:
    def script(conn: PeerConnection) -> None:
        while True:
            request = conn.next_request()
            conn.informational(request, 103, {"link": "</style.css>"})
            conn.respond(request, 200)

    heard: list[str] = []
    with requests_h2.install(engine=engine), requests.Session() as session:
        session.hooks["informational"] = lambda *_, **__: heard.append("session")
        session.hooks["response"] = [lambda response, **_: response]
        hook = {"informational": lambda *_, **__: heard.append("request")}
        session.get(peer(script).url, hooks=hook, timeout=10)
    assert heard == ["session", "request"]
