"""A scripted SOCKS server: versions 4, 4a and 5 (RFC 1928), passwords (RFC 1929).

with SocksServer(credentials=("user", "pass")) as server:
    session.get(peer.url, proxies={"https": server.url("socks5h", "user:pass")})
    assert server.requests[0].by_name
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .channel import Channel, Closed
from .tunnels import Address, TunnelServer

GRANTED = 0
#: The codes of a refusal, for either version: "request rejected" and "connection refused".
REFUSED = 5


@dataclass(frozen=True)
class SocksRequest:
    version: int
    host: str
    port: int
    #: The server was given a name to look up, and no address.
    by_name: bool
    user: str = ""
    password: str = ""


class SocksServer(TunnelServer):
    """A listener on 127.0.0.1.

    :param answers: what the first, second, ... connection gets; the last is repeated. A number is
        the code of the answer, bytes are sent instead of one, ``b""`` closes the connection and
        ``None`` says nothing.
    :param credentials: what version 5 demands.
    """

    def __init__(
        self,
        answers: int | bytes | Sequence[int | bytes | None] | None = GRANTED,
        *,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        single = answers is None or isinstance(answers, (int, bytes))
        self._answers: list[int | bytes | None] = [answers] if single else list(answers)  # type: ignore[list-item, arg-type]
        self._credentials = credentials
        #: Where names lead that no name server knows.
        self.names: dict[str, str] = {}
        self.requests: list[SocksRequest] = []
        super().__init__()

    def url(self, scheme: str, credentials: str = "") -> str:
        return f"{scheme}://{credentials}{'@' if credentials else ''}127.0.0.1:{self.port}"

    def negotiate(self, channel: Channel, number: int) -> Address | None:
        reader = _Reader(channel)
        version = reader.take(1)[0]
        request = self._version5(reader) if version == 5 else _version4(reader)
        if request is None:
            channel.close()
            return None
        self.requests.append(request)
        answer = self._answers[min(number, len(self._answers) - 1)]
        if answer == b"":
            channel.close()
        elif isinstance(answer, bytes):
            channel.send(answer)
        elif answer is not None:
            if version == 5:
                channel.send(struct.pack("!BBBBIH", 5, answer, 0, 1, 0, 0))
            else:
                channel.send(struct.pack("!BBHI", 0, 0x5A if answer == GRANTED else 0x5B, 0, 0))
            if answer == GRANTED:
                return self.names.get(request.host, request.host), request.port
        return None

    def _version5(self, reader: _Reader) -> SocksRequest | None:
        methods = reader.take(reader.take(1)[0])
        user = password = ""
        wanted = 0 if self._credentials is None else 2
        if wanted not in methods:
            reader.channel.send(b"\x05\xff")
            return None
        reader.channel.send(bytes([5, wanted]))
        if self._credentials is not None:
            assert reader.take(1) == b"\x01"
            user = reader.take(reader.take(1)[0]).decode()
            password = reader.take(reader.take(1)[0]).decode()
            known = (user, password) == self._credentials
            reader.channel.send(b"\x01\x00" if known else b"\x01\x01")
            if not known:
                return None
        assert reader.take(3) == b"\x05\x01\x00"
        kind = reader.take(1)[0]
        if kind == 3:
            host = reader.take(reader.take(1)[0]).decode("ascii")
        else:
            host = str(ipaddress.ip_address(reader.take(4 if kind == 1 else 16)))
        (port,) = struct.unpack("!H", reader.take(2))
        return SocksRequest(5, host, port, kind == 3, user, password)


def _version4(reader: _Reader) -> SocksRequest:
    assert reader.take(1) == b"\x01"
    (port,) = struct.unpack("!H", reader.take(2))
    address = reader.take(4)
    user = reader.string()
    by_name = address[:3] == b"\0\0\0" and address[3] != 0
    host = reader.string() if by_name else socket.inet_ntoa(address)
    return SocksRequest(4, host, port, by_name, user)


#: The type of the fixture ``make_socks``.
MakeSocks = Callable[..., SocksServer]


class _Reader:
    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._data = b""

    def take(self, size: int) -> bytes:
        while len(self._data) < size:
            more = self.channel.receive()
            if not more:
                raise Closed("the client closed before its request was complete")
            self._data += more
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def string(self) -> str:
        octets = b""
        while (octet := self.take(1)) != b"\0":
            octets += octet
        return octets.decode()
