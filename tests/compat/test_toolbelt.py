"""requests-toolbelt, but for its adapters (``test_adapters.py``)."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor, StreamingIterator
from requests_toolbelt.auth.guess import GuessAuth
from requests_toolbelt.downloadutils import stream, tee
from requests_toolbelt.sessions import BaseUrlSession
from requests_toolbelt.threaded import map as threaded_map
from requests_toolbelt.threaded.pool import Pool
from requests_toolbelt.utils import dump

from tests.servers.support import TIMEOUT, sha256
from tests.support.servers import Document, Server
from tests.support.services import PASSWORD, USER

from .conftest import Transport

MIB = 1 << 20
pytestmark = pytest.mark.parametrize("server", ["nginx"], indirect=True)


def encoder(size: int) -> MultipartEncoder:
    part = ("name.bin", io.BytesIO(b"x" * size), "application/octet-stream")
    return MultipartEncoder({"field": "value", "file": part}, boundary="boundary")


def upload(session: requests.Session, server: Server, body: Any) -> requests.Response:
    headers = {"Content-Type": body.content_type}
    return session.post(f"{server.url}/upload", data=body, headers=headers, timeout=TIMEOUT)


def test_multipart_encoder(session: requests.Session, transport: Transport, server: Server) -> None:
    body = encoder(3 * MIB)
    answer = transport.check(upload(session, server, body)).json()
    expected = encoder(3 * MIB).to_string()
    assert answer["length"] == body.len == len(expected)
    assert answer["sha256"] == hashlib.sha256(expected).hexdigest()
    assert answer["content-length"] == [str(len(expected))]


def test_multipart_encoder_monitor(
    session: requests.Session, transport: Transport, server: Server
) -> None:
    """The callback follows what is read for the wire."""
    seen: list[int] = []
    body = MultipartEncoderMonitor(encoder(MIB), lambda monitor: seen.append(monitor.bytes_read))
    answer = transport.check(upload(session, server, body)).json()
    assert answer["length"] == body.len == seen[-1]
    assert seen == sorted(seen)
    # Piece by piece, never all of it.
    assert len(seen) > 10


def test_streaming_iterator(
    session: requests.Session, transport: Transport, server: Server
) -> None:
    pieces = [b"a" * 100_000, b"b" * 50, b"c" * 70_000]
    body = StreamingIterator(sum(map(len, pieces)), iter(pieces))
    response = session.post(f"{server.url}/upload", data=body, timeout=TIMEOUT)
    answer = transport.check(response).json()
    assert (answer["length"], answer["sha256"]) == sha256(pieces)
    assert answer["content-length"] == [str(body.size)]


def test_stream_response_to_file(
    session: requests.Session,
    transport: Transport,
    server: Server,
    documents: dict[str, Document],
    tmp_path: Path,
) -> None:
    target = tmp_path / "text.txt"
    with session.get(f"{server.url}/text.txt", stream=True, timeout=TIMEOUT) as response:
        transport.check(response)
        stream.stream_response_to_file(response, path=str(target))
    assert sha256([target.read_bytes()]) == (
        documents["text.txt"].size,
        documents["text.txt"].sha256,
    )


def test_tee_to_file(
    session: requests.Session,
    transport: Transport,
    server: Server,
    documents: dict[str, Document],
    tmp_path: Path,
) -> None:
    target = tmp_path / "1k"
    with session.get(f"{server.url}/1k", stream=True, timeout=TIMEOUT) as response:
        seen = b"".join(tee.tee_to_file(transport.check(response), str(target), chunksize=100))
    assert seen == target.read_bytes()
    assert sha256([seen]) == (1024, documents["1k"].sha256)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> type[requests.Session]:
    """Sessions that request nothing before their pool is joined.

    The toolbelt starts its threads before it has made them: one that is answered at once finds
    nowhere to put the answer.
    """
    made = threading.Event()
    join = Pool.join_all

    def join_all(self: Pool) -> None:
        made.set()
        join(self)

    class Patient(requests.Session):
        def request(self, *args: Any, **options: Any) -> requests.Response:
            assert made.wait(TIMEOUT)
            return super().request(*args, **options)

    monkeypatch.setattr(Pool, "join_all", join_all)
    return Patient


def test_threaded_map(
    dress: Callable[..., Any], transport: Transport, server: Server, patient: type[requests.Session]
) -> None:
    """Four threads with a session each."""
    urls = [{"method": "GET", "url": f"{server.url}/say?body={n}"} for n in range(40)]
    options = {"session": patient, "initializer": dress, "num_processes": 4}
    responses, errors = threaded_map(urls, **options)
    assert list(errors) == []
    texts = [transport.check(each.response).text for each in responses]
    assert sorted(texts, key=int) == [str(n) for n in range(40)]


def test_threaded_pool_with_one_session(
    dress: Callable[..., Any], transport: Transport, server: Server, patient: type[requests.Session]
) -> None:
    """All threads on one connection, or over HTTP/1.1 on one each."""
    session = dress(patient())
    urls = [f"{server.url}/say?body={n}" for n in range(40)]
    pool = Pool.from_urls(urls, session=lambda: session, num_processes=8)
    pool.join_all()
    assert list(pool.exceptions()) == []
    texts = [transport.check(each.response).text for each in pool.responses()]
    assert sorted(texts, key=int) == [str(n) for n in range(40)]


def test_threaded_pool_collects_exceptions(
    dress: Callable[..., Any], server: Server, patient: type[requests.Session]
) -> None:
    session = dress(patient())
    urls = [f"{server.url}/delay?ms=3000", f"{server.url}/1k"]
    pool = Pool.from_urls(
        urls, {"timeout": (TIMEOUT, 0.3)}, session=lambda: session, num_processes=2
    )
    pool.join_all()
    (failed,) = pool.exceptions()
    assert isinstance(failed.exception, requests.exceptions.ReadTimeout)
    (served,) = pool.responses()
    assert served.response.status_code == 200


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_guess_auth(
    session: requests.Session, transport: Transport, server: Server, algorithm: str
) -> None:
    session.auth = GuessAuth(USER, PASSWORD)
    for _ in range(2):
        response = session.get(f"{server.url}/digest?algorithm={algorithm}", timeout=TIMEOUT)
        assert transport.check(response).text == "welcome"


def test_base_url_session(dress: Callable[..., Any], transport: Transport, server: Server) -> None:
    session = dress(BaseUrlSession(base_url=f"{server.url}/redirect/"))
    assert transport.check(session.get("0", timeout=TIMEOUT)).json()["path"] == "/echo"


def test_dump(session: requests.Session, transport: Transport, server: Server) -> None:
    response = session.post(f"{server.url}/echo", data=b"body", timeout=TIMEOUT)
    text = dump.dump_all(response).decode()
    assert "< POST /echo HTTP/1.1\r\n" in text
    # It knows the versions up to 1.1.
    version = {11: "1.1", 20: "?"}[transport.version]
    assert f"> HTTP/{version} 200 OK\r\n" in text
    assert text.endswith(response.text)
