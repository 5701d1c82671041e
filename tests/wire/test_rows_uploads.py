"""Rows 68 to 76 of the fault table: uploads, early answers, bodies that fail or are sent again."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, RstStreamFrame
from requests.auth import HTTPDigestAuth

from tests.support.peer import MakeSession, PeerConnection, Request, StartPeer, hold, serve
from tests.support.threads import PROMPT, WAIT, background

MIB = 2**20
DEFAULT_WINDOW = 65_535
NO_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 7, 8, 11


def ok(request: Request) -> Any:
    return 200, {}, b"ok"


class Unsized:
    """A file of which nothing is known but ``read``."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.taken += len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(8192), b"")


class Pipe(Unsized):
    """It cannot tell where it is, so requests knows that it cannot go back."""

    def tell(self) -> int:
        raise OSError("a pipe")


class Sized:
    """An iterable whose length is known."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def assert_slot_is_free(session: requests.Session, started: Any) -> None:
    """On a connection that allows one stream, of a pool that allows one connection."""
    assert session.get(started.url + "/next", timeout=WAIT).content == b"next"
    assert started.accepted == 1


# -- 68: the size of the pieces ------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bytes", "file", "generator"])
@pytest.mark.parametrize("window", [10_000, 2**31 - 1])
def test_068_a_body_larger_than_windows_and_frames(
    session: requests.Session, peer: StartPeer, kind: str, window: int
) -> None:
    """The peer checks both windows and the frame size of everything it gets."""
    data = bytes(range(256)) * 2000
    bodies: dict[str, Any] = {
        "bytes": data,
        "file": io.BytesIO(data),
        "generator": (data[at : at + 100_001] for at in range(0, len(data), 100_001)),
    }
    started = peer(serve(ok), settings={"initial_window_size": window})
    assert session.post(started.url, data=bodies[kind]).content == b"ok"
    assert started.request.body == data
    assert max(started.request.data_sizes) <= 16_384


@pytest.mark.parametrize("frame_size", [20_000, 2**24 - 1])
def test_068_larger_frames_of_the_peer_are_used_with_measure(
    session: requests.Session, peer: StartPeer, engine: str, frame_size: int
) -> None:
    """64 KiB a frame at most, so that streams take turns; nghttp2 leaves it at 16 KiB."""

    def script(conn: PeerConnection) -> None:
        conn.window_update(0, MIB)
        serve(ok)(conn)

    settings = {"max_frame_size": frame_size, "initial_window_size": MIB}
    started = peer(script, settings=settings)
    session.get(started.url)
    session.post(started.url, data=bytes(300_000))
    largest = max(started.requests[1].data_sizes)
    if engine == "nghttp2":
        assert largest == 16_384
    else:
        assert 16_384 < largest <= min(frame_size, 65_536)


@pytest.mark.usefixtures("small_send_buffer")
@pytest.mark.parametrize("limit", ["stream", "connection", "socket"])
def test_068_uploads_take_turns(session: requests.Session, peer: StartPeer, limit: str) -> None:
    """One is endless until the other is through, whatever it is that holds both back."""

    def script(conn: PeerConnection) -> None:
        # What lies in the buffers of the kernel has to be read before the other's turn comes.
        conn.channel.tls.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        if limit != "connection":
            conn.window_update(0, 2**30)
        serve(ok)(conn)

    settings = {"initial_window_size": 32_768 if limit == "stream" else 2**30}
    started = peer(script, settings=settings, keep_data=False)
    session.get(started.url)
    through = threading.Event()

    def endless() -> Iterator[bytes]:
        while not through.is_set():
            yield bytes(100_000)

    endless_one = background(lambda: session.post(started.url, data=endless(), timeout=WAIT))
    started.connection().wait_for(DataFrame, stream_id=3)
    assert session.post(started.url, data=bytes(MIB // 2), timeout=WAIT).content == b"ok"
    through.set()
    assert endless_one.result(WAIT).content == b"ok"
    assert started.accepted == 1


# -- 69: a final answer that is not 2xx ----------------------------------------------------


def answers_early(status: int, blocked: bool) -> Callable[[PeerConnection], None]:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < (DEFAULT_WINDOW if blocked else 1):
            conn.expect(DataFrame)
        conn.respond(request, status, {"x": "y"}, b"no")
        conn.respond(conn.next_request(), 200, {}, b"next")

    return script


@pytest.mark.parametrize("blocked", [False, True], ids=["sending", "blocked"])
@pytest.mark.parametrize("body", ["bytes", "generator", "file"])
@pytest.mark.parametrize("status", [303, 400, 401, 403, 404, 413, 500])
def test_069_a_final_answer_stops_the_upload(
    make_session: MakeSession, peer: StartPeer, status: int, body: str, blocked: bool
) -> None:
    session = make_session(pool_maxsize=1)
    started = peer(answers_early(status, blocked), settings={"max_concurrent_streams": 1})
    taken: list[bytes] = []

    def pieces() -> Iterator[bytes]:
        for _ in range(1000):
            taken.append(b"")
            yield bytes(16_000)

    file = Unsized(bytes(16_000_000))
    bodies: dict[str, Any] = {"bytes": bytes(1_000_000), "generator": pieces(), "file": file}
    begin = time.monotonic()
    response = session.post(started.url, data=bodies[body], allow_redirects=False, timeout=WAIT)
    assert time.monotonic() - begin < PROMPT
    assert (response.status_code, response.headers["x"], response.content) == (status, "y", b"no")
    reset = started.connection().wait_for(RstStreamFrame, stream_id=1)
    assert reset.error_code in (NO_ERROR, CANCEL)
    assert not started.requests[0].ended
    assert len(taken) < 100
    assert file.taken < 1_600_000
    assert_slot_is_free(session, started)


@pytest.mark.parametrize("ends", [False, True], ids=["headers", "whole"])
@pytest.mark.parametrize("status", [403, 413])
def test_069_a_final_answer_stops_a_slow_generator(
    session: requests.Session, peer: StartPeer, status: int, ends: bool
) -> None:
    """Far from filling a window: the answer is looked for before more of the body is taken."""
    answered = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.expect(DataFrame)
        conn.send_headers(request, status, end_stream=ends)
        conn.channel.wait_until_delivered()
        answered.set()
        if not ends:
            conn.send_data(request, b"no", end_stream=True)
        conn.respond(conn.next_request(), 200, {}, b"next")

    taken: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            if number:
                assert answered.wait(WAIT)
            taken.append(number)
            yield b"a little"

    started = peer(script)
    response = session.post(started.url, data=pieces(), timeout=WAIT)
    assert (response.status_code, response.content) == (status, b"" if ends else b"no")
    assert len(taken) <= 3
    assert_slot_is_free(session, started)
    assert not started.requests[0].ended


def test_069_a_final_answer_of_headers_only(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.expect(DataFrame)
        conn.respond(request, 403)
        conn.respond(conn.next_request(), 200, {}, b"next")

    session = make_session(pool_maxsize=1)
    started = peer(script, settings={"max_concurrent_streams": 1})
    body = (bytes(16_000) for _ in range(1000))
    assert session.post(started.url, data=body, timeout=WAIT).status_code == 403
    assert_slot_is_free(session, started)


def test_069_the_content_of_a_final_answer_may_follow_later(
    session: requests.Session, peer: StartPeer
) -> None:
    """Its header section settles the request; RST_STREAM waits for the rest of the answer."""
    returned = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < DEFAULT_WINDOW:
            conn.expect(DataFrame)
        conn.send_headers(request, 413)
        assert returned.wait(WAIT)
        assert request.reset_code is None
        conn.send_data(request, b"too large", end_stream=True)
        conn.expect(RstStreamFrame, stream_id=1)

    started = peer(script)
    response = session.post(started.url, data=bytes(MIB), stream=True, timeout=WAIT)
    assert response.status_code == 413
    returned.set()
    assert response.content == b"too large"
    started.connection().wait_for(RstStreamFrame, stream_id=1)
    assert started.request.received == DEFAULT_WINDOW


@pytest.mark.parametrize("code", [NO_ERROR, CANCEL])
def test_069_the_servers_own_reset_after_its_answer_is_no_failure(
    session: requests.Session, peer: StartPeer, code: int
) -> None:
    """RFC 9113 section 8.1: a server may so ask for no more of the body."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.expect(DataFrame)
        conn.respond(request, 413, {}, b"no")
        conn.reset(request, code)
        conn.respond(conn.next_request(), 200, {}, b"next")

    started = peer(script)
    body = (bytes(16_000) for _ in range(1000))
    response = session.post(started.url, data=body, timeout=WAIT)
    assert (response.status_code, response.content) == (413, b"no")
    assert_slot_is_free(session, started)


# -- 70: an early 2xx ----------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_070_an_early_2xx_does_not_stop_the_upload(
    session: requests.Session, peer: StartPeer, stream: bool
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.expect(DataFrame)
        conn.send_headers(request, 200, {"x": "y"})
        body = conn.read_body(request)
        conn.send_data(request, str(len(body)).encode(), end_stream=True)

    started = peer(script)
    body = (bytes(10_000) for _ in range(50))
    response = session.post(started.url, data=body, stream=stream, timeout=WAIT)
    assert response.headers["x"] == "y"
    assert response.content == b"500000"
    assert started.connection().received(RstStreamFrame) == []


def test_070_both_directions_at_once(session: requests.Session, peer: StartPeer) -> None:
    """The rest of the body is drawn by reading the answer."""
    answers: list[bytes] = []

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < DEFAULT_WINDOW:
            conn.expect(DataFrame)
        conn.send_headers(request)
        conn.send_data(request, b"first")
        while not request.ended:
            received = request.received
            conn.read_frame()
            if request.received > received:
                conn.credit(request, MIB)
                conn.send_data(request, bytes(request.body[-6:]))
        conn.send_data(request, end_stream=True)

    def body() -> Iterator[bytes]:
        yield bytes(DEFAULT_WINDOW)
        yield b"second"
        yield b"third "

    started = peer(script)
    future = background(lambda: session.post(started.url, data=body(), stream=True, timeout=WAIT))
    response = future.result(WAIT)
    started.connection().window_update(0, MIB)
    started.connection().window_update(1, MIB)
    answers.extend(response.iter_content(None))
    assert b"".join(answers).startswith(b"first")
    assert b"".join(answers).endswith(b"third ")
    assert started.request.received == DEFAULT_WINDOW + 12


@pytest.mark.parametrize("content", [b"", b"done"])
def test_070_a_2xx_with_end_stream_is_final(
    make_session: MakeSession, peer: StartPeer, content: bytes
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < DEFAULT_WINDOW:
            conn.expect(DataFrame)
        conn.respond(request, 200, {}, content)
        conn.respond(conn.next_request(), 200, {}, b"next")

    session = make_session(pool_maxsize=1)
    started = peer(script, settings={"max_concurrent_streams": 1})
    begin = time.monotonic()
    body = (bytes(10_000) for _ in range(500))
    response = session.post(started.url, data=body, timeout=WAIT)
    assert time.monotonic() - begin < PROMPT
    assert (response.status_code, response.content) == (200, content)
    assert_slot_is_free(session, started)
    request = started.requests[0]
    assert request.ended or request.reset_code in (NO_ERROR, CANCEL)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", [OSError(5, "mine"), ValueError("mine")], ids=repr)
def test_070_the_body_of_an_early_2xx_may_fail(
    session: requests.Session, peer: StartPeer, error: Exception, stream: bool
) -> None:
    """The iterator raises while the response is being read: its exception, unchanged."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < DEFAULT_WINDOW:
            conn.expect(DataFrame)
        conn.send_headers(request)
        conn.send_data(request, b"partial")
        conn.ping()
        conn.expect(PingFrame)
        conn.credit(request, MIB)
        while request.reset_code is None:
            conn.read_frame()
        assert request.reset_code == CANCEL
        conn.respond(conn.next_request(), 200, {}, b"next")

    def body() -> Iterator[bytes]:
        yield bytes(DEFAULT_WINDOW + 1000)
        raise error

    started = peer(script)
    with pytest.raises(type(error)) as caught:
        session.post(started.url, data=body(), stream=stream, timeout=WAIT).content  # noqa: B018
    assert caught.value is error
    assert_slot_is_free(session, started)
    assert not started.requests[0].ended


# -- 71: bodies that raise -----------------------------------------------------------------


class Mine(Exception):
    pass


class MineAsWell(BaseException):
    pass


ERRORS: list[BaseException] = [
    Mine("mine"),
    OSError(5, "mine"),
    ConnectionResetError("mine"),
    TimeoutError("mine"),
    requests.ConnectionError("mine"),
    KeyboardInterrupt("mine"),
    MineAsWell("mine"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("after", [b"", b"some", bytes(70_000)], ids=["first", "some", "window"])
def test_071_the_iterators_own_exception(
    make_session: MakeSession, peer: StartPeer, error: BaseException, after: bytes
) -> None:
    """Unchanged, once, and with ``max_retries`` too."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.reset_code is None:
            received = request.received
            conn.read_frame()
            if request.received > received:
                conn.credit(request, request.received - received)
        assert request.reset_code == CANCEL
        conn.respond(conn.next_request(), 200, {}, b"next")

    def body() -> Iterator[bytes]:
        if after:
            yield after
        raise error

    session = make_session(pool_maxsize=1, max_retries=2)
    started = peer(script, settings={"max_concurrent_streams": 1})
    with pytest.raises(type(error)) as caught:
        session.post(started.url, data=body(), timeout=WAIT)
    assert caught.value is error
    assert_slot_is_free(session, started)
    assert not started.requests[0].ended
    assert len(started.requests) == 2


def test_071_a_failing_file(session: requests.Session, peer: StartPeer) -> None:
    class Failing(Unsized):
        def read(self, size: int = -1) -> bytes:
            if self.taken:
                raise OSError(5, "disk")
            return super().read(min(size, 10) if size > 0 else 10)

    started = peer(serve(ok))
    with pytest.raises(OSError, match="disk") as caught:
        session.post(started.url, data=Failing(b"x" * 100))
    assert not isinstance(caught.value, requests.RequestException)
    started.connection().wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    assert session.get(started.url).content == b"ok"
    assert not started.requests[0].ended
    assert started.accepted == 1


@pytest.mark.parametrize("piece", [1, None, object()], ids=["int", "None", "object"])
def test_071_an_iterator_of_no_bytes(
    session: requests.Session, peer: StartPeer, piece: Any
) -> None:
    started = peer(serve(ok))
    with pytest.raises((TypeError, ValueError)):
        session.post(started.url, data=iter([b"some", piece]), timeout=WAIT)
    started.connection().wait_for(RstStreamFrame, stream_id=1, error_code=CANCEL)
    assert session.get(started.url).content == b"ok"
    assert not started.requests[0].ended
    assert started.accepted == 1


# -- 73: what is on the wire ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_073_no_body_is_no_data(session: requests.Session, peer: StartPeer, method: str) -> None:
    started = peer(serve(ok))
    session.request(method, started.url)
    conn = started.connection()
    assert conn.received(DataFrame) == []
    assert "END_STREAM" in conn.wait_for(HeadersFrame).flags
    if method in ("GET", "HEAD"):
        assert "content-length" not in started.request.headers


@pytest.mark.parametrize("body", [None, b"", "", {}], ids=repr)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_073_an_empty_body_is_no_data_and_keeps_its_content_length(
    session: requests.Session, peer: StartPeer, method: str, body: Any
) -> None:
    started = peer(serve(ok))
    session.request(method, started.url, data=body)
    conn = started.connection()
    assert conn.received(DataFrame) == []
    assert "END_STREAM" in conn.wait_for(HeadersFrame).flags
    assert started.request.headers["content-length"] == "0"


KNOWN: dict[str, Any] = {
    "bytes": lambda: b"abcdefg",
    "str": lambda: "abcdefg",
    "file": lambda: io.BytesIO(b"abcdefg"),
    "iterable": lambda: Sized([b"abc", b"", b"defg"]),
    "large": lambda: bytes(100_000),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_073_the_last_data_of_a_known_length_ends_the_stream(
    session: requests.Session, peer: StartPeer, kind: str
) -> None:
    """Without an empty frame after it."""
    started = peer(serve(ok))
    session.post(started.url, data=KNOWN[kind]())
    frames = started.connection().received(DataFrame)
    assert [frame for frame in frames if "END_STREAM" in frame.flags] == frames[-1:]
    assert 0 not in started.request.data_sizes
    assert started.request.headers["content-length"] == str(len(started.request.body))
    assert "transfer-encoding" not in started.request.headers


@pytest.mark.parametrize("pieces", [[], [b""], [b"one ", b"", b"two ", b"three"]], ids=repr)
def test_073_a_generator_is_not_chunked(
    session: requests.Session, peer: StartPeer, pieces: list[bytes]
) -> None:
    started = peer(serve(ok))
    session.post(started.url, data=(piece for piece in pieces))
    request = started.request
    assert request.body == b"".join(pieces)
    assert not {"content-length", "transfer-encoding"} & set(request.headers)
    # An empty piece is no frame; only the end of the stream may be an empty one.
    assert 0 not in request.data_sizes[:-1]
    frames = started.connection().received(DataFrame)
    assert [frame for frame in frames if "END_STREAM" in frame.flags] == frames[-1:]


def test_073_a_generator_of_a_length_that_the_caller_knows(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(serve(ok))
    session.post(started.url, data=iter([b"abc", b"def"]), headers={"Content-Length": "6"})
    assert started.request.headers["content-length"] == "6"
    assert started.request.data_sizes[-1] == 3


# -- 74: sending a body again --------------------------------------------------------------


def turn_away(how: str, read: bool) -> Callable[[PeerConnection], None]:
    """Say of the first request that it was not processed, before or after its body is read."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        if read:
            conn.read_body(request)
        else:
            conn.expect(DataFrame)
        if how == "refused":
            conn.reset(request, REFUSED_STREAM)
            serve(ok)(conn)
        else:
            conn.goaway(0)
            conn.wait_eof()

    return script


def text_file() -> Any:
    file = io.StringIO("0123456789" * 20_000)
    file.seek(2)
    return file


def bytes_file() -> Any:
    file = io.BytesIO(b"0123456789" * 20_000)
    file.seek(2)
    return file


BODIES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"0123456789" * 20_000,
    "str": lambda: "0123456789" * 20_000,
    "file": bytes_file,
    "text-file": text_file,
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
@pytest.mark.parametrize("how", ["refused", "goaway"])
def test_074_a_replay_sends_the_body_from_where_it_began(
    session: requests.Session, peer: StartPeer, how: str, read: bool, kind: str
) -> None:
    started = peer([turn_away(how, read), serve(ok)])
    body = BODIES[kind]()
    expected = body[:] if isinstance(body, (str, bytes)) else ("0123456789" * 20_000)[2:]
    assert session.post(started.url, data=body, timeout=WAIT).content == b"ok"
    if isinstance(expected, str):
        expected = expected.encode()
    assert started.requests[1].body == expected
    assert len(started.requests) == 2
    # Nothing more of the first came once the second had begun.
    assert started.accepted == (1 if how == "refused" else 2)
    if how == "refused":
        frames = started.connection().frames
        second = frames.index(started.connection().wait_for(HeadersFrame, stream_id=3))
        assert not any(frame.stream_id == 1 for frame in frames[second:])


@pytest.mark.parametrize("kind", ["generator", "pipe"])
@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
@pytest.mark.parametrize("how", ["refused", "goaway"])
def test_074_what_cannot_be_rewound_is_not_replayed(
    session: requests.Session, peer: StartPeer, how: str, read: bool, kind: str
) -> None:
    started = peer([turn_away(how, read), serve(ok)])
    body: Any = iter([b"once"] * 3) if kind == "generator" else Pipe(b"once")
    with pytest.raises(requests.ConnectionError, match=r"REFUSED_STREAM|GOAWAY") as caught:
        session.post(started.url, data=body, timeout=WAIT)
    assert not isinstance(caught.value, requests.Timeout)
    assert len(started.requests) == 1


def test_074_an_untouched_generator_is_still_whole_for_another_connection(
    session: requests.Session, peer: StartPeer
) -> None:
    """The first connection is found dead before the body is looked at."""
    taken = []

    def body() -> Iterator[bytes]:
        taken.append(started.accepted)
        yield b"once"

    started = peer(serve(lambda request: (200, {}, bytes(request.body))))
    session.get(started.url)
    conn = started.connection()
    conn.goaway(1)
    conn.close()
    conn.channel.wait_until_delivered()
    assert session.post(started.url, data=body(), timeout=WAIT).content == b"once"
    assert taken == [2]


def redirect(status: int, early: bool) -> Callable[[PeerConnection], None]:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        if early:
            conn.expect(DataFrame)
        else:
            conn.read_body(request)
        conn.respond(request, status, {"location": "/there"})
        serve(ok)(conn)

    return script


@pytest.mark.parametrize("kind", [kind for kind in BODIES if kind != "text-file"])
@pytest.mark.parametrize("early", [False, True], ids=["read", "early"])
@pytest.mark.parametrize("status", [307, 308])
def test_074_a_redirect_sends_the_body_again(
    session: requests.Session, peer: StartPeer, status: int, early: bool, kind: str
) -> None:
    started = peer(redirect(status, early))
    body = BODIES[kind]()
    assert session.post(started.url, data=body, timeout=WAIT).content == b"ok"
    first, second = started.requests
    assert (second.method, second.path) == ("POST", "/there")
    expected = b"0123456789" * 20_000
    assert second.body == (expected[2:] if kind == "file" else expected)
    assert first.ended is not early
    assert started.accepted == 1


def test_074_a_redirect_cannot_rewind_a_pipe(session: requests.Session, peer: StartPeer) -> None:
    started = peer(redirect(307, False))
    with pytest.raises(requests.exceptions.UnrewindableBodyError):
        session.post(started.url, data=Pipe(b"once"), timeout=WAIT)
    assert len(started.requests) == 1


def test_074_see_other_drops_the_body(session: requests.Session, peer: StartPeer) -> None:
    started = peer(redirect(303, False))
    session.post(started.url, data=b"body")
    assert [each.method for each in started.requests] == ["POST", "GET"]
    assert started.requests[1].body == b""
    assert "content-length" not in started.requests[1].headers


@pytest.mark.parametrize("kind", ["bytes", "file"])
@pytest.mark.parametrize("early", [False, True], ids=["read", "early"])
def test_074_digest_sends_the_body_again(
    session: requests.Session, peer: StartPeer, early: bool, kind: str
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        if early:
            conn.expect(DataFrame)
        else:
            conn.read_body(request)
        challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
        conn.respond(request, 401, {"www-authenticate": challenge}, b"who?")
        serve(ok)(conn)

    started = peer(script)
    body = BODIES[kind]()
    auth = HTTPDigestAuth("user", "password")
    assert session.post(started.url, data=body, auth=auth, timeout=WAIT).content == b"ok"
    second = started.requests[1]
    assert second.headers["authorization"].startswith("Digest ")
    expected = b"0123456789" * 20_000
    assert second.body == (expected[2:] if kind == "file" else expected)
    assert started.accepted == 1


# -- 75: Expect: 100-continue --------------------------------------------------------------


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body is held back for longer than anything here waits: only the peer ends that."""
    monkeypatch.setattr("requests_h2.lease._CONTINUE_WAIT", 10 * WAIT)


class Watched:
    """A body that notes when its first octet was wanted."""

    def __init__(self) -> None:
        self.wanted = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        self.wanted.set()
        yield b"body"


EXPECT = [{"Expect": "100-continue"}, {"expect": "100-Continue"}]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("headers", EXPECT, ids=str)
def test_075_the_body_waits_for_100(
    session: requests.Session, peer: StartPeer, headers: dict[str, str]
) -> None:
    body = Watched()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        assert request.headers["expect"].lower() == "100-continue"
        assert not body.wanted.is_set()
        conn.ping()  # a turn of the client's, after which it still waits
        conn.read_frame()
        assert not body.wanted.is_set()
        conn.informational(request, 100)
        conn.read_body(request)
        conn.respond(request, 200, {}, bytes(request.body))

    response = session.post(peer(script).url, data=body, headers=headers, timeout=WAIT)
    assert response.content == b"body"


def test_075_a_body_of_bytes_waits_as_well(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.informational(request, 103)
        conn.ping()
        conn.read_frame()
        assert request.received == 0
        conn.informational(request, 100)
        conn.read_body(request)
        conn.respond(request, 200, {}, bytes(request.body))

    response = session.post(
        peer(script).url, data=b"body", headers={"Expect": "100-continue"}, timeout=WAIT
    )
    assert response.content == b"body"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("status", [401, 413, 417])
@pytest.mark.parametrize("content", [b"", b"no"])
def test_075_a_final_rejection_leaves_the_body_untouched(
    make_session: MakeSession, peer: StartPeer, status: int, content: bytes
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), status, {}, content)
        conn.respond(conn.next_request(), 200, {}, b"next")

    session = make_session(pool_maxsize=1)
    started = peer(script, settings={"max_concurrent_streams": 1})
    body = Watched()
    begin = time.monotonic()
    response = session.post(
        started.url, data=body, headers={"Expect": "100-continue"}, timeout=WAIT
    )
    assert time.monotonic() - begin < PROMPT
    assert (response.status_code, response.content) == (status, content)
    assert not body.wanted.is_set()
    assert_slot_is_free(session, started)
    assert started.connection().received(DataFrame, stream_id=1) == []


def test_075_a_server_that_does_not_know_of_it(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, bytes(request.body))))
    begin = time.monotonic()
    response = session.post(
        started.url, data=Watched(), headers={"Expect": "100-continue"}, timeout=WAIT
    )
    assert response.content == b"body"
    assert 0.5 < time.monotonic() - begin < 5


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("how", ["reset", "cut"])
def test_075_the_end_of_the_stream_ends_the_wait(
    session: requests.Session, peer: StartPeer, how: str
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        if how == "reset":
            conn.reset(request, ENHANCE_YOUR_CALM)
        else:
            conn.cut()

    body = Watched()
    begin = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        session.post(peer(script).url, data=body, headers={"Expect": "100-continue"}, timeout=WAIT)
    assert time.monotonic() - begin < PROMPT
    assert not body.wanted.is_set()


def test_075_a_refusal_leaves_the_body_for_the_replay(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), REFUSED_STREAM)
        request = conn.next_request()
        conn.informational(request, 100)
        conn.read_body(request)
        conn.respond(request, 200, {}, bytes(request.body))

    started = peer(script)
    response = session.post(
        started.url, data=iter([b"body"]), headers={"Expect": "100-continue"}, timeout=WAIT
    )
    assert response.content == b"body"


# -- 76: an upload that is slow ------------------------------------------------------------


def quick_or_body(request: Request) -> Any:
    return 200, {}, bytes(request.body) or b"quick"


def test_076_a_slow_generator_holds_nobody_up(session: requests.Session, peer: StartPeer) -> None:
    go_on = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"one "
        assert go_on.wait(WAIT)
        yield b"two"

    started = peer(serve(quick_or_body))
    slow = background(lambda: session.post(started.url, data=body(), timeout=WAIT).content)
    started.connection().wait_for(DataFrame, stream_id=1)
    for _ in range(5):
        assert session.get(started.url, timeout=WAIT).content == b"quick"
    go_on.set()
    assert slow.result(WAIT) == b"one two"
    assert started.accepted == 1


def test_076_a_slow_generator_does_not_keep_the_peer_waiting(
    session: requests.Session, peer: StartPeer
) -> None:
    """PING and SETTINGS are answered between its pieces, or a server takes us for dead."""
    asked = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.expect(DataFrame)
        conn.ping()
        conn.channel.wait_until_delivered()
        asked.set()
        conn.wait_for(PingFrame)
        assert request.received <= 30
        conn.read_body(request)
        conn.respond(request, 200, {}, b"ok")

    def body() -> Iterator[bytes]:
        for number in range(20):
            if number:
                assert asked.wait(WAIT)
            yield b"a little"

    assert session.post(peer(script).url, data=body(), timeout=WAIT).content == b"ok"


def test_076_an_upload_that_waits_for_its_window_holds_nobody_up(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        first = conn.next_request()
        while first.received < 10_000:
            conn.expect(DataFrame)
        for _ in range(5):
            conn.respond(conn.next_request(), 200, {}, b"quick")
        conn.read_body(first)
        conn.respond(first, 200, {}, b"slow")

    started = peer(script, settings={"initial_window_size": 10_000})
    pieces = iter([bytes(10_000), bytes(100_000)])
    slow = background(lambda: session.post(started.url, data=pieces, timeout=WAIT))
    conn = started.connection()
    conn.wait_for(DataFrame, lambda frame: conn.request(1).received >= 10_000)
    for _ in range(5):
        assert session.get(started.url, timeout=WAIT).content == b"quick"
    assert slow.result(WAIT).content == b"slow"
    assert started.accepted == 1


def test_076_a_slow_close_of_the_body_holds_nobody_up(
    session: requests.Session, peer: StartPeer
) -> None:
    """A file is the caller's: it is never closed here, so it cannot hold anything up either."""
    closed = threading.Event()

    class File(Unsized):
        def close(self) -> None:
            closed.set()
            threading.Event().wait(WAIT)

    started = peer(hold)
    file = File(bytes(MIB))
    slow = background(lambda: session.post(started.url, data=file, timeout=WAIT))
    conn = started.connection()
    conn.wait_for(DataFrame, lambda frame: conn.request(1).received == DEFAULT_WINDOW)
    quick = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn.wait_for(HeadersFrame, stream_id=3)
    conn.respond(1, 413)
    conn.respond(3, 200, {}, b"quick")
    assert slow.result(WAIT).status_code == 413
    assert quick.result(WAIT) == b"quick"
    assert not closed.is_set()
    assert started.accepted == 1
