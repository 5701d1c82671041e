"""Putting :class:`HTTP2Adapter` to use."""

from __future__ import annotations

import weakref
from typing import Any

import requests

from .adapter import HTTP2Adapter
from .exchange import EVENTS


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
    """
    if adapter is None:
        adapter = HTTP2Adapter(**options)
    elif options:
        raise TypeError("options are for a new adapter")
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

    def prepare_request(request: requests.Request) -> requests.PreparedRequest:
        owner = known()
        assert owner is not None
        prepared = type(owner).prepare_request(owner, request)
        for event in EVENTS:
            for hook in request.hooks.get(event, ()):
                if hook not in prepared.hooks.get(event, ()):
                    prepared.register_hook(event, hook)
        return prepared

    session.prepare_request = prepare_request  # type: ignore[method-assign]
