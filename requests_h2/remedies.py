"""What a failure means, in words, and what to do about it.

Texts are made of what is known to be harmless: of numbers, of names that this package or OpenSSL
gives to faults, of hosts. Never of a message of requests or urllib3, which may quote a URL with its
password.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPException, responses
from typing import NamedTuple

from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError

from .engine.frames import MAX_CONCURRENT_STREAMS
from .exceptions import ErrorCode, FaultKind, StreamFault, debug_text, error_name
from .witness import Complaint, Witness


class Finding(NamedTuple):
    """One line of a report.

    :param topic: a word or two.
    :param text: what was found.
    :param advice: one sentence, for a failure; empty when all is well.
    """

    topic: str
    text: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        return not self.advice

    def __str__(self) -> str:
        if self.ok:
            return _printable(f"ok {self.topic}: {self.text}")
        return _printable(f"!! {self.topic}: {self.text}. {self.advice}")


_WITHOUT = "http2=False does without HTTP/2."
_SEE_LOG = f"The server's log may tell why; {_WITHOUT}"
_PROTOCOL = (
    "Try the other --engine; if that is no better, use http2=False for this server and report it "
    "to its makers or to us, with the DEBUG log of requests_h2."
)
_CODES = {
    ErrorCode.NO_ERROR: "The server shuts down, or allows a connection few requests: if it stays "
    "so, raise that limit there (nginx: keepalive_requests).",
    ErrorCode.REFUSED_STREAM: "The server is overloaded or shuts down: send fewer requests at "
    "once, or later.",
    ErrorCode.INTERNAL_ERROR: _SEE_LOG,
    ErrorCode.CANCEL: _SEE_LOG,
    ErrorCode.ENHANCE_YOUR_CALM: "The server limits its clients: send fewer requests, or later.",
    ErrorCode.INADEQUATE_SECURITY: "The server needs TLS 1.3, or a cipher that HTTP/2 allows (RFC "
    "9113 section 9.2.2): check its TLS settings.",
    ErrorCode.HTTP_1_1_REQUIRED: "Nothing need be done: such requests go over HTTP/1.1. Servers "
    "want that for client certificates or NTLM.",
}

_OWN_AUTHORITY = (
    "If a private authority has signed it, or something on the way inspects TLS, name a file with "
    "that authority's certificate in REQUESTS_CA_BUNDLE or verify=; else the server may not send "
    "its intermediate certificates."
)
# X509_V_ERR_* of OpenSSL, which the ssl module does not name.
_CERTIFICATE = {
    9: ("not valid yet", "Check this machine's clock, then the certificate."),
    10: ("expired", "Renew it on the server; if others get in, check this machine's clock."),
    18: (
        "not trusted, it has signed itself",
        "If it is the right one, name a file with it in REQUESTS_CA_BUNDLE or verify=.",
    ),
    19: ("not trusted, its authority is unknown here", _OWN_AUTHORITY),
    20: ("not trusted, its authority is unknown here", _OWN_AUTHORITY),
    21: ("not trusted, its authority is unknown here", _OWN_AUTHORITY),
}
_OTHER_HOST = "Use a name that the certificate has, or give the server one for this name."

_NO_STREAMS = Finding(
    "answer",
    "none, because with MAX_CONCURRENT_STREAMS 0 the server takes no requests",
    f"It is overloaded, or set up so; {_WITHOUT}",
)
_PROXY_CLOSED = Finding("proxy", "it closed the connection", "The proxy's log may tell why.")

# Parts of OpenSSL's reasons, whose beginnings differ between its versions.
_TLS = (
    (
        ("ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"),
        "the server has no version from TLS 1.2 on",
        "Enable TLS 1.2 or 1.3 there: HTTP/2 needs it.",
    ),
    (
        ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH"),
        "what answers does not speak TLS",
        "Check the port: it may be that of http://.",
    ),
    (
        ("CERTIFICATE_REQUIRED",),
        "the server wants a client certificate",
        "Give it one: cert= of the request or of the session.",
    ),
    (
        ("HANDSHAKE_FAILURE",),
        "the server refused the handshake",
        "It has no cipher in common with this side, or it wants a client certificate (cert=).",
    ),
    (
        ("UNRECOGNIZED_NAME",),
        "the server does not know this host",
        "Check the host's name, and the names that the server is configured for.",
    ),
    (
        ("NO_APPLICATION_PROTOCOL",),
        "the server speaks neither h2 nor http/1.1 by ALPN",
        "Check the port, and the protocols that the server is configured for.",
    ),
)


def of_complaint(complaint: Complaint) -> Finding:
    """What the server complained of."""
    known = {int(code): advice for code, advice in _CODES.items()}
    text = error_name(complaint.code) + debug_text(complaint.debug)
    return Finding(complaint.frame, text, known.get(complaint.code, _PROTOCOL))


def of_name(host: str, error: Exception, whose: str = "") -> Finding:
    """A name that does not resolve.

    :param whose: ``"the proxy "``, or empty.
    """
    if isinstance(error, TimeoutError):
        advice = "Check this machine's network and its name servers."
        return Finding("name", f"{whose}{host} was not resolved in time", advice)
    advice = "Check its spelling and this machine's network; behind a proxy, set HTTPS_PROXY."
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        advice = "Check this machine's network and its name servers, which cannot be asked now."
    return Finding("name", f"{whose}{host} does not resolve", advice)


def of_error(
    error: Exception, witness: Witness, *, host: str, proxy: str | None, timeout: float
) -> Finding:
    """What ended a request.

    :param witness: of the last connection.
    :param proxy: the host of a proxy on the way.
    :param timeout: seconds that each step was given.
    """
    causes = list(causes_of(error))
    at_proxy = proxy is not None and not witness.reached_server
    whose = "the proxy's: " if at_proxy else ""
    answering = proxy if proxy is not None and at_proxy else host
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate(cause, answering, whose)
        if isinstance(cause, ssl.SSLError) and (finding := _tls(cause, whose)):
            return finding
    for cause in causes:
        if isinstance(cause, StreamFault):
            if cause.kind is FaultKind.NOT_SENT and _allows_none(witness):
                return _NO_STREAMS
            broken = cause.kind is FaultKind.PROTOCOL
            return Finding("HTTP/2", cause.reason, _PROTOCOL if broken else _SEE_LOG)
        if isinstance(cause, socket.gaierror):
            if (socks := _of_socks(causes)) and socks[0] != "ProxyConnectionError":
                advice = "With socks5h:// or socks4a:// the proxy looks the server's name up."
                return Finding("name", f"{host} does not resolve", advice)
            return of_name(answering, cause)
    if any(_is_timeout(cause) for cause in causes):
        return _timeout(witness, at_proxy, timeout)
    if at_proxy:
        return _proxy(causes)
    return _network(causes, witness)


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error and whatever it wraps, the outermost first."""
    found = [error]
    for each in found:
        yield each
        held = (
            getattr(each, "reason", None),
            *each.args,
            each.__cause__,
            each.__context__,
        )
        found += [
            one
            for one in held
            if isinstance(one, BaseException) and not any(one is other for other in found)
        ]


def _certificate(error: ssl.SSLCertVerificationError, host: str, whose: str) -> Finding:
    message = error.verify_message
    if "mismatch" in message:  # of the name or of the address
        return Finding("certificate", f"{whose}not for this host, {host}", _OTHER_HOST)
    text, advice = _CERTIFICATE.get(error.verify_code, (f"not accepted, {message}", _OWN_AUTHORITY))
    return Finding("certificate", whose + text, advice)


def _tls(error: ssl.SSLError, whose: str) -> Finding | None:
    reason: str = error.reason or ""
    for parts, text, advice in _TLS:
        if any(part in reason for part in parts):
            return Finding("TLS", whose + text, advice)
    if isinstance(error, ssl.SSLEOFError) or "EOF" in reason or not reason:
        return None  # the network's affair
    return Finding("TLS", f"{whose}{reason}", "Check the TLS settings of the server, and its log.")


def _timeout(witness: Witness, at_proxy: bool, timeout: float) -> Finding:
    late = f"within {timeout:g} s"
    if at_proxy:
        advice = "Check HTTPS_PROXY, and the proxy itself; try a longer --timeout."
        return Finding("proxy", f"no answer {late}", advice)
    if witness.address is None:
        advice = "Check host and port; a firewall may drop the packets."
        return Finding("connection", f"no answer {late}", advice)
    if witness.tls is None:
        advice = "Check the port: what listens there may not speak TLS, or is overloaded."
        return Finding("TLS", f"no answer {late}", advice)
    if witness.alpn == "h2" and witness.settings is None:
        text = f"no SETTINGS {late}, though ALPN chose h2"
        return Finding("HTTP/2", text, f"The server, or what stands before it, fails; {_WITHOUT}")
    if _allows_none(witness):
        return _NO_STREAMS
    return Finding("answer", f"none {late}", "The server is slow: try a longer --timeout.")


def _allows_none(witness: Witness) -> bool:
    return witness.settings is not None and witness.settings.get(MAX_CONCURRENT_STREAMS) == 0


def _proxy(causes: list[BaseException]) -> Finding:
    for cause in causes:
        if refused := re.search(r"Tunnel connection failed: (\d{3})\b", str(cause)):
            return _tunnel(int(refused[1]))
        if isinstance(cause, ConnectionRefusedError):
            return Finding("proxy", "refused the connection", "Check HTTPS_PROXY, and the proxy.")
    if (socks := _of_socks(causes)) and (finding := _socks(*socks)):
        return finding
    if any(isinstance(cause, HTTPException) for cause in causes):
        if any(isinstance(cause, ConnectionError) for cause in causes):
            return _PROXY_CLOSED
        advice = "Check HTTPS_PROXY: its scheme (http, https or socks5h) and its port."
        return Finding("proxy", "what answers is no HTTP proxy", advice)
    text = _reason(causes) or "no connection through it"
    return Finding("proxy", text, "Check HTTPS_PROXY, and the proxy; NO_PROXY goes past it.")


def _tunnel(status: int) -> Finding:
    if status in (401, 407):  # the first is not for proxies, but tinyproxy says it
        advice = "Write them as in HTTPS_PROXY=http://user:password@host:port, or correct them."
        return Finding("proxy", f"{status}, it wants a user's name and password", advice)
    text = f"no tunnel, but {status} {responses.get(status, '')}".rstrip()
    if status >= 500:
        return Finding("proxy", text, "It cannot reach the server: check host, port and server.")
    return Finding("proxy", text, "Ask its operator to allow CONNECT to this host and port.")


def _of_socks(causes: list[BaseException]) -> tuple[str, str] | None:
    """Class and message of PySocks' exception, which need not be installed. It wraps each in one
    more: the innermost says what it was.
    """
    for cause in reversed(causes):
        if type(cause).__module__ == "socks":
            return type(cause).__name__, str(getattr(cause, "msg", ""))
    return None


def _socks(kind: str, message: str) -> Finding | None:
    """What a SOCKS proxy said; ``None`` when it did not come to that."""
    if kind == "SOCKS5AuthError":
        advice = "Write them as in HTTPS_PROXY=socks5h://user:password@host:port, or correct them."
        return Finding("proxy", "it wants a user's name and password", advice)
    if kind in ("SOCKS5Error", "SOCKS4Error"):
        advice = "It cannot reach the server, or does not allow that: check host, port and server."
        return Finding("proxy", f"no connection to the server, but {message}", advice)
    if "invalid data" in message:
        advice = "Check HTTPS_PROXY: its scheme (http, https or socks5h) and its port."
        return Finding("proxy", "what answers is no SOCKS proxy", advice)
    return _PROXY_CLOSED if "closed" in message else None


def _network(causes: list[BaseException], witness: Witness) -> Finding:
    reason = _reason(causes)
    if witness.address is None:
        if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
            advice = "Nothing listens there: check host and port, and whether the server runs."
            return Finding("connection", "refused", advice)
        advice = "Check this machine's network and routes; behind a proxy, set HTTPS_PROXY."
        return Finding("connection", reason or "none", advice)
    if witness.tls is None:
        advice = "A firewall or an inspecting middlebox does that, or a server for other hosts."
        return Finding("TLS", "the server ended the connection in the handshake", advice)
    if any(isinstance(cause, HTTPException) for cause in causes) and not any(
        isinstance(cause, ConnectionError) for cause in causes
    ):
        return Finding("answer", "what answers is no HTTP", "Check the port, and the server's log.")
    text = f"none, {reason}" if reason else "none, the server closed the connection"
    return Finding("answer", text, "The server's log may tell why.")


def _reason(causes: list[BaseException]) -> str:
    """The operating system's word for it."""
    for cause in causes:
        if isinstance(cause, OSError) and isinstance(cause.errno, int) and cause.strerror:
            return cause.strerror
    return ""


def _is_timeout(error: BaseException) -> bool:
    if isinstance(error, NewConnectionError):
        return False  # a subclass of urllib3's TimeoutError, whatever the reason
    return isinstance(error, (TimeoutError, Urllib3TimeoutError))


def _printable(text: str) -> str:
    """What servers say must not command a terminal."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
