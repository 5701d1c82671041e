"""What requests send as fields."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.support.peer import Request, StartPeer, serve


def ok(request: Request) -> Any:
    return 200, {}, b"ok"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods(session: requests.Session, peer: StartPeer, method: str) -> None:
    started = peer(serve(ok))
    response = session.request(method, started.url + "/path?q=1")
    assert response.status_code == 200
    assert response.content == (b"" if method == "HEAD" else b"ok")
    assert (response.raw.version, response.raw.version_string) == (20, "HTTP/2")
    assert started.request.method == method
    assert started.request.path == "/path?q=1"


def test_pseudo_header_fields(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(ok))
    session.get(started.url, params={"a": "b c"})
    names = [name for name, _ in started.request.fields]
    assert set(names[:4]) == {":method", ":scheme", ":authority", ":path"}
    assert not any(name.startswith(":") for name in names[4:])
    assert started.request.scheme == "https"
    assert started.request.authority == f"127.0.0.1:{started.port}"
    assert started.request.path == "/?a=b+c"


def test_field_names_are_lower_case(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(ok))
    session.get(started.url, headers={"X-MiXed": "Value"})
    assert ("x-mixed", "Value") in started.request.fields
    assert all(name == name.lower() for name, _ in started.request.fields)


def test_secrets_are_never_indexed(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(ok))
    cookies = {"session": "a-long-enough-cookie-value"}
    session.get(started.url, headers={"Authorization": "Bearer token"}, cookies=cookies)
    indexable = {
        field[0]: getattr(field, "indexable", True) for field in started.request.raw_fields
    }
    assert indexable[b"authorization"] is False
    assert indexable[b"cookie"] is False


def test_stream_ids_ascend(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(ok))
    for _ in range(3):
        session.get(started.url)
    assert [request.stream_id for request in started.requests] == [1, 3, 5]
