"""What responses become: status, fields, cookies, redirects, and every legal shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.peer import PeerConnection, Request, StartPeer, serve


def once(status: int = 200, headers: Any = (), body: bytes = b"") -> Callable[[Any], None]:
    """Answer each request with exactly this, Content-Length only when it is among the headers."""

    def script(conn: PeerConnection) -> None:
        while True:
            conn.respond(conn.next_request(), status, headers, body)

    return script


# -- status and fields --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [(200, "OK"), (404, "Not Found"), (418, "I'm a Teapot"), (503, "Service Unavailable")],
)
def test_reasons_come_from_the_registry(
    session: requests.Session, peer: StartPeer, status: int, reason: str
) -> None:
    response = session.get(peer(once(status)).url)
    assert (response.status_code, response.reason, response.raw.reason) == (status, reason, reason)


def test_raise_for_status_reads_as_over_http1(session: requests.Session, peer: StartPeer) -> None:
    url = peer(once(404)).url + "/missing"
    with pytest.raises(requests.HTTPError) as caught:
        session.get(url).raise_for_status()
    assert str(caught.value) == f"404 Client Error: Not Found for url: {url}"


@pytest.mark.parametrize("status", [299, 499, 599, 999])
def test_unregistered_status(session: requests.Session, peer: StartPeer, status: int) -> None:
    response = session.get(peer(once(status)).url)
    assert response.status_code == status
    assert not response.reason


def test_header_access(session: requests.Session, peer: StartPeer) -> None:
    fields = [("content-type", "text/plain; charset=iso-8859-15"), ("x-a", "1"), ("x-a", "2")]
    response = session.get(peer(once(200, fields, b"\xa4")).url)
    assert response.headers["X-A"] == response.headers["x-a"] == "1, 2"
    assert response.raw.headers.getlist("x-A") == ["1", "2"]
    assert response.encoding == "iso-8859-15"
    assert response.text == "€"
    assert not any(name.startswith(":") for name in response.headers)


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


def test_cookies(session: requests.Session, peer: StartPeer) -> None:
    set_cookies = [("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2; Path=/; HttpOnly")]
    started = peer(once(200, set_cookies))
    response = session.get(started.url)
    assert response.cookies.get_dict() == {"a": "1", "b": "2"}
    assert session.cookies.get_dict() == {"a": "1", "b": "2"}
    session.get(started.url)
    sent = "; ".join(value for name, value in started.requests[1].fields if name == "cookie")
    assert sorted(sent.split("; ")) == ["a=1", "b=2"]


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


def test_trailers_are_kept_apart(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        trailers = [("x-checksum", "abc"), ("set-cookie", "late=1"), ("content-length", "9")]
        conn.respond(conn.next_request(), 200, {"x-head": "1"}, b"body", trailers=trailers)

    response = session.get(peer(script).url)
    assert response.content == b"body"
    assert dict(response.headers) == {"x-head": "1"}
    assert not response.cookies
    assert not session.cookies


def test_informational_responses_are_skipped(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.informational(request, 100)
        conn.informational(request, 103, {"link": "</style.css>"})
        conn.informational(request, 150)
        conn.respond(request, 200, {"x-final": "1"}, b"final")

    response = session.get(peer(script).url)
    assert (response.status_code, response.content) == (200, b"final")
    assert dict(response.headers) == {"x-final": "1"}


WITHOUT_BODY = [
    (method, status, length, ends_in_headers)
    for method, status in [("HEAD", 200), ("GET", 204), ("GET", 304), ("DELETE", 204)]
    for length in (None, "1000")
    for ends_in_headers in (True, False)
    # That one is malformed: 204 has no Content-Length, and nothing else to excuse it.
    if not (status == 204 and length and ends_in_headers)
]


@pytest.mark.parametrize(("method", "status", "length", "ends_in_headers"), WITHOUT_BODY)
def test_responses_without_a_body(
    session: requests.Session,
    peer: StartPeer,
    method: str,
    status: int,
    length: str | None,
    ends_in_headers: bool,
) -> None:
    def script(conn: PeerConnection) -> None:
        while True:
            request = conn.next_request()
            headers = {} if length is None else {"content-length": length}
            conn.send_headers(request, status, headers, end_stream=ends_in_headers)
            if not ends_in_headers:
                conn.send_data(request, end_stream=True)

    started = peer(script)
    for _ in range(2):
        response = session.request(method, started.url, timeout=5)
        assert (response.status_code, response.content) == (status, b"")
        if method == "HEAD":
            assert response.headers.get("content-length") == length
    assert started.accepted == 1


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_illegal_bodies_are_discarded(
    session: requests.Session, peer: StartPeer, method: str, status: int
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), status, (), b"illegal")
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    response = session.request(method, started.url, timeout=5)
    assert (response.status_code, response.content) == (status, b"")
    assert session.get(started.url).content == b"next"
    assert started.accepted == 1


def test_padding_and_tiny_frames(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"")
        conn.send_data(request, b"padded ", padding=200)
        conn.send_data(request, b"one by one", frame_size=1)
        conn.send_data(request, b"", padding=10, end_stream=True)

    assert session.get(peer(script).url).content == b"padded one by one"
