"""``HTTP2Adapter(engine=)``: which engine runs, and what is said when it cannot."""

from __future__ import annotations

import importlib.util
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from requests_h2 import HTTP2Adapter
from requests_h2.engine.choice import ENGINES, choose, engine_class
from tests.support.peer import StartPeer, serve

ROOT = Path(__file__).parents[2]


@pytest.fixture
def without_ngh2(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were not installed: neither found nor imported."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ngh2" else found(name)
    )
    monkeypatch.setitem(sys.modules, "ngh2", None)


@pytest.fixture
def broken_ngh2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found, but its import fails, as that of a wheel for another platform."""
    monkeypatch.setitem(sys.modules, "ngh2", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


@pytest.fixture
def of_version(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def install(version: str) -> None:
        monkeypatch.setattr("ngh2.__version__", version)

    return install


def test_the_names() -> None:
    assert ENGINES == ("auto", "h2", "nghttp2")


@pytest.mark.extra("nghttp2")
@pytest.mark.parametrize("wanted", ["auto", "nghttp2"])
def test_nghttp2_where_it_is_installed(wanted: str) -> None:
    assert choose(wanted) == "nghttp2"
    assert engine_class("nghttp2").name == "nghttp2"


def test_h2_by_name() -> None:
    assert choose("h2") == "h2"
    assert engine_class("h2").name == "h2"


@pytest.mark.usefixtures("without_ngh2")
def test_h2_where_nghttp2_is_not_installed() -> None:
    assert choose("auto") == "h2"
    assert HTTP2Adapter().engine == "h2"


@pytest.mark.usefixtures("broken_ngh2")
def test_h2_where_nghttp2_cannot_be_imported() -> None:
    assert choose("auto") == "h2"
    with pytest.raises(ImportError, match="ngh2"):
        choose("nghttp2")


@pytest.mark.usefixtures("without_ngh2")
@pytest.mark.parametrize("ask", [choose, lambda name: HTTP2Adapter(engine=name)])
def test_nghttp2_by_name_names_the_extra(ask: Callable[[str], Any]) -> None:
    with pytest.raises(ImportError, match=r'ngh2>=0\.3,<0\.4.*extra "nghttp2".*engine="auto"'):
        ask("nghttp2")


@pytest.mark.extra("nghttp2")
@pytest.mark.parametrize("version", ["0.2.9", "0.4.0", "1.0"])
def test_a_version_outside_the_range(of_version: Callable[[str], None], version: str) -> None:
    of_version(version)
    assert choose("auto") == "h2"
    with pytest.raises(ImportError, match=f"version {version} is installed"):
        choose("nghttp2")


@pytest.mark.extra("nghttp2")
@pytest.mark.parametrize("version", ["0.3.0", "0.3.17"])
def test_a_version_in_the_range(of_version: Callable[[str], None], version: str) -> None:
    of_version(version)
    assert choose("auto") == choose("nghttp2") == "nghttp2"


@pytest.mark.parametrize("name", ["", "H2", "http2", "ngh2", None])
def test_other_names_are_refused(name: Any) -> None:
    with pytest.raises(ValueError, match='engine must be "auto", "h2" or "nghttp2"'):
        HTTP2Adapter(engine=name)


def test_the_adapter_says_which_runs(pytestconfig: pytest.Config) -> None:
    bare = pytestconfig.getoption("--without-extras")
    assert HTTP2Adapter().engine == ("h2" if bare else "nghttp2")
    assert HTTP2Adapter(engine="h2").engine == "h2"


@pytest.mark.extra("nghttp2")
def test_a_pickled_adapter_keeps_what_was_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs is chosen anew: it may be unpickled where nghttp2 is not installed."""
    pickled = {name: pickle.dumps(HTTP2Adapter(engine=name)) for name in ("auto", "h2", "nghttp2")}
    engines = {name: pickle.loads(each).engine for name, each in pickled.items()}
    assert engines == {"auto": "nghttp2", "h2": "h2", "nghttp2": "nghttp2"}
    monkeypatch.setitem(sys.modules, "ngh2", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert pickle.loads(pickled["auto"]).engine == "h2"
    with pytest.raises(ImportError, match="nghttp2"):
        pickle.loads(pickled["nghttp2"])


def test_the_log_names_the_engine(
    make_session: Any, peer: StartPeer, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    started = peer(serve(lambda request: (200, {}, b"")))
    with caplog.at_level(logging.DEBUG, logger="requests_h2"):
        make_session().get(started.url)
    (line,) = [each for each in caplog.messages if "connected" in each]
    assert line.endswith(f"engine {engine}")


def test_no_engine_is_imported_before_it_is_needed() -> None:
    program = (
        "import sys, requests_h2\n"
        "requests_h2.HTTP2Adapter(engine='h2')\n"
        "print(sorted({'ngh2', 'h2', 'hpack'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"
