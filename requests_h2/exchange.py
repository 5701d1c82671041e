"""What one call of ``HTTPAdapter.send`` knows, for the rooms below urllib3, which is not told."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from typing import Any, Protocol

import requests
import requests.hooks

from .notes import Event, Notes

PUSH, INFORMATIONAL = EVENTS = ("push", "informational")

_current: ContextVar[Exchange | None] = ContextVar("requests_h2_exchange", default=None)


def register_events() -> None:
    """Let requests know the names of our hooks; process-wide, and done only once.

    ``Request(hooks={"push": f})`` raises "Unsupported event" for names that are not in there.
    """
    for event in EVENTS:
        if event not in requests.hooks.HOOKS:
            requests.hooks.HOOKS.append(event)


def current_exchange() -> Exchange | None:
    """The exchange that this thread is in; ``None`` below a bare urllib3 call."""
    return _current.get()


def observed() -> Exchange | None:
    """The exchange that this thread is in, when somebody observes it."""
    exchange = _current.get()
    return None if exchange is None or exchange.notes is None else exchange


def note(event: Event) -> None:
    """Note something about the exchange that this thread is in, if somebody observes it."""
    if (exchange := _current.get()) is not None:
        exchange.note(event)


class Watch(Protocol):
    """Is told, on the caller's thread and with no lock held, how an exchange ends."""

    def answered(self, response: requests.Response) -> None:
        """Nothing of the body was read yet. The response must not be kept."""

    def failed(self, error: BaseException) -> None:
        """The same for the error."""


class Observer(Protocol):
    """Somebody who watches every exchange of an adapter."""

    def watch(self, exchange: Exchange) -> Watch:
        """It is about to be sent, and has ``notes``. The exchange must not be kept."""


class Exchange:
    """One PreparedRequest on its way, with the hooks that concern it.

    :param session: whose hooks count besides the request's own.
    :param keeps_pushes: whether pushes are wanted without a hook.
    :param options: what ``send`` was called with, for the hooks' keyword arguments.
    """

    def __init__(
        self,
        request: requests.PreparedRequest,
        session: weakref.ref[requests.Session] | None,
        keeps_pushes: bool,
        options: dict[str, Any],
    ) -> None:
        self.request = request
        self.options = options
        self._session = session
        self._keeps_pushes = keeps_pushes
        self.notes: Notes | None = None
        """What has happened, when somebody observes it."""

    @property
    def streamed(self) -> bool:
        """Whether the caller reads the response by himself (``stream=True``)."""
        return bool(self.options["stream"])

    def enter(self) -> Token[Exchange | None]:
        """Become the current exchange, until :meth:`leave` with what this returns."""
        return _current.set(self)

    def leave(self, before: Token[Exchange | None]) -> None:
        _current.reset(before)

    def hooks(self, event: str) -> list[Callable[..., Any]]:
        """The session's hooks and then the request's, as they are set now.

        A session's hooks may be among the request's already: ``merge_hooks`` of requests copies
        them there when there are ``response`` hooks too.
        """
        of_request = _listed(self.request.hooks.get(event))
        session = None if self._session is None else self._session()
        if session is None:
            return of_request
        of_session = _listed(session.hooks.get(event))
        return of_session + [hook for hook in of_request if hook not in of_session]

    def call_hooks(self, event: str, data: Any) -> None:
        """Raises what a hook raises; those after it are not called then."""
        for hook in self.hooks(event):
            hook(data, **self.options)

    def note(self, event: Event) -> None:
        """Note something, if somebody observes."""
        if self.notes is not None:
            self.notes.append((time.monotonic(), event))

    def wants_pushes(self) -> bool:
        """Asked under a connection's lock, by whichever thread receives: so it looks at no hook.
        What is none is told to the thread that calls it.
        """
        if self._keeps_pushes or _is_set(self.request.hooks.get(PUSH)):
            return True
        session = None if self._session is None else self._session()
        return session is not None and _is_set(session.hooks.get(PUSH))


def watched(
    exchange: Exchange,
    observers: Sequence[Observer],
    send: Callable[[Exchange], requests.Response],
) -> requests.Response:
    """Send an exchange that somebody observes."""
    exchange.notes = []
    watches = [observer.watch(exchange) for observer in observers]
    try:
        response = send(exchange)
    except BaseException as error:
        for watch in watches:
            watch.failed(error)
        raise
    for watch in watches:
        watch.answered(response)
    return response


def _is_set(hooks: Any) -> bool:
    """Whether there are any, whatever the truth value of a callable is."""
    return callable(hooks) or bool(hooks)


def _listed(hooks: Any) -> list[Callable[..., Any]]:
    """Requests takes one callable, or any iterable of them."""
    if hooks is None:
        return []
    return [hooks] if callable(hooks) else list(hooks)
