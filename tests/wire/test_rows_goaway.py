"""Rows 23 to 31 of the fault table: GOAWAY, lost connections, and what is sent again."""

from __future__ import annotations

import io
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from hyperframe.frame import (
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from urllib3.util import Retry

from requests_h2.body import RequestBody
from requests_h2.exceptions import FaultKind, StreamFault
from requests_h2.pool import HTTP2ConnectionPool
from requests_h2.replay import Replays
from tests.support.certs import Certificates
from tests.support.exchanges import Moment, in_one_write, start
from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, hold, serve
from tests.support.threads import PROMPT, WAIT, background, together, until

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 2, 7, 8
ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = 11, 12, 13
LAST_ID = 2**31 - 1
MIB = 2**20

ANY_METHOD = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH", "PURGE"]


LOST = pytest.mark.parametrize("way", ["close", "cut", "abort"])


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or b"answer"


ordinary = serve(answer)


def goaway_below(code: int = NO_ERROR, debug: bytes = b"") -> Any:
    def script(conn: PeerConnection) -> None:
        conn.read_body(conn.next_request())
        conn.goaway(0, code, debug)
        conn.wait_eof()

    return script


# -- 23: graceful shutdown -------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("answered", [False, True], ids=["waiting", "reading"])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "at once"])
def test_023_goaway_graceful_shutdown_finishes_accepted_streams(
    session: requests.Session, peer: StartPeer, announced: bool, answered: bool, count: int
) -> None:
    def script(conn: PeerConnection) -> None:
        requests_ = conn.next_requests(count)
        if answered:
            for request in requests_:
                conn.send_headers(request)
                conn.send_data(request, b"before ")
        for last_id in (LAST_ID, requests_[-1].stream_id)[not announced :]:
            conn.goaway(last_id)
            # RFC 9113 section 6.8: a round trip later the client has stopped.
            conn.ping(last_id.to_bytes(8, "big"))
            conn.wait_for(PingFrame, opaque_data=last_id.to_bytes(8, "big"))
        gone.set()
        assert elsewhere.wait(WAIT)
        for request in reversed(requests_):
            if not answered:
                conn.send_headers(request)
            conn.send_data(request, request.path.encode(), end_stream=True)
        conn.wait_eof()

    gone, elsewhere = threading.Event(), threading.Event()
    started = peer([script, ordinary])
    in_flight = [
        start(session, started, f"/{number}", stream_id=2 * number + 1) for number in range(count)
    ]
    assert gone.wait(WAIT)
    # No new stream there, although those that there are go on.
    for _ in range(3):
        assert session.post(started.url, data=iter([b"new"]), timeout=WAIT).content == b"new"
    elsewhere.set()
    before = b"before " if answered else b""
    for number, future in enumerate(in_flight):
        assert future.result(WAIT).content == before + f"/{number}".encode()
    conn = started.connection(0)
    conn.wait_eof()
    assert conn.received(GoAwayFrame)[-1].error_code == NO_ERROR
    assert conn.received(RstStreamFrame) == []
    assert len(conn.requests) == count
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == 2


@pytest.mark.parametrize("last_ids", [(LAST_ID,), (1,), (LAST_ID, 1), (LAST_ID, LAST_ID, 1, 1)])
def test_023_goaway_and_the_response_in_one_read(
    session: requests.Session, peer: StartPeer, last_ids: tuple[int, ...]
) -> None:
    """As servers do that end a connection after so many requests."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.read_body(request)
        with in_one_write(conn):
            for last_id in last_ids:
                conn.goaway(last_id)
            conn.respond(request, 200, {"x": "y"}, b"answer", trailers={"x": "end"})
        conn.wait_eof()

    started = peer(script)
    for _ in range(3):
        assert session.post(started.url, data=b"x", timeout=WAIT).content == b"answer"
    assert started.accepted == 3
    for conn in started.connections:
        conn.wait_eof()
        assert conn.received(RstStreamFrame) == []


def test_023_the_server_closes_after_the_last_response(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.goaway(request.stream_id)
        conn.respond(request, 200, (), b"answer")
        conn.close()

    started = peer(script)
    for _ in range(5):
        assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == 5


@pytest.mark.parametrize("requests_a_connection", [1, 10])
def test_023_a_server_that_ends_connections_every_few_requests(
    session: requests.Session, peer: StartPeer, requests_a_connection: int
) -> None:
    def script(conn: PeerConnection) -> None:
        for number in range(requests_a_connection):
            request = conn.next_request()
            conn.read_body(request)
            if number == requests_a_connection - 1:
                conn.goaway(request.stream_id)
            conn.respond(request, 200, (), bytes(request.body))
        conn.close()

    started = peer(script)
    for number in range(30):
        body = str(number).encode()
        assert session.post(started.url, data=body, timeout=WAIT).content == body
    assert started.accepted == 30 // requests_a_connection


def test_023_such_a_server_and_threads(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        for _ in range(10):
            request = conn.next_request()
            conn.read_body(request)
            conn.respond(request, 200, (), bytes(request.body))
        conn.goaway(request.stream_id)

    started = peer(script)

    def work(number: int) -> int:
        answered = 0
        for count in range(15):
            body = f"{number} {count}".encode()
            answered += session.post(started.url, data=body, timeout=WAIT).content == body
        return answered

    assert together(6, work) == [15] * 6


def test_023_a_threads_wait_for_a_stream_ends_with_goaway(
    make_session: MakeSession, peer: StartPeer
) -> None:
    """Who waits for a place on a full connection learns that there will be none."""
    session = make_session(pool_maxsize=1)
    started = peer([hold, ordinary], settings={"max_concurrent_streams": 1})
    first = start(session, started, "/first", stream_id=1)
    conn = started.connection(0)
    conn.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)
    second = background(lambda: session.post(started.url + "/second", data=b"x", timeout=WAIT))
    moment = Moment()
    moment.now()
    conn.goaway(1)
    assert second.result(WAIT).content == b"x"
    moment.assert_prompt()
    conn.respond(1, 200, (), b"first")
    assert first.result(WAIT).content == b"first"
    conn.wait_eof()
    assert [request.path for request in started.requests] == ["/first", "/second"]


# -- 24: what accepted streams still need from us --------------------------------------------------

AFTER = pytest.mark.parametrize("code", [NO_ERROR, INTERNAL_ERROR, ENHANCE_YOUR_CALM])


@AFTER
def test_024_data_goes_up_after_goaway(
    session: requests.Session, peer: StartPeer, code: int
) -> None:
    """Also what was waiting for the window when GOAWAY came."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < 65_535:
            conn.read_frame()
        conn.goaway(request.stream_id, code)
        body = conn.read_body(request)
        conn.respond(request, 200, (), str(len(body)).encode())
        conn.wait_eof()

    started = peer([script, ordinary])
    data = bytes(range(256)) * 2000
    assert session.post(started.url, data=data, timeout=WAIT).content == b"512000"
    assert started.request.body == data
    assert started.connection().received(RstStreamFrame) == []
    assert session.get(started.url).content == b"answer"
    assert started.accepted == 2


@AFTER
def test_024_credit_is_given_after_goaway(
    session: requests.Session, peer: StartPeer, code: int
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.goaway(request.stream_id, code)
        conn.send_headers(request)
        conn.send_body(request, bytes(5 * MIB))
        conn.wait_eof()

    started = peer(script)
    response = session.get(started.url, stream=True, timeout=WAIT)
    assert len(response.content) == 5 * MIB
    conn = started.connection()
    assert conn.received(WindowUpdateFrame, stream_id=1)
    assert conn.received(RstStreamFrame) == []


@AFTER
def test_024_streams_are_reset_after_goaway(
    session: requests.Session, peer: StartPeer, code: int
) -> None:
    """And the others go on."""

    def script(conn: PeerConnection) -> None:
        first, second, third = conn.next_requests(3)
        conn.goaway(third.stream_id, code)
        conn.send_headers(first)
        conn.send_data(first, b"some")
        conn.wait_for(RstStreamFrame, stream_id=first.stream_id, error_code=CANCEL)
        conn.wait_for(RstStreamFrame, stream_id=second.stream_id, error_code=CANCEL)
        conn.respond(third, 200, (), b"third")
        conn.wait_eof()

    started = peer(script)
    first = start(session, started, "/first", stream_id=1, stream=True)
    second = start(session, started, "/second", stream_id=3, timeout=0.5)
    third = start(session, started, "/third", stream_id=5)
    response = first.result(WAIT)
    assert next(response.iter_content(4)) == b"some"
    response.close()
    with pytest.raises(requests.exceptions.ReadTimeout):
        second.result(WAIT)
    assert third.result(WAIT).content == b"third"
    started.connection().wait_eof()


@AFTER
def test_024_ping_and_settings_are_acknowledged_after_goaway(
    session: requests.Session, peer: StartPeer, code: int
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        with in_one_write(conn):
            conn.ping(b"before  ")
            conn.goaway(request.stream_id, code)
            conn.ping(b"after   ")
            conn.settings(initial_window_size=100_000)
        for data in (b"before  ", b"after   "):
            conn.wait_for(PingFrame, lambda frame: "ACK" in frame.flags, opaque_data=data)
        acks = 0
        while acks < 2:
            acks = sum("ACK" in frame.flags for frame in conn.received(SettingsFrame))
            if acks < 2:
                conn.read_frame()
        conn.respond(request, 200, (), b"answer")
        conn.wait_eof()

    assert session.get(peer(script).url, timeout=WAIT).content == b"answer"


# -- 25: not processed, so sent again --------------------------------------------------------------


@pytest.mark.parametrize("max_retries", [0, Retry(0), Retry(0, read=False), Retry(False)], ids=str)
def test_025_a_request_above_the_last_id_is_replayed(
    make_session: MakeSession, peer: StartPeer, max_retries: Any
) -> None:
    """Whatever the user's Retry says: the server has not seen it."""
    session = make_session(max_retries=max_retries)
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        conn.read_body(conn.next_request())
        moment.now()
        conn.goaway(0)
        conn.wait_eof()

    started = peer([script, ordinary])
    assert session.post(started.url, data=b"body", timeout=WAIT).content == b"body"
    moment.assert_prompt()
    assert [bytes(request.body) for request in started.requests] == [b"body", b"body"]
    assert started.accepted == 2


@pytest.mark.parametrize("method", ANY_METHOD)
def test_025_any_method_is_replayed(
    session: requests.Session, peer: StartPeer, method: str
) -> None:
    started = peer([goaway_below(), ordinary])
    response = session.request(method, started.url, data=b"body", timeout=WAIT)
    assert response.content == (b"" if method == "HEAD" else b"body")
    assert [request.method for request in started.requests] == [method] * 2
    assert started.requests[0].fields == started.requests[1].fields


def text_file() -> io.BytesIO:
    file = io.BytesIO(b"0123456789")
    file.seek(4)
    return file


BODIES: dict[str, tuple[Callable[[], Any], bytes]] = {
    "none": (lambda: None, b""),
    "bytes": (lambda: b"456789", b"456789"),
    "str": (lambda: "456789", b"456789"),
    "form": (lambda: {"a": "b"}, b"a=b"),
    "bytearray": (lambda: bytearray(b"456789"), b"456789"),
    "memoryview": (lambda: memoryview(b"456789"), b"456789"),
    "file": (text_file, b"456789"),
    "long": (lambda: bytes(range(256)) * 200, bytes(range(256)) * 200),
    "long file": (lambda: io.BytesIO(bytes(range(256)) * 200), bytes(range(256)) * 200),
}


@pytest.mark.parametrize(("body", "sent"), BODIES.values(), ids=BODIES)
def test_025_bodies_that_can_be_sent_again(
    session: requests.Session, peer: StartPeer, body: Callable[[], Any], sent: bytes
) -> None:
    started = peer([goaway_below(), ordinary])
    assert session.put(started.url, data=body(), timeout=WAIT).content == (sent or b"answer")
    assert [bytes(request.body) for request in started.requests] == [sent] * 2


def test_025_an_upload_that_had_begun(session: requests.Session, peer: StartPeer) -> None:
    """It stands at the window when GOAWAY comes."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < 65_535:
            conn.read_frame()
        conn.goaway(0)
        conn.wait_eof()

    started = peer([script, ordinary])
    data = bytes(range(256)) * 1000
    assert session.post(started.url, data=io.BytesIO(data), timeout=WAIT).content == data
    assert not started.requests[0].ended
    assert started.accepted == 2


class Pipe:
    """A file that cannot be rewound."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(100), b"")

    def tell(self) -> int:
        raise OSError("a pipe")


@pytest.mark.parametrize("body", [lambda: iter([b"once"]), lambda: Pipe(b"once")])
def test_025_a_body_that_was_read_is_not_sent_again(
    session: requests.Session, peer: StartPeer, body: Callable[[], Any]
) -> None:
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        conn.read_body(conn.next_request())
        moment.now()
        conn.goaway(0, NO_ERROR, b"restart")
        conn.wait_eof()

    started = peer([script, ordinary])
    with pytest.raises(requests.ConnectionError) as caught:
        session.post(started.url, data=body(), timeout=WAIT)
    moment.assert_prompt()
    text = str(caught.value)
    assert f"127.0.0.1:{started.port}: stream 1: not processed" in text
    assert "GOAWAY with NO_ERROR (0x0)" in text
    assert "restart" in text
    # Why it was not sent again, although it was not processed.
    assert "body" in text
    assert started.accepted == 1


def test_025_a_body_that_was_not_read_yet(session: requests.Session, peer: StartPeer) -> None:
    """Not touched while the client waits for 100 (Continue), so it is still whole."""

    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.goaway(0)
        conn.wait_eof()

    started = peer([script, ordinary])
    response = session.post(
        started.url, data=iter([b"once"]), headers={"expect": "100-continue"}, timeout=WAIT
    )
    assert response.content == b"once"
    assert started.requests[0].received == 0
    assert started.accepted == 2


def test_025_only_what_is_above_the_last_id(session: requests.Session, peer: StartPeer) -> None:
    """Of five in flight two were accepted; each of the others is sent once more, once."""

    def script(conn: PeerConnection) -> None:
        requests_ = conn.next_requests(5)
        conn.send_headers(requests_[0])
        with in_one_write(conn):
            conn.goaway(3)
            # Nobody's any more.
            conn.respond(requests_[4], 200, (), b"wrong")
        for request in requests_[:2]:
            if request is not requests_[0]:
                conn.send_headers(request)
            conn.send_data(request, b"accepted", end_stream=True)
        conn.wait_eof()

    started = peer([script, serve(lambda request: (200, {}, b"replayed"))])
    futures = [
        start(session, started, f"/{number}", method="POST", stream_id=2 * number + 1)
        for number in range(5)
    ]
    bodies = [future.result(WAIT).content for future in futures]
    assert bodies == [b"accepted"] * 2 + [b"replayed"] * 3
    started.connection(0).wait_eof()
    assert sorted(request.path for request in started.connection(1).requests) == ["/2", "/3", "/4"]
    assert started.accepted == 2


def test_025_not_after_an_answer(session: requests.Session, peer: StartPeer) -> None:
    """A server that has answered, if only in part, has processed it whatever it says."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"some")
        conn.goaway(0)
        conn.wait_eof()

    started = peer([script, ordinary])
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="GOAWAY"):
        session.get(started.url, timeout=WAIT)
    assert len(started.requests) == 1


# -- 26: GOAWAY with an error ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (PROTOCOL_ERROR, "PROTOCOL_ERROR (0x1)"),
        (INTERNAL_ERROR, "INTERNAL_ERROR (0x2)"),
        (ENHANCE_YOUR_CALM, "ENHANCE_YOUR_CALM (0xb)"),
        (INADEQUATE_SECURITY, "INADEQUATE_SECURITY (0xc)"),
        (0xBEEF, "0xbeef"),
        (2**32 - 1, "0xffffffff"),
    ],
)
@pytest.mark.parametrize("closes", [True, False], ids=["closes", "waits"])
def test_026_no_replay_of_a_connections_first_request(
    session: requests.Session, peer: StartPeer, code: int, name: str, closes: bool
) -> None:
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        conn.next_request()
        moment.now()
        conn.goaway(0, code, b"too many of you")
        if closes:
            conn.close()
        else:
            conn.wait_eof()

    started = peer([script, ordinary])
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(started.url, timeout=WAIT)
    moment.assert_prompt()
    assert not isinstance(caught.value, requests.Timeout)
    assert f"127.0.0.1:{started.port}: stream 1: " in str(caught.value)
    assert f"GOAWAY with {name}" in str(caught.value) or f"code {name}" in str(caught.value)
    assert "too many of you" in str(caught.value)
    assert len(started.requests) == 1
    # The next request is another matter.
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == 2


@pytest.mark.parametrize(
    ("debug", "shown"),
    [
        (b'say "hi"\r\nx: \x1b[31m\0\\', ["\\r\\n", "\\x1b[31m", "\\x00", "\\\\"]),
        (b"\xff\xfe\xc3\xa9", ["\\xff"]),
        (b"~" * 10_000, ["~" * 200 + "..."]),
        (b"", []),
    ],
)
def test_026_debug_text_is_escaped_and_cut(
    session: requests.Session, peer: StartPeer, debug: bytes, shown: list[str]
) -> None:
    started = peer(goaway_below(INTERNAL_ERROR, debug))
    with pytest.raises(requests.ConnectionError) as caught:
        session.post(started.url, data=b"x", timeout=WAIT)
    fault = caught.value.args[0].args[0]
    assert fault.isprintable()
    assert fault.isascii()
    assert len(fault) < 1000
    assert ("debug" in fault) == bool(debug)
    for each in shown:
        assert each in fault


def test_026_a_later_request_is_replayed(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        conn.next_request()
        conn.goaway(1, ENHANCE_YOUR_CALM)
        conn.wait_eof()

    started = peer([script, ordinary])
    session.get(started.url)
    assert session.post(started.url, data=b"body", timeout=WAIT).content == b"body"
    assert started.accepted == 2


def test_026_the_replay_is_the_first_of_its_connection(
    session: requests.Session, peer: StartPeer
) -> None:
    """So a server that sends GOAWAY with an error to everything is asked twice, not for ever."""

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        conn.next_request()
        conn.goaway(1, ENHANCE_YOUR_CALM)
        conn.wait_eof()

    started = peer([script, goaway_below(ENHANCE_YOUR_CALM), ordinary])
    session.get(started.url)
    with pytest.raises(requests.ConnectionError, match="ENHANCE_YOUR_CALM"):
        session.get(started.url, timeout=WAIT)
    assert [len(conn.requests) for conn in started.connections] == [2, 1]


def test_026_the_first_fails_and_its_siblings_are_replayed(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_requests(3)
        conn.goaway(0, INTERNAL_ERROR)
        conn.wait_eof()

    started = peer([script, ordinary])
    futures = [
        start(session, started, f"/{number}", stream_id=2 * number + 1) for number in range(3)
    ]
    with pytest.raises(requests.ConnectionError, match=r"INTERNAL_ERROR \(0x2\)"):
        futures[0].result(WAIT)
    assert [future.result(WAIT).content for future in futures[1:]] == [b"answer"] * 2
    assert sorted(request.path for request in started.connection(1).requests) == ["/1", "/2"]
    assert started.accepted == 2


@pytest.mark.parametrize("last_id", [1, LAST_ID])
@pytest.mark.parametrize("answered", [False, True], ids=["before headers", "in the body"])
@LOST
def test_026_goaway_for_an_accepted_stream_and_the_end(
    session: requests.Session, peer: StartPeer, way: str, answered: bool, last_id: int
) -> None:
    """How most servers report a connection error: what they said last is why the stream failed."""
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.read_body(request)
        if answered:
            conn.send_headers(request)
        conn.goaway(last_id, PROTOCOL_ERROR, b"bad field")
        conn.channel.wait_until_delivered()
        moment.now()
        getattr(conn, way)()

    started = peer([script, ordinary])
    kind = requests.exceptions.ChunkedEncodingError if answered else requests.ConnectionError
    with pytest.raises(kind) as caught:
        session.post(started.url, data=b"x", timeout=WAIT)
    moment.assert_prompt()
    assert "stream 1" in str(caught.value)
    assert "PROTOCOL_ERROR (0x1)" in str(caught.value)
    assert "bad field" in str(caught.value)
    assert started.accepted == 1


# -- 28: the end of an idle connection -------------------------------------------------------------


def goaway_and_close(conn: PeerConnection) -> None:
    conn.goaway(1)
    conn.close()


def error_and_abort(conn: PeerConnection) -> None:
    conn.goaway(1, INTERNAL_ERROR, b"crash")
    conn.channel.wait_until_delivered()
    conn.abort()


IDLE_ENDS: dict[str, Callable[[PeerConnection], None]] = {
    "goaway": lambda conn: conn.goaway(1),
    "announced": lambda conn: conn.goaway(LAST_ID),
    "goaway error": lambda conn: conn.goaway(1, ENHANCE_YOUR_CALM),
    "goaway 0": lambda conn: conn.goaway(0, PROTOCOL_ERROR),
    "close": lambda conn: conn.close(),
    "cut": lambda conn: conn.cut(),
    "goaway and close": goaway_and_close,
    "goaway and abort": error_and_abort,
    "nonsense": lambda conn: conn.send_raw(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
}


class EndsWhenTold:
    """A script that answers one request and ends its connection when ``end()`` says so."""

    def __init__(self, way: str) -> None:
        self._way = way
        self._told, self._done = threading.Event(), threading.Event()

    def __call__(self, conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200, (), b"first")
        assert self._told.wait(WAIT)
        if self._way in ("goaway", "error"):
            conn.goaway(1, NO_ERROR if self._way == "goaway" else INTERNAL_ERROR)
        else:
            # In the thread that reads: a poll in progress would keep the socket alive.
            getattr(conn, self._way)()
        if self._way != "abort":
            conn.channel.wait_until_delivered()
        self._done.set()

    def end(self) -> None:
        self._told.set()
        assert self._done.wait(WAIT)


def by_generator() -> dict[str, Any]:
    return {"method": "POST", "data": iter([b"once"])}


def by_get() -> dict[str, Any]:
    return {"method": "GET"}


@pytest.mark.parametrize("request_", [by_generator, by_get], ids=["POST", "GET"])
@pytest.mark.parametrize("end", IDLE_ENDS.values(), ids=IDLE_ENDS)
def test_028_an_ended_idle_connection_costs_nothing(
    session: requests.Session,
    peer: StartPeer,
    end: Callable[[PeerConnection], None],
    request_: Callable[[], dict[str, Any]],
) -> None:
    """Not even a POST whose body cannot be sent twice."""
    started = peer(ordinary)
    session.get(started.url)
    conn = started.connection()
    end(conn)
    conn.channel.wait_until_delivered()
    response = session.request(url=started.url, timeout=WAIT, **request_())
    assert response.status_code == 200
    assert [len(each.requests) for each in started.connections] == [1, 1]
    assert started.accepted == 2


def test_028_an_aborted_idle_connection_costs_nothing(
    session: requests.Session, peer: StartPeer
) -> None:
    script = EndsWhenTold("abort")
    started = peer([script, ordinary])
    session.get(started.url)
    script.end()
    assert session.post(started.url, data=iter([b"once"]), timeout=WAIT).content == b"once"
    assert started.accepted == 2


def test_028_a_body_is_not_touched_before_a_connection_stands(
    session: requests.Session, peer: StartPeer
) -> None:
    """The first connection is found dead; the generator must still be whole for the second."""
    taken = []

    def body() -> Iterator[bytes]:
        taken.append(started.accepted)
        yield b"once"

    started = peer(ordinary)
    session.get(started.url)
    conn = started.connection()
    conn.goaway(1)
    conn.close()
    conn.channel.wait_until_delivered()
    assert session.post(started.url, data=body(), timeout=WAIT).content == b"once"
    assert taken == [2]


@pytest.fixture
def before_headers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], None]], None]:
    """``before_headers(act)``: once, with the lease, between the check-out and the HEADERS."""
    original = HTTP2ConnectionPool._validate_conn

    def install(act: Callable[[Any], None]) -> None:
        def validate(pool: Any, lease: Any) -> None:
            monkeypatch.setattr(HTTP2ConnectionPool, "_validate_conn", original)
            act(lease)
            original(pool, lease)

        monkeypatch.setattr(HTTP2ConnectionPool, "_validate_conn", validate)

    return install


@pytest.mark.parametrize("way", ["goaway", "error", "close", "abort"])
def test_028_the_end_between_check_out_and_headers(
    session: requests.Session,
    peer: StartPeer,
    before_headers: Callable[[Callable[[Any], None]], None],
    way: str,
) -> None:
    """A thread that reads the connection sees it just before another writes there."""

    def end(lease: Any) -> None:
        conn = started.connection(0)
        if way in ("goaway", "error"):
            conn.goaway(3, NO_ERROR if way == "goaway" else INTERNAL_ERROR)
        else:
            getattr(conn, way)()
        until(lambda: not lease.connection.usable)

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())

    started = peer([script, ordinary])
    session.get(started.url)
    first = start(session, started, "/first", method="POST", stream_id=3)
    before_headers(end)
    response = session.post(started.url, data=iter([b"once"]), timeout=WAIT)
    assert response.content == b"once"
    if way in ("goaway", "error"):
        started.connection(0).respond(3, 200, (), b"first")
        assert first.result(WAIT).content == b"first"
    else:
        with pytest.raises(requests.ConnectionError):
            first.result(WAIT)
    assert [len(each.requests) for each in started.connections] == [2, 1]


@pytest.mark.parametrize("way", ["goaway", "error", "close", "abort"])
def test_028_the_end_between_check_out_and_headers_on_an_idle_connection(
    session: requests.Session,
    peer: StartPeer,
    before_headers: Callable[[Callable[[Any], None]], None],
    way: str,
) -> None:
    """Nobody else reads it; a last look at the socket shows it before anything is written."""
    script = EndsWhenTold(way)
    started = peer([script, ordinary])
    session.get(started.url)
    before_headers(lambda lease: script.end())
    response = session.post(started.url, data=iter([b"once"]), timeout=WAIT)
    assert response.content == b"once"
    assert [len(each.requests) for each in started.connections] == [1, 1]


@pytest.mark.parametrize("way", ["close", "cut"])
def test_028_a_new_connection_that_ends_before_headers_is_replaced(
    session: requests.Session,
    peer: StartPeer,
    before_headers: Callable[[Callable[[Any], None]], None],
    way: str,
) -> None:
    """As nginx does with what it accepts while it reloads."""

    def end(lease: Any) -> None:
        conn = started.connection(0)
        getattr(conn, way)()
        conn.channel.wait_until_delivered()

    started = peer([hold, ordinary])
    before_headers(end)
    response = session.post(started.url, data=iter([b"once"]), timeout=WAIT)
    assert response.content == b"once"
    assert [len(each.requests) for each in started.connections] == [0, 1]


# -- 29: a server that turns every attempt away ----------------------------------------------------


def refusing(arrivals: list[float], *ways: str) -> Any:
    """Turns every request away, in these ways in turn, and notes when."""

    def script(conn: PeerConnection) -> None:
        while True:
            request = conn.next_request()
            way = ways[len(arrivals) % len(ways)]
            arrivals.append(time.monotonic())
            if way == "refuse":
                conn.reset(request, REFUSED_STREAM)
            else:
                conn.goaway(0)

    return script


@pytest.mark.parametrize(
    ("method", "ways"),
    [("GET", ("refuse",)), ("POST", ("goaway",)), ("POST", ("goaway", "refuse"))],
)
def test_029_three_replays_with_pauses(
    session: requests.Session, peer: StartPeer, method: str, ways: tuple[str, ...]
) -> None:
    arrivals: list[float] = []
    started = peer(refusing(arrivals, *ways))
    with pytest.raises(requests.ConnectionError, match=r"REFUSED_STREAM \(0x7\)|GOAWAY"):
        session.request(method, started.url, data=b"body", timeout=WAIT)
    assert time.monotonic() - arrivals[-1] < 1
    assert len(arrivals) == len(started.requests) == 4
    first, second, third = (after - before for before, after in itertools.pairwise(arrivals))
    assert first < 1
    assert second >= 0.16
    assert third >= 0.8


@pytest.mark.parametrize("way", ["refuse", "goaway"])
def test_029_replays_end_with_the_timeout(
    session: requests.Session, peer: StartPeer, way: str
) -> None:
    arrivals: list[float] = []
    started = peer(refusing(arrivals, way))
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError, match=r"REFUSED_STREAM|GOAWAY"):
        session.get(started.url, timeout=0.6)
    assert time.monotonic() - begin < 0.6 + PROMPT
    assert len(arrivals) <= 3


def test_029_pauses_have_jitter() -> None:
    """Clients that were turned away at the same moment do not come back at the same moment."""

    def pauses() -> list[float | None]:
        replays = Replays("GET", RequestBody(None, "GET", []), None)
        stream: Any = SimpleNamespace(response=None)
        fault = StreamFault(FaultKind.REFUSED, "host", "refused")
        return [replays.pause_before(fault, stream) for _ in range(4)]

    first, second, third, fourth = zip(*(pauses() for _ in range(50)), strict=True)
    assert set(first) == {0.0}
    assert all(0.16 <= pause <= 0.24 for pause in second)
    assert all(0.8 <= pause <= 1.2 for pause in third)
    assert min(len(set(second)), len(set(third))) > 10
    assert set(fourth) == {None}


# -- 30: a reused connection is lost ---------------------------------------------------------------


def answers_once_then(way: str) -> Any:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        conn.read_body(conn.next_request())
        getattr(conn, way)()

    return script


@LOST
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_030_an_idempotent_request_is_replayed(
    session: requests.Session, peer: StartPeer, method: str, way: str
) -> None:
    started = peer([answers_once_then(way), ordinary])
    session.get(started.url)
    response = session.request(method, started.url, data=b"body", timeout=WAIT)
    assert response.content == (b"" if method == "HEAD" else b"body")
    assert [len(conn.requests) for conn in started.connections] == [2, 1]


@LOST
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_030_it_is_replayed_once(
    session: requests.Session, peer: StartPeer, method: str, way: str
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.read_body(conn.next_request())
        getattr(conn, way)()

    started = peer([answers_once_then(way), script, ordinary])
    session.get(started.url)
    with pytest.raises(requests.ConnectionError):
        session.request(method, started.url, data=b"body", timeout=WAIT)
    assert [len(conn.requests) for conn in started.connections] == [2, 1]


@LOST
@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE"])
def test_030_another_request_is_not_replayed(
    session: requests.Session, peer: StartPeer, method: str, way: str
) -> None:
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        conn.read_body(conn.next_request())
        moment.now()
        getattr(conn, way)()

    started = peer([script, ordinary])
    session.get(started.url)
    with pytest.raises(requests.ConnectionError, match=r"127\.0\.0\.1:\d+: stream 3: ") as caught:
        session.request(method, started.url, data=b"body", timeout=WAIT)
    moment.assert_prompt()
    assert not isinstance(caught.value, requests.Timeout)
    assert started.accepted == 1
    assert session.get(started.url, timeout=WAIT).content == b"answer"


@LOST
def test_030_a_fresh_connections_request_is_not_replayed(
    session: requests.Session, peer: StartPeer, way: str
) -> None:
    moment = Moment()

    def script(conn: PeerConnection) -> None:
        conn.next_request()
        moment.now()
        getattr(conn, way)()

    started = peer([script, ordinary])
    with pytest.raises(requests.ConnectionError, match=r"127\.0\.0\.1:\d+: stream 1: ") as caught:
        session.get(started.url, timeout=WAIT)
    moment.assert_prompt()
    assert not isinstance(caught.value, requests.Timeout)
    assert started.accepted == 1


def test_030_a_body_that_was_read_is_not_replayed(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer([answers_once_then("close"), ordinary])
    session.get(started.url)
    with pytest.raises(requests.ConnectionError):
        session.put(started.url, data=iter([b"once"]), timeout=WAIT)
    assert started.accepted == 1


@pytest.mark.parametrize("part", ["informational", "headers", "data"])
def test_030_a_request_with_a_part_of_an_answer_is_not_replayed(
    session: requests.Session, peer: StartPeer, part: str
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        request = conn.next_request()
        if part == "informational":
            conn.informational(request, 103, {"link": "</x>"})
        else:
            conn.send_headers(request)
        if part == "data":
            conn.send_data(request, b"some")
        conn.channel.wait_until_delivered()
        conn.close()

    started = peer([script, ordinary])
    session.get(started.url)
    with pytest.raises(requests.RequestException) as caught:
        session.get(started.url, timeout=WAIT)
    headers_came = part != "informational"
    kind = requests.exceptions.ChunkedEncodingError if headers_came else requests.ConnectionError
    assert isinstance(caught.value, kind)
    assert started.accepted == 1


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
@pytest.mark.parametrize(
    ("retry", "arrivals", "seconds"),
    [
        (Retry(3, status_forcelist=[503], backoff_factor=0.1), 4, 0.2 + 0.4),
        (Retry(1, status_forcelist=[503], backoff_factor=5), 2, 0),
        (Retry(2, status_forcelist=[503], raise_on_status=False), 3, 0),
        (Retry(0, status_forcelist=[503], raise_on_status=False), 1, 0),
        (Retry(2, status_forcelist=[500]), 1, 0),
        (Retry(2, status_forcelist=[503], allowed_methods=["POST"]), 1, 0),
    ],
    ids=["backoff", "once", "no raise", "none", "other status", "other method"],
)
def test_030_the_users_retry_works_as_over_http1(
    make_session: MakeSession,
    peer: StartPeer,
    retry: Retry,
    arrivals: int,
    seconds: float,
    alpn: str,
) -> None:
    started = peer(serve(lambda request: (503, {}, b"busy")), alpn=(alpn,))
    session = make_session(max_retries=retry)
    begin = time.monotonic()
    if arrivals > 1 and retry.raise_on_status:
        with pytest.raises(requests.exceptions.RetryError):
            session.get(started.url, timeout=WAIT)
    else:
        response = session.get(started.url, timeout=WAIT)
        assert (response.status_code, response.content) == (503, b"busy")
    assert time.monotonic() - begin >= seconds
    assert len(started.requests) == arrivals
    assert started.accepted == 1


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
def test_030_retry_after_works_as_over_http1(
    make_session: MakeSession, peer: StartPeer, alpn: str
) -> None:
    def handler(request: Request) -> Any:
        return (503 if len(started.requests) == 1 else 200), {"retry-after": "1"}, b"answer"

    started = peer(serve(handler), alpn=(alpn,))
    begin = time.monotonic()
    session = make_session(max_retries=Retry(1, status_forcelist=[503]))
    assert session.get(started.url, timeout=WAIT).status_code == 200
    assert time.monotonic() - begin >= 0.9


@LOST
def test_030_the_users_retry_of_lost_connections(
    make_session: MakeSession, peer: StartPeer, way: str
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.read_body(conn.next_request())
        getattr(conn, way)()

    session = make_session(max_retries=Retry(2, allowed_methods=None))
    started = peer([script, script, ordinary])
    assert session.post(started.url, data=b"body", timeout=WAIT).content == b"body"
    assert started.accepted == 3


# -- 31: HTTP_1_1_REQUIRED -------------------------------------------------------------------------


def wants_http1(by: str) -> Any:
    def script(conn: Any) -> None:
        if conn.version == 20:
            request = conn.next_request()
            conn.read_body(request)
            if by == "reset":
                conn.reset(request, HTTP_1_1_REQUIRED)
            else:
                conn.goaway(0, HTTP_1_1_REQUIRED, b"client certificate")
                conn.wait_eof()
        else:
            ordinary(conn)

    return script


BY = pytest.mark.parametrize("by", ["reset", "goaway"])


@BY
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_031_http_1_1_required(
    session: requests.Session, peer: StartPeer, by: str, method: str
) -> None:
    started = peer(wants_http1(by))
    response = session.request(method, started.url, data=io.BytesIO(b"body"), timeout=WAIT)
    assert (response.raw.version, response.content) == (11, b"body")
    # The origin is remembered.
    assert session.get(started.url, timeout=WAIT).raw.version == 11
    assert [conn.version for conn in started.connections] == [20, 11]
    assert [len(conn.requests) for conn in started.connections] == [1, 2]


@BY
def test_031_other_origins_keep_http2(session: requests.Session, peer: StartPeer, by: str) -> None:
    started, other = peer(wants_http1(by)), peer(ordinary)
    assert session.get(other.url, timeout=WAIT).raw.version == 20
    assert session.get(started.url, timeout=WAIT).raw.version == 11
    assert session.get(other.url, timeout=WAIT).raw.version == 20
    assert other.accepted == 1


@BY
def test_031_another_adapter_starts_anew(
    make_session: MakeSession, peer: StartPeer, by: str
) -> None:
    started = peer(wants_http1(by))
    for number in range(2):
        assert make_session().get(started.url, timeout=WAIT).content == b"answer"
        assert [conn.version for conn in started.connections] == [20, 11] * (number + 1)


@BY
def test_031_only_http1_is_offered(
    session: requests.Session, peer: StartPeer, certs: Certificates, by: str
) -> None:
    """A server that prefers h2 would choose it again."""
    context = certs.server_context(("h2", "http/1.1"))
    started = peer(wants_http1(by), context=context)
    session.get(started.url, timeout=WAIT)
    assert [conn.version for conn in started.connections] == [20, 11]


def test_031_siblings_finish(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: Any) -> None:
        if conn.version == 11:
            ordinary(conn)
            return
        first, second = conn.next_requests(2)
        conn.send_headers(first)
        conn.reset(second, HTTP_1_1_REQUIRED)
        assert replayed.wait(WAIT)
        conn.send_data(first, b"first", end_stream=True)
        conn.wait_eof()

    replayed = threading.Event()
    started = peer(script)
    first = start(session, started, "/first", stream_id=1)
    second = start(session, started, "/second", stream_id=3)
    assert second.result(WAIT).raw.version == 11
    replayed.set()
    assert first.result(WAIT).content == b"first"
    started.connection(0).wait_eof()
    assert [len(conn.requests) for conn in started.connections] == [2, 1]


def test_031_on_an_idle_connection(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: Any) -> None:
        if conn.version == 11:
            ordinary(conn)
            return
        if not served:
            served.append(True)
            conn.respond(conn.next_request(), 200, (), b"first")
            conn.goaway(1, HTTP_1_1_REQUIRED)
        else:
            conn.next_request()
            conn.goaway(0, HTTP_1_1_REQUIRED)
        conn.wait_eof()

    served: list[bool] = []
    started = peer(script)
    assert session.get(started.url, timeout=WAIT).content == b"first"
    for _ in range(2):
        assert session.post(started.url, data=b"body", timeout=WAIT).content == b"body"
    assert started.connections[-1].version == 11


@BY
def test_031_a_body_that_was_read_is_not_sent_again(
    session: requests.Session, peer: StartPeer, by: str
) -> None:
    started = peer(wants_http1(by))
    with pytest.raises(requests.ConnectionError, match=r"HTTP_1_1_REQUIRED \(0xd\)"):
        session.post(started.url, data=iter([b"once"]), timeout=WAIT)
    assert started.accepted == 1


def test_031_in_the_middle_of_a_response(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"some")
        conn.reset(request, HTTP_1_1_REQUIRED)

    started = peer(script)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="HTTP_1_1_REQUIRED"):
        session.get(started.url, timeout=WAIT)
    assert len(started.requests) == 1


@BY
def test_031_but_http2_is_required(make_session: MakeSession, peer: StartPeer, by: str) -> None:
    started = peer(wants_http1(by))
    with pytest.raises(requests.ConnectionError, match="HTTP_1_1_REQUIRED"):
        make_session(http2="required").get(started.url, timeout=WAIT)
    assert len(started.requests) == 1


@pytest.mark.parametrize("last", ["goaway", "reset"])
def test_030_a_malformed_answer_is_an_answer(
    session: requests.Session, peer: StartPeer, last: str
) -> None:
    """Whatever follows it in the same read and says that the request was not processed."""

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        request = conn.next_request()
        block = conn.encode([(":status", "200"), ("X-Upper", "x")])
        headers = HeadersFrame(request.stream_id, block, flags=["END_HEADERS"])
        if last == "goaway":
            conn.send(headers, GoAwayFrame(0, last_stream_id=0, error_code=INTERNAL_ERROR))
        else:
            conn.send(headers, RstStreamFrame(request.stream_id, error_code=REFUSED_STREAM))
        conn.wait_eof()

    started = peer([script, ordinary])
    session.get(started.url, timeout=WAIT)
    with pytest.raises(requests.ConnectionError, match="malformed"):
        session.post(started.url, data=b"once", timeout=WAIT)
    session.close()
    assert [len(each.requests) for each in started.connections] == [2]
