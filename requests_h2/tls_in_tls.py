"""TLS to the origin inside the TLS of an HTTPS proxy, as a transport that never blocks.

urllib3 dials, has the proxy open the tunnel, verifies both certificates and leaves an
``SSLTransport``, whose own methods wait for the socket and, when that does not wait, lose octets.
So its parts are used without them: the SSL object of the origin's TLS, which reads from one buffer
in memory and writes to another, and the SSLSocket to the proxy.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, cast

from urllib3.util.ssltransport import SSLTransport

from .tls import TLS_RECORD
from .transport import SSLSocketTransport, Transport

_ANSWER_LIMIT = 64 << 10  # octets of unsent answers that the peer's TLS made ours give


def transport(sock: Any) -> Transport:
    """The transport for what urllib3 has connected, which must not be used otherwise then."""
    return TLSInTLSTransport(sock) if isinstance(sock, SSLTransport) else SSLSocketTransport(sock)


class TLSInTLSTransport:
    """Records of the origin's TLS inside those of the proxy's. The connection's lock guards it.

    :param sock: connected.
    """

    def __init__(self, sock: SSLTransport) -> None:
        self.sock: Any = sock
        self._tunnel = SSLSocketTransport(sock.socket)
        self._tls: ssl.SSLObject = sock.sslobj
        self._incoming: ssl.MemoryBIO = sock.incoming
        self._outgoing: ssl.MemoryBIO = sock.outgoing
        self._buffer = memoryview(bytearray(TLS_RECORD))
        self._unsent = memoryview(b"")  # records that the tunnel is to take before what is outgoing
        self._encrypted = 0  # octets of plaintext in records that have not all left

    def receive_into(self, buffer: memoryview) -> int | None:
        while True:
            try:
                return cast("int", self._tls.read(len(buffer), buffer))
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLEOFError:
                return 0  # without close_notify, as an SSLSocket takes it
            finally:
                self._answer()
            size = self._tunnel.receive_into(self._buffer)
            if size is None:
                return None
            if size:
                self._incoming.write(self._buffer[:size])
            else:
                self._incoming.write_eof()

    def send(self, data: memoryview) -> int:
        if not self._flush():
            return 0
        if not self._encrypted:
            try:
                self._encrypted = self._tls.write(data)
            except ssl.SSLWantReadError:
                return 0
            if not self._flush():
                return 0
        # Counted only now: whoever thinks that all has left does not wait for room.
        sent, self._encrypted = self._encrypted, 0
        return sent

    def pending(self) -> bool:
        return bool(self._tls.pending() or self._incoming.pending or self._tunnel.pending())

    def fileno(self) -> int:
        return self._tunnel.fileno()

    def shutdown(self) -> None:
        self._tunnel.shutdown()

    def close(self) -> None:
        self._tunnel.close()

    def _answer(self) -> None:
        """Send what reading made TLS say: alerts, new keys.

        :raises ConnectionError: when too much of it is not taken. A socket would have OpenSSL read
            no more until then; memory takes all there is.
        """
        if self._outgoing.pending:
            with contextlib.suppress(OSError):  # what was read counts; the next send will say so
                self._flush()
            if self._outgoing.pending > _ANSWER_LIMIT:
                raise ConnectionError("the peer asks for more TLS messages than it reads")

    def _flush(self) -> bool:
        """Whether the tunnel took all there is."""
        while self._unsent or self._outgoing.pending:
            if not self._unsent:
                self._unsent = memoryview(self._outgoing.read())
            size = self._tunnel.send(self._unsent)
            if not size:
                return False
            self._unsent = self._unsent[size:]
        return True
