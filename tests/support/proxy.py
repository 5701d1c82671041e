"""A scripted HTTP proxy: records what it is asked, answers as told, tunnels bytes after a 200.

with Proxy() as proxy:
    session.get(peer.url, proxies={"https": proxy.url})
    assert proxy.requests[0].line.startswith(f"CONNECT 127.0.0.1:{peer.port} ")
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .certs import certificates
from .channel import TIMEOUT, Channel, Closed
from .tunnels import Address, TunnelServer

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
#: An answer that is TCP's RST.
RESET = b"RST"


@dataclass(frozen=True)
class ProxyRequest:
    """The head of one request to the proxy."""

    line: str
    #: Names in lower case.
    headers: dict[str, str]


class Proxy(TunnelServer):
    """A listener on 127.0.0.1.

    :param answers: what the first, second, ... connection gets; the last is repeated. A 200 to
        CONNECT opens a tunnel to the target it names. ``b""`` closes the connection at once,
        ``None`` says nothing and keeps it open, ``RESET`` breaks it off.
    :param tls: an HTTPS proxy, with the certificate of the peers or a context. It would also speak
        h2: a client must not offer that.
    """

    def __init__(
        self,
        answers: bytes | Sequence[bytes | None] | None = ESTABLISHED,
        *,
        tls: bool | ssl.SSLContext = False,
    ) -> None:
        scripted = [answers] if answers is None or isinstance(answers, bytes) else list(answers)
        self._answers: list[bytes | None] = scripted
        self._context = certificates().server_context() if tls is True else tls or None
        self.requests: list[ProxyRequest] = []
        #: What ALPN chose on the connections of an HTTPS proxy.
        self.alpn: list[str | None] = []
        #: Handshakes that failed, with the client's alert.
        self.handshake_errors: list[OSError] = []
        super().__init__()

    @property
    def url(self) -> str:
        return self.url_for()

    def url_for(self, credentials: str = "") -> str:
        """With ``user:password`` in it."""
        at = f"{credentials}@" if credentials else ""
        return f"{'http' if self._context is None else 'https'}://{at}127.0.0.1:{self.port}"

    def wait_requests(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, TIMEOUT)

    def negotiate(self, channel: Channel, number: int) -> Address | None:
        if self._context is not None:
            try:
                channel.start_tls(self._context)
            except OSError as error:
                self.handshake_errors.append(error)
                channel.close()
                return None
            self.alpn.append(channel.alpn)
        request = self._read_head(channel)
        answer = self._answers[min(number, len(self._answers) - 1)]
        if answer == b"":
            channel.close()
        elif answer == RESET:
            channel.abort()
        elif answer is not None:
            channel.send(answer)
            if request.line.startswith("CONNECT ") and answer.split(b" ")[1] == b"200":
                host, _, port = request.line.split(" ")[1].rpartition(":")
                return host.strip("[]"), int(port)
        return None

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


#: The type of the fixture ``make_proxy``.
MakeProxy = Callable[..., Proxy]
