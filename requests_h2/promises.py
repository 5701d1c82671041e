"""What a server may push (RFC 9113 section 8.4), and the pushes that nobody has claimed yet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from urllib3.connection import port_by_scheme

from .exceptions import ErrorCode, RemoteProtocolError
from .fields import Field, PromisedRequest, promised_request
from .timeouts import Deadline
from .tls import certificate_covers

if TYPE_CHECKING:
    from .stream import Stream

_ALWAYS_COMPARED = ("authorization", "cookie", "range")
_is_port = re.compile(r"[0-9]{1,5}").fullmatch


class Authority:
    """Whose resources a connection may push (RFC 9113 section 10.1).

    :param sock: its certificate names the other hosts; without verification there are none.
    :param scheme: of all that it may push.
    """

    def __init__(self, host: str, port: int, sock: Any, scheme: str = "https") -> None:
        self.scheme = scheme
        self._host = host.lower().rstrip(".")
        self._port = port
        self._sock = sock

    def covers(self, authority: str) -> bool:
        host, port = _split(authority, port_by_scheme[self.scheme])
        if port != self._port:
            return False
        return host == self._host or certificate_covers(self._sock, host)


class Promise:
    """A promised stream and the request that it answers."""

    __slots__ = ("claimant", "deadline", "parent", "request", "stream")

    def __init__(
        self, stream: Stream, parent: Stream, request: PromisedRequest, deadline: Deadline
    ) -> None:
        self.stream = stream
        self.parent = parent
        self.request = request
        self.deadline = deadline
        self.claimant: object = None
        """Stands for who has asked for the response; ``None`` for nobody."""

    @property
    def claimed(self) -> bool:
        return self.claimant is not None

    def answers(self, fields: Sequence[Field]) -> bool:
        """Whether a request is the promised one, as far as the response does not matter."""
        sent = _named(fields)
        request = self.request
        if any(name.startswith("if-") for name in sent):
            return False
        port = port_by_scheme[request.scheme]
        wanted = [sent.get(name) for name in (":method", ":scheme", ":path")]
        return (
            wanted == [request.method, request.scheme, request.path]
            and _split(sent[":authority"], port) == _split(request.authority, port)
            and self._agree(sent, _ALWAYS_COMPARED)
        )

    def varies(self, fields: Sequence[Field]) -> bool:
        """Whether the response would be another one for that request (RFC 9110 section 12.5.5)."""
        response = self.stream.response
        assert response is not None
        names = [
            name.strip().lower()
            for field, value in response.items
            if field == "vary"
            for name in value.split(",")
        ]
        return "*" in names or not self._agree(_named(fields), names)

    def _agree(self, sent: dict[str, str], names: Sequence[str]) -> bool:
        promised = joined(self.request.items)
        return all(sent.get(name) == promised.get(name) for name in names)


class Promises:
    """The unclaimed pushes of one connection, whose lock guards them.

    :param limit: pushes at once, claimed ones included.
    :param timeout: seconds that a push waits for somebody who wants it.
    """

    def __init__(self, authority: Authority, limit: int, timeout: float) -> None:
        self._authority = authority
        self._limit = limit
        self._timeout = timeout
        self._unclaimed: dict[int, Promise] = {}

    def __iter__(self) -> Iterator[Promise]:
        return iter(list(self._unclaimed.values()))

    def __bool__(self) -> bool:
        return bool(self._unclaimed)

    def check(
        self, parent: Stream | None, fields: Sequence[Field], under_way: int
    ) -> PromisedRequest:
        """The promised request.

        :param under_way: pushed streams that are not over.
        :raises RemoteProtocolError: with the code that refuses it.
        """
        wanted = parent is not None and parent.exchange is not None and parent.open
        if not wanted or not parent.exchange.wants_pushes():  # type: ignore[union-attr]  # wanted
            raise RemoteProtocolError("a push that nobody asked for", ErrorCode.CANCEL)
        request = promised_request(fields, self._authority.scheme)
        if not self._authority.covers(request.authority):
            raise RemoteProtocolError("a push for a host that the server does not speak for")
        complete = sum(promise.stream.ended for promise in self)
        if under_way + complete > self._limit:
            raise RemoteProtocolError("too many pushes", ErrorCode.REFUSED_STREAM)
        return request

    def add(self, stream: Stream, parent: Stream, request: PromisedRequest) -> None:
        promise = Promise(stream, parent, request, Deadline(self._timeout))
        self._unclaimed[stream.id] = promise
        parent.promises.append(promise)

    def claim(self, promise: Promise, claimant: object) -> bool:
        """Take a promise; false when it is taken already, or was dropped."""
        taken = self.drop(promise)
        if taken:
            promise.claimant = claimant
        return taken

    def drop(self, promise: Promise) -> bool:
        """Forget a promise; false when it was claimed or forgotten before."""
        return self._unclaimed.pop(promise.stream.id, None) is not None

    def expired(self) -> list[Promise]:
        return [promise for promise in self if promise.deadline.expired]


def joined(items: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Received fields, those of one name as one value."""
    values: dict[str, str] = {}
    for name, value in items:
        separator = "; " if name == "cookie" else ", "  # RFC 9113 section 8.2.3
        values[name] = f"{values[name]}{separator}{value}" if name in values else value
    return values


def _split(authority: str, default_port: int) -> tuple[str, int]:
    """Host and port, so that equal ones are one (RFC 3986 section 6.2)."""
    host, colon, port = authority.lower().rpartition(":")
    if not colon or not _is_port(port):
        host, port = authority.lower(), str(default_port)
    return host.strip("[]").rstrip("."), int(port)


def _named(fields: Sequence[Field]) -> dict[str, str]:
    return joined([(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields])
