"""What the blocks of the pages need to be run: see :mod:`tests.support.pages`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import requests_h2.adapter
from requests_h2.engine.choice import choose
from tests.support.certs import Certificates
from tests.support.pages import Example, block


@pytest.fixture
def example(
    request: pytest.FixtureRequest,
    clean_environment: None,
    certs: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
) -> Example:
    """The block that the test is named after.

    Sessions that it makes itself trust the tests' CA and speak with the engine under test.
    """
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certs.ca_path)

    def chosen(name: str) -> str:
        return choose(engine if name == "auto" else name)

    monkeypatch.setattr(requests_h2.adapter, "choose", chosen)
    test: Callable[..., None] = request.function
    return block(request.module.PAGE, test.__name__.removeprefix("test_")).run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
