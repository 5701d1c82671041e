"""The blocks of docs/lifetimes.rst."""

from __future__ import annotations

from typing import Any

import requests
from hyperframe.frame import RstStreamFrame

import requests_h2
from tests.support.certs import Certificates
from tests.support.pages import Example
from tests.support.peer import PeerConnection, Request, StartPeer, promise, serve

PAGE = "lifetimes.rst"
BODY = bytes(3_000_000)


def answer(request: Request) -> Any:
    return 200, {}, b"small" if request.path == "/small" else BODY


def test_a_session(example: Example, peer: StartPeer) -> None:
    started = peer(serve(answer))
    assert example(started.url)["body"] == BODY
    started.connection().wait_eof()


def test_an_adapter(example: Example, peer: StartPeer, certs: Certificates) -> None:
    started = peer(serve(answer))
    done = example(started.url, ca_bundle=certs.ca_path)
    assert done["body"] == done["again"] == BODY
    assert started.accepted == 2
    started.connection(0).wait_eof()
    started.connection(1).wait_eof()


def test_a_response(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(answer))
    done = example(started.url, session=session)
    assert done["begin"] == BODY[:1000]
    assert done["small"].content == b"small"
    assert started.accepted == 1
    started.connection().wait_for(RstStreamFrame, stream_id=1)


def test_a_push(example: Example, session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        page = conn.next_request()
        style = promise(conn, page, 2, "/style.css")
        conn.send_headers(page, 200)
        conn.send_headers(style, 200)
        conn.expect(RstStreamFrame, stream_id=1)
        conn.send_data(style, b"p {}", end_stream=True)

    started = peer(script)
    requests_h2.mount(session, enable_push=True)
    done = example(started.url, session=session, requests_h2=requests_h2)
    assert done["style"] == b"p {}"
    started.connection().wait_eof()
