"""Single requests: methods, statuses, headers, cookies."""

from __future__ import annotations

import pytest
import requests

from tests.support.servers import Can, Document, Server

from .support import TIMEOUT, check, client_port, has_client_port, on, sha256


@on()
def test_get(server: Server, session: requests.Session, documents: dict[str, Document]) -> None:
    response = check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    assert response.raw.version_string == "HTTP/2"
    assert response.reason == "OK"
    assert response.headers["Content-Length"] == "1024"
    assert sha256([response.content]) == (1024, documents["1k"].sha256)


@on(Can.DYNAMIC)
def test_what_a_get_carries(server: Server, session: requests.Session) -> None:
    response = check(
        session.get(
            f"{server.url}/echo",
            params={"a": "1", "b": "two words"},
            headers={"X-Mixed-Case": "value"},
            timeout=TIMEOUT,
        )
    )
    echo = response.json()
    assert echo["method"] == "GET"
    assert echo["path"] == "/echo?a=1&b=two+words"
    assert ["x-mixed-case", "value"] in echo["headers"]
    assert echo["body"] == ""


@on(Can.DYNAMIC)
def test_post_json(server: Server, session: requests.Session) -> None:
    response = check(session.post(f"{server.url}/echo", json={"answer": [4, 2]}, timeout=TIMEOUT))
    echo = response.json()
    assert echo["method"] == "POST"
    assert echo["body"] == '{"answer": [4, 2]}'
    assert ["content-type", "application/json"] in echo["headers"]
    assert ["content-length", "18"] in echo["headers"]


@on(Can.ECHO_UPLOAD)
def test_post_json_echoed(server: Server, session: requests.Session) -> None:
    response = check(
        session.post(f"{server.url}/anywhere", json={"answer": [4, 2]}, timeout=TIMEOUT)
    )
    assert response.json() == {"answer": [4, 2]}


@on(Can.DYNAMIC)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods(server: Server, session: requests.Session, method: str) -> None:
    response = check(session.request(method, f"{server.url}/echo", data=b"body", timeout=TIMEOUT))
    assert response.json()["method"] == method
    assert response.json()["body"] == "body"


@on()
def test_head(server: Server, session: requests.Session) -> None:
    response = check(session.head(f"{server.url}/1k", timeout=TIMEOUT))
    assert response.headers["Content-Length"] == "1024"
    assert response.content == b""
    check(session.get(f"{server.url}/1k", timeout=TIMEOUT))


@on(Can.DYNAMIC)
def test_no_content(server: Server, session: requests.Session) -> None:
    response = check(session.get(f"{server.url}/status/204", timeout=TIMEOUT), status=204)
    assert response.content == b""
    assert response.reason == "No Content"


@on()
def test_not_modified(server: Server, session: requests.Session) -> None:
    first = check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    if "ETag" in first.headers:
        conditions = {"If-None-Match": first.headers["ETag"]}
    else:
        conditions = {"If-Modified-Since": first.headers["Last-Modified"]}
    second = session.get(f"{server.url}/1k", headers=conditions, timeout=TIMEOUT)
    check(second, status=304)
    assert second.content == b""


@on()
def test_not_found(server: Server, session: requests.Session) -> None:
    response = check(session.get(f"{server.url}/nowhere", timeout=TIMEOUT), status=404)
    with pytest.raises(requests.HTTPError, match="404 Client Error: Not Found for url"):
        response.raise_for_status()


@on(Can.RANGE)
def test_range(server: Server, session: requests.Session) -> None:
    whole = check(session.get(f"{server.url}/1k", timeout=TIMEOUT)).content
    response = check(
        session.get(f"{server.url}/1k", headers={"Range": "bytes=100-299"}, timeout=TIMEOUT),
        status=206,
    )
    assert response.headers["Content-Range"] == "bytes 100-299/1024"
    assert response.content == whole[100:300]


@on(Can.GZIP)
def test_gzip(server: Server, session: requests.Session, documents: dict[str, Document]) -> None:
    document = documents["text.txt"]
    # Named, because h2o prefers brotli where requests can decode it.
    headers = {"Accept-Encoding": "gzip"}
    response = check(session.get(f"{server.url}/text.txt", headers=headers, timeout=TIMEOUT))
    assert response.headers["Content-Encoding"] == "gzip"
    assert sha256([response.content]) == (document.size, document.sha256)
    assert response.raw.tell() < document.size


@on(Can.DYNAMIC)
def test_redirects(server: Server, session: requests.Session) -> None:
    response = check(session.get(f"{server.url}/redirect/3", timeout=TIMEOUT))
    assert [each.status_code for each in response.history] == [302] * 4
    assert response.url == f"{server.url}/echo"
    assert response.json()["path"] == "/echo"


@on(Can.DYNAMIC)
def test_cookies(server: Server, session: requests.Session) -> None:
    baked = check(session.get(f"{server.url}/cookies/set", timeout=TIMEOUT))
    assert baked.cookies.get_dict() == {"first": "1", "second": "two"}
    assert session.cookies.get_dict() == {"first": "1", "second": "two"}
    sent = check(session.get(f"{server.url}/cookies", timeout=TIMEOUT))
    assert sent.json() == {"first": "1", "second": "two"}


@on(Can.DYNAMIC)
def test_cookie_of_8_kib(server: Server, session: requests.Session) -> None:
    cookie = "x" * 8192
    baked = check(session.get(f"{server.url}/cookies/set?size=8192", timeout=TIMEOUT))
    assert baked.cookies["big"] == cookie
    # Twice: the second time HPACK may have it in its table.
    for _ in range(2):
        sent = check(session.get(f"{server.url}/cookies", timeout=TIMEOUT))
        assert sent.json()["big"] == cookie


@on()
def test_cookie_of_8_kib_to_a_file(server: Server, session: requests.Session) -> None:
    session.cookies.set("big", "x" * 8192)
    for _ in range(3):
        check(session.get(f"{server.url}/1k", timeout=TIMEOUT))


@on(Can.DYNAMIC)
def test_a_read_timeout_ends_one_request(server: Server, session: requests.Session) -> None:
    before = check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    with pytest.raises(requests.ReadTimeout):
        session.get(f"{server.url}/delay?ms=3000", timeout=(TIMEOUT, 0.2))
    after = check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    if has_client_port(server):
        assert client_port(after) == client_port(before)
