"""Sessions for real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.support.farm import Farm


@pytest.fixture
def session(farm: Farm, make_adapter: Callable[..., Any]) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount("https://", make_adapter())
        session.verify = farm.around.ca
        # Neither proxies nor REQUESTS_CA_BUNDLE, which would override ``verify``.
        session.trust_env = False
        yield session
