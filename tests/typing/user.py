"""A program of a user's that has every public name in it: checked by mypy and pyright, and run."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import requests
import urllib3

import requests_h2
from requests_h2 import (
    SECRET_HEADERS,
    AdaptiveWindow,
    BodyWithTrailers,
    ConnectionInfo,
    FlowControlManager,
    GoAway,
    HTTP2Adapter,
    InformationalResponse,
    OpenConnection,
    PushedResponse,
    Recording,
    get_pushes,
    install,
    mount,
    record,
    uninstall,
)


class Thrifty(FlowControlManager):
    """Gives back what is missing."""

    def increase_window_size(self, frame_size: int) -> int:
        return self.initial_window_size - self.window_size + frame_size

    def blocked(self) -> int:
        return 0 if self.document_size is None else min(self.document_size, 1 << 10)


def window(size: int) -> FlowControlManager:
    return AdaptiveWindow(size) if size > 1 << 20 else Thrifty(size)


class Adapter(HTTP2Adapter):
    """With options of its own, as people derive from the stock adapter."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(
            pool_maxsize=2,
            max_retries=urllib3.Retry(2),
            http2="required",
            engine="auto",
            ssl_context=context,
            enable_push=True,
            ping_interval=30,
            ping_timeout=5.0,
            window_manager=window,
        )


def parts() -> Iterator[bytes]:
    yield b"one, "
    yield b"two"


def trailers() -> dict[str, str]:
    return {"x-parts": "2"}


def main(url: str, context: ssl.SSLContext) -> dict[str, object]:
    told: list[str] = []

    # requests types a hook as a function of a Response: Any is what both sides take.
    def on_push(push: Any, **options: object) -> None:
        pushed: PushedResponse = push
        told.append(pushed.path)

    def on_informational(informational: Any, **options: object) -> None:
        early: InformationalResponse = informational
        told.append(f"{early.status} {early.headers.get('link')}")

    with requests.Session() as session:
        adapter: HTTP2Adapter = mount(session, Adapter(context))
        session.hooks["push"] = [on_push]
        hooks = {"informational": on_informational}
        response = session.get(url, hooks=hooks, timeout=(3.05, 10))
        pushes = [push.response(timeout=5).content for push in get_pushes(response)]
        body = BodyWithTrailers(parts(), trailers)
        recording: Recording = record(session, redact=[*SECRET_HEADERS, "x-key"])
        with recording:
            posted = session.post(url, data=body, timeout=10)
        echoed = posted.content
        info: ConnectionInfo = posted.raw.connection_info
        connections: list[OpenConnection] = adapter.connections()
        retired: list[GoAway] = [each.goaway for each in connections if each.goaway]
        seconds: float = adapter.ping(url, timeout=5)
        engine: str = adapter.engine
    with install(pool_maxsize=2):
        mounted = isinstance(requests.Session().get_adapter(url), HTTP2Adapter)
    uninstall()
    return {
        "told": told,
        "pushes": pushes,
        "echoed": echoed,
        "seconds": seconds,
        "engine": engine,
        "mounted": mounted,
        "recorded": [entry.method for entry in recording.entries],
        "reused": info.reused,
        "retired": retired,
        "version": requests_h2.__version__,
    }
