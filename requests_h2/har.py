"""Entries as an HTTP Archive: HAR 1.2, which the developer tools of browsers open.

http://www.softwareishard.com/blog/har-12-spec/. Names that begin with an underscore are ours.
"""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import sys
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from .entries import Entry, Phases, field_value, json_text, split_url, without_credentials
from .notes import Fields

_COOKIE_ATTRIBUTES = {"path": "path", "domain": "domain"}
_COOKIE_FLAGS = {"httponly": "httpOnly", "secure": "secure"}


def har_text(entries: Iterable[Entry], zero: float) -> str:
    """A HAR file.

    :param zero: the wall clock's time, in seconds, from which the entries count.
    """
    package: Any = sys.modules[__package__]
    log = {
        "version": "1.2",
        "creator": {"name": "requests-http2", "version": package.__version__},
        "pages": [],
        "entries": [_entry(entry, zero) for entry in entries],
    }
    return json_text({"log": log}, indent=1)


def _entry(entry: Entry, zero: float) -> dict[str, Any]:
    started = datetime.datetime.fromtimestamp(zero + entry.started, datetime.timezone.utc)
    timings = _timings(entry.phases)
    made: dict[str, Any] = {
        "startedDateTime": started.isoformat(timespec="microseconds"),
        "time": _milliseconds(entry.phases.total),
        "request": _request(entry),
        "response": _response(entry),
        "cache": {},
        "timings": timings,
        "_finished": entry.finished,
        "_pushed": entry.pushed,
        "_replays": entry.replays,
    }
    if entry.dial is not None:
        made["_connectionId"] = str(entry.dial.connection_id)
        address = entry.dial.peer_address
        if isinstance(address, tuple):
            # Browsers write the server's port here, and show it behind the address.
            made["connection"] = str(address[1])
            if host := _ip_address(address[0]):
                made["serverIPAddress"] = host
    if entry.stream_id is not None:
        made["_streamId"] = entry.stream_id
        made["_bytesSent"], made["_bytesReceived"] = entry.bytes_sent, entry.bytes_received
    if comment := entry.error or entry.remark:
        made["comment"] = comment
    return made


def _request(entry: Entry) -> dict[str, Any]:
    query = split_url(entry.url).query
    request: dict[str, Any] = {
        "method": entry.method,
        "url": entry.url,
        "httpVersion": entry.http_version,
        "cookies": _request_cookies(entry.request_headers),
        "headers": _pairs(entry.request_headers),
        "queryString": _pairs(parse_qsl(query, keep_blank_values=True)),
        "headersSize": -1,
        "bodySize": -1 if entry.request_size is None else entry.request_size,
    }
    if entry.request_size != 0:
        # Without the text: bodies are not kept.
        request["postData"] = {"mimeType": field_value(entry.request_headers, "content-type")}
    return request


def _response(entry: Entry) -> dict[str, Any]:
    response: dict[str, Any] = {
        "status": entry.status,
        "statusText": http.client.responses.get(entry.status, ""),
        "httpVersion": entry.http_version,
        "cookies": _response_cookies(entry.response_headers),
        "headers": _pairs(entry.response_headers),
        "content": {
            "size": entry.response_size,
            "mimeType": field_value(entry.response_headers, "content-type"),
        },
        "redirectURL": without_credentials(field_value(entry.response_headers, "location")),
        "headersSize": -1,
        "bodySize": entry.response_size if entry.status else -1,
    }
    if entry.error:
        response["_error"] = entry.error
    if entry.bytes_received is not None:
        response["_transferSize"] = entry.bytes_received
    return response


def _timings(phases: Phases) -> dict[str, float]:
    tls = phases.tls
    connect = None if phases.connect is None else phases.connect + (tls or 0.0)
    return {
        "blocked": _milliseconds(phases.blocked),
        "dns": -1,
        "connect": -1 if connect is None else _milliseconds(connect),
        "ssl": -1 if tls is None else _milliseconds(tls),
        "send": _milliseconds(phases.send),
        "wait": _milliseconds(phases.wait),
        "receive": _milliseconds(phases.receive),
    }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _ip_address(host: str) -> str:
    """Without a zone; empty for what is none."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return ""


def _pairs(items: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in items]


def _request_cookies(headers: Fields) -> list[dict[str, Any]]:
    crumbs = [
        crumb.strip()
        for name, value in headers
        if name.lower() == "cookie"
        for crumb in value.split(";")
    ]
    return [_cookie(crumb) for crumb in crumbs if crumb]


def _response_cookies(headers: Fields) -> list[dict[str, Any]]:
    cookies = []
    for name, value in headers:
        if name.lower() == "set-cookie":
            first, *attributes = value.split(";")
            cookie = _cookie(first)
            for attribute in attributes:
                key, _, text = attribute.strip().partition("=")
                if key.lower() in _COOKIE_ATTRIBUTES:
                    cookie[_COOKIE_ATTRIBUTES[key.lower()]] = text
                elif key.lower() in _COOKIE_FLAGS:
                    cookie[_COOKIE_FLAGS[key.lower()]] = True
            cookies.append(cookie)
    return cookies


def _cookie(pair: str) -> dict[str, Any]:
    name, _, value = pair.strip().partition("=")
    return {"name": name, "value": value}
