"""Large bodies in both directions, and answers that are left in the middle."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.servers import Can, Document, Server

from .support import MIB, TIMEOUT, check, client_port, has_client_port, on, sha256

LENGTH = 10 * MIB
PIECE = random.Random(7540).randbytes(100_000)


def upload_body() -> Iterator[bytes]:
    """10 MiB in pieces that fit neither frames nor windows."""
    left = LENGTH
    while left:
        piece = PIECE[:left]
        left -= len(piece)
        yield piece


@pytest.fixture(scope="module")
def upload_sha256() -> str:
    return sha256(upload_body())[1]


@pytest.fixture(scope="module")
def upload_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "10m"
    path.write_bytes(b"".join(upload_body()))
    return path


@on(Can.DYNAMIC)
def test_upload_from_a_file(
    server: Server, session: requests.Session, upload_file: Path, upload_sha256: str
) -> None:
    with upload_file.open("rb") as file:
        response = check(session.post(f"{server.url}/upload", data=file, timeout=TIMEOUT))
    assert response.json() == {
        "length": LENGTH,
        "sha256": upload_sha256,
        "content-length": [str(LENGTH)],
    }


@on(Can.DYNAMIC)
def test_upload_from_a_generator(
    server: Server, session: requests.Session, upload_sha256: str
) -> None:
    response = check(session.put(f"{server.url}/upload", data=upload_body(), timeout=TIMEOUT))
    assert response.json()["length"] == LENGTH
    assert response.json()["sha256"] == upload_sha256


@on(Can.ECHO_UPLOAD)
@pytest.mark.parametrize("source", ["file", "generator"])
def test_upload_that_comes_back(
    server: Server, session: requests.Session, upload_file: Path, upload_sha256: str, source: str
) -> None:
    with upload_file.open("rb") as file:
        body = file if source == "file" else upload_body()
        response = session.post(f"{server.url}/any", data=body, stream=True, timeout=TIMEOUT)
        with check(response):
            assert sha256(response.iter_content(65536)) == (LENGTH, upload_sha256)


@on()
def test_download_of_100_mib(
    server: Server, session: requests.Session, documents: dict[str, Document]
) -> None:
    document = documents["100m"]
    with session.get(f"{server.url}/100m", stream=True, timeout=TIMEOUT) as response:
        check(response)
        assert response.headers["Content-Length"] == str(document.size)
        assert sha256(response.iter_content(65536)) == (document.size, document.sha256)


@on()
def test_early_close_then_more_requests(server: Server, session: requests.Session) -> None:
    ports = set()
    for _ in range(4):
        with session.get(f"{server.url}/100m", stream=True, timeout=TIMEOUT) as response:
            check(response)
            assert len(next(response.iter_content(65536))) == 65536
        ports.add(client_port(response))
        for _ in range(5):
            small = check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
            assert len(small.content) == 1024
            ports.add(client_port(small))
    if has_client_port(server) and not server.retires:
        # A reset stream does not cost the connection.
        assert len(ports) == 1


@on()
def test_unread_answer_beside_other_requests(
    server: Server, session: requests.Session, documents: dict[str, Document]
) -> None:
    """Nobody reads the large answer for a while; the small ones pass it, then it is whole."""
    document = documents["100m"]
    with session.get(f"{server.url}/100m", stream=True, timeout=TIMEOUT) as large:
        check(large)
        digest = hashlib.sha256(large.raw.read(MIB))
        for _ in range(5):
            check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
        for chunk in large.iter_content(MIB):
            digest.update(chunk)
    assert digest.hexdigest() == document.sha256
