"""Rows 39 to 46 of the fault table: windows, credit, and writers that wait for both."""

from __future__ import annotations

import gc
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import requests
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from urllib3.connection import HTTPConnection

from requests_h2.pump import Pump
from requests_h2.timeouts import Deadline
from tests.support.peer import MakeSession, Peer, PeerConnection, Request, StartPeer, hold, serve
from tests.support.threads import PROMPT, WAIT, background

MIB = 2**20
DEFAULT_WINDOW = 65_535
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, CANCEL = 0, 1, 3, 8
SMALL_WINDOW = 256 << 10


@pytest.fixture
def small_connection_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 KiB for all streams together: what is not given back soon stalls somebody."""
    monkeypatch.setattr("requests_h2.origin.CONNECTION_WINDOW", SMALL_WINDOW)
    monkeypatch.setattr("requests_h2.credit.CONNECTION_WINDOW", SMALL_WINDOW)


@pytest.fixture
def small_buffers(session: requests.Session) -> None:
    """The client's TCP buffers, so that they fill up for sure."""
    options = [
        *HTTPConnection.default_socket_options,
        (socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384),
        (socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384),
    ]
    adapter: Any = session.get_adapter("https://")
    adapter.init_poolmanager(10, 10, socket_options=options)


def started_stream(
    conn_of: Peer, function: Callable[[], Any], stream_id: int
) -> tuple[PeerConnection, Future[Any]]:
    """Run ``function`` in a thread; its request's HEADERS are at the peer."""
    future = background(function)
    conn: PeerConnection = conn_of.connection()
    conn.wait_for(HeadersFrame, stream_id=stream_id)
    return conn, future


def held_response(
    session: requests.Session, started: Peer, stream_id: int
) -> tuple[PeerConnection, requests.Response]:
    """A ``stream=True`` response of which only the header section came, from a peer that holds."""
    conn, future = started_stream(
        started, lambda: session.get(started.url, stream=True, timeout=WAIT), stream_id
    )
    conn.send_headers(stream_id)
    return conn, future.result(WAIT)


def fence(session: requests.Session, started: Peer, stream_id: int) -> None:
    """An exchange: all that the client sent before it has arrived at the peer."""
    conn, future = started_stream(
        started, lambda: session.get(started.url, timeout=WAIT), stream_id
    )
    conn.respond(stream_id, 204)
    assert future.result(WAIT).status_code == 204


def credited(conn: PeerConnection, stream_id: int) -> int:
    return sum(
        frame.window_increment for frame in conn.received(WindowUpdateFrame, stream_id=stream_id)
    )


# -- 39: credit follows the reader ---------------------------------------------------------


def test_039_nothing_is_credited_before_it_is_consumed(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(hold)
    conn, response = held_response(session, started, 1)
    conn.send_data(1, bytes(MIB))
    assert len(response.raw.read(400_000)) == 400_000
    fence(session, started, 3)
    assert credited(conn, 1) == 0
    assert conn.window_of(1) == 0
    # Half a window is where an update pays.
    assert len(response.raw.read(300_000)) == 300_000
    update = conn.wait_for(WindowUpdateFrame, stream_id=1)
    assert MIB // 2 <= update.window_increment <= 700_000
    conn.send_data(1, b"end", end_stream=True)
    assert len(response.content) == MIB - 700_000 + 3
    assert started.accepted == 1


def test_039_credit_comes_in_batches(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, bytes(8 * MIB))))
    response = session.get(started.url, stream=True)
    assert sum(len(chunk) for chunk in response.iter_content(10_000)) == 8 * MIB
    conn = started.connection()
    assert credited(conn, 1) >= 7 * MIB - MIB // 2
    assert len(conn.received(WindowUpdateFrame, stream_id=1)) <= 20


@pytest.mark.usefixtures("small_connection_window")
def test_039_the_connection_is_credited_as_well(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, bytes(2 * MIB))))
    response = session.get(started.url, stream=True, timeout=WAIT)
    assert sum(len(chunk) for chunk in response.iter_content(10_000)) == 2 * MIB
    conn = started.connection()
    # The first update sets the window up.
    increments = [frame.window_increment for frame in conn.received(WindowUpdateFrame, stream_id=0)]
    assert sum(increments[1:]) >= 2 * MIB - SMALL_WINDOW
    assert min(increments[1:]) >= SMALL_WINDOW // 2


def test_039_empty_data_earns_no_credit(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for _ in range(100):
            conn.send_data(request)
        conn.send_data(request, b"end", end_stream=True)
        conn.respond(conn.next_request())

    started = peer(script)
    assert session.get(started.url).content == b"end"
    session.get(started.url)
    conn = started.connection()
    assert len(conn.received(WindowUpdateFrame)) == 1
    assert conn.received(RstStreamFrame) == []


# -- 40: padding ---------------------------------------------------------------------------


def test_040_padding_is_credited_to_the_stream(session: requests.Session, peer: StartPeer) -> None:
    """Three windows of nearly nothing but padding: without credit for it the stream stops."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        for _ in range(3 * MIB // 256):
            while conn.window_of(request.stream_id) < 257:
                conn.read_frame()
            conn.send_data(request, b"x", padding=255)
        conn.send_data(request, end_stream=True)

    started = peer(script)
    response = session.get(started.url, stream=True, timeout=WAIT)
    assert sum(map(len, response.iter_content(1000))) == 3 * MIB // 256


@pytest.mark.usefixtures("small_connection_window")
@pytest.mark.parametrize("data", [b"x", b""])
@pytest.mark.parametrize("closed", [False, True])
def test_040_padding_is_credited_to_the_connection(
    session: requests.Session, peer: StartPeer, data: bytes, closed: bool
) -> None:
    """Also that of frames without data, and of streams that are closed."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        if closed:
            conn.expect(RstStreamFrame, stream_id=1)
        other = conn.next_request()
        conn.send_headers(other)
        for _ in range(3 * SMALL_WINDOW // 256):
            while min(conn.send_window, conn.window_of(1)) < 257:
                conn.read_frame()
            conn.send_data(request, data, padding=255)
        conn.send_data(other, b"other", end_stream=True)
        if not closed:
            conn.send_data(request, end_stream=True)

    started = peer(script)
    response = session.get(started.url, stream=True, timeout=WAIT)
    if closed:
        response.close()
    other = background(lambda: session.get(started.url, timeout=WAIT).content)
    if not closed:
        assert len(response.content) == len(data) * (3 * SMALL_WINDOW // 256)
    assert other.result(WAIT) == b"other"
    assert started.accepted == 1


# -- 41: what nobody reads goes back -------------------------------------------------------


PIECE = bytes(32_768)


def close_unread(session: requests.Session, url: str) -> None:
    session.get(url, stream=True, timeout=WAIT).close()


def close_half_read(session: requests.Session, url: str) -> None:
    with session.get(url, stream=True, timeout=WAIT) as response:
        response.raw.read(100)


def drop(session: requests.Session, url: str) -> None:
    response: Any = session.get(url, stream=True, timeout=WAIT)
    response.raw.read(100)
    del response
    gc.collect(0)


def time_out(session: requests.Session, url: str) -> None:
    with pytest.raises(requests.RequestException, match="timed out"):
        session.get(url, timeout=(WAIT, 0.05))


def fail(session: requests.Session, url: str) -> None:
    with pytest.raises(requests.RequestException):
        session.get(url, timeout=WAIT)


def fail_unread(session: requests.Session, url: str) -> None:
    """The failure is at the peer's side, and the response closed without a look at it."""
    session.get(url, stream=True, timeout=WAIT).close()


ENDS: dict[str, Callable[[requests.Session, str], None]] = {
    "closed": close_unread,
    "half-read": close_half_read,
    "late": close_unread,
    "dropped": drop,
    "timed-out": time_out,
    "reset": fail,
    "reset-unread": fail_unread,
    "too-long": fail,
    "bad-trailers": fail,
    "no-content": close_unread,
}


def answer_badly(conn: PeerConnection, request: Request) -> None:
    """A response of a piece that its caller will not read to the end, as the path says."""
    kind = request.path.strip("/")
    if kind == "late":
        conn.send_headers(request)
        conn.expect(RstStreamFrame, stream_id=request.stream_id)
    elif kind == "too-long":
        conn.send_headers(request, 200, {"content-length": "4000"})
    elif kind == "no-content":
        conn.send_headers(request, 204)
    else:
        conn.send_headers(request)
    # Less where many are wanted.
    size = len(PIECE) if conn.keep_data else 4096
    conn.send_body(request, PIECE[:size], end_stream=False)
    if kind.startswith("reset"):
        conn.reset(request, CANCEL)
    elif kind == "bad-trailers":
        conn.send_headers(request, None, {":status": "200"}, end_stream=True)


def answer_badly_for_ever(conn: PeerConnection) -> None:
    while True:
        request = conn.next_request(3600)
        if request.path == "/whole":
            conn.respond(request, 200, {}, b"whole")
        else:
            answer_badly(conn, request)


def assert_connection_window_is_back(started: Peer) -> None:
    """All but the half of it for which no update needs to be sent."""
    conn = started.connection()
    conn.wait_for(WindowUpdateFrame, lambda frame: conn.send_window > SMALL_WINDOW // 2)
    assert started.accepted == 1


@pytest.mark.usefixtures("small_connection_window")
@pytest.mark.parametrize("kind", ENDS)
def test_041_the_unread_bytes_of_a_stream_are_credited(
    session: requests.Session, peer: StartPeer, kind: str
) -> None:
    """Two windows of them. The peer sends nothing past the window, so a leak stops it."""
    started = peer(answer_badly_for_ever)
    for _ in range(2 * SMALL_WINDOW // len(PIECE)):
        ENDS[kind](session, f"{started.url}/{kind}")
    assert session.get(started.url + "/whole", timeout=WAIT).content == b"whole"
    assert_connection_window_is_back(started)


@pytest.mark.usefixtures("small_connection_window")
def test_041_a_thousand_cycles_do_not_stall_the_next_request(
    make_session: MakeSession, peer: StartPeer
) -> None:
    session = make_session(pool_maxsize=1)
    settings = {"max_concurrent_streams": 1}
    started = peer(answer_badly_for_ever, settings=settings, keep_data=False)
    kinds = [kind for kind in ENDS if kind not in ("timed-out", "dropped")]
    for number in range(1000):
        kind = kinds[number % len(kinds)]
        ENDS[kind](session, f"{started.url}/{kind}")
    assert session.get(started.url + "/whole", timeout=WAIT).content == b"whole"
    assert_connection_window_is_back(started)


# -- 42: responses that are held -----------------------------------------------------------


def test_042_held_responses_slow_nobody_and_keep_within_their_windows(
    session: requests.Session, peer: StartPeer
) -> None:
    def handler(request: Request) -> Any:
        return 200, {}, bytes(4 * MIB) if request.path == "/held" else bytes(3 * MIB)

    started = peer(serve(handler))
    held = [session.get(started.url + "/held", stream=True, timeout=WAIT) for _ in range(8)]
    for _ in range(3):
        assert len(session.get(started.url + "/other", timeout=WAIT).content) == 3 * MIB
    conn = started.connection()
    for number, response in enumerate(held):
        stream_id = 2 * number + 1
        # All that the peer may send and no more: what is held in memory is a window each.
        assert credited(conn, stream_id) == 0
        assert conn.window_of(stream_id) >= 0
        assert len(response.content) == 4 * MIB
    assert started.accepted == 1


def test_042_the_connection_window_holds_every_streams(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(serve(lambda request: (204, {}, b"")))
    session.get(started.url)
    conn = started.connection()
    assert conn.send_window >= 100 * conn.client_settings[SettingsFrame.INITIAL_WINDOW_SIZE]


# -- 43: overruns and overflows ------------------------------------------------------------


def window_update(stream_id: int, increment: int) -> bytes:
    """Hyperframe makes none of 0."""
    return b"\x00\x00\x04\x08\x00" + stream_id.to_bytes(4, "big") + increment.to_bytes(4, "big")


def overrun_stream(conn: PeerConnection) -> None:
    conn.send_headers(1)
    conn.send_data(1, bytes(MIB))
    conn.send_data(1, b"x")


def overrun_padding(conn: PeerConnection) -> None:
    """Padding counts: a window less ten octets, then ten octets of which one is data."""
    conn.send_headers(1)
    conn.send_data(1, bytes(MIB - 10))
    conn.send_data(1, b"x", padding=9)


def overrun_connection(conn: PeerConnection) -> None:
    """No stream's window is passed."""
    for stream_id in (1, 3):
        conn.send_headers(stream_id)
        conn.send_data(stream_id, bytes(SMALL_WINDOW // 2 + 1))


def overflow_connection(conn: PeerConnection) -> None:
    conn.send_raw(window_update(0, 2**31 - 1))


def zero_connection(conn: PeerConnection) -> None:
    conn.send_raw(window_update(0, 0))


OVERRUNS = [
    (overrun_stream, FLOW_CONTROL_ERROR, "FLOW_CONTROL_ERROR"),
    (overrun_padding, FLOW_CONTROL_ERROR, "FLOW_CONTROL_ERROR"),
    (overrun_connection, FLOW_CONTROL_ERROR, "FLOW_CONTROL_ERROR"),
    (overflow_connection, FLOW_CONTROL_ERROR, "FLOW_CONTROL_ERROR"),
    (zero_connection, PROTOCOL_ERROR, "PROTOCOL_ERROR"),
]


@pytest.mark.parametrize(("overrun", "code", "name"), OVERRUNS)
def test_043_an_overrun_ends_the_connection(
    session: requests.Session,
    peer: StartPeer,
    request: pytest.FixtureRequest,
    overrun: Callable[[PeerConnection], None],
    code: int,
    name: str,
) -> None:
    if overrun is overrun_connection:
        request.getfixturevalue("small_connection_window")
    started = peer([hold, serve(lambda request: (200, {}, b"next"))])
    conn, held = started_stream(
        started, lambda: session.get(started.url, stream=True, timeout=WAIT), 1
    )
    _, other = started_stream(started, lambda: session.post(started.url, timeout=WAIT), 3)
    overrun(conn)
    begin = time.monotonic()
    for future in (other, held):
        # When the header section was there it is the body that fails.
        with pytest.raises(
            (requests.ConnectionError, requests.exceptions.ChunkedEncodingError), match=name
        ) as caught:
            future.result(WAIT).content  # noqa: B018
        assert "127.0.0.1" in str(caught.value)
        assert not isinstance(caught.value, requests.Timeout)
    assert time.monotonic() - begin < PROMPT
    assert conn.wait_for(GoAwayFrame).error_code == code
    conn.wait_eof()
    assert len(conn.requests) == 2
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.accepted == 2


STREAM_UPDATES = [
    (2**31 - 1, FLOW_CONTROL_ERROR, "FLOW_CONTROL_ERROR"),
    (0, PROTOCOL_ERROR, "PROTOCOL_ERROR"),
]


@pytest.mark.parametrize(("increment", "code", "name"), STREAM_UPDATES)
@pytest.mark.parametrize("uploading", [False, True])
def test_043_a_bad_update_of_a_stream_ends_that_stream(
    session: requests.Session,
    peer: StartPeer,
    increment: int,
    code: int,
    name: str,
    uploading: bool,
) -> None:
    started = peer(hold)
    body = iter([bytes(100_000)]) if uploading else None
    conn, future = started_stream(
        started, lambda: session.post(started.url, data=body, timeout=WAIT), 1
    )
    if uploading:
        conn.wait_for(DataFrame, lambda frame: conn.request(1).received == DEFAULT_WINDOW)
    _, sibling = started_stream(started, lambda: session.get(started.url, timeout=WAIT), 3)
    conn.send_raw(window_update(1, 1) + window_update(1, increment))
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError, match=rf"stream 1: .*{name} \(0x{code}\)"):
        future.result(WAIT)
    assert time.monotonic() - begin < PROMPT
    conn.wait_for(RstStreamFrame, stream_id=1, error_code=code)
    conn.respond(3, 200, {}, b"sibling")
    assert sibling.result(WAIT).content == b"sibling"
    fence(session, started, 5)
    assert started.accepted == 1


# -- 44: a window that never opens ---------------------------------------------------------


def fill_window(conn: PeerConnection, request: Request, window: str) -> None:
    if window == "connection":
        conn.window_update(request, MIB)
    while request.received < DEFAULT_WINDOW:
        conn.expect(DataFrame)


@pytest.mark.parametrize("body", ["bytes", "generator"])
@pytest.mark.parametrize("window", ["stream", "connection"])
def test_044_an_upload_that_is_not_credited_times_out(
    make_session: MakeSession, peer: StartPeer, window: str, body: str
) -> None:
    """The only slot but one is free at once; who has the other one does not notice."""

    def script(conn: PeerConnection) -> None:
        sibling = conn.next_request()
        request = conn.next_request()
        fill_window(conn, request, window)
        conn.expect(RstStreamFrame, stream_id=3, error_code=CANCEL)
        conn.respond(conn.next_request(), 200, (), b"next")
        conn.respond(sibling, 200, (), b"sibling")

    session = make_session(pool_maxsize=1)
    started = peer(script, settings={"max_concurrent_streams": 2})
    _, sibling = started_stream(started, lambda: session.get(started.url, timeout=WAIT), 1)
    data: Any = bytes(200_000) if body == "bytes" else iter([bytes(150_000), bytes(50_000)])
    begin = time.monotonic()
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.post(started.url, data=data, timeout=0.4)
    assert 0.35 < time.monotonic() - begin < 0.4 + PROMPT
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert sibling.result(WAIT).content == b"sibling"
    assert not started.connection().request(3).ended
    assert started.accepted == 1


# -- 45: what wakes an upload --------------------------------------------------------------


BLOCKED_BODY = 100_000


def blocked_body() -> Iterator[bytes]:
    yield bytes(DEFAULT_WINDOW)
    yield bytes(BLOCKED_BODY - DEFAULT_WINDOW)


@pytest.fixture(params=["pumping", "waiting"])
def blocked(request: pytest.FixtureRequest, session: requests.Session, peer: StartPeer) -> Any:
    """``blocked("stream")``: an upload that waits for that window, alone or while another thread
    reads the socket; and the stream it is on.
    """

    def block(window: str = "stream", body: Any = None) -> tuple[PeerConnection, Future[Any], int]:
        started = peer([hold, hold])
        stream_id = 1
        if request.param == "waiting":
            started_stream(started, lambda: session.get(started.url + "/other", timeout=WAIT), 1)
            stream_id = 3
        conn, future = started_stream(
            started,
            lambda: session.post(started.url, data=body or blocked_body(), timeout=WAIT),
            stream_id,
        )
        if window == "connection":
            conn.window_update(stream_id, MIB)
        conn.wait_for(DataFrame, lambda frame: conn.request(stream_id).received == DEFAULT_WINDOW)
        return conn, future, stream_id

    return block


@pytest.mark.parametrize("window", ["stream", "connection"])
@pytest.mark.parametrize("status", [200, 413])
def test_045_end_stream_wakes_a_blocked_upload(blocked: Any, window: str, status: int) -> None:
    conn, future, stream_id = blocked(window)
    begin = time.monotonic()
    conn.respond(stream_id, status, {}, b"answer")
    response = future.result(WAIT)
    assert time.monotonic() - begin < PROMPT
    assert (response.status_code, response.content) == (status, b"answer")
    assert conn.wait_for(RstStreamFrame, stream_id=stream_id).error_code in (NO_ERROR, CANCEL)
    assert conn.request(stream_id).received == DEFAULT_WINDOW


@pytest.mark.parametrize("window", ["stream", "connection"])
def test_045_a_reset_wakes_a_blocked_upload(blocked: Any, window: str) -> None:
    conn, future, stream_id = blocked(window)
    begin = time.monotonic()
    conn.reset(stream_id, CANCEL)
    with pytest.raises(requests.ConnectionError, match=r"CANCEL \(0x8\)"):
        future.result(WAIT)
    assert time.monotonic() - begin < PROMPT


@pytest.mark.parametrize("window", ["stream", "connection"])
def test_045_goaway_wakes_a_blocked_upload(blocked: Any, window: str) -> None:
    """Its generator cannot be sent again."""
    conn, future, stream_id = blocked(window)
    begin = time.monotonic()
    conn.goaway(stream_id - 1, NO_ERROR, b"shutting \x00 down")
    with pytest.raises(requests.ConnectionError, match=r"NO_ERROR \(0x0\)") as caught:
        future.result(WAIT)
    assert time.monotonic() - begin < PROMPT
    assert re.search(r"shutting \\+x00 down", str(caught.value))
    assert "\0" not in str(caught.value)


def test_045_an_accepting_goaway_leaves_a_blocked_upload(blocked: Any) -> None:
    conn, future, stream_id = blocked()
    conn.goaway(stream_id)
    conn.window_update(0, BLOCKED_BODY)
    conn.window_update(stream_id, BLOCKED_BODY)
    conn.wait_for(DataFrame, lambda frame: "END_STREAM" in frame.flags, stream_id=stream_id)
    conn.respond(stream_id, 204)
    assert future.result(WAIT).status_code == 204
    assert conn.request(stream_id).received == BLOCKED_BODY


@pytest.mark.parametrize("window", ["stream", "connection"])
@pytest.mark.parametrize("way", ["close", "cut", "abort"])
def test_045_the_end_of_the_connection_wakes_a_blocked_upload(
    blocked: Any, window: str, way: str
) -> None:
    conn, future, _ = blocked(window)
    begin = time.monotonic()
    getattr(conn, way)()
    with pytest.raises(requests.ConnectionError) as caught:
        future.result(WAIT)
    assert not isinstance(caught.value, requests.Timeout)
    assert time.monotonic() - begin < PROMPT


@pytest.mark.parametrize("order", ["settings", "window-update"])
def test_045_more_window_wakes_a_blocked_upload(blocked: Any, order: str) -> None:
    conn, future, stream_id = blocked()
    conn.window_update(0, BLOCKED_BODY)
    if order == "settings":
        conn.settings(initial_window_size=BLOCKED_BODY)
    else:
        conn.window_update(stream_id, BLOCKED_BODY)
    conn.wait_for(DataFrame, lambda frame: "END_STREAM" in frame.flags, stream_id=stream_id)
    assert conn.request(stream_id).received == BLOCKED_BODY
    conn.respond(stream_id, 204)
    assert future.result(WAIT).status_code == 204


def test_045_a_window_below_zero_is_no_window(blocked: Any) -> None:
    """SETTINGS take 60,000 octets away: credit wakes the upload once it is above 0 again."""
    conn, future, stream_id = blocked()
    conn.window_update(0, BLOCKED_BODY)
    conn.settings(initial_window_size=DEFAULT_WINDOW - 60_000)
    acks = 2
    conn.wait_for(
        SettingsFrame,
        lambda frame: len([f for f in conn.received(SettingsFrame) if "ACK" in f.flags]) >= acks,
    )
    conn.window_update(stream_id, 60_000)
    conn.window_update(stream_id, 1)
    one = conn.wait_for(DataFrame, lambda frame: conn.request(stream_id).received > DEFAULT_WINDOW)
    assert one is not None
    assert conn.request(stream_id).received == DEFAULT_WINDOW + 1
    conn.window_update(stream_id, BLOCKED_BODY)
    conn.wait_for(DataFrame, lambda frame: "END_STREAM" in frame.flags, stream_id=stream_id)
    conn.respond(stream_id, 204)
    assert future.result(WAIT).status_code == 204


@pytest.mark.parametrize("role", ["pumping", "waiting"])
def test_045_closing_the_response_wakes_a_blocked_upload(
    session: requests.Session, peer: StartPeer, role: str
) -> None:
    """The early 2xx is read in one thread, which sends the rest, and closed by another."""
    started = peer(hold)
    stream_id, other = 1, None
    if role == "waiting":
        _, other = started_stream(started, lambda: session.get(started.url, timeout=WAIT), 1)
        stream_id = 3
    conn, future = started_stream(
        started,
        lambda: session.post(started.url, data=blocked_body(), stream=True, timeout=WAIT),
        stream_id,
    )
    conn.send_headers(stream_id)
    response = future.result(WAIT)
    reading = background(response.raw.read)
    conn.wait_for(DataFrame, lambda frame: conn.request(stream_id).received == DEFAULT_WINDOW)
    begin = time.monotonic()
    response.close()
    error = reading.exception(WAIT)
    assert time.monotonic() - begin < PROMPT
    assert error is None or "closed" in str(error)
    conn.wait_for(RstStreamFrame, stream_id=stream_id, error_code=CANCEL)
    if other is not None:
        conn.respond(1, 204)
        assert other.result(WAIT).status_code == 204
    fence(session, started, stream_id + 2)
    assert started.accepted == 1


def test_045_an_interrupt_ends_a_blocked_upload(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it polls, so nobody is in the middle of anything: only the stream ends."""
    started = peer(hold)

    poll = Pump._poll

    def interrupted(self: Pump, *args: Any, **kwargs: Any) -> None:
        if started.requests and started.requests[0].received == DEFAULT_WINDOW:
            monkeypatch.setattr(Pump, "_poll", poll)
            raise KeyboardInterrupt
        poll(self, Deadline(0.01), *args[1:], **kwargs)

    monkeypatch.setattr(Pump, "_poll", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.post(started.url, data=blocked_body(), timeout=WAIT)
    started.connection().wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    fence(session, started, 3)
    assert started.accepted == 1


# -- 46: both directions at once -----------------------------------------------------------


def fill_both_ways(conn: PeerConnection, answer_on: Request, size: int) -> None:
    """Send all of an answer before a byte of the uploads is read."""
    conn.window_update(0, 64 * MIB)
    for request in conn.requests:
        conn.window_update(request, 16 * MIB)
    conn.send_headers(answer_on)
    conn.send_data(answer_on, bytes(size), end_stream=answer_on.ended)
    assert not any("END_STREAM" in frame.flags for frame in conn.received(DataFrame))


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("stream", [False, True])
def test_046_both_tcp_buffers_full_on_one_stream(
    session: requests.Session, peer: StartPeer, stream: bool
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        fill_both_ways(conn, request, MIB)
        conn.read_body(request)
        conn.send_data(request, str(len(request.body)).encode(), end_stream=True)

    started = peer(script)
    body = (bytes(100_000) for _ in range(80))
    response = session.post(started.url, data=body, stream=stream, timeout=WAIT)
    assert response.content == bytes(MIB) + b"8000000"


@pytest.mark.usefixtures("small_buffers")
def test_046_both_tcp_buffers_full_on_two_streams(
    session: requests.Session, peer: StartPeer
) -> None:
    """The download is held by somebody who does not read; the upload's thread has to."""

    def script(conn: PeerConnection) -> None:
        download = conn.next_request()
        conn.send_headers(download)
        upload = conn.next_request()
        fill_both_ways_of(conn, download, upload)

    def fill_both_ways_of(conn: PeerConnection, download: Request, upload: Request) -> None:
        conn.window_update(0, 64 * MIB)
        conn.window_update(upload, 16 * MIB)
        conn.send_data(download, bytes(MIB))
        conn.send_data(download, end_stream=True)
        conn.read_body(upload)
        conn.respond(upload, 200, {}, str(len(upload.body)).encode())

    started = peer(script)
    held = session.get(started.url, stream=True, timeout=WAIT)
    assert session.post(started.url, data=bytes(8_000_000), timeout=WAIT).content == b"8000000"
    assert len(held.content) == MIB
    assert started.accepted == 1


def echo(conn: PeerConnection) -> None:
    """Send back what comes as it comes; credit, half a window at a time, only for what was sent."""
    request = conn.next_request()
    conn.send_headers(request)
    uncredited = 0
    while not request.ended or request.body:
        if piece := bytes(request.body):
            request.body.clear()
            conn.send_body(request, piece, end_stream=False)
            uncredited += len(piece)
            if uncredited > DEFAULT_WINDOW // 2:
                conn.credit(request, uncredited)
                uncredited = 0
        else:
            conn.read_frame()
    conn.send_data(request, end_stream=True)


def test_046_an_echo_of_100_mib_while_uploading_from_a_generator_in_one_thread(
    session: requests.Session, peer: StartPeer
) -> None:
    piece = bytes(range(256)) * 400
    sent = received = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        while sent < 100 * MIB:
            sent += len(piece)
            yield piece

    response = session.post(peer(echo).url, data=body(), stream=True, timeout=WAIT)
    for chunk in response.iter_content(65_536):
        assert chunk[0] == received % 256
        received += len(chunk)
        # The upload is drawn by the reading; it does not run ahead of it.
        assert sent - received <= 8 * MIB
    assert received == sent >= 100 * MIB
