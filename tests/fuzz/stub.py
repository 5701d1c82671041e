"""A real adapter whose connections end in a script instead of a server.

There are no threads and no TLS: the stub has the whole of what the server says and hands it out in
the given portions, so that one example always takes the same course.
"""

from __future__ import annotations

import functools
import socket
import ssl
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import requests
from urllib3.connection import HTTPSConnection

from requests_h2 import HTTP2Adapter

from .frames import ACK, DATA, END_STREAM, SETTINGS, Heading, Wire, assemble
from .received import ClientBytes

GOOD_BODY = b"as if nothing had happened"


class Portion(NamedTuple):
    """Octets that come in one read, once the client has sent ``after`` HEADERS."""

    data: bytes
    after: int = 0


class Script(NamedTuple):
    """``end``: ``"eof"``, ``"reset"``, or ``"silence"`` for a server that says nothing more."""

    portions: Sequence[Portion]
    end: str = "silence"
    send_limit: int = 1 << 20  # octets that one send takes


def good_script() -> Script:
    answer = [
        Wire(SETTINGS),
        Wire(SETTINGS, ACK),
        *assemble([Heading(1, [(b":status", b"200"), (b"x-good", b"yes")], end_stream=False)]),
        Wire(DATA, END_STREAM, 1, GOOD_BODY),
    ]
    return Script([Portion(b"".join(each.encode() for each in answer), after=1)])


class StubSocket:
    """What ``SSLSocketTransport`` needs of an SSLSocket.

    A socketpair tells ``poll`` whether there is something to read: one octet lies in it whenever
    a portion, or the end, is due.
    """

    def __init__(self, script: Script) -> None:
        self.client = ClientBytes()
        self._script = script
        self._portions = list(reversed(script.portions))
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._signalled = False
        self._signal()

    def settimeout(self, seconds: float | None) -> None:
        pass

    def setblocking(self, flag: bool) -> None:
        pass

    def selected_alpn_protocol(self) -> str:
        return "h2"

    def version(self) -> str:
        return "TLSv1.3"

    def pending(self) -> int:
        return 0

    def fileno(self) -> int:
        return self._near.fileno()

    def recv_into(self, buffer: memoryview) -> int:
        if not self._due():
            raise ssl.SSLWantReadError
        if not self._portions:
            if self._script.end == "reset":
                raise ConnectionResetError("reset by the script")
            return 0
        portion = self._portions.pop()
        size = min(len(portion.data), len(buffer))
        buffer[:size] = portion.data[:size]
        if size < len(portion.data):
            self._portions.append(portion._replace(data=portion.data[size:]))
        self._signal()
        return size

    def send(self, data: memoryview) -> int:
        size = min(len(data), self._script.send_limit)
        self.client.feed(bytes(data[:size]))
        self._signal()
        return size

    def shutdown(self, how: int) -> None:
        self._near.shutdown(how)

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def _due(self) -> bool:
        if self._portions:
            return self._portions[-1].after <= self.client.headers
        return self._script.end != "silence"

    def _signal(self) -> None:
        due = self._due()
        if due and not self._signalled:
            self._far.send(b"!")
        elif self._signalled and not due:
            self._near.recv(1)
        self._signalled = due


class StubServers:
    """The scripts of an adapter's connections, in the order of dialling; then good servers."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.sockets: list[StubSocket] = []

    def dial(self) -> StubSocket:
        number = len(self.sockets)
        script = self._scripts[number] if number < len(self._scripts) else good_script()
        self.sockets.append(StubSocket(script))
        return self.sockets[-1]

    def session(self, **options: Any) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        adapter = HTTP2Adapter(ssl_context=_context(), **options)
        classes = adapter.poolmanager.pool_classes_by_scheme
        made: Any = classes["https"]
        stock = SimpleNamespace(ConnectionCls=_connection_class(self))
        pool_class: Any = functools.partial(made.func, **{**made.keywords, "stock": stock})
        adapter.poolmanager.pool_classes_by_scheme = {**classes, "https": pool_class}
        session.mount("https://", adapter)
        return session


@functools.cache
def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _connection_class(servers: StubServers) -> type[HTTPSConnection]:
    class StubConnection(HTTPSConnection):
        def connect(self) -> None:
            self.sock = servers.dial()
            self.is_verified = True

    return StubConnection
