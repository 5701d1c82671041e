"""Putting :class:`HTTP2Adapter` to use: in one session, or in every new one of the process.

There is no place where requests could be told of an adapter, so ``Session.__init__`` is replaced by
a function that calls it and then mounts. A class's method, and not a name in some module: so it
does not matter who has taken the class from where, and when.
"""

from __future__ import annotations

import functools
import threading
import weakref
from types import TracebackType
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter

from .adapter import HTTP2Adapter
from .exchange import EVENTS
from .fork import renew_in_children

_OURS = "_requests_h2_wrapper"  # attribute of a function made here: a weak reference to itself


def mount(
    session: requests.Session, adapter: HTTP2Adapter | None = None, **options: Any
) -> HTTP2Adapter:
    """Mount an adapter on ``https://`` and let it see the session's hooks.

    Besides ``response`` they may be ``push`` and ``informational``: ``session.hooks["push"] = f``,
    or a list, or for one request ``session.get(url, hooks={"push": f})``. Those of the session are
    called first. The session is referred to weakly.

    :param adapter: ``None`` for a new ``HTTP2Adapter(**options)``. One that serves another session
        already is mounted as a twin, which shares its connections.
    :returns: the adapter that is mounted.
    :raises TypeError: for options beside an adapter, or another adapter than ours; else as
        :class:`HTTP2Adapter`.
    """
    if adapter is None:
        adapter = HTTP2Adapter(**options)
    elif options:
        raise TypeError("options are for a new adapter")
    elif not isinstance(adapter, HTTP2Adapter):
        raise TypeError(f"mount() takes an instance of HTTP2Adapter, not {adapter!r}")
    mounted = adapter.serving(session)
    session.mount("https://", mounted)
    for event in EVENTS:
        session.hooks.setdefault(event, [])
    _keep_request_hooks(session)
    return mounted


def _keep_request_hooks(session: requests.Session) -> None:
    """``merge_hooks`` of requests drops the hooks of a request without ``response`` hooks when the
    session has some. So what it prepares gets its own back.
    """
    known = weakref.ref(session)

    def prepare_request(
        request: requests.Request, *args: Any, **kwargs: Any
    ) -> requests.PreparedRequest:
        owner = known()
        assert owner is not None
        # A subclass may take more than the class of requests does.
        prepared = type(owner).prepare_request(owner, request, *args, **kwargs)
        for event in EVENTS:
            for hook in request.hooks.get(event, ()):
                if hook not in prepared.hooks.get(event, ()):
                    prepared.register_hook(event, hook)
        return prepared

    session.prepare_request = prepare_request  # type: ignore[method-assign]  # of this one


def install(**options: Any) -> Installation:
    """Make every ``requests.Session`` created from now on, in any library, speak HTTP/2.

    Each gets an adapter of its own, ``mount(session, **options)``, where requests puts the stock
    one. What a subclass or its user mounts on ``https://`` afterwards wins, and so does what
    another patch of ``Session`` has put there. The last call counts. Thread-safe.

    :param options: for :class:`HTTP2Adapter`, whose exceptions come out at once.
    :returns: a context manager, for those who want it: at the end of its block this call has not
        been made, and what was installed before or since is as it was.
    """
    HTTP2Adapter(**options).close()
    return Installation(options)


def uninstall() -> None:
    """End every :func:`install`; no-op without one. Sessions keep the adapters that they have.

    Where another library has patched ``Session.__init__`` in the meantime, a function that does
    nothing stays beneath its patch, and goes with the next call after that one is undone.
    """
    _patch.clear()


class Installation:
    """A call of :func:`install`; as a context manager, for the time of its block."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        _patch.add(self, options)

    def __enter__(self) -> Installation:
        _patch.add(self, self._options)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _patch.remove(self)


class _Installed(NamedTuple):
    options: dict[str, Any]
    by: weakref.ref[Installation]


class _Patch:
    """What is done to ``Session.__init__``, and for whom. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Written under the lock; the last one counts. One whose Installation is gone can only be
        # ended by all, so of those the last one is enough.
        self._installed: tuple[_Installed, ...] = ()
        self._wrapper: Any = None  # lock; the function that mounts: those before it only pass on

    def add(self, installation: Installation, options: dict[str, Any]) -> None:
        """No-op for one that is there."""
        renew_in_children(self)
        with self._lock:
            if any(each.by() is installation for each in self._installed):
                return
            kept = [_Installed(options, weakref.ref(installation))]
            lasting = False
            for each in reversed(self._installed):
                alive = each.by() is not None
                if alive or not lasting:
                    kept.insert(0, each)
                lasting = lasting or not alive
            self._installed = tuple(kept)
            if _current() is not self._wrapper:
                _unwrap()
                self._wrapper = self._wrap(_current())
                _set(self._wrapper)

    def remove(self, installation: Installation) -> None:
        """No-op for one that is not there."""
        with self._lock:
            self._keep([each for each in self._installed if each.by() is not installation])

    def clear(self) -> None:
        with self._lock:
            self._keep([])

    def renew_after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def _keep(self, installed: list[_Installed]) -> None:
        self._installed = tuple(installed)
        if not installed:
            self._wrapper = None
            _unwrap()

    def _wrap(self, original: Any) -> Any:
        @functools.wraps(original)
        def wrapper(session: requests.Session, *args: Any, **kwargs: Any) -> None:
            # Bound first, because other patches need not be functions.
            original.__get__(session, type(session))(*args, **kwargs)
            installed = self._installed
            if not installed or self._wrapper is not wrapper:
                return
            if type(session.adapters.get("https://")) is HTTPAdapter:
                mount(session, **installed[-1].options)

        setattr(wrapper, _OURS, weakref.ref(wrapper))
        return wrapper


def _session_class() -> type[requests.Session]:
    """The class of requests, also when a library has put a subclass in the place of its name."""
    return next(
        each
        for each in reversed(requests.Session.__mro__)
        if each.__name__ == "Session" and each.__module__ == "requests.sessions"
    )


def _current() -> Any:
    return vars(_SESSION)["__init__"]


def _set(init: Any) -> None:
    _SESSION.__init__ = init  # type: ignore[method-assign]  # what install() is


def _unwrap() -> None:
    """Take off what was made here, as far as nothing of others lies above it."""
    # Whoever wraps it copies its attributes, too: so it must be the very function.
    while (ours := getattr(_current(), _OURS, None)) is not None and ours() is _current():
        _set(_current().__wrapped__)


_SESSION = _session_class()
_patch = _Patch()
