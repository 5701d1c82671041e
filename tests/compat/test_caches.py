"""CacheControl and requests-cache."""

from __future__ import annotations

import gc
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from cachecontrol import CacheControl, CacheControlAdapter
from cachecontrol.cache import DictCache
from cachecontrol.caches import FileCache, SeparateBodyFileCache
from cachecontrol.heuristics import ExpiresAfter
from requests_cache import CachedSession, CacheMixin

from tests.servers.support import TIMEOUT, sha256
from tests.support.servers import Document, Server

from .conftest import Transport

FRESH = "field=Cache-Control:max-age=600"
pytestmark = pytest.mark.parametrize("server", ["caddy"], indirect=True)


@pytest.fixture
def counted(server: Server) -> str:
    """A URL whose answers are numbered and may be kept for a while."""
    return f"{server.url}/count/{uuid.uuid4()}?{FRESH}"


@pytest.fixture
def kind(transport: Transport) -> type[Any]:
    """What docs/ecosystem.rst tells users to write."""

    class CachedAdapter(CacheControlAdapter, transport.base):  # type: ignore[name-defined, misc]
        pass

    return CachedAdapter


@pytest.fixture
def cached(
    dress: Callable[..., Any], transport: Transport, kind: type[Any]
) -> Callable[..., requests.Session]:
    """``cached(cache=DictCache())``: a session with CacheControl."""
    return lambda **options: dress(requests.Session(), transport.adapter(kind, **options))


def test_cachecontrol_adapter(
    cached: Callable[..., requests.Session], transport: Transport, counted: str
) -> None:
    session = cached()
    for number in range(3):
        response = session.get(counted, timeout=TIMEOUT)
        assert response.text == "1"
        assert response.from_cache is (number > 0)
        transport.check(response)


def test_cachecontrol_wrapper(
    transport: Transport, kind: type[Any], dress: Callable[..., Any], counted: str
) -> None:
    """``CacheControl(session, adapter_class=...)``, which leaves the engine to the class."""
    session = dress(requests.Session(), CacheControl)  # closed with the test
    CacheControl(session, adapter_class=kind, cache=DictCache())
    assert transport.check(session.get(counted, timeout=TIMEOUT)).from_cache is False
    assert session.get(counted, timeout=TIMEOUT).from_cache is True


@pytest.mark.parametrize("store", [FileCache, SeparateBodyFileCache])
def test_cachecontrol_in_files(
    cached: Callable[..., requests.Session],
    transport: Transport,
    counted: str,
    store: type[Any],
    tmp_path: Path,
) -> None:
    """Another session finds what the first one kept."""
    assert transport.check(cached(cache=store(tmp_path)).get(counted, timeout=TIMEOUT)).text == "1"
    response = cached(cache=store(tmp_path)).get(counted, timeout=TIMEOUT)
    assert (response.text, response.from_cache) == ("1", True)


def test_cachecontrol_revalidates(
    cached: Callable[..., requests.Session],
    transport: Transport,
    server: Server,
    documents: dict[str, Document],
) -> None:
    """A file with an ETag: the second answer is 304, the body the cache's."""
    session = cached()
    for number in range(3):
        response = session.get(f"{server.url}/1k", timeout=TIMEOUT)
        assert transport.check(response).from_cache is (number > 0)
        assert sha256([response.content]) == (1024, documents["1k"].sha256)


def test_cachecontrol_compressed_and_without_a_length(
    cached: Callable[..., requests.Session],
    transport: Transport,
    server: Server,
    documents: dict[str, Document],
) -> None:
    session = cached(heuristic=ExpiresAfter(days=1))
    for number in range(2):
        response = session.get(f"{server.url}/text.txt", timeout=TIMEOUT)
        assert response.headers["Content-Encoding"] == "gzip"
        assert "Content-Length" not in response.headers
        assert response.from_cache is (number > 0)
        assert sha256([response.content])[1] == documents["text.txt"].sha256


@pytest.mark.parametrize("target", ["/1k", "/drip?sizes=5,3000,7", "/text.txt"])
@pytest.mark.parametrize("size", [100, 4096])
def test_cachecontrol_streamed(
    cached: Callable[..., requests.Session],
    transport: Transport,
    server: Server,
    target: str,
    size: int,
) -> None:
    """What was read in pieces is kept too, with and without a Content-Length."""
    session = cached(heuristic=ExpiresAfter(days=1))
    bodies = []
    for number in range(2):
        with session.get(f"{server.url}{target}", stream=True, timeout=TIMEOUT) as response:
            bodies.append(b"".join(response.iter_content(size)))
        assert response.from_cache is (number > 0)
    assert bodies[0] == bodies[1] != b""


def test_cachecontrol_keeps_no_half(
    cached: Callable[..., requests.Session], transport: Transport, server: Server
) -> None:
    session = cached(heuristic=ExpiresAfter(days=1))
    with session.get(f"{server.url}/1k", stream=True, timeout=TIMEOUT) as response:
        transport.check(response)
        assert len(response.raw.read(100)) == 100
    with warnings.catch_warnings():
        # The temporary file of what is not kept is left to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        del response
        gc.collect()
    response = session.get(f"{server.url}/1k", timeout=TIMEOUT)
    assert (response.from_cache, len(response.content)) == (False, 1024)


@pytest.mark.parametrize("backend", ["memory", "sqlite", "filesystem"])
def test_requests_cache(
    dress: Callable[..., Any], transport: Transport, counted: str, backend: str, tmp_path: Path
) -> None:
    session = dress(CachedSession(str(tmp_path / "cache"), backend=backend))
    assert transport.check(session.get(counted, timeout=TIMEOUT)).from_cache is False
    again = session.get(counted, timeout=TIMEOUT)
    assert (again.text, again.from_cache) == ("1", True)


@pytest.mark.parametrize("backend", ["sqlite", "filesystem"])
def test_requests_cache_in_files(
    dress: Callable[..., Any], transport: Transport, counted: str, backend: str, tmp_path: Path
) -> None:
    """Another session finds what the first one kept."""
    for number in range(2):
        session = dress(CachedSession(str(tmp_path / "cache"), backend=backend))
        response = session.get(counted, timeout=TIMEOUT)
        assert (response.text, response.from_cache) == ("1", number > 0)
        session.cache.close()


def test_requests_cache_as_a_mixin(
    dress: Callable[..., Any], transport: Transport, counted: str
) -> None:
    class Session(CacheMixin, requests.Session):
        pass

    session = dress(Session(backend="memory"))
    assert transport.check(session.get(counted, timeout=TIMEOUT)).from_cache is False
    assert session.get(counted, timeout=TIMEOUT).from_cache is True


@pytest.mark.parametrize("target", ["/1k", "/drip?sizes=5,3000,7", "/text.txt"])
def test_requests_cache_streamed(
    dress: Callable[..., Any], transport: Transport, server: Server, target: str
) -> None:
    session = dress(CachedSession(backend="memory"))
    bodies = []
    for number in range(2):
        response = session.get(f"{server.url}{target}", stream=True, timeout=TIMEOUT)
        bodies.append(b"".join(response.iter_content(100)))
        assert response.from_cache is (number > 0)
        if not response.from_cache:
            transport.check(response)
    assert bodies[0] == bodies[1] != b""


def test_requests_cache_raw_stream(
    dress: Callable[..., Any], transport: Transport, server: Server
) -> None:
    """The raw response can still be read after it was copied into the cache."""
    session = dress(CachedSession(backend="memory"))
    bodies = []
    for _ in range(2):
        response = session.get(f"{server.url}/1k", stream=True, timeout=TIMEOUT)
        bodies.append(response.raw.read())
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) == 1024


def test_requests_cache_revalidates(
    dress: Callable[..., Any], transport: Transport, server: Server
) -> None:
    session = dress(CachedSession(backend="memory", cache_control=True, expire_after=-1))
    first = transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    second = session.get(f"{server.url}/1k", timeout=TIMEOUT, refresh=True)
    assert second.revalidated
    assert second.content == first.content


def test_requests_cache_of_redirects(
    dress: Callable[..., Any], transport: Transport, server: Server
) -> None:
    session = dress(CachedSession(backend="memory"))
    first = transport.check(session.get(f"{server.url}/redirect/2", timeout=TIMEOUT))
    second = session.get(f"{server.url}/redirect/2", timeout=TIMEOUT)
    assert second.from_cache
    assert [each.status_code for each in second.history] == [302] * 3
    assert second.json() == first.json()
