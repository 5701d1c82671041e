"""The servers of a test session: started on first use, living until it ends."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.backend import running_backend
from tests.support.certs import certificates
from tests.support.servers import (
    SERVERS,
    Document,
    Server,
    ServerMissingError,
    Surroundings,
    write_documents,
)
from tests.support.servers.cleartext import CLEARTEXT
from tests.support.servers.proxies import PROXIES


@dataclass
class Farm:
    """The servers of this session. One that could not start says so to every test."""

    around: Surroundings
    documents: dict[str, Document]
    running: dict[str, Server] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        """The running server or proxy of that name."""
        if name in self.failures:
            raise self.failures[name]
        if name not in self.running:
            try:
                server = {**SERVERS, **PROXIES, **CLEARTEXT}[name](self.around)
                # Known before it is ready, so that it is stopped whatever happens.
                self.running[name] = server
                server.start()
            except Exception as error:
                self.failures[name] = error
                raise
        return self.running[name]

    def stop(self) -> None:
        for server in self.running.values():
            server.stop()


@contextmanager
def running_farm() -> Iterator[Farm]:
    made = certificates()
    with (
        tempfile.TemporaryDirectory(prefix="requests-h2-documents-") as folder,
        running_backend() as backend,
    ):
        documents = Path(folder)
        # Workers of nginx, h2o and Apache run as another user when the tests run as root.
        documents.chmod(0o755)
        around = Surroundings(documents, backend.port, made.ca_path, made.cert_path, made.key_path)
        farm = Farm(around, write_documents(documents))
        try:
            yield farm
        finally:
            farm.stop()


@contextmanager
def needed() -> Iterator[None]:
    """A program that is missing skips the test, on CI it fails it."""
    try:
        yield
    except ServerMissingError as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
