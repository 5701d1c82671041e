"""What the servers are said to do, seen by a client that is not the code under test."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.backend import HINTS
from tests.support.raw_client import RawClient
from tests.support.servers import PUSHED, Can, Server

from .support import MIB, on

Connect = Callable[..., RawClient]


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    """``connect(push=True)``: a connection to the server."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            RawClient(server.port, server.around.ca, **options)
        )


@on(Can.DYNAMIC)
def test_drip(server: Server, connect: Connect) -> None:
    client = connect()
    start = time.monotonic()
    answer = client.get("/drip?sizes=5,40000,3&ms=150")
    assert answer.body == b"a" * 5 + b"b" * 40000 + b"c" * 3
    assert "content-length" not in dict(answer.fields)
    (first, _), (last, _) = answer.data[0], answer.data[-1]
    # They would be one moment if the server had kept the first piece for the last.
    assert first < last
    assert last - start >= 0.3


@on(Can.EARLY_HINTS)
def test_early_hints(server: Server, connect: Connect) -> None:
    answer = connect().get("/early-hints")
    (interim,) = answer.interim
    assert dict(interim)[":status"] == "103"
    # One field for each link, or one for both.
    links = ", ".join(value for name, value in interim if name == "link")
    assert links == ", ".join(HINTS)
    assert dict(answer.fields)[":status"] == "200"
    assert answer.body == b"hinted"


@on(Can.TRAILERS)
def test_trailers(server: Server, connect: Connect) -> None:
    answer = connect().get("/trailers", [("te", "trailers")])
    assert answer.body == b"a body before trailers"
    assert answer.trailers == [
        ("x-length", "22"),
        ("x-sha256", hashlib.sha256(answer.body).hexdigest()),
    ]


@on(Can.REQUEST_TRAILERS)
@pytest.mark.parametrize("body", [b"", b"hello"])
def test_trailers_of_a_request(server: Server, connect: Connect, body: bytes) -> None:
    client = connect()
    trailers = [("x-one", "1"), ("x-two", "2")]
    answer = client.request("/echo-trailers", method="POST", body=body, trailers=trailers)
    client.wait(lambda: answer.ended)
    expected = {"length": len(body), "trailers": [list(pair) for pair in trailers]}
    assert json.loads(answer.body) == expected


@on(Can.PUSH)
def test_push(server: Server, connect: Connect) -> None:
    client = connect(push=True)
    for asked in range(2):
        answer = client.get("/pushing")
        assert dict(answer.fields)[":status"] == "200"
        assert answer.body == b"this is pushing\n"
        if asked and not server.pushes_again:
            continue
        for path, stream in zip(PUSHED, client.pushed(answer), strict=True):
            request = dict(stream.request)
            assert (request[":method"], request[":path"]) == ("GET", path)
            assert (request[":scheme"], request[":authority"]) == ("https", client.authority)
            assert dict(stream.fields)[":status"] == "200"
            assert stream.body == f"this is {path[1:]}\n".encode()


@on(Can.PUSH)
def test_no_push_to_a_client_that_wants_none(server: Server, connect: Connect) -> None:
    client = connect()
    answer = client.get("/pushing")
    assert answer.body == b"this is pushing\n"
    # What came with it would have come before this.
    client.get("/1k")
    assert client.pushed(answer) == []


@on(Can.PUSH)
def test_a_large_push_that_is_cancelled(server: Server, connect: Connect) -> None:
    client = connect(push=True)
    answer = client.request("/pushing-large")
    client.wait(lambda: any(stream.data for stream in client.pushed(answer)))
    (pushed,) = client.pushed(answer)
    assert dict(pushed.fields)["content-length"] == str(100 * MIB)
    client.cancel(pushed)
    client.wait(lambda: answer.ended)
    assert answer.body == b"this is pushing-large\n"
    assert len(client.get("/1k").body) == 1024
    assert len(pushed.body) < 100 * MIB
