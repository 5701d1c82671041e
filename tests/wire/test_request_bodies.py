"""Request bodies of every kind, and the windows they keep to."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import requests
from hyperframe.frame import DataFrame

from tests.support.peer import PeerConnection, Request, StartPeer, serve
from tests.support.threads import WAIT, background


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


class SizedIterator:
    def __init__(self, pieces: list[bytes], size: int | None = None) -> None:
        self._pieces = pieces
        self._size = sum(map(len, pieces)) if size is None else size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def test_form_json_files_bytes(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(ok))
    session.post(started.url, data={"a": "1", "b": "x y"})
    session.post(started.url, json={"a": 1})
    session.post(started.url, files={"upload": ("name.txt", b"file content")})
    session.post(started.url, data=b"\x00\xff")
    form, as_json, files, as_bytes = started.requests
    assert form.body == b"a=1&b=x+y"
    assert form.headers["content-type"] == "application/x-www-form-urlencoded"
    assert json.loads(as_json.body) == {"a": 1}
    assert as_json.headers["content-type"] == "application/json"
    assert b'filename="name.txt"' in files.body
    assert b"file content" in files.body
    assert as_bytes.body == b"\x00\xff"
    for request in started.requests:
        assert request.headers["content-length"] == str(len(request.body))


def test_str_is_sent_as_utf8(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(ok))
    session.post(started.url, data="naïve €")
    assert started.request.body == "naïve €".encode()
    assert started.request.headers["content-length"] == str(len("naïve €".encode()))


def test_file(session: requests.Session, peer: StartPeer, tmp_path: Any) -> None:
    started = peer(serve(ok))
    path = tmp_path / "upload"
    path.write_bytes(bytes(range(256)) * 1000)
    with path.open("rb") as file:
        file.seek(100)
        session.post(started.url, data=file)
    assert started.request.body == (bytes(range(256)) * 1000)[100:]
    assert started.request.headers["content-length"] == str(256_000 - 100)
    assert "transfer-encoding" not in started.request.headers


def test_file_without_length(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(ok))
    session.post(started.url, data=Unsized(b"x" * 100_000))
    assert started.request.body == b"x" * 100_000
    assert not {"content-length", "transfer-encoding"} & set(started.request.headers)


def test_generator(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(ok))
    session.post(started.url, data=(piece for piece in [b"one ", b"", b"two ", b"three"]))
    request = started.request
    assert request.body == b"one two three"
    assert not {"content-length", "transfer-encoding"} & set(request.headers)
    # An empty piece is no frame; only the end of the stream may be an empty one.
    assert 0 not in request.data_sizes[:-1]


def test_generator_of_text(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(ok))
    session.post(started.url, data=(piece for piece in ["€", "uro"]))
    assert started.request.body == "€uro".encode()


def test_iterator_with_length(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(ok))
    session.post(started.url, data=SizedIterator([b"abc", b"defg"]))
    assert started.request.body == b"abcdefg"
    assert started.request.headers["content-length"] == "7"


def test_pieces_are_sent_as_they_come(session: requests.Session, peer: StartPeer) -> None:
    arrived = threading.Event()

    def script(conn: PeerConnection) -> None:
        conn.next_request()
        assert conn.expect(DataFrame).data == b"first"
        arrived.set()
        conn.read_body()
        conn.respond(1, 200)

    def body() -> Iterator[bytes]:
        yield b"first"
        assert arrived.wait(WAIT)
        yield b"second"

    started = peer(script)
    assert session.post(started.url, data=body()).status_code == 200
    assert started.request.body == b"firstsecond"


# -- windows -------------------------------------------------------------------------------


def test_a_body_is_not_read_ahead_of_the_window(session: requests.Session, peer: StartPeer) -> None:
    full, go_on = threading.Event(), threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < 65_535:
            conn.expect(DataFrame)
        full.set()
        assert go_on.wait(WAIT)
        conn.read_body(request)
        conn.respond(request, 200)

    started = peer(script)
    body = Unsized(bytes(1_000_000))
    future = background(lambda: session.post(started.url, data=body))
    assert full.wait(WAIT)
    assert body.taken <= 65_535 + 2 * 65_536
    go_on.set()
    assert future.result(WAIT).status_code == 200
    assert len(started.request.body) == 1_000_000


def test_a_lowered_initial_window_stops_an_upload(
    session: requests.Session, peer: StartPeer
) -> None:
    """The window goes below zero, and credit has to lift it above."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.received < 65_535:
            conn.expect(DataFrame)
        conn.settings(initial_window_size=1000)
        conn.window_update(0, 200_000)
        # 65,535 - 1,000 bytes back to zero, and 100 more.
        conn.window_update(request, 64_535 + 100)
        assert conn.expect(DataFrame).flow_controlled_length == 100
        conn.window_update(request, 100_000)
        while not request.ended:
            conn.read_frame()
        conn.respond(request, 200)

    started = peer(script)
    assert session.post(started.url, data=bytes(100_000), timeout=WAIT).status_code == 200
