"""What sessions go through here: our adapter on each engine, and requests' own to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from requests_h2 import HTTP2Adapter
from tests.conftest import ENGINES
from tests.support.certs import Certificates


@dataclass(frozen=True)
class Transport:
    """A way to the server. With "stock" a test asserts that it asks nothing unusual."""

    #: What an adapter class of a library is combined with.
    base: type[HTTPAdapter]
    options: dict[str, Any]
    #: What ``response.raw.version`` then is.
    version: int

    def adapter(self, kind: type[HTTPAdapter] | None = None, **options: Any) -> Any:
        """An adapter of this kind, which is ``base`` or derived from it."""
        return (kind or self.base)(**options, **self.options)

    def check(self, response: requests.Response, status: int = 200) -> requests.Response:
        """Assert status and protocol, redirects included."""
        for each in (*response.history, response):
            assert each.raw.version == self.version
        assert response.status_code == status
        return response


@pytest.fixture(params=["stock", *ENGINES])
def transport(request: pytest.FixtureRequest) -> Transport:
    if request.param == "stock":
        return Transport(HTTPAdapter, {}, 11)
    return Transport(HTTP2Adapter, {"engine": request.param}, 20)


@pytest.fixture
def dress(transport: Transport, certs: Certificates) -> Iterator[Callable[..., Any]]:
    """``dress(session)``: an adapter mounted on any session, which is closed with the test."""
    with ExitStack() as stack:

        def dress(session: Any, adapter: Any = None, **options: Any) -> Any:
            stack.callback(session.close)
            session.mount("https://", adapter or transport.adapter(**options))
            session.verify = certs.ca_path
            return session

        yield dress


@pytest.fixture
def session(dress: Callable[..., Any]) -> requests.Session:
    made: requests.Session = dress(requests.Session())
    return made
