"""The blocks of docs/from_hyper.rst: what hyper's calls have become."""

from __future__ import annotations

import gzip
import ssl
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from hyperframe.frame import WindowUpdateFrame

from requests_h2 import HTTP2Adapter
from tests.support.certs import Certificates
from tests.support.pages import Example
from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, promise, serve
from tests.support.threads import WAIT

PAGE = "from_hyper.rst"


def answer(request: Request) -> Any:
    """The path, or the body that was sent."""
    headers = {"content-type": "text/plain"}
    if request.path == "/page":
        return 200, headers, b"the page"
    return 200, headers, bytes(request.body) or request.path.encode()


ordinary = serve(answer)


def test_a_first_request(example: Example, peer: StartPeer) -> None:
    started = peer(ordinary)
    done = example(started.url)
    assert (done["status"], done["text"], done["kind"]) == (200, "the page", "text/plain")
    assert started.request.headers["accept"] == "text/plain"
    assert done["response"].raw.version == 20


def test_several_streams(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    assert example(started.url, session=session)["texts"] == ["/1", "/2", "/3"]
    assert started.accepted == 1


def test_streams_of_one_thread(
    example: Example, session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        first = conn.next_request()
        conn.send_headers(first)
        second = conn.next_request()
        conn.send_headers(second)
        conn.send_data(second, b"second", end_stream=True)
        conn.send_data(first, b"first", end_stream=True)

    assert example(peer(script).url, session=session)["texts"] == ["second", "first"]


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
def test_which_protocol(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    capsys: pytest.CaptureFixture[str],
    alpn: str,
) -> None:
    done = example(peer(ordinary, alpn=[alpn]).url, session=session)
    assert capsys.readouterr().out == ("HTTP/2\n" if alpn == "h2" else "")
    raw = done["response"].raw
    assert (dict(raw.trailers), raw.informational, raw.pushed) == ({}, [], False)


def test_with_requests(example: Example, peer: StartPeer) -> None:
    started = peer(ordinary)
    with requests.Session() as session:
        example(started.url, session=session)
        assert list(session.adapters) == [started.url, "https://", "http://"]
        assert session.get(started.url).raw.version == 20


def test_context_managers(example: Example, peer: StartPeer) -> None:
    started = peer(ordinary)
    assert example(started.url)["text"] == "the page"
    started.connection().wait_eof()


def test_frame_by_frame(example: Example, session: requests.Session, peer: StartPeer) -> None:
    page = gzip.compress(b"the page")
    sent = [page[:5], b"", page[5:], b""]

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"content-encoding": "gzip"})
        for data in sent[:-1]:
            conn.send_data(request, data)
        conn.send_data(request, sent[-1], end_stream=True)

    assert example(peer(script).url, session=session, parts=[])["parts"] == sent


def test_verification(
    example: Example, session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    context = certs.server_context(client_certificate=True)
    done = example(
        peer(ordinary, context=context).url,
        session=session,
        ca_file=certs.ca_path,
        client_file=certs.client_cert_path,
        key_file=certs.client_key_path,
    )
    assert done["response"].content == b"/"


def test_a_context(example: Example, peer: StartPeer, certs: Certificates) -> None:
    with requests.Session() as session:
        done = example(
            peer(ordinary).url, session=session, HTTP2Adapter=HTTP2Adapter, ca_file=certs.ca_path
        )
        assert done["response"].raw.version == 20
    assert done["context"].minimum_version is ssl.TLSVersion.TLSv1_3


def test_an_upload(
    example: Example, session: requests.Session, peer: StartPeer, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100 * 1024))
    started = peer(ordinary)
    done = example(started.url, session=session, path=path)
    assert done["response"].content == bytes(100 * 1024)
    assert started.request.headers["content-length"] == str(100 * 1024)


def test_piece_by_piece(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    assert example(started.url, session=session)["response"].content == b"one, two"
    assert started.request.headers["content-type"] == "text/plain"
    assert "content-length" not in started.request.headers


def test_compressed_content(example: Example, session: requests.Session, peer: StartPeer) -> None:
    page = gzip.compress(b"the page")
    started = peer(serve(lambda request: (200, {"content-encoding": "gzip"}, page)))
    assert example(started.url, session=session)["raw"] == page


def test_window_managers(example: Example, peer: StartPeer) -> None:
    body = bytes(3_000_000)
    started = peer(serve(lambda request: (200, {}, body)))
    with requests.Session() as session:
        done = example(started.url, session=session)
    assert done["response"].content == body
    quarter = 2**18
    updates = started.connection().received(WindowUpdateFrame, stream_id=1)
    assert updates
    assert all(quarter <= update.window_increment < quarter + 16_384 for update in updates)


def test_ping(
    example: Example, make_session: MakeSession, peer: StartPeer, certs: Certificates
) -> None:
    session = make_session(ssl_context=certs.client_context())
    assert 0 < example(peer(ordinary).url, session=session)["seconds"] < WAIT


def test_server_push(example: Example, session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        page = conn.next_request()
        style = promise(conn, page, 2, "/style.css")
        conn.send_headers(page, 200)
        conn.send_data(page, b"page")
        other = promise(conn, page, 4, "/other")
        conn.respond(style, 200, {}, b"p {}")
        while other.reset_code is None:
            conn.read_frame()
        conn.send_data(page, end_stream=True)

    started = peer(script)
    done = example(started.url, session=session, styles=[])
    assert done["styles"] == [b"p {}"]
    assert done["page"] == b"page"


# -- what the tables say -----------------------------------------------------------------------


def test_headers_of_responses(session: requests.Session, peer: StartPeer) -> None:
    fields = [("x-list", "a, b"), ("x-list", "c"), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")]
    response = session.get(peer(serve(lambda request: (200, fields, b""))).url)
    headers: urllib3.HTTPHeaderDict = response.raw.headers
    assert headers.getlist("X-List") == ["a, b", "c"]
    assert headers["x-list"] == response.headers["x-list"] == "a, b, c"
    assert [pair for pair in headers.iteritems() if pair[0] != "content-length"] == fields
    headers.add("x-list", "d")
    headers.extend({"x-list": "e"})
    assert headers.getlist("x-list") == ["a, b", "c", "d", "e"]
    headers["x-list"] = "f"
    assert headers.getlist("x-list") == ["f"]


def test_commas_are_sent_as_they_are(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    session.get(started.url + "/a,b?c,d", headers={"If-Modified-Since": date})
    assert started.request.path == "/a,b?c,d"
    assert ("if-modified-since", date) in started.request.fields


def test_host_replaces_the_authority(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    session.get(started.url, headers={"Host": "www.example.com"})
    assert started.request.authority == "www.example.com"


def test_nobody_gets_the_shared_socket(session: requests.Session, peer: StartPeer) -> None:
    response = session.get(peer(ordinary).url, stream=True)
    with pytest.raises(OSError, match="file descriptor"):
        response.raw.fileno()


def test_a_ca_file_that_is_not_there(session: requests.Session, peer: StartPeer) -> None:
    with pytest.raises(OSError, match="Could not find"):
        session.get(peer(ordinary).url, verify="no such file")
