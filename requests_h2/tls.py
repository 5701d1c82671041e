"""TLS: what ALPN offers on anyone's SSLContext, and what a certificate is good for."""

from __future__ import annotations

import functools
import os
import re
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import urllib3.util.ssl_
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import (
    create_urllib3_context,
    resolve_cert_reqs,
    resolve_ssl_version,
)
from urllib3.util.ssl_match_hostname import CertificateError, match_hostname

OFFERED_PROTOCOLS = ["h2", "http/1.1"]
HTTP1_ONLY = ["http/1.1"]
TLS_RECORD = 16_384
"""Octets of plaintext in a full TLS record (RFC 8446 section 5.1)."""

_WILDCARD = re.compile(r"\*(\.[^.*]+){2,}\Z")
_alpn_locks: weakref.WeakKeyDictionary[ssl.SSLContext, threading.Lock] = weakref.WeakKeyDictionary()


def renew_after_fork() -> None:
    """In a forked child: a lock that another thread of the parent held is nobody's now."""
    _alpn_locks.clear()


class ALPNContext:
    """An SSLContext with an ALPN offer of its own, which leaves the one it wraps as it is.

    ``ssl_wrap_socket`` sets ``["http/1.1"]`` on the context it is given, and users share contexts
    between adapters. ALPN is a property of the context in Python, copied into the SSL object when
    that is made; so the list is set together with the making of the object, under a lock for each
    context, and set back. The handshake runs outside the lock.

    :param protocols: what is offered.
    """

    begun_at: float | None
    """When a handshake was begun with it, on the monotonic clock."""

    def __init__(self, context: ssl.SSLContext, protocols: Sequence[str]) -> None:
        for name, value in (("_context", context), ("_protocols", protocols), ("begun_at", None)):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._context, name, value)

    def set_alpn_protocols(self, protocols: list[str]) -> None:
        """Ignored: our own list is offered."""

    def wrap_socket(
        self, sock: socket.socket, server_hostname: str | None = None, **kwargs: Any
    ) -> ssl.SSLSocket:
        context: ssl.SSLContext = self._context
        # A context with a wrap_socket of its own (truststore) verifies in there, after the
        # handshake, so that one has to run in it.
        deferrable = wraps_as_ssl(context)
        if deferrable:
            kwargs["do_handshake_on_connect"] = False
        wrapped: ssl.SSLSocket = self._offering(
            context.wrap_socket, sock, server_hostname=server_hostname, **kwargs
        )
        if deferrable:
            try:
                wrapped.do_handshake()
            except BaseException:
                wrapped.close()
                raise
        return wrapped

    @property
    def wrap_bio(self) -> Callable[..., ssl.SSLObject]:
        """For TLS inside TLS. A property because urllib3 asks whether a context has it at all."""
        return functools.partial(self._offering, self._context.wrap_bio)

    def _offering(self, make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        object.__setattr__(self, "begun_at", time.monotonic())
        context: ssl.SSLContext = self._context
        with _alpn_locks.setdefault(context, threading.Lock()):
            context.set_alpn_protocols(self._protocols)
            try:
                return make(*args, **kwargs)
            finally:
                context.set_alpn_protocols(HTTP1_ONLY)


def wraps_as_ssl(context: Any) -> bool:
    """Whether ``wrap_socket`` is that of the module ssl, and nobody's who may verify more."""
    return getattr(context.wrap_socket, "__func__", None) is ssl.SSLContext.wrap_socket


def offer(conn: HTTPSConnection, protocols: Sequence[str]) -> None:
    """Make a connection that is not connected offer these protocols to the origin by ALPN, and
    only http/1.1 to an HTTPS proxy on the way: CONNECT is spoken in it.

    Without a context of the user's it gets the one that urllib3 would make in ``connect``. Nothing
    is offered by those of pyOpenSSL: they allow no changes after a handshake, and their sockets
    cannot be read without waiting.
    """
    context: Any = _bare(conn.ssl_context)
    kind = _context_class() if context is None else type(context)
    if kind.__module__.endswith("urllib3.contrib.pyopenssl"):  # requests.packages has it too
        return
    proxy = conn.proxy_config if conn.proxy is not None and conn.proxy.scheme == "https" else None
    if context is None:
        context = _shared_context(conn)
        if context is not None and proxy is not None and proxy.ssl_context is None:
            # What urllib3 would make for the proxy too, of CAs that the connection has no more.
            proxy = proxy._replace(ssl_context=context)
    if context is None:
        context = _new_context(
            conn.ssl_version,
            conn.ssl_minimum_version,
            conn.ssl_maximum_version,
            conn.cert_reqs,
        )
        if not (conn.ca_certs or conn.ca_cert_dir or conn.ca_cert_data):
            context.load_default_certs()
    conn.ssl_context = ALPNContext(context, protocols)  # type: ignore[assignment]  # it delegates
    if proxy is not None and proxy.ssl_context is not None:
        # The same context may be in use for an origin this moment, with h2 on offer.
        offering: Any = ALPNContext(_bare(proxy.ssl_context), HTTP1_ONLY)
        conn.proxy_config = proxy._replace(ssl_context=offering)


def _bare(context: Any) -> Any:
    """Without the offer of an earlier dial."""
    return context._context if isinstance(context, ALPNContext) else context


def began_with_origin(conn: HTTPConnection) -> float | None:
    """When TLS was begun with the origin, for which a tunnel has to be there: on the monotonic
    clock.
    """
    context: Any = getattr(conn, "ssl_context", None)
    return context.begun_at if isinstance(context, ALPNContext) else None


def _shared_context(conn: HTTPSConnection) -> ssl.SSLContext | None:
    """A context with the connection's CAs in it already, where nothing else sets it apart.

    To load certifi's takes 18 ms of CPU, for each connection to each origin.
    """
    own = [conn.cert_file, conn.key_file, conn.assert_fingerprint, conn.assert_hostname]
    if conn.proxy_config is not None:
        own += [conn.proxy_config.assert_fingerprint, conn.proxy_config.assert_hostname]
    if any(setting is not None for setting in own):
        return None
    try:
        context = _loaded_context(
            conn.ssl_version,
            conn.ssl_minimum_version,
            conn.ssl_maximum_version,
            conn.cert_reqs,
            conn.ca_certs,
            conn.ca_cert_dir,
            conn.ca_cert_data,
            (_stamp(conn.ca_certs), os.environ.get("SSLKEYLOGFILE"), _context_class()),
        )
    except (OSError, TypeError, ValueError):
        return None  # urllib3 meets the same fault and reports it
    conn.ca_certs = conn.ca_cert_dir = conn.ca_cert_data = None
    return context


@functools.lru_cache(maxsize=8)
def _loaded_context(
    ssl_version: Any,
    minimum: int | None,
    maximum: int | None,
    cert_reqs: Any,
    ca_certs: str | None,
    ca_cert_dir: str | None,
    ca_cert_data: str | bytes | None,
    _apart: Hashable,
) -> ssl.SSLContext:
    """``_apart`` is what else may make a difference: the bundle on the disk, the environment, the
    class.
    """
    context = _new_context(ssl_version, minimum, maximum, cert_reqs)
    if ca_certs or ca_cert_dir or ca_cert_data:
        context.load_verify_locations(ca_certs, ca_cert_dir, ca_cert_data)
    else:
        context.load_default_certs()
    return context


def _new_context(
    ssl_version: Any, minimum: int | None, maximum: int | None, cert_reqs: Any
) -> ssl.SSLContext:
    return create_urllib3_context(
        ssl_version=resolve_ssl_version(ssl_version),
        ssl_minimum_version=minimum,
        ssl_maximum_version=maximum,
        cert_reqs=resolve_cert_reqs(cert_reqs),
    )


def _context_class() -> type:
    """What urllib3 makes contexts of: truststore and pyOpenSSL replace it."""
    replaceable: Any = urllib3.util.ssl_.SSLContext  # None without the module ssl
    return replaceable  # type: ignore[no-any-return]  # a class, if anything


def _stamp(path: str | None) -> tuple[int, ...]:
    """What changes with a file's content."""
    if not path:
        return ()
    status = os.stat(path)
    return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)


def is_alert(error: OSError | None) -> bool:
    """Whether TLS itself failed, which TLS 1.3 may say after the handshake, and not the network."""
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError):
        return False
    reason: str | None = error.reason
    return "EOF" not in (reason or "EOF")


def negotiated_h2(conn: HTTPConnection) -> bool:
    """Whether ALPN of a connected connection chose h2."""
    protocol = getattr(conn.sock, "selected_alpn_protocol", None)
    return protocol is not None and protocol() == "h2"


def certificate_covers(sock: Any, host: str) -> bool:
    """Whether a connection's verified certificate names that host too."""
    # Without TLS there is none.
    return hasattr(sock, "getpeercert") and certificate_names(sock.getpeercert(), host)


def certificate_names(certificate: dict[str, Any] | None, host: str) -> bool:
    """Whether a certificate, as ``getpeercert`` returns it, is good for that host.

    Of wildcards only those count that OpenSSL would accept too: a whole label, above two others.
    """
    if not certificate:
        return False  # nothing was verified
    names = [
        (kind, name)
        for kind, name in certificate.get("subjectAltName", ())
        if "*" not in name or _WILDCARD.match(name)
    ]
    try:
        match_hostname({"subjectAltName": tuple(names)}, host)
    except CertificateError:
        return False
    return True


class Dialled(NamedTuple):
    """What urllib3 found out when it connected."""

    is_verified: bool
    proxy_is_verified: bool | None
    has_connected_to_proxy: bool

    @classmethod
    def of(cls, conn: HTTPConnection) -> Dialled:
        return cls(conn.is_verified, conn.proxy_is_verified, conn.has_connected_to_proxy)


NOT_DIALLED = Dialled(False, None, False)
"""Before anything is connected."""
