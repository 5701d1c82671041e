"""Fault table, rows 8-14: SETTINGS, ours and theirs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hpack.hpack import decode_integer
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.peer import MakeSession, PeerConnection, StartPeer, hold, serve
from tests.support.threads import PROMPT, WAIT, background, together

PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 1, 3, 6, 7, 8
ENABLE_CONNECT_PROTOCOL = 8
DEFAULT_WINDOW = 65_535
DEFAULT_TABLE = 4096


def answer(request: Any) -> Any:
    return 200, {}, b"answer"


def acknowledged(conn: PeerConnection, count: int) -> None:
    """Until the client has acknowledged so many of our SETTINGS. Usable from any thread."""
    acks: list[SettingsFrame] = []

    def is_last(frame: SettingsFrame) -> bool:
        if "ACK" in frame.flags:
            acks.append(frame)
        return len(acks) >= count

    conn.wait_for(SettingsFrame, is_last)


# -- row 8 --------------------------------------------------------------------------------


def test_008_the_first_flight(session: requests.Session, peer: StartPeer) -> None:
    """All of it before the server said anything."""
    seen: list[Any] = []

    def script(conn: PeerConnection) -> None:
        conn.auto_settings = False
        while len(conn._buffer) < 24:
            conn._fill(WAIT)
        assert bytes(conn._buffer[:24]) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        del conn._buffer[:24]
        seen.extend(conn.read_frame() for _ in range(3))
        conn.settings()
        conn.respond(1)

    session.get(peer(script, preface=False).url, timeout=WAIT)
    settings, update, headers = seen
    assert isinstance(settings, SettingsFrame)
    assert settings.settings[SettingsFrame.ENABLE_PUSH] == 0
    assert settings.settings[SettingsFrame.INITIAL_WINDOW_SIZE] == 2**20
    assert settings.settings[SettingsFrame.MAX_HEADER_LIST_SIZE] == 256 << 10
    assert ENABLE_CONNECT_PROTOCOL not in settings.settings
    assert isinstance(update, WindowUpdateFrame)
    assert (update.stream_id, DEFAULT_WINDOW + update.window_increment) == (0, 2**30)
    assert isinstance(headers, HeadersFrame)


# -- row 9: what we advertise is what we take ----------------------------------------------


def test_009_data_of_the_advertised_frame_size(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        size = conn.client_settings.get(SettingsFrame.MAX_FRAME_SIZE, 16_384)
        conn.send_headers(request)
        conn.send_data(request, bytes(size), frame_size=size)
        conn.send_data(request, bytes(size - 256), frame_size=size, padding=255, end_stream=True)

    response = session.get(peer(script).url, timeout=WAIT)
    assert len(response.content) == 2 * 16_384 - 256


def test_009_a_header_list_of_the_advertised_size(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        left = conn.client_settings[SettingsFrame.MAX_HEADER_LIST_SIZE]
        left -= len(":status") + 3 + 32
        headers: dict[str, str] = {}
        while left:
            name = f"x-{len(headers):05}"
            size = min(30_000, left) - len(name) - 32
            headers[name] = "~" * size
            left -= min(30_000, left)
        conn.respond(request, 200, headers, b"large")

    response = session.get(peer(script).url, timeout=WAIT)
    assert response.content == b"large"
    assert sum(len(name) + len(value) + 32 for name, value in response.headers.items()) == (
        (256 << 10) - len(":status") - 3 - 32
    )


def test_009_a_header_table_of_the_advertised_size(
    session: requests.Session, peer: StartPeer
) -> None:
    """Filled to the brim, shrunk and grown again, as a table size update may do at any time."""
    fields = {f"x-{number:02}": str(number) * 50 for number in range(60)}
    last = dict(list(fields.items())[-20:])

    def script(conn: PeerConnection) -> None:
        size = conn.client_settings.get(SettingsFrame.HEADER_TABLE_SIZE, DEFAULT_TABLE)
        for table, headers in ((size, fields), (100, last), (size, last), (size, last)):
            conn._encoder.header_table_size = table
            conn.respond(conn.next_request(), 200, headers)

    started = peer(script)
    for expected in (fields, last, last, last):
        assert dict(session.get(started.url, timeout=WAIT).headers) == expected
    assert started.accepted == 1


# -- row 10 -------------------------------------------------------------------------------


@pytest.mark.parametrize("lowered", [0, 10, 40_000])
def test_010_a_stream_window_below_zero(
    session: requests.Session, peer: StartPeer, lowered: int
) -> None:
    """The peer checks each DATA frame against the window that is left."""
    data = bytes(range(256)) * 800

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.window_update(0, 2**20)
        while request.received < DEFAULT_WINDOW:
            conn.read_frame()
        conn.settings(initial_window_size=lowered)
        acknowledged(conn, 2)
        # Up to nothing, which is no window yet; then a PING shows that the client saw it.
        conn.window_update(request, DEFAULT_WINDOW - lowered)
        conn.ping()
        while not any("ACK" in frame.flags for frame in conn.frames if frame.type == 6):
            conn.read_frame()
        assert request.received == DEFAULT_WINDOW
        conn.window_update(request, 5)
        while request.received < DEFAULT_WINDOW + 5:
            conn.read_frame()
        assert request.received == DEFAULT_WINDOW + 5
        conn.settings(initial_window_size=lowered + 1000)
        while request.received < DEFAULT_WINDOW + 1005:
            conn.read_frame()
        conn.window_update(request, 2**20)
        while not request.ended:
            conn.read_frame()
        conn.respond(request, 200, (), b"all of it")

    started = peer(script)
    assert session.post(started.url, data=data, timeout=WAIT).content == b"all of it"
    assert started.request.body == data
    assert started.connection().received(RstStreamFrame) == []


def test_010_a_body_that_ends_while_the_window_is_below_zero(
    session: requests.Session, peer: StartPeer
) -> None:
    """An empty DATA frame with END_STREAM needs no window."""
    lowered = threading.Event()

    def script(conn: PeerConnection) -> None:
        upload = conn.next_request()
        while upload.received < DEFAULT_WINDOW:
            conn.read_frame()
        sibling = conn.next_request()  # its thread reads the socket meanwhile
        conn.settings(initial_window_size=0)
        acknowledged(conn, 2)
        lowered.set()
        while not upload.ended:
            conn.read_frame()
        conn.respond(upload, 200, (), b"ended")
        conn.respond(sibling, 200, (), b"sibling")

    def body() -> Iterator[bytes]:
        yield bytes(DEFAULT_WINDOW)
        assert lowered.wait(WAIT)

    started = peer(script)
    upload = background(lambda: session.post(started.url, data=body(), timeout=4).content)
    started.connection().wait_for(DataFrame)
    sibling = background(lambda: session.get(started.url, timeout=WAIT).content)
    assert upload.result(WAIT) == b"ended"
    assert sibling.result(WAIT) == b"sibling"


def test_010_a_window_that_stays_closed(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < DEFAULT_WINDOW:
            conn.read_frame()
        conn.settings(initial_window_size=0)
        conn.expect(RstStreamFrame, stream_id=1, error_code=CANCEL)
        conn.settings(initial_window_size=DEFAULT_WINDOW)
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    begin = time.monotonic()
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.post(started.url, data=bytes(100_000), timeout=0.4)
    assert time.monotonic() - begin < 0.4 + 2 * PROMPT
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.accepted == 1


# -- row 11 -------------------------------------------------------------------------------


def silent_preface(conn: PeerConnection) -> None:
    """Take the client's preface in and say nothing, not even SETTINGS."""
    conn.auto_settings = False
    while len(conn._buffer) < 24:
        conn._fill(WAIT)
    del conn._buffer[:24]


def test_011_a_hundred_streams_before_settings(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=1)
    full, go = threading.Event(), threading.Event()

    def script(conn: PeerConnection) -> None:
        silent_preface(conn)
        conn.next_requests(100)
        full.set()
        assert go.wait(WAIT)
        conn.read_available()
        assert len(conn.requests) == 100
        conn.settings(max_concurrent_streams=101)
        conn.next_request()
        for request in conn.requests:
            conn.respond(request, 200, (), b"answer")

    started = peer(script, preface=False)

    def get() -> bytes:
        return session.get(started.url, timeout=WAIT).content

    futures = [background(get) for _ in range(100)]
    assert full.wait(WAIT)
    with pytest.raises(requests.exceptions.ConnectTimeout):
        session.get(started.url, timeout=(0.2, WAIT))
    futures.append(background(get))
    go.set()
    assert [future.result(WAIT) for future in futures] == [b"answer"] * 101
    assert started.accepted == 1
    # Who gave up has burnt no stream id.
    assert started.requests[-1].stream_id == 201


def test_011_what_the_late_limit_refuses_is_sent_again(
    session: requests.Session, peer: StartPeer
) -> None:
    def overrun(conn: PeerConnection) -> None:
        silent_preface(conn)
        served = conn.next_requests(4)
        conn.settings(max_concurrent_streams=2)
        conn.settings_ack()
        for request in served[2:]:
            conn.reset(request, REFUSED_STREAM)
        for request in served[:2]:
            conn.respond(request, 200, (), request.path.encode())
        conn.wait_eof()  # retired by the second refusal

    def good(conn: PeerConnection) -> None:
        conn.preface()
        serve(lambda request: (200, {}, request.path.encode()))(conn)

    started = peer([overrun, good], preface=False)
    bodies = together(4, lambda n: session.post(f"{started.url}/{n}", timeout=WAIT).content)
    assert bodies == [b"/0", b"/1", b"/2", b"/3"]
    first, again = started.connection(0), started.connection(1)
    assert {each.path for each in again.requests} == {each.path for each in first.requests[2:]}
    assert len(again.requests) == 2


def test_011_the_limit_may_rise_and_fall(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=1)
    started = peer(hold, settings={"max_concurrent_streams": 1})
    futures = [background(lambda: session.get(started.url, timeout=WAIT).content)]
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    acknowledged(conn, 1)
    futures += [background(lambda: session.get(started.url, timeout=WAIT).content) for _ in "ab"]
    conn.settings(max_concurrent_streams=3)
    conn.wait_for(HeadersFrame, stream_id=5)
    conn.settings(max_concurrent_streams=1)
    acknowledged(conn, 3)
    # Below the number of open streams: they go on, and nobody joins them.
    with pytest.raises(requests.exceptions.ConnectTimeout):
        session.get(started.url, timeout=(0.2, WAIT))
    for stream_id in (1, 3):
        conn.respond(stream_id, 200, (), b"answer")
    with pytest.raises(requests.exceptions.ConnectTimeout):
        session.get(started.url, timeout=(0.2, WAIT))
    conn.respond(5, 200, (), b"answer")
    assert [future.result(WAIT) for future in futures] == [b"answer"] * 3
    last = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn.wait_for(HeadersFrame, stream_id=7)
    conn.respond(7, 200, (), b"answer")
    assert last.result(WAIT) == b"answer"
    assert started.accepted == 1


def test_011_past_the_limit_another_connection(session: requests.Session, peer: StartPeer) -> None:
    started = peer(hold, settings={"max_concurrent_streams": 1})
    futures = []
    for index in range(2):
        futures.append(background(lambda: session.get(started.url, timeout=WAIT).content))
        started.connection(index).wait_for(HeadersFrame)
        acknowledged(started.connection(index), 1)
    for index in range(2):
        started.connection(index).respond(1, 200, (), b"answer")
    assert [future.result(WAIT) for future in futures] == [b"answer"] * 2


def test_011_a_limit_of_zero(make_session: MakeSession, peer: StartPeer) -> None:
    session = make_session(pool_maxsize=1)
    started = peer(hold)
    first = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.settings(max_concurrent_streams=0)
    conn.respond(1, 200, (), b"answer")
    assert first.result(WAIT) == b"answer"
    for timeout in ((0.4, WAIT), 0.4, (None, 0.4)):
        begin, used = time.monotonic(), time.thread_time()
        with pytest.raises(requests.exceptions.ConnectTimeout):
            session.get(started.url, timeout=timeout)
        assert time.monotonic() - begin < 0.4 + PROMPT
        assert time.thread_time() - used < 0.2  # it waits, and does not spin
    conn.settings(max_concurrent_streams=1)
    last = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn.wait_for(HeadersFrame, stream_id=3)
    conn.respond(3, 200, (), b"answer")
    assert last.result(WAIT) == b"answer"


@pytest.mark.parametrize("maxsize", [1, 3])
def test_011_a_limit_of_zero_from_the_beginning(
    make_session: MakeSession, peer: StartPeer, maxsize: int
) -> None:
    """HEADERS that crossed the SETTINGS are refused; then there is nothing to do but give up."""

    def script(conn: PeerConnection) -> None:
        while True:
            conn.reset(conn.next_request(), REFUSED_STREAM)

    started = peer(script, settings={"max_concurrent_streams": 0})
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        make_session(pool_maxsize=maxsize).get(started.url, timeout=0.5)
    assert time.monotonic() - begin < 3 + PROMPT
    assert len(started.requests) <= 4
    assert started.accepted <= 4


# -- row 12 -------------------------------------------------------------------------------


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big")
        + bytes([kind, flags])
        + stream_id.to_bytes(4, "big")
        + payload
    )


def setting(number: int, value: int) -> bytes:
    return frame(4, 0, 0, number.to_bytes(2, "big") + value.to_bytes(4, "big"))


ILLEGAL: dict[str, tuple[bytes, int]] = {
    "max frame size 0": (setting(5, 0), PROTOCOL_ERROR),
    "max frame size 16383": (setting(5, 16_383), PROTOCOL_ERROR),
    "max frame size 2**24": (setting(5, 2**24), PROTOCOL_ERROR),
    "initial window 2**31": (setting(4, 2**31), FLOW_CONTROL_ERROR),
    "push 1": (setting(2, 1), PROTOCOL_ERROR),
    "push 2": (setting(2, 2), PROTOCOL_ERROR),
    "ack with payload": (frame(4, 1, 0, bytes(6)), FRAME_SIZE_ERROR),
    "five octets": (frame(4, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    "on a stream": (frame(4, 0, 1, bytes(6)), PROTOCOL_ERROR),
    "stream window overflow": (
        frame(8, 0, 1, (2**31 - 1).to_bytes(4, "big")) + setting(4, DEFAULT_WINDOW + 1),
        FLOW_CONTROL_ERROR,
    ),
}
NAMES = {
    PROTOCOL_ERROR: "PROTOCOL_ERROR",
    FLOW_CONTROL_ERROR: "FLOW_CONTROL_ERROR",
    FRAME_SIZE_ERROR: "FRAME_SIZE_ERROR",
}


@pytest.mark.parametrize(("illegal", "code"), ILLEGAL.values(), ids=ILLEGAL)
def test_012_illegal_settings_end_the_connection(
    session: requests.Session, peer: StartPeer, illegal: bytes, code: int
) -> None:
    sent: list[float] = []

    def script(conn: PeerConnection) -> None:
        upload = conn.next_request()
        while upload.received < DEFAULT_WINDOW:
            conn.read_frame()
        conn.next_request()
        conn._unacknowledged.append({})  # some are illegal only for the streams there are
        sent.append(time.monotonic())
        conn.send_raw(illegal)
        assert conn.wait_for(GoAwayFrame).error_code == code
        conn.wait_eof()

    started = peer([script, serve(answer)])
    upload = background(lambda: session.post(started.url, data=bytes(200_000), timeout=WAIT))
    started.connection().wait_for(DataFrame)
    other = background(lambda: session.get(started.url, timeout=WAIT))
    for error in (upload.exception(WAIT), other.exception(WAIT)):
        assert isinstance(error, requests.ConnectionError)
        assert not isinstance(error, requests.Timeout)
        assert f"127.0.0.1:{started.port}" in str(error)
        assert f"{NAMES[code]} ({code:#x})" in str(error)
    assert time.monotonic() - sent[0] < PROMPT
    started.connection().wait_eof()
    assert started.accepted == 1
    assert session.get(started.url, timeout=WAIT).content == b"answer"
    assert started.accepted == 2


def test_012_unknown_settings_are_ignored(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        for number, value in ((0x99, 2**32 - 1), (0, 0), (7, 1), (8, 1), (0xFFFF, 0)):
            conn.send_raw(setting(number, value))
            conn._unacknowledged.append({})
        conn.respond(request, 200, (), b"first")
        conn.respond(conn.next_request(), 200, (), b"second")

    started = peer(script)
    for expected in (b"first", b"second"):
        assert session.get(started.url, timeout=WAIT).content == expected
    acknowledged(started.connection(), 6)
    assert started.accepted == 1


# -- row 13 -------------------------------------------------------------------------------


def block_of(conn: PeerConnection, stream_id: int) -> bytes:
    (first,) = conn.received(HeadersFrame, stream_id=stream_id)
    assert "END_HEADERS" in first.flags
    return first.data


def change_table(conn: PeerConnection, *sizes: int, told: threading.Event) -> None:
    """SETTINGS of these sizes, and what they do to our decoder; ``told`` once they are there."""
    conn._unacknowledged.extend({} for _ in sizes)
    conn.send_raw(b"".join(setting(SettingsFrame.HEADER_TABLE_SIZE, size) for size in sizes))
    conn.channel.wait_until_delivered()
    told.set()
    acknowledged(conn, 1 + len(sizes))
    conn._decoder.max_allowed_table_size = sizes[-1]


def test_013_no_table_for_our_encoder(session: requests.Session, peer: StartPeer) -> None:
    told = threading.Event()

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        change_table(conn, 0, told=told)
        for _ in range(3):
            request = conn.next_request()
            assert conn._decoder.header_table_size == 0
            assert not conn._decoder.header_table.dynamic_entries
            conn.respond(request)

    started = peer(script)
    session.get(started.url, timeout=WAIT)
    assert told.wait(WAIT)
    for number in range(3):
        session.get(started.url, headers={"X-Number": str(number)}, timeout=WAIT)
    blocks = [block_of(started.connection(), stream_id) for stream_id in (3, 5, 7)]
    assert blocks[0][0] == 0x20  # dynamic table size update to 0 (RFC 7541 section 6.3)
    assert [len(block) for block in blocks[1:]] == [len(blocks[0]) - 1] * 2
    assert started.requests[-1].headers["x-number"] == "2"
    assert started.accepted == 1


@pytest.mark.parametrize("sizes", [(100, 100), (100, 4096), (0, 4096, 4096), (5000, 100, 100)])
def test_013_changes_between_two_requests(
    session: requests.Session, peer: StartPeer, sizes: tuple[int, ...]
) -> None:
    """The peer's decoder fails without the update that it has to get (RFC 7541 section 4.2)."""
    told = threading.Event()

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        change_table(conn, *sizes, told=told)
        for _ in range(2):
            conn.respond(conn.next_request(), 200, (), b"answer")

    started = peer(script)
    session.get(started.url, timeout=WAIT)
    assert told.wait(WAIT)
    for number in range(2):
        headers = {"X-Number": str(number)}
        assert session.get(started.url, headers=headers, timeout=5).content == b"answer"
    assert table_size_updates(block_of(started.connection(), 3))[-1] == min(sizes[-1], 4096)
    assert min(sizes) in table_size_updates(block_of(started.connection(), 3))


def table_size_updates(block: bytes) -> list[int]:
    """The dynamic table size updates at the beginning of a block (RFC 7541 section 6.3)."""
    updates = []
    while block[0] & 0xE0 == 0x20:
        value, size = decode_integer(block, 5)
        updates.append(value)
        block = block[size:]
    return updates


def test_013_a_huge_table_is_not_filled(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn._decoder.max_allowed_table_size = 2**32 - 1
        serve(answer)(conn)

    started = peer(script, settings={"header_table_size": 2**32 - 1})
    session.get(started.url, timeout=WAIT)
    for number in range(100):
        session.get(started.url, headers={f"X-{number}": "~" * 1000}, timeout=WAIT)
    table = started.connection()._decoder.header_table
    assert table.maxsize == DEFAULT_TABLE
    assert table._current_size <= DEFAULT_TABLE
    assert started.accepted == 1


def test_013_at_most_two_table_size_updates(session: requests.Session, peer: StartPeer) -> None:
    """RFC 7541 section 4.2: the smallest size in between and the last one, however many came."""
    told = threading.Event()
    sizes = [(1000, 100, 5000)[number % 3] for number in range(1000)] + [2000]

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request())
        change_table(conn, *sizes, told=told)
        conn.respond(conn.next_request())

    started = peer(script)
    session.get(started.url, timeout=WAIT)
    assert told.wait(WAIT)
    assert session.get(started.url, timeout=WAIT).status_code == 200
    assert table_size_updates(block_of(started.connection(), 3)) == [100, 2000]


# -- row 14 -------------------------------------------------------------------------------


def test_014_over_the_peers_limit(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(answer), settings={"max_header_list_size": 1000})
    session.get(started.url)
    with pytest.raises(requests.exceptions.InvalidHeader, match="1000"):
        session.get(started.url, headers={"X-Large": "x" * 1000})
    # The 32 bytes that each field costs beside its text count too.
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.get(started.url, headers={f"x-{number}": "" for number in range(25)})
    assert session.get(started.url).content == b"answer"
    assert [request.stream_id for request in started.requests] == [1, 3]
    assert started.accepted == 1


def test_014_the_limit_is_exact(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(answer), settings={"max_header_list_size": 1000})
    session.get(started.url)
    session.get(started.url, headers={"x-fill": ""})
    size = sum(len(name) + len(value) + 32 for name, value in started.requests[1].raw_fields)
    assert session.get(started.url, headers={"x-fill": "x" * (1000 - size)}).ok
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.get(started.url, headers={"x-fill": "x" * (1001 - size)})
    assert session.get(started.url).ok
    assert [request.stream_id for request in started.requests] == [1, 3, 5, 7]
    assert started.accepted == 1


def test_014_the_body_is_not_touched(session: requests.Session, peer: StartPeer) -> None:
    touched = []

    def body() -> Iterator[bytes]:
        touched.append(True)
        yield b"body"

    started = peer(serve(answer), settings={"max_header_list_size": 1000})
    session.get(started.url)
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.post(started.url, data=body(), headers={"X-Large": "x" * 1000})
    assert session.post(started.url, data=body(), timeout=WAIT).content == b"answer"
    assert touched == [True]
    assert started.requests[1].body == b"body"


def test_014_refused_requests_leave_their_slot(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer(
        serve(answer), settings={"max_header_list_size": 1000, "max_concurrent_streams": 1}
    )
    session = make_session(pool_maxsize=1)
    session.get(started.url)
    for _ in range(5):
        with pytest.raises(requests.exceptions.InvalidHeader):
            session.get(started.url, headers={"X-Large": "x" * 1000}, timeout=WAIT)
    assert session.get(started.url, timeout=5).content == b"answer"


@pytest.mark.parametrize("frame_size", [16_384, 2**24 - 1])
def test_014_large_blocks_are_continued(
    session: requests.Session, peer: StartPeer, engine: str, frame_size: int
) -> None:
    """nghttp2 makes no frame of more than 16 KiB, whatever the peer takes."""
    started = peer(serve(answer), settings={"max_frame_size": frame_size})
    session.get(started.url)
    value = "~" * 40_000
    session.get(started.url, headers={"X-Large": value}, timeout=WAIT)
    assert started.requests[1].headers["x-large"] == value
    conn = started.connection()
    frames = [
        frame
        for frame in conn.frames
        if isinstance(frame, HeadersFrame | ContinuationFrame) and frame.stream_id == 3
    ]
    assert isinstance(frames[0], HeadersFrame)
    assert {type(frame) for frame in frames[1:]} <= {ContinuationFrame}
    assert ["END_HEADERS" in frame.flags for frame in frames] == [False] * (len(frames) - 1) + [
        True
    ]
    assert all(frame.body_len <= frame_size for frame in frames)
    assert "END_STREAM" in frames[0].flags
    assert (len(frames) > 1) is (frame_size == 16_384 or engine == "nghttp2")


def test_014_blocks_of_many_threads_do_not_mix(session: requests.Session, peer: StartPeer) -> None:
    """The peer accepts no other frame inside a block, nor blocks in another order than encoded."""
    started = peer(serve(lambda request: (200, {}, request.headers["x-large"].encode())))
    session.get(started.url, headers={"X-Large": ""})

    def work(number: int) -> bool:
        value = f"{number:02}" * 15_000
        headers = {"X-Large": value, "X-Number": f"number-{number}"}
        data = bytes(3000) if number % 2 else None
        return session.post(started.url, headers=headers, data=data, timeout=WAIT).text == value

    assert all(together(10, work))
    assert started.accepted == 1
