"""Rows 32 to 37 of the fault table: RST_STREAM before, in and after a response."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame

from tests.support.exchanges import Moment, in_one_write, start
from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, serve
from tests.support.threads import WAIT

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 7, 8, 11, 13


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or b"answer"


ordinary = serve(answer)


# -- 32: REFUSED_STREAM ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "PURGE"])
@pytest.mark.parametrize("max_retries", [0, urllib3.Retry(False)], ids=["0", "False"])
def test_032_a_refused_stream_is_replayed_on_the_same_connection(
    make_session: MakeSession, peer: StartPeer, method: str, max_retries: Any
) -> None:
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.read_body(request)
        moment.now()
        conn.reset(request, REFUSED_STREAM)
        ordinary(conn)

    started = peer(script)
    session = make_session(max_retries=max_retries)
    response = session.request(method, started.url, data=b"body", timeout=WAIT)
    moment.assert_prompt()
    assert response.content == (b"" if method == "HEAD" else b"body")
    assert [request.stream_id for request in started.requests] == [1, 3]
    assert started.requests[0].fields == started.requests[1].fields
    assert bytes(started.requests[0].body) == bytes(started.requests[1].body) == b"body"
    assert started.accepted == 1


def test_032_informational_responses_do_not_count(
    session: requests.Session, peer: StartPeer
) -> None:
    """Before *final* headers: 103 (Early Hints) may come from a proxy that then cannot go on."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.informational(request, 103, {"link": "</x>"})
        conn.reset(request, REFUSED_STREAM)
        ordinary(conn)

    started = peer(script)
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert len(started.requests) == 2


def test_032_an_upload_that_had_begun(session: requests.Session, peer: StartPeer) -> None:
    """It stands at the window when it is refused, and starts over from the file's position."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < 65_535:
            conn.read_frame()
        conn.reset(request, REFUSED_STREAM)
        # What the refused stream used up of the connection's window.
        conn.window_update(0, request.received)
        ordinary(conn)

    started = peer(script)
    data = bytes(range(256)) * 1000
    file = io.BytesIO(b"skipped" + data)
    file.seek(7)
    assert session.post(started.url, data=file, timeout=WAIT).content == data
    assert [request.stream_id for request in started.requests] == [1, 3]
    assert not started.requests[0].ended
    # The refused stream got nothing more once the other one was open.
    conn = started.connection()
    second = conn.frames.index(conn.wait_for(HeadersFrame, stream_id=3))
    last = max(conn.frames.index(frame) for frame in conn.received(DataFrame, stream_id=1))
    assert last < second
    assert started.accepted == 1


def test_032_a_body_that_was_read_is_not_sent_again(
    session: requests.Session, peer: StartPeer
) -> None:
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.read_body(request)
        moment.now()
        conn.reset(request, REFUSED_STREAM)
        ordinary(conn)

    started = peer(script)
    with pytest.raises(requests.ConnectionError, match=r"REFUSED_STREAM \(0x7\)") as caught:
        session.post(started.url, data=iter([b"once"]), timeout=WAIT)
    moment.assert_prompt()
    assert "body" in str(caught.value)
    assert len(started.requests) == 1
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == 1


def test_032_one_refusal_keeps_the_connection(session: requests.Session, peer: StartPeer) -> None:
    """Siblings do not notice, and later requests use it."""

    def script(conn: PeerConnection) -> None:
        before, refused, after = conn.next_requests(3)
        conn.send_headers(before)
        conn.send_data(before, b"some ")
        conn.reset(refused, REFUSED_STREAM)
        conn.respond(conn.next_request(), 200, (), b"replayed")
        conn.respond(after, 200, (), b"after")
        conn.send_data(before, b"more", end_stream=True)
        ordinary(conn)

    started = peer(script)
    before = start(session, started, "/before", stream_id=1)
    refused = start(session, started, "/refused", stream_id=3)
    after = start(session, started, "/after", stream_id=5)
    assert refused.result(WAIT).content == b"replayed"
    assert before.result(WAIT).content == b"some more"
    assert after.result(WAIT).content == b"after"
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    paths = [request.path for request in started.requests]
    assert paths == ["/before", "/refused", "/after", "/refused", "/"]
    assert started.connection().received(RstStreamFrame) == []
    assert started.accepted == 1


@pytest.mark.parametrize("at_once", [True, False], ids=["two streams", "one request twice"])
def test_032_a_second_refusal_retires_the_connection(
    session: requests.Session, peer: StartPeer, at_once: bool
) -> None:
    """For new streams; a sibling finishes on it."""

    def script(conn: PeerConnection) -> None:
        sibling, refused = conn.next_requests(2)
        if at_once:
            other = conn.next_request()
            with in_one_write(conn):
                conn.reset(refused, REFUSED_STREAM)
                conn.reset(other, REFUSED_STREAM)
        else:
            conn.reset(refused, REFUSED_STREAM)
            conn.reset(conn.next_request(), REFUSED_STREAM)
        assert replayed.wait(WAIT)
        conn.respond(sibling, 200, (), b"sibling")
        conn.wait_eof()

    replayed = threading.Event()
    started = peer([script, ordinary])
    sibling = start(session, started, "/sibling", stream_id=1)
    refused = [start(session, started, "/refused", method="POST", stream_id=3)]
    if at_once:
        refused.append(start(session, started, "/refused", method="POST", stream_id=5))
    assert [future.result(WAIT).content for future in refused] == [b"answer"] * len(refused)
    assert session.get(started.url + "/next", timeout=WAIT).content == b"answer"
    replayed.set()
    assert sibling.result(WAIT).content == b"sibling"
    old, new = started.connections
    old.wait_eof()
    assert len(old.requests) == 3
    assert [request.path for request in new.requests] == ["/refused"] * len(refused) + ["/next"]


# -- 34: other resets before headers ---------------------------------------------------------------

RESETS = [
    (NO_ERROR, "NO_ERROR (0x0)"),
    (INTERNAL_ERROR, "INTERNAL_ERROR (0x2)"),
    (FLOW_CONTROL_ERROR, "FLOW_CONTROL_ERROR (0x3)"),
    (CANCEL, "CANCEL (0x8)"),
    (ENHANCE_YOUR_CALM, "ENHANCE_YOUR_CALM (0xb)"),
    (0xE, "0xe"),
    (0xBEEF, "0xbeef"),
    (2**32 - 1, "0xffffffff"),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("code", "name"), RESETS)
def test_034_a_reset_before_headers_is_an_error(
    session: requests.Session, peer: StartPeer, code: int, name: str, method: str
) -> None:
    """Never replayed, not even an idempotent request on a connection that worked before."""
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200, (), b"before")
        request = conn.next_request()
        conn.read_body(request)
        moment.now()
        conn.reset(request, code)
        ordinary(conn)

    started = peer(script)
    assert session.get(started.url, timeout=WAIT).content == b"before"
    with pytest.raises(requests.ConnectionError) as caught:
        session.request(method, started.url, data=b"body", timeout=WAIT)
    moment.assert_prompt()
    assert type(caught.value) is requests.ConnectionError
    text = str(caught.value.args[0].args[0])
    assert text.startswith(f"127.0.0.1:{started.port}: stream 3: ")
    assert name in text
    assert isinstance(caught.value.args[0], urllib3.exceptions.ProtocolError)
    assert len(started.requests) == 2
    # The connection is kept.
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert started.connection().received(RstStreamFrame) == []
    assert started.accepted == 1


@pytest.mark.parametrize("code", [NO_ERROR, INTERNAL_ERROR, CANCEL, 0xBEEF])
def test_034_siblings_do_not_notice(session: requests.Session, peer: StartPeer, code: int) -> None:
    def script(conn: PeerConnection) -> None:
        before, reset, after = conn.next_requests(3)
        conn.send_headers(before)
        conn.reset(reset, code)
        conn.respond(after, 200, (), b"after")
        conn.send_data(before, b"before", end_stream=True)

    started = peer(script)
    before = start(session, started, "/before", stream_id=1)
    reset = start(session, started, "/reset", stream_id=3)
    after = start(session, started, "/after", stream_id=5)
    with pytest.raises(requests.ConnectionError):
        reset.result(WAIT)
    assert before.result(WAIT).content == b"before"
    assert after.result(WAIT).content == b"after"
    assert len(started.requests) == 3


@pytest.mark.parametrize("code", [INTERNAL_ERROR, CANCEL])
def test_034_a_reset_of_an_upload(session: requests.Session, peer: StartPeer, code: int) -> None:
    """It stands at the window; what wakes it is the reset."""
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < 65_535:
            conn.read_frame()
        moment.now()
        conn.reset(request, code)
        conn.window_update(0, request.received)
        ordinary(conn)

    started = peer(script)
    with pytest.raises(requests.ConnectionError, match="stream 1"):
        session.post(started.url, data=bytes(100_000), timeout=WAIT)
    moment.assert_prompt()
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert len(started.requests) == 2
    assert started.accepted == 1


# -- 35: PROTOCOL_ERROR ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("answered", [False, True], ids=["before headers", "in the body"])
def test_035_protocol_error_retires_the_connection(
    session: requests.Session, peer: StartPeer, answered: bool, method: str
) -> None:
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        before, bad, after = conn.next_requests(3)
        conn.send_headers(before)
        if answered:
            conn.send_headers(bad)
            conn.send_data(bad, b"some")
        moment.now()
        conn.reset(bad, PROTOCOL_ERROR)
        assert elsewhere.wait(WAIT)
        conn.respond(after, 200, (), b"after")
        conn.send_data(before, b"before", end_stream=True)
        conn.wait_eof()

    elsewhere = threading.Event()
    started = peer([script, ordinary])
    before = start(session, started, "/before", stream_id=1)
    bad = start(session, started, "/bad", method=method, stream_id=3)
    after = start(session, started, "/after", stream_id=5)
    kind = requests.exceptions.ChunkedEncodingError if answered else requests.ConnectionError
    with pytest.raises(kind, match=r"stream 3: .*PROTOCOL_ERROR \(0x1\)"):
        bad.result(WAIT)
    moment.assert_prompt()
    assert session.get(started.url + "/next", timeout=WAIT).content == b"answer"
    elsewhere.set()
    assert before.result(WAIT).content == b"before"
    assert after.result(WAIT).content == b"after"
    old, new = started.connections
    old.wait_eof()
    assert old.received(GoAwayFrame)[-1].error_code == NO_ERROR
    assert old.received(RstStreamFrame) == []
    assert [request.path for request in old.requests] == ["/before", "/bad", "/after"]
    assert [request.path for request in new.requests] == ["/next"]


# -- 36: resets in the body ------------------------------------------------------------------------

IN_BODY = [
    NO_ERROR,
    INTERNAL_ERROR,
    REFUSED_STREAM,
    CANCEL,
    ENHANCE_YOUR_CALM,
    HTTP_1_1_REQUIRED,
    0xBEEF,
]


def read_content(response: requests.Response) -> bytes:
    return response.content


def read_lines(response: requests.Response) -> bytes:
    return b"".join(response.iter_lines())


def read_chunks(response: requests.Response) -> bytes:
    return b"".join(response.iter_content(3))


@pytest.mark.parametrize("together", [True, False], ids=["one read", "reads"])
@pytest.mark.parametrize("length", [None, "100"], ids=["no length", "length"])
@pytest.mark.parametrize("code", IN_BODY)
def test_036_a_reset_in_the_body_is_an_error(
    session: requests.Session, peer: StartPeer, code: int, length: str | None, together: bool
) -> None:
    """Code 0 as well, and REFUSED_STREAM: what has been answered is not replayed."""
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        for _ in range(2):
            request = conn.next_request()
            headers = {} if length is None else {"content-length": length}
            if together:
                moment.now()
                with in_one_write(conn):
                    conn.send_headers(request, 200, headers)
                    conn.send_data(request, b"partial")
                    conn.reset(request, code)
            else:
                conn.send_headers(request, 200, headers)
                conn.send_data(request, b"partial")
                conn.channel.wait_until_delivered()
                moment.now()
                conn.reset(request, code)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="stream 1: "):
        session.get(started.url, timeout=WAIT)
    moment.assert_prompt()
    # The server's opinion of the connection's load, or version, is no reason to leave it.
    response = session.get(started.url, stream=True, timeout=WAIT)
    chunks = response.iter_content(7)
    assert next(chunks) == b"partial"
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="stream 3: "):
        next(chunks)
    moment.assert_prompt()
    assert len(started.requests) == 2
    if code != REFUSED_STREAM:
        assert session.get(started.url, timeout=WAIT).content == b"next"
        assert started.accepted == 1


@pytest.mark.parametrize("code", [NO_ERROR, CANCEL])
@pytest.mark.parametrize("read", [read_content, read_lines, read_chunks])
def test_036_every_way_to_read_a_body_that_is_reset(
    session: requests.Session,
    peer: StartPeer,
    code: int,
    read: Callable[[requests.Response], bytes],
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"par\ntial")
        conn.reset(request, code)

    response = session.get(peer(script).url, stream=True, timeout=WAIT)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        read(response)


@pytest.mark.parametrize("code", [NO_ERROR, CANCEL])
@pytest.mark.parametrize("method", ["read", "read1", "stream", "readinto"])
def test_036_the_raw_response_of_a_body_that_is_reset(
    session: requests.Session, peer: StartPeer, code: int, method: str
) -> None:
    """All that came is there before the exception, which is urllib3's."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"partial")
        conn.reset(request, code)

    def pieces() -> Iterator[bytes]:
        if method == "stream":
            yield from raw.stream(7)
        elif method == "readinto":
            buffer = bytearray(7)
            while size := raw.readinto(buffer):
                yield bytes(buffer[:size])
        else:
            while piece := getattr(raw, method)(7):
                yield piece

    raw = session.get(peer(script).url, stream=True, timeout=WAIT).raw
    received = pieces()
    assert next(received) == b"partial"
    with pytest.raises(urllib3.exceptions.ProtocolError):
        next(received)


@pytest.mark.parametrize("code", IN_BODY)
def test_036_siblings_do_not_notice(session: requests.Session, peer: StartPeer, code: int) -> None:
    def script(conn: PeerConnection) -> None:
        requests_ = conn.next_requests(3)
        for request in requests_:
            conn.send_headers(request, 200, {"content-length": "10"})
            conn.send_data(request, b"12345")
        conn.reset(requests_[1], code)
        for request in (requests_[0], requests_[2]):
            conn.send_data(request, b"67890", end_stream=True)

    started = peer(script)
    futures = [
        start(session, started, f"/{number}", stream_id=2 * number + 1) for number in range(3)
    ]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        futures[1].result(WAIT)
    assert futures[0].result(WAIT).content == b"1234567890"
    assert futures[2].result(WAIT).content == b"1234567890"
    assert len(started.requests) == 3
    assert started.accepted == 1


# -- 37: a reset after the response ----------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("together", [True, False], ids=["one read", "reads"])
@pytest.mark.parametrize("status", [200, 413])
@pytest.mark.parametrize("code", [NO_ERROR, CANCEL])
def test_037_a_reset_after_the_response_stops_the_upload(
    session: requests.Session,
    peer: StartPeer,
    code: int,
    status: int,
    together: bool,
    streamed: bool,
) -> None:
    """RFC 9113 section 8.1: the response stands, the rest of the request is not wanted."""
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.expect(DataFrame)
        moment.now()
        if together:
            with in_one_write(conn):
                conn.respond(request, status, {"x": "y"}, b"whole")
                conn.reset(request, code)
        else:
            conn.respond(request, status, {"x": "y"}, b"whole")
            conn.channel.wait_until_delivered()
            conn.reset(request, code)
        conn.respond(conn.next_request(), 200, (), b"next")

    taken = 0

    def body() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield bytes(10_000)

    started = peer(script)
    response = session.post(
        started.url, data=body(), stream=streamed, timeout=WAIT, allow_redirects=False
    )
    assert (response.status_code, response.headers["x"]) == (status, "y")
    assert response.content == b"whole"
    moment.assert_prompt()
    # The connection's window is 65,535 octets, of which the peer gives none back.
    assert taken <= 8
    assert not started.requests[0].ended
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert len(started.requests) == 2
    assert started.accepted == 1


@pytest.mark.parametrize("code", [NO_ERROR, INTERNAL_ERROR, PROTOCOL_ERROR, REFUSED_STREAM])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_037_a_reset_after_the_end_of_both_halves_is_ignored(
    session: requests.Session, peer: StartPeer, streamed: bool, code: int
) -> None:
    """Twice each, and the connection is kept: the stream was closed."""

    def script(conn: PeerConnection) -> None:
        for _ in range(2):
            request = conn.next_request()
            with in_one_write(conn):
                conn.respond(request, 200, (), b"whole", trailers={"x": "y"})
                conn.reset(request, code)
                conn.reset(request, code)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    for _ in range(2):
        response = session.get(started.url, stream=streamed, timeout=WAIT)
        assert response.content == b"whole"
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert [request.stream_id for request in started.requests] == [1, 3, 5]
    assert started.connection().received(RstStreamFrame) == []
    assert started.accepted == 1


def test_037_a_response_without_content(session: requests.Session, peer: StartPeer) -> None:
    """END_STREAM on HEADERS, then the reset, while the upload stands at the window."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < 65_535:
            conn.read_frame()
        with in_one_write(conn):
            conn.send_headers(request, 204, end_stream=True)
            conn.reset(request, NO_ERROR)
        conn.window_update(0, request.received)
        ordinary(conn)

    started = peer(script)
    response = session.put(started.url, data=bytes(200_000), timeout=WAIT)
    assert (response.status_code, response.content) == (204, b"")
    assert session.post(started.url, data=b"next", timeout=WAIT).content == b"next"
    assert started.accepted == 1


def test_037_the_iterator_is_told_nothing(session: requests.Session, peer: StartPeer) -> None:
    """A body that is being produced when response and reset come: its thread does not read."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.expect(DataFrame)
        with in_one_write(conn):
            conn.respond(request, 200, (), b"whole")
            conn.reset(request, NO_ERROR)
        conn.channel.wait_until_delivered()
        answered.set()
        conn.respond(conn.next_request(), 200, (), b"next")

    def body() -> Iterator[bytes]:
        yield b"some"
        assert answered.wait(WAIT)
        yield b"more"
        yield b"even more"

    answered = threading.Event()
    started = peer(script)
    assert session.post(started.url, data=body(), timeout=WAIT).content == b"whole"
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.accepted == 1
