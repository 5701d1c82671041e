"""What responses become: status, fields, cookies, redirects, and every legal shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests

from tests.support.peer import PeerConnection, Request, StartPeer, serve


def once(status: int = 200, headers: Any = (), body: bytes = b"") -> Callable[[Any], None]:
    """Answer each request with exactly this, Content-Length only when it is among the headers."""

    def script(conn: PeerConnection) -> None:
        while True:
            conn.respond(conn.next_request(), status, headers, body)

    return script


# -- status and fields --------------------------------------------------------------------


def test_values_are_latin_1(session: requests.Session, peer: StartPeer) -> None:
    response = session.get(peer(once(200, [(b"x-name", b"caf\xe9")])).url)
    assert response.headers["x-name"] == "café"


def test_elapsed_and_url(session: requests.Session, peer: StartPeer) -> None:
    url = peer(once()).url + "/here"
    response = session.get(url)
    assert 0 < response.elapsed.total_seconds() < 10
    assert response.url == url
    assert response.ok


def test_json(session: requests.Session, peer: StartPeer) -> None:
    headers = {"content-type": "application/json"}
    assert session.get(peer(once(200, headers, b'{"a": [1]}')).url).json() == {"a": [1]}


def test_continued_header_list(session: requests.Session, peer: StartPeer) -> None:
    headers = {f"x-{number}": "~" * 5000 for number in range(10)}
    response = session.get(peer(once(200, headers)).url)
    assert dict(response.headers) == headers


# -- cookies and redirects ----------------------------------------------------------------


def test_redirects(session: requests.Session, peer: StartPeer) -> None:
    def handler(request: Request) -> Any:
        hops = int(request.path[1:])
        if hops:
            headers = [("location", f"/{hops - 1}"), ("set-cookie", f"hop{hops}=x")]
            return 302, headers, b"moved"
        return 200, {}, b"end"

    started = peer(serve(handler))
    response = session.get(started.url + "/3")
    assert response.content == b"end"
    assert [each.status_code for each in response.history] == [302, 302, 302]
    assert [each.content for each in response.history] == [b"moved"] * 3
    assert set(session.cookies.get_dict()) == {"hop1", "hop2", "hop3"}
    assert started.accepted == 1
    assert session.get(started.url + "/1", allow_redirects=False).is_redirect


def test_redirect_to_another_origin(session: requests.Session, peer: StartPeer) -> None:
    there = peer(once(200, (), b"there"))
    here = peer(once(302, {"location": there.url + "/x"}))
    response = session.get(here.url, headers={"Authorization": "Bearer token"})
    assert response.content == b"there"
    assert "authorization" in here.request.headers
    assert "authorization" not in there.request.headers


# -- shapes of a response -----------------------------------------------------------------


def test_padding_and_tiny_frames(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"")
        conn.send_data(request, b"padded ", padding=200)
        conn.send_data(request, b"one by one", frame_size=1)
        conn.send_data(request, b"", padding=10, end_stream=True)

    assert session.get(peer(script).url).content == b"padded one by one"
