"""Connection reuse across host names (RFC 9113 section 9.1.1), for ``HTTP2Adapter(coalesce=True)``.

What two hosts need to share a connection: one port; everything that a dial would be given but the
host; a verified certificate that names both; and that the other's name resolves to the address the
connection goes to. Where the caller has replaced any of these checks, nothing is shared.
"""

from __future__ import annotations

import socket
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import urllib3.util.connection
from urllib3.connectionpool import HTTPSConnectionPool

from .connection import Connection
from .fork import renew_in_children
from .tls import certificate_names, wraps_as_ssl

# What the pool hands to each connection beside the ``conn_kw``. requests sets some of them again
# before each request, hence not only what the pool was made with.
_HANDED_ON = (
    "cert_file",
    "key_file",
    "key_password",
    "cert_reqs",
    "ca_certs",
    "ca_cert_dir",
    "ssl_version",
    "ssl_minimum_version",
    "ssl_maximum_version",
)


class Destination(NamedTuple):
    """Where a dial would go, and everything else that would be decided by it."""

    host: str
    port: int
    settings: dict[str, Any]


def destination_of(pool: HTTPSConnectionPool, given: dict[str, Any]) -> Destination | None:
    """The pool's; ``None`` when its connections are not to be shared: with a proxy, where the check
    of the certificate was changed, or where something else than urllib3 finds the address.

    :param given: what the pool was made with, beside host and port.
    """
    replaced = (pool.assert_hostname, pool.assert_fingerprint, pool.conn_kw.get("server_hostname"))
    if pool.proxy is not None or any(setting is not None for setting in replaced):
        return None
    if not _is_found_by_urllib3(pool.ConnectionCls):
        return None
    context = pool.conn_kw.get("ssl_context")
    if context is not None and not wraps_as_ssl(context):
        return None  # it may have pins of each host, say
    settings: dict[str, Any] = {name: getattr(pool, name) for name in _HANDED_ON}
    settings.update(given=given, conn_kw=dict(pool.conn_kw), kind=pool.ConnectionCls)
    return Destination(pool.host, pool.port or 443, settings)


class OpenConnections:
    """The connections of one PoolManager that other hosts may use. Thread-safe.

    They are held weakly: whose they are decides how long they live.
    """

    def __init__(self) -> None:
        self._offers: list[_Offer] = []
        # Guards the list, which every origin of the manager changes. It is taken last: nothing that
        # waits is called beneath it.
        self._lock = threading.Lock()
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """In a forked child: the connections are the parent's."""
        self._lock = threading.Lock()
        self._offers.clear()

    def add(self, connection: Connection, destination: Destination | None) -> None:
        """Offer a new connection. It must be nobody else's yet: its TLS object is asked.

        :param destination: where it goes; ``None`` when it is not to be shared.
        """
        if destination is None or not connection.dialled.is_verified:
            return
        try:
            certificate = connection.sock.getpeercert()
            address = connection.sock.getpeername()
        except OSError:
            return  # it is lost already, or OpenSSL cannot print the certificate
        offer = _Offer(weakref.ref(connection), destination, certificate, address)
        with self._lock:
            self._offers = [other for other in self._offers if other.usable]
            self._offers.append(offer)

    def serving(
        self, destination: Destination, known: Sequence[Connection]
    ) -> Iterator[Connection]:
        """Those, but the ``known`` ones, that may be used for requests to another destination.

        The name is resolved, as a dial would, only if nothing but the address is in question. One
        that cannot be resolved has none: the dial tells the caller.
        """
        with self._lock:
            offers = list(self._offers)
        addresses: list[Any] | None = None
        for offer in offers:
            connection = offer.connection()
            if connection is None or connection in known or not offer.suits(destination):
                continue
            if addresses is None:
                addresses = _addresses(destination)
            if offer.address in addresses:
                yield connection


class _Offer(NamedTuple):
    connection: weakref.ref[Connection]
    destination: Destination
    certificate: dict[str, Any]
    address: Any
    """Of the socket's peer, as ``getpeername`` tells it."""

    @property
    def usable(self) -> bool:
        connection = self.connection()
        return connection is not None and connection.usable

    def suits(self, destination: Destination) -> bool:
        """Whether all is well, but for the address."""
        return (
            self.usable
            and destination.port == self.destination.port
            and destination.settings == self.destination.settings
            and certificate_names(self.certificate, destination.host.rstrip("."))
        )


def _addresses(destination: Destination) -> list[Any]:
    """What ``urllib3.util.connection.create_connection`` would try."""
    family = urllib3.util.connection.allowed_gai_family()
    try:
        found = socket.getaddrinfo(destination.host, destination.port, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [address for *_, address in found]


def _is_found_by_urllib3(connection_cls: Any) -> bool:
    """Whether urllib3 resolves the host and connects to it, and not SOCKS or a patch of somebody's
    who knows better addresses.
    """
    methods = (connection_cls.connect, connection_cls._new_conn)
    resolver = urllib3.util.connection.create_connection
    return resolver.__module__ == "urllib3.util.connection" and all(
        method.__module__ == "urllib3.connection" for method in methods
    )
