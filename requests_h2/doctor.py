"""Finding out what a server speaks, and why: ``python -m requests_h2 doctor URL``.

One HEAD request, as a Session would send it here and now: through the proxy that the environment
names, with its certificate authorities and netrc. Nothing that is reported holds a password, a path
or a query.
"""

from __future__ import annotations

import datetime
import importlib
import ipaddress
import os
import platform
import queue
import socket
import ssl
import threading
import time
from collections.abc import Generator, Iterator
from http.client import responses
from typing import Any, Literal

import requests
from requests.exceptions import InvalidProxyURL, InvalidSchema, RequestException
from requests.utils import DEFAULT_CA_BUNDLE_PATH, prepend_scheme_if_needed, select_proxy
from urllib3.exceptions import LocationValueError
from urllib3.util import Url, parse_url

from requests_h2 import __version__

from .adapter import HTTP2Adapter
from .engine.frames import setting_text
from .exceptions import StreamFault
from .register import version_of
from .remedies import Finding, causes_of, of_complaint, of_error, of_name
from .witness import Complaint, Witness, watched


def diagnose(
    url: str, *, engine: Literal["auto", "h2", "nghttp2"] = "auto", timeout: float = 10.0
) -> Iterator[Finding]:
    """Examine one server. What follows from a failure is not reported as another.

    :param engine: as for :class:`HTTP2Adapter`.
    :param timeout: seconds for each step: the name, the connection, each wait for an answer.
    """
    try:
        adapter = HTTP2Adapter(engine=engine)
    except ImportError:
        advice = 'Install the extra "nghttp2", or use --engine auto.'
        yield Finding("engine", "nghttp2 is not installed in a version that fits", advice)
        return
    yield Finding("engine", f"{adapter.engine}, {_versions(adapter.engine)}")
    with requests.Session() as session:
        session.mount("https://", adapter)
        try:
            prepared = session.prepare_request(requests.Request("HEAD", url))
            target = parse_url(prepared.url or "")
        except (RequestException, ValueError):
            yield Finding("URL", "no URL of a server", "It has the form https://host/path.")
            return
        finding = _of_url(target)
        yield finding
        if finding.ok:
            yield from _Examination(session, adapter, prepared, target, timeout).findings()


class _Examination:
    """One request, and what is worth knowing about its way."""

    def __init__(
        self,
        session: requests.Session,
        adapter: HTTP2Adapter,
        prepared: requests.PreparedRequest,
        target: Url,
        timeout: float,
    ) -> None:
        self._adapter = adapter
        self._prepared = prepared
        self._target = target
        self._timeout = timeout
        self._url = prepared.url or ""
        settings = session.merge_environment_settings(self._url, {}, True, None, None)
        self._settings: dict[str, Any] = {**settings, "stream": True}
        self._proxy: Url | None = None
        self._witnesses: list[Witness] = []

    def findings(self) -> Iterator[Finding]:
        if (yield from self._check_proxy()) and (yield from self._check_name()):
            yield from self._check_bundle_and_send()

    def _check_proxy(self) -> Generator[Finding, None, bool]:
        """Whether there is a way to go on."""
        proxies = self._settings["proxies"]
        try:
            if proxy := select_proxy(self._url, proxies):
                self._proxy = parse_url(prepend_scheme_if_needed(proxy, "http"))
            pool: Any = self._adapter.get_connection_with_tls_context(
                self._prepared, self._settings["verify"], proxies, self._settings["cert"]
            )
        except (InvalidProxyURL, InvalidSchema, LocationValueError):
            advice = (
                "It has the form http://host:port, or, with the extra socks, socks5h://host:port."
            )
            yield Finding("proxy", "what the environment names is none", advice)
            return False
        pool.ConnectionCls = watched(pool.ConnectionCls, self._witnesses)
        if self._proxy is None:
            yield Finding("proxy", "none")
        else:
            yield Finding("proxy", _origin(self._proxy))
        return True

    def _check_name(self) -> Generator[Finding, None, bool]:
        """Look up whoever is connected to. There is no timeout for that elsewhere."""
        host = (self._proxy or self._target).host or ""
        if _is_address(host):
            return True
        try:
            addresses = _resolve(host, self._timeout)
        except (OSError, UnicodeError) as error:
            yield of_name(host, error, whose="the proxy " if self._proxy else "")
            return False
        others = f" and {len(addresses) - 1} more" if addresses[1:] else ""
        yield Finding("name", f"{host} is {addresses[0]}{others}")
        return True

    def _check_bundle_and_send(self) -> Iterator[Finding]:
        bundle = self._settings["verify"]
        if isinstance(bundle, str) and not _is_bundle(bundle):
            text = f"there are no certificate authorities in {bundle}"
            yield Finding("certificate", text, "Correct REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE.")
            return
        began, response, error = time.monotonic(), None, None
        try:
            response = self._adapter.send(self._prepared, timeout=self._timeout, **self._settings)
        except OSError as raised:  # as all exceptions of requests are
            error = raised
        took = time.monotonic() - began
        yield from self._of_handshake()
        yield from self._of_frames()
        if response is not None:
            yield _of_answer(response, took)
            response.close()
        elif error is not None and not self._is_told(error):
            yield of_error(
                error,
                self._last,
                host=self._target.host or "",
                proxy=self._proxy and self._proxy.host,
                timeout=self._timeout,
            )

    @property
    def _last(self) -> Witness:
        """Of the last connection; blank if there was none."""
        return self._witnesses[-1] if self._witnesses else Witness()

    def _of_handshake(self) -> Iterator[Finding]:
        first = self._witnesses[0] if self._witnesses else Witness()
        if first.address is not None:
            whose = ", the proxy" if self._proxy else ""
            yield Finding("connection", "{} port {}".format(*first.address) + whose)
        if first.tls is None:
            return
        yield Finding("TLS", f"{first.tls}, {first.cipher}")
        yield Finding("certificate", self._about(first.certificate))
        if first.alpn == "h2":
            yield Finding("ALPN", "h2")
        else:
            text = f"{first.alpn or 'nothing'}, so requests to this server go over HTTP/1.1"
            advice = (
                "Enable HTTP/2 there, or on what stands before it (nginx: http2 on, before "
                "1.25.1 listen ... ssl http2); if it is enabled, the issuer of the certificate "
                "tells whether something inspects TLS."
            )
            yield Finding("ALPN", text, advice)

    def _about(self, certificate: dict[str, Any]) -> str:
        issuer = {name: value for part in certificate["issuer"] for name, value in part}
        by = issuer.get("organizationName") or issuer.get("commonName") or "nobody"
        ends = ssl.cert_time_to_seconds(certificate["notAfter"])
        day = datetime.datetime.fromtimestamp(ends, datetime.timezone.utc).date()
        bundle = self._settings["verify"]
        against = bundle if isinstance(bundle, str) else DEFAULT_CA_BUNDLE_PATH
        return f"issued by {by}, valid until {day}, checked against {against}"

    def _of_frames(self) -> Iterator[Finding]:
        for witness in self._witnesses:
            if witness.settings is not None:
                values = (setting_text(key, value, " ") for key, value in witness.settings.items())
                yield Finding("SETTINGS", ", ".join(values) or "the defaults")
                break
        for complaint in dict.fromkeys(self._complaints):
            yield of_complaint(complaint)

    @property
    def _complaints(self) -> list[Complaint]:
        return [complaint for witness in self._witnesses for complaint in witness.complaints]

    def _is_told(self, error: Exception) -> bool:
        """Whether the server's own complaint says what ended the request."""
        codes = {complaint.code for complaint in self._complaints}
        return any(
            isinstance(cause, StreamFault) and cause.error_code in codes
            for cause in causes_of(error)
        )


def _of_url(url: Url) -> Finding:
    if url.scheme == "http":
        text = f"{_origin(url)}, and HTTP/2 is agreed upon in TLS"
        advice = "Use https:// if the server has it. For one known to speak HTTP/2 without TLS"
        return Finding("URL", text, f"{advice} there is HTTP2Adapter(prior_knowledge=True).")
    if url.scheme != "https":
        return Finding("URL", "neither https:// nor http://", "Only those are requests' affair.")
    return Finding("URL", _origin(url))


def _of_answer(response: requests.Response, took: float) -> Finding:
    status = response.status_code
    text = f"{version_of(response.raw)} {status} {responses.get(status, '')}".rstrip()
    onwards = ""
    if response.is_redirect:
        try:
            target = parse_url(response.headers["location"])
        except LocationValueError:
            target = Url()
        onwards = f", goes on to {_origin(target)}" if target.host else ""
    return Finding("answer", f"{text}, after {took:.2f} s{onwards}")


def _origin(url: Url) -> str:
    """Scheme, host and port; nothing else, because the rest may be secret."""
    return Url(scheme=url.scheme, host=url.host, port=url.port).url


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_bundle(path: str) -> bool:
    """Whether OpenSSL can read certificate authorities from a file, or it is a folder."""
    if os.path.isdir(path):
        return True
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:
        return False
    return True


def _resolve(host: str, timeout: float) -> list[str]:
    """Addresses of a host.

    :raises OSError, UnicodeError: when there are none; TimeoutError after ``timeout`` seconds.
    """
    found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            found.put(error)
        else:
            found.put(list(dict.fromkeys(str(entry[4][0]) for entry in entries)))

    # The system's resolver knows no deadline; a thread can be left behind.
    threading.Thread(target=look_up, daemon=True).start()
    try:
        result = found.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return result


def _versions(engine: str) -> str:
    libraries = ["requests", "urllib3", *(["ngh2"] if engine == "nghttp2" else ["h2", "hpack"])]
    versions = [f"{name} {importlib.import_module(name).__version__}" for name in libraries]
    return ", ".join(
        [
            f"requests_h2 {__version__}",
            *versions,
            f"Python {platform.python_version()}",
            ssl.OPENSSL_VERSION,
        ]
    )
