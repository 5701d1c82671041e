"""The blocks of docs/push.rst."""

from __future__ import annotations

import pytest
import requests
from hyperframe.frame import RstStreamFrame

import requests_h2
from tests.support.pages import Example
from tests.support.peer import PeerConnection, StartPeer, promise

PAGE = "push.rst"
CANCEL = 8


def site(conn: PeerConnection) -> None:
    """A page that comes with two pushes, one before its headers and one in its body."""
    page = conn.next_request()
    assert page.path == "/"
    style = promise(conn, page, 2, "/style.css")
    conn.respond(style, 200, {}, b"p {}")
    conn.send_headers(page, 200)
    conn.send_data(page, b"the ")
    script = promise(conn, page, 4, "/script.js")
    conn.send_data(page, b"page", end_stream=True)
    conn.respond(script, 200, {}, b"0")


def test_a_hook(example: Example, peer: StartPeer, capsys: pytest.CaptureFixture[str]) -> None:
    url = peer(site).url
    example(url)
    assert capsys.readouterr().out == f"{url}/style.css 200 4\n{url}/script.js 200 1\n"


def test_hooks_of_one_request(example: Example, session: requests.Session, peer: StartPeer) -> None:
    done = example(peer(site).url, session=session)
    assert done["response"].content == b"the page"
    assert [push.path for push in done["pushes"]] == ["/style.css", "/script.js"]
    assert [push.response().content for push in done["pushes"]] == [b"p {}", b"0"]


def test_claim_or_cancel(example: Example, session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        page = conn.next_request()
        style = promise(conn, page, 2, "/style.css")
        promise(conn, page, 4, "/script.js")
        conn.respond(style, 200, {}, b"p {}")
        conn.respond(page)

    started = peer(script)
    requests_h2.mount(session)
    done = example(started.url, session=session, styles=[])
    assert done["response"].status_code == 200
    assert done["styles"] == ["p {}"]
    assert started.connection().wait_for(RstStreamFrame, stream_id=4).error_code == CANCEL


def test_a_list(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    example(peer(site).url, session=session, requests_h2=requests_h2)
    assert capsys.readouterr().out == "/style.css 200\n/script.js 200\n"


def test_capture_all(example: Example, session: requests.Session, peer: StartPeer) -> None:
    requests_h2.mount(session, enable_push=True)
    done = example(peer(site).url, session=session, requests_h2=requests_h2)
    assert done["paths"] == ["/style.css", "/script.js"]
    assert done["page"] == b"the page"


def test_adoption(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started = peer(site)
    done = example(started.url, session=session, requests_h2=requests_h2)
    assert capsys.readouterr().out == "True\n"
    assert done["style"].content == b"p {}"
    assert started.request.path == "/"
