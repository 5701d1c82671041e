"""Watching connections from outside: how far they came, and what the server said on HTTP/2.

It works on any engine and changes none, because it reads what the socket hands up.
"""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from urllib3.connection import HTTPSConnection
from urllib3.util.ssltransport import SSLTransport

from .engine.base import MAX_FRAME_SIZE
from .engine.frames import (
    ACK,
    GOAWAY,
    RST_STREAM,
    SETTING_SIZE,
    SETTINGS,
    DataRun,
    FrameReader,
    PeerError,
    settings_of,
)
from .engine.frames import RawFrame as Frame
from .tls import negotiated_h2


class Complaint(NamedTuple):
    """A GOAWAY or RST_STREAM of the server.

    :param code: RFC 9113 section 7.
    :param debug: the additional data of a GOAWAY.
    """

    frame: str
    code: int
    debug: bytes


class Witness:
    """One connection. What was not reached is ``None``, empty or false."""

    def __init__(self) -> None:
        self.address: tuple[str, int] | None = None
        """Where the TCP connection goes, which may be a proxy."""
        self.reached_server = False
        """Whether what answers is the server itself, and no longer a proxy on the way."""
        self.tls: str | None = None
        """The version, as ``TLSv1.3``; the handshake and all checks are done then."""
        self.cipher = ""
        self.alpn: str | None = None
        self.certificate: dict[str, Any] = {}
        """As ``SSLSocket.getpeercert()`` gives it."""
        self.settings: dict[int, int] | None = None
        """The first SETTINGS frame of the server; unknown ones are among them."""
        self.complaints: list[Complaint] = []
        self._reader: FrameReader | None = FrameReader(MAX_FRAME_SIZE)

    def handshake_done(self, sock: Any) -> None:
        self.tls = sock.version()
        self.cipher = sock.cipher()[0]
        self.alpn = sock.selected_alpn_protocol()
        self.certificate = sock.getpeercert()

    def received(self, data: bytes) -> None:
        """Octets of HTTP/2, in any portions."""
        if self._reader is None:
            return
        try:
            for frame in self._reader.frames(memoryview(data)):
                if not isinstance(frame, DataRun):
                    self._note(frame)
        except PeerError:
            self._reader = None  # the engine says what is wrong with it

    def _note(self, frame: Frame) -> None:
        payload = bytes(frame.payload)
        if frame.kind == SETTINGS and not frame.flags & ACK and self.settings is None:
            if len(payload) % SETTING_SIZE == 0:
                self.settings = dict(settings_of(payload))
        elif frame.kind == GOAWAY and len(payload) >= 8:
            code = int.from_bytes(payload[4:8], "big")
            self.complaints.append(Complaint("GOAWAY", code, payload[8:]))
        elif frame.kind == RST_STREAM and len(payload) == 4:
            self.complaints.append(Complaint("RST_STREAM", int.from_bytes(payload, "big"), b""))


def watched(base: type[HTTPSConnection], witnesses: list[Witness]) -> type[HTTPSConnection]:
    """A connection class like ``base``, each connection of which adds its witness to the list."""
    return type(f"Watched{base.__name__}", (_Watched, base), {"_witnesses": witnesses})


class _Watched:
    """Comes before a class of urllib3, which calls all these."""

    _witnesses: list[Witness]

    def connect(self: Any) -> None:
        witness = Witness()
        self._witnesses.append(witness)
        super().connect()  # type: ignore[misc]  # comes before a connection
        witness.handshake_done(self.sock)
        if not negotiated_h2(self):
            return
        if isinstance(self.sock, SSLTransport):
            recording: Any = _RecordingTLS(self.sock.sslobj, witness)
            self.sock.sslobj = recording
        else:
            self.sock = _RecordingSocket(self.sock, witness)

    def _new_conn(self: Any) -> Any:
        sock = super()._new_conn()  # type: ignore[misc]  # as above
        # The class's own, as that of PySocks tells where the proxy has connected to.
        self._witnesses[-1].address = socket.socket.getpeername(sock)[:2]
        # A SOCKS proxy is done by now, and no proxy to urllib3's connection.
        self._witnesses[-1].reached_server = self.proxy is None
        return sock

    def _tunnel(self: Any) -> None:
        super()._tunnel()  # type: ignore[misc]  # as above
        self._witnesses[-1].reached_server = True


class _RecordingSocket:
    """An SSLSocket that shows its witness what it reads."""

    def __init__(self, sock: Any, witness: Witness) -> None:
        self._sock = sock
        self._witness = witness

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv_into(self, buffer: memoryview) -> int:
        size: int = self._sock.recv_into(buffer)
        self._witness.received(bytes(buffer[:size]))
        return size


class _RecordingTLS:
    """The same for the SSL object of TLS inside the TLS of a proxy."""

    def __init__(self, tls: Any, witness: Witness) -> None:
        self._tls = tls
        self._witness = witness

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tls, name)

    def read(self, size: int, buffer: memoryview) -> int:
        count: int = self._tls.read(size, buffer)
        self._witness.received(bytes(buffer[:count]))
        return count
