"""A scripted HTTP proxy: records what it is asked, answers as told, tunnels bytes after a 200.

with Proxy() as proxy:
    session.get(peer.url, proxies={"https": proxy.url})
    assert proxy.requests[0].line.startswith(f"CONNECT 127.0.0.1:{peer.port} ")
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from .certs import certificates
from .channel import TIMEOUT, Channel, Closed

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass(frozen=True)
class ProxyRequest:
    """The head of one request to the proxy."""

    line: str
    #: Names in lower case.
    headers: dict[str, str]


class Proxy:
    """A listener on 127.0.0.1.

    :param answers: what the first, second, ... connection gets; the last is repeated. A 200 to
        CONNECT opens a tunnel to the target it names. ``b""`` closes the connection at once,
        ``None`` says nothing and keeps it open.
    :param tls: an HTTPS proxy, with the certificate of the peers.
    """

    def __init__(
        self, answers: bytes | Sequence[bytes | None] | None = ESTABLISHED, *, tls: bool = False
    ) -> None:
        scripted = [answers] if answers is None or isinstance(answers, bytes) else list(answers)
        self._answers: list[bytes | None] = scripted
        # An HTTPS proxy that would also speak h2: a client must not offer that.
        self._context = certificates().server_context() if tls else None
        self._changed = threading.Condition()
        self._stopping = False
        self._channels: list[Channel] = []
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self.requests: list[ProxyRequest] = []
        self.accepted = 0
        #: Connections that the client has closed.
        self.ended = 0
        #: What ALPN chose on the connections of an HTTPS proxy.
        self.alpn: list[str | None] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        return self.url_for()

    def url_for(self, credentials: str = "") -> str:
        """With ``user:password`` in it."""
        at = f"{credentials}@" if credentials else ""
        return f"{'http' if self._context is None else 'https'}://{at}127.0.0.1:{self.port}"

    def wait_ended(self, count: int) -> None:
        """Until the client has closed so many connections."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.ended >= count, TIMEOUT), (
                f"the client closed {self.ended} of {self.accepted} connections to the proxy"
            )

    def wait_requests(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, TIMEOUT)

    def cut_tunnels(self) -> None:
        """End every connection there is; new ones are accepted."""
        for channel in list(self._channels):
            channel.end_stream_of_bytes()

    # -- threads ---------------------------------------------------------------------------

    def _start(self, function: object, *args: object) -> None:
        thread = threading.Thread(target=self._run, args=(function, *args), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, function: object, *args: object) -> None:
        assert callable(function)
        try:
            function(*args)
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again at the end of the block
            self._failures.append(error)

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
            self._channels.append(channel)
            answer = self._answers[min(self.accepted, len(self._answers) - 1)]
            self.accepted += 1
            self._start(self._serve, channel, answer)

    def _serve(self, channel: Channel, answer: bytes | None) -> None:
        if self._context is not None:
            channel.start_tls(self._context)
            self.alpn.append(channel.alpn)
        try:
            request = self._read_head(channel)
            if answer == b"":
                channel.close()
                return
            if answer is not None:
                channel.send(answer)
                if request.line.startswith("CONNECT ") and answer.split(b" ")[1] == b"200":
                    self._tunnel(channel, request.line.split(" ")[1])
                    return
            while channel.receive(timeout=3600):
                pass
        finally:
            if channel.eof:
                with self._changed:
                    self.ended += 1
                    self._changed.notify_all()

    def _read_head(self, channel: Channel) -> ProxyRequest:
        head = b""
        while b"\r\n\r\n" not in head:
            data = channel.receive()
            if not data:
                raise Closed("the client closed before its request was complete")
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        assert not rest, f"the client did not wait for the answer: {rest!r}"
        line, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(each.split(": ", 1) for each in lines)
        request = ProxyRequest(line, {name.lower(): value for name, value in fields.items()})
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        return request

    def _tunnel(self, client: Channel, target: str) -> None:
        host, _, port = target.rpartition(":")
        origin = Channel(socket.create_connection((host.strip("[]"), int(port)), TIMEOUT))
        self._channels.append(origin)
        self._start(self._relay, origin, client)
        self._relay(client, origin)

    def _relay(self, source: Channel, sink: Channel) -> None:
        try:
            while data := source.receive(timeout=3600):
                sink.send(data)
        finally:
            sink.end_stream_of_bytes()

    # -- the end ---------------------------------------------------------------------------

    def stop_listening(self) -> None:
        if not self._stopping:
            self._stopping = True
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def close(self) -> None:
        """End everything and raise what went wrong."""
        self.stop_listening()
        for channel in list(self._channels):
            channel.stop()
        deadline = time.monotonic() + TIMEOUT
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), "a thread of the proxy did not end"
        for channel in self._channels:
            channel.dispose()
        if self._failures:
            raise self._failures[0]

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(*([Exception] if value is not None else [])):
            self.close()


class SocksProxy(Proxy):
    """SOCKS5 (RFC 1928) for a client whose messages come whole. It wants no password."""

    def url_for(self, credentials: str = "") -> str:
        return super().url_for(credentials).replace("http://", "socks5h://")

    def _serve(self, channel: Channel, answer: bytes | None) -> None:
        channel.receive()
        channel.send(b"\x05\x00")
        request = channel.receive()
        host = socket.inet_ntoa(request[4:8]) if request[3] == 1 else request[5:-2].decode()
        channel.send(b"\x05\x00\x00\x01" + bytes(6))
        self._tunnel(channel, f"{host}:{int.from_bytes(request[-2:], 'big')}")
