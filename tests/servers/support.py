"""Small things the tests of this folder share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest
import requests

from tests.support.servers import Can, Server, having

#: Bounds a request that hangs; nothing here should come near it.
TIMEOUT = 30
MIB = 1 << 20


def on(capability: Can | None = None) -> pytest.MarkDecorator:
    """Run the test over every server with the capability."""
    return pytest.mark.parametrize("server", having(capability), indirect=True)


def sha256(chunks: Iterable[bytes]) -> tuple[int, str]:
    """Length and digest, without keeping the chunks."""
    length, digest = 0, hashlib.sha256()
    for chunk in chunks:
        length += len(chunk)
        digest.update(chunk)
    return length, digest.hexdigest()


def check(response: requests.Response, status: int = 200, version: int = 20) -> requests.Response:
    """Assert status and protocol, redirects included."""
    for each in (*response.history, response):
        assert each.raw.version == version
    assert response.status_code == status
    return response


def client_port(response: requests.Response) -> str | None:
    return response.headers.get("x-client-port")


def has_client_port(server: Server) -> bool:
    return server.name in having(Can.CLIENT_PORT)
