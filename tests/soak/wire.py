"""TLS by hand, so that a peer can cut records and segments where it likes and end in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from collections import deque

_STYLES = ("whole", "whole", "records", "segments", "crumbs")
_CRUMBS = 400  # octets of each flush that a crumbling wire cuts into crumbs


class Wire(asyncio.Protocol):
    """One accepted TLS connection.

    :param rng: decides how what is sent is cut.
    """

    transport: asyncio.Transport

    def __init__(self, context: ssl.SSLContext, rng: random.Random) -> None:
        self.rng = rng
        self.style = rng.choice(_STYLES)
        self.ended: str | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ready = False
        self._plain = bytearray()
        self._flushing = False
        self._segments: deque[bytes] = deque()
        self._pumping = False

    # -- for the protocol above --------------------------------------------------------------------

    def established(self) -> None:
        """The handshake is done."""

    def received(self, data: bytes) -> None:
        """Plaintext came."""

    def broken(self, reason: str) -> None:
        """What the client sent makes no sense."""

    def lost(self) -> None:
        """The connection is over, by whomever."""

    def send(self, data: bytes) -> None:
        if self.ended is None:
            self._plain += data
            if not self._flushing:
                self._flushing = True
                asyncio.get_running_loop().call_soon(self._flush)

    def hold(self, seconds: float) -> None:
        """Send nothing for a while."""
        self._flushing = True
        asyncio.get_running_loop().call_later(seconds, self._flush)

    def end(self, how: str, reason: str) -> None:
        """Drop the connection: ``fin``, ``notify`` (close_notify first), ``cut`` (in the middle of
        a frame and a record) or ``rst``.
        """
        if self.ended is not None:
            return
        if how == "cut" and self._ready:
            self._plain += self.rng.randbytes(self.rng.randrange(1, 9))
        if how == "rst":
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.ended = reason
            self.transport.abort()
            return
        self._pumping = True  # only queue: it is cut below
        self._flush()
        self.ended = reason
        if how == "notify" and self._ready:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._segments.append(self._outgoing.read())
        rest = b"".join(self._segments)
        self._segments.clear()
        if how == "cut" and len(rest) > 1:
            rest = rest[: self.rng.randrange(1, len(rest))]
        self.transport.write(rest)
        self.transport.close()

    @property
    def backlog(self) -> int:
        return len(self._plain) + self.transport.get_write_buffer_size()

    # -- asyncio -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self.ended is not None:
            return
        self._incoming.write(data)
        try:
            if not self._ready:
                self._tls.do_handshake()
                self._ready = True
                self.established()
            while self.ended is None:
                if not (plain := self._tls.read(65_536)):
                    break
                self.received(plain)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.broken(f"TLS, {'after' if self._ready else 'in'} the handshake: {error}")
            self.transport.abort()
        except Exception as error:  # noqa: BLE001 - it would end the connection without a word
            self.broken(f"unreadable: {error!r}")
            self.transport.abort()
        self._seal()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended is None:
            self.ended = "client"
        self.lost()

    # -- cutting -----------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._flushing = False
        if self.ended is not None or not self._plain:
            return
        data, self._plain = bytes(self._plain), bytearray()
        if self.style == "records":
            for part in self._cut(data, 1, 3000):
                self._tls.write(part)
        elif self.style == "crumbs":
            for part in self._cut(data[:_CRUMBS], 1, 40):
                self._tls.write(part)
            if data[_CRUMBS:]:
                self._tls.write(data[_CRUMBS:])
        else:
            self._tls.write(data)
        self._seal()

    def _seal(self) -> None:
        """Encrypted octets go out, in segments of odd sizes where that is the style."""
        sealed = self._outgoing.read()
        if not sealed or self.ended is not None:
            return
        if self.style == "segments":
            self._segments += self._cut(sealed, 1, 5000)
        elif self.style == "crumbs":
            self._segments += self._cut(sealed[:_CRUMBS], 1, 60)
            self._segments.append(sealed[_CRUMBS:])
        else:
            self._segments.append(sealed)
        if not self._pumping:
            self._pump()

    def _cut(self, data: bytes, low: int, high: int) -> list[bytes]:
        parts, at = [], 0
        while at < len(data):
            size = self.rng.randint(low, high)
            parts.append(data[at : at + size])
            at += size
        return parts

    def _pump(self) -> None:
        """One segment at a time, some after a pause, so that they arrive apart."""
        self._pumping = False
        while self._segments and self.ended is None:
            self.transport.write(self._segments.popleft())
            if self._segments and self.rng.random() < 0.3:
                self._pumping = True
                asyncio.get_running_loop().call_later(self.rng.uniform(0, 0.002), self._pump)
                return
