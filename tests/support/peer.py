"""A scripted TLS peer for wire tests.

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.respond(request, 200, {"content-type": "text/plain"}, b"hello")

    with Peer(script) as peer:
        response = session.get(peer.url + "/path")
        peer.connection(0).wait_for(RstStreamFrame, stream_id=1)

A script runs in a thread of its own for each accepted connection. When it returns, the connection
goes on recording what the client sends, and answers SETTINGS and PING, until the client closes or
the ``with`` block ends. A script's exception, or a rule of HTTP/2 that the client broke, is raised
at the end of the block.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import requests

from .certs import ALPN_BOTH, certificates
from .channel import TIMEOUT, Channel, Closed
from .peer_connection import PeerConnection
from .peer_http1 import Http1Connection
from .peer_request import Request
from .peer_scripts import hold, promise, serve

__all__ = [
    "ALPN_BOTH",
    "TIMEOUT",
    "Closed",
    "Http1Connection",
    "MakeSession",
    "Peer",
    "PeerConnection",
    "Request",
    "StartPeer",
    "hold",
    "promise",
    "serve",
]

#: Scripts take a PeerConnection or an Http1Connection, as ALPN chose.
Script = Callable[[Any], None]
#: The types of the fixtures ``peer`` and ``make_session``.
StartPeer = Callable[..., "Peer"]
MakeSession = Callable[..., requests.Session]


class Peer:
    """A listener on 127.0.0.1. ``script`` may be a list: one per connection, the last repeated.

    ``alpn=None`` negotiates nothing and speaks HTTP/1.1. ``tls=False`` speaks HTTP/1.1 over plain
    TCP, or with ``h2c=True`` HTTP/2 to those who begin with its preface. ``preface=False`` leaves
    SETTINGS and the client's preface to the script. ``context`` replaces the TLS settings, ``alpn``
    included. ``uds`` is the path of a Unix domain socket to listen on.
    """

    def __init__(
        self,
        script: Script | Sequence[Script],
        *,
        alpn: Sequence[str] | None = ALPN_BOTH,
        settings: Mapping[str, int] | None = None,
        preface: bool = True,
        tls: bool = True,
        h2c: bool = False,
        context: ssl.SSLContext | None = None,
        keep_data: bool = True,
        uds: str | None = None,
    ) -> None:
        self._scripts = [script] if callable(script) else list(script)
        self._context = (context or certificates().server_context(alpn)) if tls else None
        self._settings = settings
        self._h2c = h2c
        self._preface = preface
        self._keep_data = keep_data
        self._changed = threading.Condition()
        self._stopping = False
        self._channels: list[Channel] = []
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        #: Connections whose handshake is done, in that order.
        self.connections: list[Any] = []
        #: TCP connections, failed handshakes included.
        self.accepted = 0
        self.handshake_errors: list[OSError] = []
        #: Server names (SNI) of the handshakes, None where there was none.
        self.server_names: list[str | None] = []
        if self._context is not None:
            self._context.sni_callback = self._note_server_name
        self.url = "https://" if tls else "http://"
        if uds is None:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
            self.port: int = self._listener.getsockname()[1]
            self.url += f"127.0.0.1:{self.port}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(uds)
            self._listener.listen(128)
            self.url += "localhost"
        self._acceptor = threading.Thread(target=self._accept, name="peer-accept", daemon=True)
        self._acceptor.start()

    # -- what a test looks at --------------------------------------------------------------

    def connection(self, index: int = 0, timeout: float = TIMEOUT) -> Any:
        """The connection with this number, waited for."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.connections) > index, timeout):
                raise AssertionError(f"no connection {index}: there are {len(self.connections)}")
            return self.connections[index]

    @property
    def requests(self) -> list[Request]:
        """Every request of every connection, connection by connection."""
        return [request for conn in list(self.connections) for request in conn.requests]

    @property
    def request(self) -> Request:
        """The only request there was."""
        (request,) = self.requests
        return request

    # -- threads ---------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._stopping:
                sock.close()
                return
            channel = Channel(sock)
            script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
            thread = threading.Thread(
                target=self._run, args=(channel, script), name="peer-connection", daemon=True
            )
            self._channels.append(channel)
            self._threads.append(thread)
            with self._changed:
                self.accepted += 1
                self._changed.notify_all()
            thread.start()

    def _run(self, channel: Channel, script: Script) -> None:
        try:
            if self._context is not None:
                try:
                    channel.start_tls(self._context)
                except OSError as error:
                    self.handshake_errors.append(error)
                    return
            conn = self._connection(channel)
            with self._changed:
                self.connections.append(conn)
                self._changed.notify_all()
            if isinstance(conn, PeerConnection) and self._preface:
                conn.preface()
            script(conn)
            conn.linger()
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again at the end of the block
            self._failures.append(error)
        finally:
            channel.close()

    def _connection(self, channel: Channel) -> PeerConnection | Http1Connection:
        first = channel.receive() if self._h2c else b""
        if channel.alpn != "h2" and not first.startswith(b"PRI "):
            http1 = Http1Connection(channel)
            http1._buffer += first
            return http1
        conn = PeerConnection(channel, settings=self._settings)
        conn.keep_data = self._keep_data
        conn._buffer += first
        return conn

    def _note_server_name(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext
    ) -> None:
        self.server_names.append(name)

    # -- the end ---------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Refuse further connections; those there are go on."""
        if not self._stopping:
            self._stopping = True
            # accept() in another thread is not ended by close() alone.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join(TIMEOUT)
            self._listener.close()

    def close(self) -> None:
        """End every connection and raise what went wrong in a script. Harmless when repeated."""
        self.stop_listening()
        for channel in self._channels:
            channel.stop()
        for thread in self._threads:
            thread.join(TIMEOUT)
            if thread.is_alive():
                self._failures.append(AssertionError(f"a script did not end: {_where(thread)}"))
        for channel in self._channels:
            channel.dispose()
        self._channels.clear()
        self._threads.clear()
        failures, self._failures = self._failures, []
        for failure in failures[1:]:
            traceback.print_exception(failure)
        if failures:
            raise failures[0]

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except BaseException as error:
            if value is None:
                raise
            # The test's own failure comes first; this one often explains it.
            traceback.print_exception(error)


def _where(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame else thread.name
