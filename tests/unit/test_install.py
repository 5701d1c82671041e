"""``install()``: every Session made afterwards, and the class as it was when it is over."""

from __future__ import annotations

import functools
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from requests import Session
from requests.adapters import HTTPAdapter
from urllib3 import Retry

import requests_h2
from requests_h2 import HTTP2Adapter
from tests.support.threads import together

STOCK = vars(Session)["__init__"]


@pytest.fixture(autouse=True)
def stock_class() -> Iterator[None]:
    yield
    requests_h2.uninstall()
    assert vars(Session)["__init__"] is STOCK


def adapter_of(session: Session) -> HTTPAdapter:
    with session:
        adapter = session.get_adapter("https://example.com/")
        assert isinstance(adapter, HTTPAdapter)
        assert type(session.get_adapter("http://example.com/")) is HTTPAdapter
        return adapter


def mounted(make: Callable[[], Session] = Session) -> bool:
    return isinstance(adapter_of(make()), HTTP2Adapter)


def retries() -> Any:
    """What ``max_retries`` a new Session has, by which these tests know who mounted."""
    adapter = adapter_of(Session())
    return adapter.max_retries.total if isinstance(adapter, HTTP2Adapter) else None


# -- which sessions ------------------------------------------------------------------------


class Library(Session):
    """As libraries write them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def test_every_session_made_afterwards() -> None:
    before = Session()
    requests_h2.install()
    # This module has taken the class from requests long before.
    assert Session is requests.Session is requests.sessions.Session
    assert mounted()
    assert mounted(requests.session)
    assert mounted(lambda: Library("name"))
    assert Library("name").name == "name"
    assert type(adapter_of(before)) is HTTPAdapter


def test_the_functions_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Any] = []

    def send(session: Session, *args: Any, **kwargs: Any) -> requests.Response:
        used.append(session.get_adapter("https://"))
        return requests.Response()

    monkeypatch.setattr(Session, "send", send)
    with requests_h2.install():
        requests.get("https://example.com/")
    requests.get("https://example.com/")
    assert [type(adapter) for adapter in used] == [HTTP2Adapter, HTTPAdapter]


def test_options_are_passed_on() -> None:
    retry = Retry(total=7)
    requests_h2.install(engine="h2", max_retries=retry, http2="required")
    adapter = adapter_of(Session())
    assert isinstance(adapter, HTTP2Adapter)
    assert (adapter.engine, adapter.max_retries) == ("h2", retry)
    assert adapter._options.http2 == "required"
    assert adapter_of(Session()) is not adapter


@pytest.mark.parametrize(
    ("options", "error"), [({"engine": "h3"}, ValueError), ({"enjin": "h2"}, TypeError)]
)
def test_wrong_options_are_refused_at_once(options: dict[str, str], error: type) -> None:
    with pytest.raises(error):
        requests_h2.install(**options)
    assert vars(Session)["__init__"] is STOCK


def test_the_hooks_of_a_session_are_seen() -> None:
    with requests_h2.install():
        session = Session()
    adapter = session.get_adapter("https://")
    assert isinstance(adapter, HTTP2Adapter)
    assert adapter.serving(session) is adapter
    assert session.hooks == {"response": [], "push": [], "informational": []}


def test_adapters_of_others_win() -> None:
    class Own(HTTPAdapter):
        pass

    class Mounts(Session):
        def __init__(self) -> None:
            super().__init__()
            self.mount("https://", Own())

    class Wraps(Session):
        def mount(self, prefix: str, adapter: Any) -> None:
            super().mount(prefix, Own() if prefix == "https://" else adapter)

    requests_h2.install()
    assert type(adapter_of(Mounts())) is Own
    assert type(adapter_of(Wraps())) is Own


def test_an_adapter_that_an_earlier_patch_mounts_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(HTTPAdapter):
        pass

    def init(session: Session) -> None:
        STOCK(session)
        session.mount("https://", Own())

    with monkeypatch.context() as patch:
        patch.setattr(Session, "__init__", init)
        with requests_h2.install():
            assert type(adapter_of(Session())) is Own


def test_sessions_keep_their_adapters() -> None:
    with requests_h2.install(max_retries=3):
        session = Session()
    assert isinstance(adapter_of(session), HTTP2Adapter)
    copy = pickle.loads(pickle.dumps(session))
    adapter = copy.get_adapter("https://")
    assert isinstance(adapter, HTTP2Adapter)
    assert adapter.max_retries.total == 3


def test_a_pickled_session_is_what_it_was() -> None:
    data = pickle.dumps(Session())
    with requests_h2.install():
        assert type(adapter_of(pickle.loads(data))) is HTTPAdapter


@pytest.mark.parametrize("first", [True, False])
def test_a_library_that_replaces_the_name(monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    """As requests-cache does: ``requests.Session`` is then a subclass."""

    def replace() -> None:
        monkeypatch.setattr(requests, "Session", Library)
        monkeypatch.setattr(requests.sessions, "Session", Library)

    if first:
        replace()
    with requests_h2.install():
        replace()
        assert mounted()
        assert mounted(lambda: requests.Session("name"))  # type: ignore[call-arg]
    assert not mounted()


def test_a_library_that_prepares_requests_its_own_way() -> None:
    class Signing(Session):
        def prepare_request(  # type: ignore[override]
            self, request: requests.Request, key: str = ""
        ) -> requests.PreparedRequest:
            prepared = super().prepare_request(request)
            prepared.headers["key"] = key
            return prepared

    with requests_h2.install(), Signing() as session:
        request = requests.Request("GET", "https://example.com/")
        assert session.prepare_request(request).headers["key"] == ""
        assert session.prepare_request(request, key="secret").headers["key"] == "secret"


def test_the_signature_stays() -> None:
    with requests_h2.install():
        assert Session.__init__.__name__ == "__init__"
        assert Session.__init__.__doc__ == STOCK.__doc__
        with pytest.raises(TypeError):
            Session("surplus")  # type: ignore[call-arg]


# -- how long ------------------------------------------------------------------------------


def test_uninstall_ends_every_install() -> None:
    requests_h2.uninstall()
    for _ in range(3):
        requests_h2.install()
    requests_h2.uninstall()
    assert vars(Session)["__init__"] is STOCK
    requests_h2.uninstall()
    assert not mounted()


def test_the_last_options_win() -> None:
    requests_h2.install(max_retries=1)
    patched = vars(Session)["__init__"]
    requests_h2.install(max_retries=2)
    assert retries() == 2
    assert vars(Session)["__init__"] is patched


def test_blocks_may_be_nested() -> None:
    requests_h2.install(max_retries=1)
    with requests_h2.install(max_retries=2):
        with requests_h2.install(max_retries=3):
            assert retries() == 3
        assert retries() == 2
    assert retries() == 1


def test_blocks_may_overlap() -> None:
    one, two = requests_h2.install(max_retries=1), requests_h2.install(max_retries=2)
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    assert retries() == 2
    two.__exit__(None, None, None)
    assert vars(Session)["__init__"] is STOCK


def test_install_in_a_block_outlives_it() -> None:
    with requests_h2.install(max_retries=1):
        requests_h2.install(max_retries=2)
        assert retries() == 2
    assert retries() == 2


def test_uninstall_in_a_block() -> None:
    with requests_h2.install(max_retries=1):
        requests_h2.uninstall()
        assert retries() is None
        requests_h2.install(max_retries=2)
    assert retries() == 2


def test_a_block_that_fails() -> None:
    with pytest.raises(ZeroDivisionError), requests_h2.install():
        _ = 1 / 0
    assert vars(Session)["__init__"] is STOCK


def test_a_block_may_be_entered_again() -> None:
    installation = requests_h2.install(max_retries=1)
    for _ in range(2):
        with installation:
            assert retries() == 1
        assert retries() is None


def test_installing_again_and_again_keeps_nothing() -> None:
    from requests_h2.install import _patch

    for number in range(100):
        requests_h2.install(max_retries=number)
    assert retries() == 99
    assert len(_patch._installed) <= 2


# -- beside other patches ------------------------------------------------------------------


def other_patch(seen: list[Session]) -> Any:
    """A wrapper around whatever ``Session.__init__`` is now; it is in place when this returns."""
    inner = vars(Session)["__init__"]

    @functools.wraps(inner)
    def outer(session: Session, *args: Any, **kwargs: Any) -> None:
        inner(session, *args, **kwargs)
        seen.append(session)

    Session.__init__ = outer  # type: ignore[method-assign]
    return inner


def test_a_patch_made_before_stays() -> None:
    seen: list[Session] = []
    before = other_patch(seen)
    theirs = vars(Session)["__init__"]
    with requests_h2.install():
        assert mounted()
    assert vars(Session)["__init__"] is theirs
    assert not mounted()
    assert len(seen) == 2
    Session.__init__ = before  # type: ignore[method-assign]


def test_a_patch_made_between_stays() -> None:
    """What they hold on to mounts nothing any more, and goes when it comes to light."""
    seen: list[Session] = []
    requests_h2.install()
    before = other_patch(seen)
    theirs = vars(Session)["__init__"]
    assert mounted()
    requests_h2.uninstall()
    assert vars(Session)["__init__"] is theirs
    assert not mounted()
    requests_h2.install(max_retries=1)
    assert retries() == 1
    requests_h2.uninstall()
    assert vars(Session)["__init__"] is theirs
    assert len(seen) == 3
    Session.__init__ = before  # type: ignore[method-assign]
    assert not mounted()
    Session.__init__ = STOCK  # type: ignore[method-assign]


def test_a_patch_made_between_and_undone() -> None:
    requests_h2.install()
    before = other_patch([])
    requests_h2.uninstall()
    Session.__init__ = before  # type: ignore[method-assign]
    assert not mounted()
    requests_h2.uninstall()
    assert vars(Session)["__init__"] is STOCK


def test_a_patch_that_replaces_ours() -> None:
    requests_h2.install(max_retries=1)
    Session.__init__ = STOCK  # type: ignore[method-assign]
    assert retries() is None
    requests_h2.install(max_retries=2)
    assert retries() == 2


class Proxy:
    """A patch that is no function, as those of wrapt: it must be bound to be called."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self.instances: list[Any] = []

    def __get__(self, instance: Any, owner: Any) -> Any:
        self.instances.append(instance)
        return self.wrapped.__get__(instance, owner)

    def __eq__(self, other: object) -> bool:
        return bool(self.wrapped == other)

    def __hash__(self) -> int:
        return hash(self.wrapped)


def test_a_patch_that_is_a_descriptor() -> None:
    below = Proxy(STOCK)
    Session.__init__ = below  # type: ignore[method-assign, assignment]
    requests_h2.install()
    assert mounted()
    assert isinstance(below.instances[-1], Session)
    above = Proxy(vars(Session)["__init__"])
    Session.__init__ = above  # type: ignore[method-assign, assignment]
    assert mounted()
    requests_h2.uninstall()
    assert vars(Session)["__init__"] is above
    Session.__init__ = above.wrapped  # type: ignore[method-assign]
    requests_h2.uninstall()
    assert vars(Session)["__init__"] is below
    Session.__init__ = STOCK  # type: ignore[method-assign]


# -- threads and processes -----------------------------------------------------------------


def test_threads() -> None:
    """In its own block each thread sees HTTP/2, and afterwards nothing is left."""
    stop = threading.Event()

    def work(number: int) -> bool:
        try:
            for _ in range(40):
                with requests_h2.install(max_retries=number):
                    if not mounted():
                        return False
            return True
        finally:
            stop.set()

    assert all(together(8, work))
    assert vars(Session)["__init__"] is STOCK


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="needs fork")
def test_a_forked_child_may_uninstall() -> None:
    """Though another thread of its parent was at it."""
    program = (
        "import os, signal, requests, requests_h2\n"
        "from requests_h2.install import _patch\n"
        "requests_h2.install()\n"
        "_patch._lock.acquire()\n"
        "if child := os.fork():\n"
        "    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "signal.alarm(10)\n"
        "assert type(requests.Session().get_adapter('https://')) is requests_h2.HTTP2Adapter\n"
        "requests_h2.uninstall()\n"
        "assert type(requests.Session().get_adapter('https://')) is not requests_h2.HTTP2Adapter\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=30)
