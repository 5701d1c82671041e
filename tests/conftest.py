"""Fixtures for every test: no environment, certificates, peers and servers, sessions."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import requests

from tests.support.certs import Certificates, certificates
from tests.support.farm import Farm, needed, running_farm
from tests.support.peer import Peer
from tests.support.servers import Document, Server

#: The engines the wire tests run on.
ENGINES: tuple[str, ...] = ("h2", "nghttp2")
#: Whatever may have come with an extra, by the names of distributions.
EXTRAS = ("backports.zstd", "brotli", "brotlicffi", "hypercorn", "ngh2", "PySocks", "zstandard")

_ENVIRONMENT = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says about CAs, proxies and passwords overrides a session's settings."""
    for name in _ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NETRC", os.devnull)


@pytest.fixture(scope="session")
def certs() -> Certificates:
    return certificates()


@pytest.fixture(scope="session")
def farm() -> Iterator[Farm]:
    with running_farm() as farm:
        yield farm


@pytest.fixture
def server(request: pytest.FixtureRequest, farm: Farm) -> Server:
    """The running server whose name is the parameter."""
    with needed():
        started: Server = farm.get(request.param)
    return started


@pytest.fixture
def documents(farm: Farm) -> dict[str, Document]:
    return farm.documents


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def make_adapter(engine: str) -> Callable[..., Any]:
    """``make_adapter(pool_maxsize=2)``: an HTTP2Adapter on the engine under test."""
    from requests_h2 import HTTP2Adapter

    def make(**options: Any) -> Any:
        options.setdefault("engine", engine)
        return HTTP2Adapter(**options)

    return make


@pytest.fixture
def make_session(
    make_adapter: Callable[..., Any], certs: Certificates
) -> Iterator[Callable[..., requests.Session]]:
    """``make_session(max_retries=2)``: a Session whose https:// is an HTTP2Adapter."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> requests.Session:
            session = stack.enter_context(requests.Session())
            session.mount("https://", make_adapter(**options))
            session.verify = certs.ca_path
            return session

        yield make


@pytest.fixture
def session(make_session: Callable[..., requests.Session]) -> requests.Session:
    return make_session()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    """``peer(script, ...)``: a started Peer, ended with the test, which its failures fail."""
    peers: list[Peer] = []

    def start(script: Any, **options: Any) -> Peer:
        started = Peer(script, **options)
        peers.append(started)
        return started

    yield start
    with contextlib.ExitStack() as stack:
        for each in peers:
            stack.callback(each.close)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Show what the server wrote beside a failure."""
    report = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and isinstance(server, Server):
        report.sections.append((f"log of {server.name}", server.log()))
    return report


def pytest_addoption(parser: pytest.Parser) -> None:
    # Here and not beside the soak: pytest takes options from the folders it starts with only.
    parser.addoption("--soak-seconds", type=float, default=100.0, help="time for the soak")
    parser.addoption("--soak-seed", type=int, default=1, help="the soak's first seed")
    parser.addoption(
        "--without-extras",
        action="store_true",
        help="the package has none of its extras here: leave out what needs one",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    if session.config.getoption("--without-extras"):
        names = {each.name.lower() for each in importlib.metadata.distributions()}
        here = [name for name in EXTRAS if name.lower() in names]
        if here:
            raise pytest.UsageError(f"--without-extras, but there is {', '.join(here)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # By the option and not by what can be imported: in every other run a test whose package is
    # missing fails.
    if config.getoption("--without-extras"):
        kept: list[pytest.Item] = []
        out: list[pytest.Item] = []
        for item in items:
            (out if needs_extra(item) else kept).append(item)
        items[:] = kept
        config.hook.pytest_deselected(items=out)


def needs_extra(item: pytest.Item) -> bool:
    """It is marked so, or runs on the engine that is an extra."""
    callspec = getattr(item, "callspec", None)
    return item.get_closest_marker("extra") is not None or (
        callspec is not None and callspec.params.get("engine") == "nghttp2"
    )
