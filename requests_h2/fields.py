"""requests' headers to HTTP/2 field lists and back. Pure functions.

Everything that can be wrong with a request is found here, before anything is encoded: HPACK is
stateful, so a list that fails half-way would corrupt the connection (RFC 9113 section 4.3).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from urllib3.exceptions import InvalidHeader
from urllib3.util import SKIP_HEADER

from .exceptions import RemoteProtocolError

Field = tuple[bytes, bytes]
Fields = list[Field]
Headers = Sequence[tuple[Any, Any]]
"""As requests has them: names ``str`` or ``bytes``, values ``str``, ``bytes`` or ``int``."""

# RFC 9110 section 5.6.2: token. Received names must be lowercase (RFC 9113 section 8.2).
is_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_is_lowercase_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
# RFC 9110 section 5.5: no control characters other than HTAB; RFC 9113 section 8.2.1.
_has_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_has_forbidden = re.compile(rb"[\x00\r\n]").search
_is_number = re.compile(rb"[0-9]{1,19}").fullmatch
_is_target = re.compile(rb"[\x21-\x7e\x80-\xff]+").fullmatch
# RFC 3986 section 3.2 without userinfo, which RFC 9113 section 8.3.1 keeps out of :authority.
_is_authority = re.compile(rb"[!$&'()*+,\-.0-9:;=A-Z\[\]_a-z~%]+").fullmatch

# RFC 9113 section 8.2.2, and the fields of the h2c upgrade.
_CONNECTION_SPECIFIC = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    )
)
SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization", "set-cookie")
"""Headers whose values no log of frames shows, and no recording unless :func:`record` is told
otherwise."""
# RFC 7541 section 7.1.3: what a compression oracle must not get at.
_NEVER_INDEXED = frozenset((b"authorization", b"proxy-authorization", b"cookie"))
_names_a_secret = re.compile(
    rb"(^|-)(auth|api-?key|token|secret|password|credentials?)(-|$)"
).search
_PROMISED_PSEUDO = (b":method", b":scheme", b":authority", b":path")
# RFC 9110 section 6.5.1: framing, routing, request modifiers, authentication, content format.
_NO_TRAILER = frozenset(
    (
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"expect",
        b"host",
        b"max-forwards",
        b"range",
        b"te",
        b"trailer",
    )
)
_MAX_STATUS_LENGTH = 3
_REMEMBERED = 64  # octets


class NeverIndexedField(NamedTuple):
    """A field whose value no compression context may hold (RFC 7541 section 6.2.3)."""

    name: bytes
    value: bytes


class RequestTarget(NamedTuple):
    """The request's pseudo-header fields but for ``:method`` (RFC 9113 section 8.3.1)."""

    scheme: str
    authority: str
    path: str


class ResponseFields(NamedTuple):
    """A checked response field section: the status and its fields as text (ISO-8859-1)."""

    status: int
    items: list[tuple[str, str]]


class PromisedRequest(NamedTuple):
    """A checked promised request (RFC 9113 section 8.4.1), as text."""

    method: str
    scheme: str
    authority: str
    path: str
    items: list[tuple[str, str]]


def request_fields(
    method: str | bytes,
    target: RequestTarget,
    headers: Headers,
    content_length: int | None,
) -> Fields:
    """The field list of a request, pseudo-header fields first.

    :param content_length: the body's length in octets when it is known before it is sent. It
        becomes ``content-length`` when the headers have none, and must agree when they have one.
    :raises urllib3.exceptions.InvalidHeader: for anything that must not be sent.
    """
    regular, host = _regular_fields(headers)
    _check_content_length(regular, content_length)
    names = {name for name, _ in regular}
    # What http.client and urllib3 add to a request that lacks these.
    if b"accept-encoding" not in names and "accept-encoding" not in _skipped(headers):
        regular.insert(0, (b"accept-encoding", b"identity"))
    if b"user-agent" not in names and "user-agent" not in _skipped(headers):
        regular.append((b"user-agent", _default_user_agent()))
    if content_length is not None and b"content-length" not in names:
        regular.append((b"content-length", b"%d" % content_length))
    pseudo = [
        (b":method", _method(method)),
        (b":scheme", target.scheme.encode()),
        (b":authority", _authority(target.authority) if host is None else _authority(host)),
        (b":path", _path(target.path)),
    ]
    return _guarded([*pseudo, *regular])


def declared_length(headers: Headers) -> int | None:
    """The Content-Length that the caller's headers declare, if any.

    :raises urllib3.exceptions.InvalidHeader: when it is no decimal number.
    """
    values = _values_of(headers, b"content-length")
    return _number(values[0].strip(b" \t")) if values else None


def asks_to_close(headers: Headers) -> bool:
    """Whether the headers say ``Connection: close``, which HTTP/2 cannot say by a field."""
    values = _values_of(headers, b"connection")
    return b"close" in [token.strip().lower() for value in values for token in value.split(b",")]


def expects_continue(fields: Sequence[Field]) -> bool:
    """Whether the request says ``Expect: 100-continue`` (RFC 9110 section 10.1.1)."""
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in fields)


def list_size(fields: Sequence[Field]) -> int:
    """The size that SETTINGS_MAX_HEADER_LIST_SIZE limits (RFC 9113 section 6.5.2), in octets."""
    return len(b"".join(itertools.chain.from_iterable(fields))) + 32 * len(fields)


def response_fields(received: Sequence[Field]) -> ResponseFields:
    """Check a response's field section (RFC 9113 sections 8.2 and 8.3).

    :raises RemoteProtocolError: when the response is malformed.
    """
    name, status = received[0] if received else (b"", b"")
    if name != b":status":
        raise RemoteProtocolError("it does not begin with a :status field")
    items = trailer_fields(received[1:])
    if len(status) != _MAX_STATUS_LENGTH or not status.isdigit() or status < b"100":
        raise RemoteProtocolError(f":status {_shown(status)} is not three digits from 100 on")
    if status == b"101":
        # RFC 9113 section 8.6: HTTP/2 has no protocol switch.
        raise RemoteProtocolError(":status 101 does not exist in HTTP/2")
    return ResponseFields(int(status), items)


def trailer_fields(received: Sequence[Field]) -> list[tuple[str, str]]:
    """Check a trailer section (RFC 9113 section 8.1): regular fields only.

    :raises RemoteProtocolError: when it is malformed.
    """
    if _has_control(b"".join([value for _, value in received])):
        name = next(name for name, value in received if _has_control(value))
        raise RemoteProtocolError(f"control character in the value of {_shown(name)}")
    items = []
    for name, value in received:
        # Long names are not worth remembering, and a peer can make up many.
        checked = _received_name if len(name) <= _REMEMBERED else _received_name.__wrapped__
        # RFC 9113 section 8.2.1 forbids surrounding spaces; curl and browsers strip them.
        items.append((checked(name), value.strip(b" \t").decode("latin-1")))
        if name == b"te" and value != b"trailers":
            raise RemoteProtocolError(f"connection-specific field {_shown(name)}")
    return items


def promised_request(received: Sequence[Field], expected_scheme: str) -> PromisedRequest:
    """Check a promised request: safe, cacheable and without content (RFC 9113 section 8.4).

    :param expected_scheme: of the connection's own origin.
    :raises RemoteProtocolError: when it is malformed or none of these.
    """
    pseudo: dict[bytes, bytes] = {}
    regular = list(received)
    while regular and regular[0][0][:1] == b":":
        name, value = regular.pop(0)
        if name in pseudo or name not in _PROMISED_PSEUDO:
            raise RemoteProtocolError(f"promise with a repeated or unknown {_shown(name)}")
        pseudo[name] = value
    items = trailer_fields(regular)
    method, scheme, authority, path = [pseudo.get(name, b"") for name in _PROMISED_PSEUDO]
    if method not in (b"GET", b"HEAD") or content_length(items):
        raise RemoteProtocolError("promise of anything but a GET or HEAD without content")
    if scheme != expected_scheme.encode() or not _is_authority(authority):
        raise RemoteProtocolError(f"promise of anything but an {expected_scheme} URL")
    if not _is_target(path) or path[:1] != b"/" or b"#" in path:
        raise RemoteProtocolError("promise without a path, or with a fragment")
    return PromisedRequest(
        method.decode(), scheme.decode(), authority.decode(), path.decode("latin-1"), items
    )


def request_trailers(pairs: Headers) -> Fields:
    """The trailer section of a request (RFC 9110 section 6.5).

    :raises urllib3.exceptions.InvalidHeader: for what must not be sent, or not in trailers.
    """
    for key, value in pairs:
        # Among headers some of these are left out in silence. Trailers are few and meant.
        if (name := _field_name(key)) in _NO_TRAILER | _NEVER_INDEXED | _CONNECTION_SPECIFIC:
            raise InvalidHeader(f"{_shown(name)} has no meaning in trailers")
        if not isinstance(value, (str, bytes)):
            kind = type(value).__name__
            raise InvalidHeader(f"the value of {_shown(name)} must be str or bytes, not {kind}")
    return _guarded(_regular_fields(pairs)[0])


def content_length(items: Sequence[tuple[str, str]]) -> int | None:
    """The Content-Length of a received field section.

    :raises RemoteProtocolError: when it is no number, or several disagree (RFC 9110 section 8.6).
    """
    found = [value for name, value in items if name == "content-length"]
    if not found:
        return None
    values = {part.strip() for value in found for part in value.split(",")}
    value = values.pop()
    if values or not _is_number(value.encode("latin-1")):
        raise RemoteProtocolError("invalid content-length")
    return int(value)


def _regular_fields(headers: Headers) -> tuple[Fields, str | None]:
    """Lowercase, check and filter; returns the fields and the Host override."""
    fields: Fields = []
    host: str | None = None
    nominated: set[bytes] = set()
    for key, raw in headers:
        if raw == SKIP_HEADER:
            continue
        name = _field_name(key)
        value = _encode(raw, "value of ", name).strip(b" \t")
        if _has_forbidden(value):
            raise InvalidHeader(f"the value of {_shown(name)} holds CR, LF or NUL")
        if name == b"connection":
            # RFC 9110 section 7.6.1: what Connection names is meant for this hop only.
            nominated.update(token.strip().lower() for token in value.split(b","))
        if name == b"host" and host is not None:
            raise InvalidHeader("more than one Host")
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"te":
            # RFC 9113 section 8.2.2: "trailers" is the one value TE may have.
            if b"trailers" in [item.strip().lower() for item in value.split(b",")]:
                fields.append((name, b"trailers"))
        elif name not in _CONNECTION_SPECIFIC:
            fields.append((name, value))
    if nominated:
        fields = [field for field in fields if field[0] not in nominated]
    return fields, host


@functools.cache
def _default_user_agent() -> bytes:
    import importlib.metadata  # costs as much to import as this package

    return f"python-urllib3/{importlib.metadata.version('urllib3')}".encode()


def _guarded(fields: Fields) -> Fields:
    return [NeverIndexedField(*field) if _is_secret(field[0]) else field for field in fields]


@functools.lru_cache(maxsize=512)
def _is_secret(name: bytes) -> bool:
    return name in _NEVER_INDEXED or _names_a_secret(name) is not None


@functools.lru_cache(maxsize=512)
def _field_name(key: str | bytes) -> bytes:
    name = _encode(key, "name")
    if not is_token(name):
        raise InvalidHeader(f"header name {_shown(name)} is not a token (RFC 9110)")
    return name.lower()


def _values_of(headers: Headers, wanted: bytes) -> list[bytes]:
    """The values of the fields with that lowercase name."""
    size = len(wanted)
    return [
        _encode(value, "value of ", wanted)
        for name, value in headers
        if len(name) == size and _encode(name, "name").lower() == wanted
    ]


def _skipped(headers: Headers) -> set[str]:
    return {str(name).lower() for name, value in headers if value == SKIP_HEADER}


def _check_content_length(fields: Fields, known: int | None) -> None:
    values = [_number(value) for name, value in fields if name == b"content-length"]
    if len(values) > 1:
        raise InvalidHeader("more than one Content-Length")
    if values and known is not None and values[0] != known:
        raise InvalidHeader(
            f"Content-Length is {values[0]} but the body has {known} bytes; "
            "leave the header out and requests sets it"
        )


def _number(value: bytes) -> int:
    if not _is_number(value):
        raise InvalidHeader("Content-Length is not a decimal number")
    return int(value)


def _encode(text: str | bytes | int, what: str, name: bytes | None = None) -> bytes:
    """As http.client does; ``what`` and ``name`` are for the message."""
    if isinstance(text, bytes):
        return text
    try:
        return str(text).encode("latin-1")
    except UnicodeEncodeError:
        what += "" if name is None else _shown(name)
        raise InvalidHeader(
            f"header {what} has characters outside ISO-8859-1; encode it to bytes first"
        ) from None


@functools.lru_cache(maxsize=64)
def _method(method: str | bytes) -> bytes:
    encoded = _encode(method, "method")
    if not is_token(encoded):
        raise InvalidHeader(f"method {_shown(encoded)} is not a token (RFC 9110)")
    return encoded


@functools.lru_cache(maxsize=64)
def _authority(authority: str) -> bytes:
    encoded = _encode(authority, "Host")
    if not _is_authority(encoded):
        raise InvalidHeader("the Host is empty or has characters that no host and port have")
    return encoded


def _path(path: str) -> bytes:
    encoded = _encode(path, "path")
    if not _is_target(encoded):
        raise InvalidHeader("the request path is empty or holds spaces or control characters")
    return encoded


@functools.lru_cache(maxsize=512)
def _received_name(name: bytes) -> str:
    if name[:1] == b":":
        raise RemoteProtocolError(f"unexpected pseudo-header field {_shown(name)}")
    if not _is_lowercase_token(name):
        raise RemoteProtocolError(f"field name {_shown(name)} is not a lowercase token")
    if name in _CONNECTION_SPECIFIC:
        raise RemoteProtocolError(f"connection-specific field {_shown(name)}")
    return name.decode("ascii")


def _shown(text: bytes) -> str:
    """For messages: quoted, escaped, cut. Only names and methods come here, never values; so what
    stands behind a colon, in a name that is no name, is not shown.
    """
    name, colon, _ = text[1:60].partition(b":")
    return repr((text[:1] + name + colon).decode("latin-1"))
