"""Content encodings, and ``r.raw`` as a urllib3 response."""

from __future__ import annotations

import gzip
import io
import shutil
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import requests
import urllib3
from urllib3.util.request import ACCEPT_ENCODING

from tests.support.peer import PeerConnection, StartPeer

BODY = bytes(range(256)) * 64


def once(status: int = 200, headers: Any = (), body: bytes = b"") -> Callable[[Any], None]:
    """Answer each request with exactly this, Content-Length only when it is among the headers."""

    def script(conn: PeerConnection) -> None:
        while True:
            conn.respond(conn.next_request(), status, headers, body)

    return script


# -- encodings ----------------------------------------------------------------------------


def deflate(data: bytes) -> bytes:
    return zlib.compress(data)


def brotli(data: bytes) -> bytes:
    compressed: bytes = pytest.importorskip("brotli").compress(data)
    return compressed


def zstd(data: bytes) -> bytes:
    """One frame with one raw block (RFC 8878): legal, and no package is needed to make it."""
    size = len(data)
    descriptor, block = b"\x60", (size << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd" + descriptor + (size - 256).to_bytes(2, "little") + block + data


ENCODINGS = [("gzip", gzip.compress), ("deflate", deflate), ("br", brotli), ("zstd", zstd)]


@pytest.mark.parametrize(("name", "compress"), ENCODINGS)
def test_content_encoding(
    session: requests.Session, peer: StartPeer, name: str, compress: Callable[[bytes], bytes]
) -> None:
    if name not in ACCEPT_ENCODING:
        pytest.skip(f"urllib3 cannot decode {name} here: the package for it is not installed")
    data = compress(BODY)
    headers = {"content-encoding": name, "content-length": str(len(data))}
    started = peer(once(200, headers, data))
    assert session.get(started.url).content == BODY
    with session.get(started.url, stream=True) as response:
        assert b"".join(response.iter_content(1000)) == BODY
    with session.get(started.url, stream=True) as response:
        assert response.raw.read(decode_content=False) == data
    assert name in started.requests[0].headers["accept-encoding"]


def test_corrupt_encoding(session: requests.Session, peer: StartPeer) -> None:
    started = peer([once(200, {"content-encoding": "gzip"}, b"this is not gzip")])
    with pytest.raises(requests.exceptions.ContentDecodingError):
        session.get(started.url)
    with session.get(started.url, stream=True) as response:
        assert response.raw.read(decode_content=False) == b"this is not gzip"
    assert started.accepted == 1


# -- raw ----------------------------------------------------------------------------------


@pytest.fixture
def raw(session: requests.Session, peer: StartPeer) -> Any:
    headers = {"content-length": str(len(BODY))}
    return session.get(peer(once(200, headers, BODY)).url, stream=True).raw


def test_raw_is_urllib3s(raw: Any) -> None:
    assert isinstance(raw, urllib3.response.HTTPResponse)
    assert (raw.version, raw.version_string, raw.status) == (20, "HTTP/2", 200)
    assert raw.read() == BODY


def test_raw_read_sizes(raw: Any) -> None:
    assert raw.read(0) == b""
    assert raw.read(1) == BODY[:1]
    assert raw.read(1000) == BODY[1:1001]
    assert raw.tell() == 1001
    assert raw.read() == BODY[1001:]
    assert raw.read() == raw.read(5) == b""


def test_raw_read1(raw: Any) -> None:
    parts = []
    while part := raw.read1(3000):
        assert len(part) <= 3000
        parts.append(part)
    assert b"".join(parts) == BODY


def test_raw_readinto(raw: Any) -> None:
    buffer = bytearray(100)
    assert raw.readinto(buffer) == 100
    assert buffer == BODY[:100]


def test_raw_stream(raw: Any) -> None:
    assert b"".join(raw.stream(777)) == BODY


def test_raw_copyfileobj(raw: Any) -> None:
    target = io.BytesIO()
    shutil.copyfileobj(raw, target)
    assert target.getvalue() == BODY


def test_raw_is_iterable_and_wrappable(raw: Any) -> None:
    assert io.BufferedReader(raw).read() == BODY


def test_raw_drain_and_release(session: requests.Session, peer: StartPeer) -> None:
    started = peer(once(200, {"content-length": str(len(BODY))}, BODY))
    response = session.get(started.url, stream=True)
    response.raw.read(10)
    response.raw.drain_conn()
    response.raw.release_conn()
    response = session.get(started.url, stream=True)
    response.raw.release_conn()
    assert session.get(started.url).content == BODY
    assert started.accepted == 1


def test_raw_after_close(raw: Any) -> None:
    raw.read(10)
    raw.close()
    raw.close()
    assert raw.closed
    assert raw.read() == b""


def test_iter_content_and_content_agree(session: requests.Session, peer: StartPeer) -> None:
    response = session.get(peer(once(200, (), BODY)).url, stream=True)
    assert response.content == BODY
    assert b"".join(response.iter_content(100)) == BODY
