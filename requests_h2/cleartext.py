"""HTTP/2 without TLS, for servers that are known to speak it (RFC 9113 section 3.3).

Nothing is negotiated: the client preface is the first thing that a new connection carries. The
Upgrade of HTTP/1.1, which RFC 9113 section 3.1 has given up, is never asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from .exceptions import StreamFault
from .lease import Lease
from .pool import HTTP2ConnectionPool
from .transport import SocketTransport, Transport


class CleartextPool(HTTP2ConnectionPool):
    """For ``http://`` URLs with ``prior_knowledge=True``. Through SOCKS, too."""

    def offer(self, conn: HTTPConnection, protocols: Sequence[str]) -> None:
        """There is nobody to offer anything to."""

    def speaks_http2(self, conn: HTTPConnection, protocols: Sequence[str]) -> bool:  # noqa: ARG002
        # A connection without TLS has nothing to say about it, as that of SecurePool has.
        return "h2" in protocols

    def transport(self, sock: Any) -> Transport:
        return SocketTransport(sock)

    def _failure(self, lease: Lease, fault: StreamFault) -> HTTPError:
        if lease.connection is not None and not lease.connection.greeted:
            fault.add(
                "; HTTP/2 was spoken without asking because of prior_knowledge=True: check that "
                "the server expects it on this port"
            )
        return super()._failure(lease, fault)
