"""What must not reach the wire: a clear exception, no byte sent, the connection unharmed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import DataFrame, RstStreamFrame

from tests.support.peer import Peer, StartPeer, serve
from tests.support.threads import WAIT

Refused = Callable[..., None]


@pytest.fixture
def started(peer: StartPeer) -> Peer:
    return peer(serve(lambda request: (200, {}, bytes(request.body) or b"ok")))


@pytest.fixture
def refused(session: requests.Session, started: Peer) -> Iterator[Refused]:
    """Send one request that must be refused, between two that work on the same connection."""
    used = []

    def check(
        change: Callable[[requests.PreparedRequest], None] = lambda prepared: None,
        error: type[Exception] = requests.exceptions.InvalidHeader,
        **options: Any,
    ) -> None:
        used.append(True)
        options = {"method": "POST", "url": started.url, **options}
        assert session.get(started.url + "/before").content == b"ok"

        def send() -> None:
            prepared = session.prepare_request(requests.Request(**options))
            change(prepared)
            session.send(prepared, timeout=WAIT, verify=session.verify)

        with pytest.raises(error) as caught:
            send()
        assert isinstance(caught.value, requests.RequestException)
        assert session.get(started.url + "/after").content == b"ok"
        assert [request.path for request in started.requests] == ["/before", "/after"]
        assert started.requests[1].stream_id == 3
        assert started.accepted == 1
        assert started.connection().received(RstStreamFrame) == []

    yield check
    assert used


BAD_NAMES = ["", "a b", "a:b", ":path", "a\r\nb", "a\0", "naïve", "a(", "a\x7f", "a\t", 'a"b']
BAD_VALUES = ["a\r\nb: c", "a\nb", "a\rb", "a\0b"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_header_names(refused: Refused, name: str) -> None:
    refused(lambda prepared: prepared.headers.__setitem__(name, "value"))


@pytest.mark.parametrize("value", BAD_VALUES)
@pytest.mark.parametrize("name", ["X-Custom", "Cookie", "Content-Type", "Host"])
def test_header_values(refused: Refused, name: str, value: str) -> None:
    refused(lambda prepared: prepared.headers.__setitem__(name, value))


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb"])
def test_header_values_that_requests_refuses(refused: Refused, value: str) -> None:
    refused(headers={"X-Custom": value})


@pytest.mark.parametrize("method", ["IN SANE", "GET\r\nX: y", "G\0T", "", "GÉT", "A:B"])
def test_methods(refused: Refused, method: str) -> None:
    refused(lambda prepared: setattr(prepared, "method", method))


@pytest.mark.parametrize("host", ["", "a b", "a/b", "user@host", "a\0b", "a?b", "a#b"])
def test_host_headers(refused: Refused, host: str) -> None:
    refused(lambda prepared: prepared.headers.__setitem__("Host", host))


def test_empty_host(refused: Refused) -> None:
    refused(url="https:///path", error=requests.exceptions.InvalidURL)


@pytest.mark.parametrize("length", ["2", "4", "0", "-1", "abc", "3, 3", "", "+3", "0x3", "\uff13"])
def test_content_length_of_bytes(refused: Refused, length: str) -> None:
    refused(lambda prepared: prepared.headers.__setitem__("Content-Length", length), data=b"abc")


def test_content_length_of_no_body(refused: Refused) -> None:
    refused(lambda prepared: prepared.headers.__setitem__("Content-Length", "3"))


def test_content_length_of_a_file(refused: Refused) -> None:
    refused(
        lambda prepared: prepared.headers.__setitem__("Content-Length", "5"),
        data=io.BytesIO(b"abc"),
    )


class Sized:
    def __init__(self, pieces: list[bytes], size: int) -> None:
        self._pieces, self._size = pieces, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


@pytest.mark.parametrize("size", [5, 7])
def test_content_length_of_an_iterator(session: requests.Session, started: Peer, size: int) -> None:
    """Only the iterator's end shows it: the stream is reset, and not ended."""
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.post(started.url, data=Sized([b"abc", b"def"], size), timeout=WAIT)
    conn = started.connection()
    conn.wait_for(RstStreamFrame, stream_id=1)
    assert not started.requests[0].ended
    assert len(started.requests[0].body) <= size
    assert not any("END_STREAM" in frame.flags for frame in conn.received(DataFrame))
    assert session.get(started.url).content == b"ok"
    assert started.accepted == 1


def test_right_content_lengths_pass(session: requests.Session, started: Peer) -> None:
    """A length that the caller knows and requests does not."""
    headers = {"Content-Length": "6"}
    response = session.post(started.url, data=iter([b"abc", b"def"]), headers=headers)
    assert response.content == b"abcdef"
    assert started.request.headers["content-length"] == "6"


def test_header_list_over_the_peers_limit(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, b"ok")), settings={"max_header_list_size": 1000})
    session.get(started.url)
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.get(started.url, headers={"X-Large": "x" * 1000})
    # The 32 bytes that each field costs beside its text count too.
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.get(started.url, headers={f"x-{number}": "" for number in range(25)})
    assert session.get(started.url).content == b"ok"
    assert [request.stream_id for request in started.requests] == [1, 3]
    assert started.accepted == 1


def test_paths_are_quoted(session: requests.Session, started: Peer) -> None:
    session.get(started.url + "/a b\r\nx: y")
    assert started.request.path == "/a%20b%0D%0Ax:%20y"
