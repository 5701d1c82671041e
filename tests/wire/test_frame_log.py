"""The logger "requests_h2.frames": a line for every frame, and for which no lock is held."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import (
    Frame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
)

from requests_h2 import BodyWithTrailers
from tests.support.forks import works_in_child
from tests.support.frame_lines import FRAMES, FrameLines, frame_lines
from tests.support.peer import MakeSession, PeerConnection, StartPeer, hold, serve
from tests.support.threads import WAIT, background, together


@pytest.fixture
def log() -> Iterator[FrameLines]:
    with frame_lines() as lines:
        yield lines


# -- the lines -----------------------------------------------------------------------------


def test_an_exchange(session: requests.Session, peer: StartPeer, log: FrameLines) -> None:
    body = bytes(20_000)
    settings = {"max_concurrent_streams": 128, "initial_window_size": 65_536}
    started = peer(serve(lambda request: (200, {"x": "y"}, body)), settings=settings)
    response = session.get(started.url, timeout=WAIT)
    assert response.content == body
    session.close()
    settings_sent, window_update, *rest = log.sent
    assert settings_sent.startswith("SETTINGS ")
    assert "INITIAL_WINDOW_SIZE=1048576" in settings_sent.split(" ")
    assert "ENABLE_PUSH=0" in settings_sent.split(" ")
    assert window_update == f"WINDOW_UPDATE stream=0 +{2**30 - 65_535}"
    fields = len(started.request.fields)
    assert rest[-1] == "GOAWAY last=0 NO_ERROR(0)"
    assert sorted(rest[:-1]) == [f"HEADERS stream=1 END_STREAM {fields} fields", "SETTINGS ACK"]
    assert log.received == [
        "SETTINGS MAX_CONCURRENT_STREAMS=128 INITIAL_WINDOW_SIZE=65536",
        "SETTINGS ACK",
        "HEADERS stream=1 3 fields",
        "DATA stream=1 16384 octets",
        "DATA stream=1 3616 octets END_STREAM",
    ]
    assert all(record.levelno == logging.DEBUG for record in log.records)
    (connection,) = log.connections
    assert connection.startswith(f"127.0.0.1:{started.port} #")


def test_what_is_received(session: requests.Session, peer: StartPeer, log: FrameLines) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), 7)
        request = conn.next_request()
        conn.send(PingFrame(0, opaque_data=b"\x01\x02\x03\x04abcd"))
        conn.send(PingFrame(0, opaque_data=bytes(8), flags=["ACK"]))
        conn.settings(max_frame_size=16_384)
        conn.send(PriorityFrame(3, depends_on=0, stream_weight=15))
        conn.send_raw(b"\x00\x00\x06\x99\xf0\x00\x00\x00\x03secret")
        conn.window_update(0, 1_048_576)
        conn.window_update(request, 5)
        conn.informational(request, 103, {"link": "<a>"})
        block = conn.encode([(":status", "200"), ("x", "y" * 40)])
        conn.send_header_block(request, block, frame_size=20)
        conn.send_data(request, b"abcd", padding=3)
        conn.goaway(3, 0, b'so "long"\n' + bytes(250))
        conn.goaway(3, 0x1234)
        conn.send_data(request, b"")
        conn.send_trailers(request, {"x-checksum": "1"})
        conn.wait_eof()

    assert session.get(peer(script).url, timeout=WAIT).content == b"abcd"
    assert log.received[-17:] == [
        "RST_STREAM stream=1 REFUSED_STREAM(7)",
        "PING 0102030461626364",
        "PING ACK 0000000000000000",
        "SETTINGS MAX_FRAME_SIZE=16384",
        "PRIORITY stream=3 dependency=0 weight=16",
        "type=0x99 stream=3 flags=0xf0 6 octets",
        "WINDOW_UPDATE stream=0 +1048576",
        "WINDOW_UPDATE stream=3 +5",
        "HEADERS stream=3 2 fields",
        "HEADERS stream=3 20 octets of a field block",
        "CONTINUATION stream=3 20 octets of a field block",
        "CONTINUATION stream=3 2 fields",
        "DATA stream=3 4 octets padding=3",
        'GOAWAY last=3 NO_ERROR(0) debug="so \\"long\\"\\n' + 190 * "\\x00" + '"...',
        "GOAWAY last=3 UNKNOWN(4660)",
        "DATA stream=3 0 octets",
        "HEADERS stream=3 END_STREAM 1 field",
    ]


def test_what_is_sent(make_session: MakeSession, peer: StartPeer, log: FrameLines) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.read_body(request)
        conn.respond(request)
        held = conn.next_request()
        conn.send_headers(held, 200)
        conn.wait_for(RstStreamFrame, stream_id=held.stream_id)
        conn.send(PingFrame(0, opaque_data=b"12345678"))

    session = make_session()
    started = peer(script)
    data = BodyWithTrailers([b"x" * 10, b"y" * 5], {"x-sum": "1"})
    session.post(started.url, data=data, headers={"x-long": "z" * 20_000}, timeout=WAIT)
    with session.get(started.url, stream=True, timeout=WAIT) as response:
        response.raw.reprioritize(urgency=1)
    adapter: Any = session.get_adapter(started.url)
    adapter.ping(started.url, timeout=WAIT, verify=session.verify)
    ping = started.connection().wait_for(PingFrame, lambda frame: "ACK" not in frame.flags)
    started.connection().wait_for(PingFrame, lambda frame: "ACK" in frame.flags)
    posted, got = started.requests
    headers, continuation, *rest = [line for line in log.sent if "SETTINGS" not in line][1:]
    assert headers == "HEADERS stream=1 16384 octets of a field block"
    assert continuation == f"CONTINUATION stream=1 {len(posted.fields)} fields"
    ours = [f"PING {ping.opaque_data.hex()}", "PING ACK 3132333435363738"]
    assert sorted(rest[-2:]) == sorted(ours)
    # h2's engine sends an empty frame to see whether trailers follow.
    assert [line for line in rest[:-2] if line != "DATA stream=1 0 octets"] == [
        "DATA stream=1 10 octets",
        "DATA stream=1 5 octets",
        "HEADERS stream=1 END_STREAM 1 field",
        f"HEADERS stream=3 END_STREAM {len(got.fields)} fields",
        "PRIORITY_UPDATE prioritized=3 3 octets",
        "RST_STREAM stream=3 CANCEL(8)",
    ]


def test_what_is_pushed(make_session: MakeSession, peer: StartPeer, log: FrameLines) -> None:
    push_and_answer(make_session(enable_push=True), peer)
    assert [line for line in log.received if "SETTINGS" not in line] == [
        "PUSH_PROMISE stream=1 promised=2 5 fields",
        "PUSH_PROMISE stream=1 promised=4 8 octets of a field block",
        "CONTINUATION stream=1 8 octets of a field block",
        "CONTINUATION stream=1 4 fields",
        "HEADERS stream=2 END_STREAM 1 field",
        "HEADERS stream=4 END_STREAM 2 fields",
        "HEADERS stream=1 END_STREAM 1 field",
    ]


def push_and_answer(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        fields = [(f":{name}", request.pseudo(f":{name}")) for name in ("method", "scheme")]
        fields += [(":authority", request.pseudo(":authority"))]
        conn.push_promise(request, 2, [*fields, (":path", "/2"), ("cookie", "sesame")])
        # Fields that no table has: cut to pieces, and not counted before the last one.
        conn.push_promise(request, 4, [*fields, (":path", "/4-not-in-a-table")], frame_size=8)
        conn.respond(2)
        conn.respond(4, headers={"set-cookie": "sesame"})
        conn.respond(request)
        hold(conn)

    assert session.get(peer(script).url, timeout=WAIT).content == b""


def test_what_breaks_the_protocol(
    session: requests.Session, peer: StartPeer, log: FrameLines
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.send_raw(b"\x00\x00\x03\x03\x00\x00\x00\x00\x01abc")
        conn.wait_eof()

    with pytest.raises(requests.exceptions.ConnectionError):
        session.get(peer(script).url, timeout=WAIT)
    assert log.received[-1] == "RST_STREAM stream=1 malformed, 3 octets"
    assert log.sent[-1].startswith("GOAWAY last=0 ")


def test_what_is_no_http2(session: requests.Session, peer: StartPeer, log: FrameLines) -> None:
    def script(conn: PeerConnection) -> None:
        conn.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        while conn.channel.receive():
            pass

    with pytest.raises(requests.exceptions.ConnectionError):
        session.get(peer(script, preface=False).url, timeout=WAIT)
    (line,) = log.received
    assert line == "type=0x50 stream=825110816 4740180 octets, more than allowed"


# -- fields --------------------------------------------------------------------------------


def test_fields_by_name_and_value(
    make_session: MakeSession, peer: StartPeer, log: FrameLines
) -> None:
    value = 'say "hi" \\ \t\xe9'
    started = peer(serve(lambda request: (200, [("x-y", value), ("set-cookie", "sesame")], b"")))
    session = make_session(log_fields=True)
    session.get(started.url + "/p?q=1", headers={"X-Y": value, "X-Z": b"\xff"}, timeout=WAIT)
    escaped = 'say \\"hi\\" \\\\ \\t\\xe9'
    (sent,) = [line for line in log.sent if line.startswith("HEADERS")]
    (received,) = [line for line in log.received if line.startswith("HEADERS")]
    assert sent.startswith(
        f'HEADERS stream=1 END_STREAM {len(started.request.fields)} fields: :method="GET" '
        f':scheme="https" :authority="127.0.0.1:{started.port}" :path="/p?q=1" '
    )
    assert f' x-y="{escaped}" x-z="\\xff"' in sent
    assert f'fields: :status="200" x-y="{escaped}" set-cookie=(hidden)' in received


def test_values_that_are_never_shown(
    make_session: MakeSession, peer: StartPeer, log: FrameLines
) -> None:
    secret = {
        "Authorization": "sesame",
        "Cookie": "sesame",
        "Proxy-Authorization": "sesame",
        "Set-Cookie": "sesame",
    }
    lower = {name.lower(): value for name, value in secret.items()}

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.read_body(request)
        conn.informational(request, 103, lower)
        conn.send_headers(request, 200, {**lower, "x": "shown"})
        conn.send_trailers(request, lower)
        for pseudo in (":cookie", "Set-Cookie", "cookie ", "co\x00okie", "cookie: sesame"):
            conn.send_headers(conn.next_request(), 200, {pseudo: "sesame"}, end_stream=True)
        hold(conn)

    session = make_session(log_fields=True)
    started = peer(script)
    data = BodyWithTrailers([b"x"], {"x-sum": "1", "set-cookie": "sesame"})
    session.post(started.url, data=data, headers=secret, timeout=WAIT)
    for _ in range(5):
        with pytest.raises(requests.exceptions.ConnectionError) as caught:
            session.get(started.url, timeout=WAIT)
        assert "sesame" not in str(caught.value)
    assert 'x="shown"' in "".join(log.received)
    assert 'HEADERS stream=1 END_STREAM 2 fields: x-sum="1" set-cookie=(hidden)' in log.sent
    assert "sesame" not in "".join(log.lines)
    assert "".join(log.lines).count("(hidden)") >= 4 * 4 + 1


def test_promised_and_prioritized_values(
    make_session: MakeSession, peer: StartPeer, log: FrameLines
) -> None:
    session = make_session(enable_push=True, log_fields=True)
    push_and_answer(session, peer)
    promised = [line for line in log.received if 'path="/2"' in line]
    assert promised[0].endswith(':path="/2" cookie=(hidden)')
    assert 'HEADERS stream=4 END_STREAM 2 fields: :status="200" set-cookie=(hidden)' in log.received
    started = peer(hold_headers)
    with session.get(started.url, stream=True, timeout=WAIT) as response:
        response.raw.reprioritize(urgency=1)
    assert log.lines[-2].endswith('> PRIORITY_UPDATE prioritized=1 "u=1"')
    assert "sesame" not in "".join(log.lines)


def hold_headers(conn: PeerConnection) -> None:
    conn.send_headers(conn.next_request(), 200)
    hold(conn)


def test_bodies_and_values_are_not_shown(
    session: requests.Session, peer: StartPeer, log: FrameLines
) -> None:
    started = peer(serve(lambda request: (200, {"x-value": "sesame"}, b"sesame")))
    session.post(started.url + "/sesame", headers={"x": "sesame"}, data=b"sesame", timeout=WAIT)
    assert log.lines
    assert "sesame" not in "".join(log.lines)


# -- when ----------------------------------------------------------------------------------


def test_turned_on_and_off_in_a_connections_life(
    session: requests.Session, peer: StartPeer
) -> None:
    turn, go_on = threading.Event(), threading.Event()

    def script(conn: PeerConnection) -> None:
        serve_one(conn)
        request = conn.next_request()
        conn.send_headers(request, 200)
        frame = b"\x00\x00\x06\x00\x00" + request.stream_id.to_bytes(4, "big") + b"abcdef"
        conn.send_raw(frame[:12])
        conn.channel.wait_until_delivered()
        turn.set()
        assert go_on.wait(WAIT)
        conn.send_raw(frame[12:])
        conn.send_data(request, b"gh", end_stream=True)
        serve_one(conn)
        hold(conn)

    started = peer(script)
    session.get(started.url, timeout=WAIT)
    response = session.get(started.url, stream=True, timeout=WAIT)
    assert turn.wait(WAIT)
    response.raw.reader.connection.look()  # the half of the frame is taken in
    with frame_lines() as log:
        go_on.set()
        assert response.content == b"abcdefgh"
    assert log.text == ["< DATA stream=3 2 octets END_STREAM"]
    session.get(started.url, timeout=WAIT)
    assert len(log.records) == 1
    assert started.accepted == 1


def serve_one(conn: PeerConnection) -> None:
    conn.respond(conn.next_request())


def test_off_it_costs_a_question_for_each_read(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    logger = logging.getLogger(FRAMES)
    monkeypatch.setattr(logger, "isEnabledFor", lambda level: asked.append(level) and False)
    started = peer(serve(lambda request: (200, {}, bytes(4_000_000))))
    assert len(session.get(started.url, timeout=WAIT).content) == 4_000_000
    assert asked
    reads = -(-4_000_000 // 16_384)
    assert len(asked) < 3 * reads  # at the worst a record is a read, and brings credit


# -- threads, connections, processes -------------------------------------------------------


def test_threads_on_one_connection(
    session: requests.Session, peer: StartPeer, log: FrameLines
) -> None:
    """The lines are in the order in which the frames go out, whoever sends them."""
    started = peer(serve(lambda request: (200, {}, b"z" * 100)))

    def work(number: int) -> None:
        for _ in range(10):
            session.post(started.url, data=b"x" * number, timeout=WAIT)

    together(8, work)
    session.close()
    conn = started.connection()
    told = [
        line.split(" ")[0] + (f" {line.split(' ')[1]}" if "stream=" in line else "")
        for line in log.sent
    ]
    seen = [frame_name(frame) for frame in conn.frames]
    assert told[: len(seen)] == seen
    assert len(seen) > 150


def frame_name(frame: Frame) -> str:
    names = {"RstStream": "RST_STREAM", "GoAway": "GOAWAY", "WindowUpdate": "WINDOW_UPDATE"}
    name = type(frame).__name__.removesuffix("Frame")
    has_stream = frame.stream_id or name == "WindowUpdate"
    return names.get(name, name.upper()) + (f" stream={frame.stream_id}" if has_stream else "")


def test_connections_are_told_apart(
    make_session: MakeSession, peer: StartPeer, log: FrameLines
) -> None:
    started = peer(serve(lambda request: (200, {}, b"")))
    for _ in range(2):
        make_session().get(started.url, timeout=WAIT)
    first, second = log.connections
    assert first != second
    assert {each.split(" #")[0] for each in log.connections} == {f"127.0.0.1:{started.port}"}


class Requesting(logging.Handler):
    """Makes one request for the first line, with the handler's own lock held as ever."""

    def __init__(self, request: Callable[[], Any], ending: str = "") -> None:
        super().__init__()
        self._request = request
        self._ending = ending
        self._begun = False
        self.done = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if not self._begun and record.getMessage().endswith(self._ending):
            self._begun = True
            assert self._request().content == b"told"
            self.done.set()


def answer_told(conn: PeerConnection) -> None:
    """``/slow`` is answered last, when all others are."""
    slow = []
    while True:
        request = conn.next_request()
        if request.pseudo(":path") == "/slow":
            slow.append(request)
        else:
            conn.respond(request, body=b"told")
        if request.pseudo(":path") == "/last":
            for each in slow:
                conn.respond(each, body=b"slow")


@pytest.mark.parametrize("waiting", [False, True], ids=["alone", "another thread pumps"])
def test_a_handler_that_makes_requests(
    session: requests.Session, peer: StartPeer, waiting: bool, log: FrameLines
) -> None:
    started = peer(answer_told)
    slow = None
    if waiting:
        slow = background(lambda: session.get(started.url + "/slow", timeout=WAIT).content)
        log.wait_for("< SETTINGS ACK")
    handler = Requesting(lambda: session.get(started.url + "/of-handler", timeout=WAIT))
    logger = logging.getLogger(FRAMES)
    logger.addHandler(handler)
    try:
        assert session.get(started.url, timeout=WAIT).content == b"told"
        assert handler.done.wait(WAIT)  # the thread that pumps may have been the first to tell
    finally:
        logger.removeHandler(handler)
    assert session.get(started.url + "/last", timeout=WAIT).content == b"told"
    assert slow is None or slow.result(WAIT) == b"slow"
    assert started.accepted == 1


def test_a_handler_whose_lock_another_thread_holds(
    session: requests.Session, peer: StartPeer, log: FrameLines
) -> None:
    """That one makes a request with it, while the thread that pumps has something to tell."""
    started = peer(answer_told)
    slow = background(lambda: session.get(started.url + "/slow", timeout=WAIT).content)
    log.wait_for("< SETTINGS ACK")
    handler = Requesting(lambda: session.get(started.url, timeout=WAIT), "other")
    both = (logging.getLogger(FRAMES), logging.getLogger("other"))
    for logger in both:
        logger.addHandler(handler)
    try:
        both[1].warning("other")
        assert handler.done.is_set()
    finally:
        for logger in both:
            logger.removeHandler(handler)
    session.get(started.url + "/last", timeout=WAIT)
    assert slow.result(WAIT) == b"slow"


def test_a_handler_that_hangs_delays_no_other_thread(
    session: requests.Session, peer: StartPeer, log: FrameLines
) -> None:
    started = peer(answer_told)
    session.get(started.url, timeout=WAIT)
    inside, go_on = threading.Event(), threading.Event()

    def hang() -> Any:
        inside.set()
        assert go_on.wait(WAIT)
        return session.get(started.url, timeout=WAIT)

    handler = Requesting(hang)
    logging.getLogger(FRAMES).addHandler(handler)
    try:
        hung = background(lambda: session.get(started.url + "/slow", timeout=WAIT).content)
        assert inside.wait(WAIT)
        seen = len(log.records)
        assert session.get(started.url, timeout=WAIT).content == b"told"
        assert len(log.records) == seen  # the thread that hangs will tell it, in order
        go_on.set()
        assert session.get(started.url + "/last", timeout=WAIT).content == b"told"
        assert hung.result(WAIT) == b"slow"
    finally:
        go_on.set()
        logging.getLogger(FRAMES).removeHandler(handler)
    opened = [line for line in log.sent if line.startswith("HEADERS")]
    assert [line.split(" ")[1] for line in opened] == [
        f"stream={number}" for number in range(1, 2 * len(opened), 2)
    ]


def test_a_finalizer_calls_no_handler(
    session: requests.Session, peer: StartPeer, log: FrameLines
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.send_headers(conn.next_request(), 200)
        conn.wait_for(RstStreamFrame, stream_id=1)
        serve_one(conn)

    started = peer(script)
    response: Any = session.get(started.url, stream=True, timeout=WAIT)
    before = len(log.records)
    gc.disable()
    try:
        cycle = [response]
        cycle.append(cycle)
        del response, cycle
        gc.collect()
    finally:
        gc.enable()
    started.connection().wait_for(RstStreamFrame, stream_id=1)
    assert len(log.records) == before
    session.get(started.url, timeout=WAIT)
    assert log.sent[-2] == "RST_STREAM stream=1 CANCEL(8)"


def test_nothing_is_sent_on_a_lost_connection(
    session: requests.Session, peer: StartPeer, log: FrameLines
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.send_headers(conn.next_request(), 200)
        conn.cut()

    response = session.get(peer(script).url, stream=True, timeout=WAIT)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        response.content  # noqa: B018
    sent = len(log.sent)
    response.close()
    session.close()
    assert len(log.sent) == sent
    assert not any(line.startswith(("RST_STREAM", "GOAWAY")) for line in log.sent)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_tells_nothing_of_its_parents_connections(
    session: requests.Session, peer: StartPeer, log: FrameLines
) -> None:
    started = peer(hold_headers)
    response = session.get(started.url, stream=True, timeout=WAIT)
    before = len(log.records)

    def close_all() -> bool:
        response.close()
        session.close()
        return len(log.records) == before

    assert works_in_child(close_all)
