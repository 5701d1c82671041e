"""Real HTTP/2 servers, each a process of its own on ephemeral ports of 127.0.0.1.

``SERVERS`` names them; ``CAPABILITIES`` says what each can do. What a server itself cannot do is no
skipped test: ``having()`` gives the servers to run a test over.
"""

from __future__ import annotations

import enum

from .apache import Apache
from .base import Server, ServerFailedError, ServerMissingError, Surroundings
from .caddy import Caddy
from .documents import PUSHED, Document, write_documents
from .h2o import H2O
from .hypercorn import Hypercorn
from .nghttpd import Nghttpd
from .nginx import Nginx
from .node import Node

__all__ = [
    "CAPABILITIES",
    "PUSHED",
    "SERVERS",
    "Can",
    "Document",
    "Server",
    "ServerFailedError",
    "ServerMissingError",
    "Surroundings",
    "having",
    "write_documents",
]


class Can(enum.Flag):
    """A capability of a server as it is configured here. All serve static files over HTTP/2."""

    #: Answers POST and PUT with the body itself.
    ECHO_UPLOAD = enum.auto()
    #: The paths of ``tests/support/backend.py``.
    DYNAMIC = enum.auto()
    #: Compresses /text.txt.
    GZIP = enum.auto()
    #: Serves part of a file.
    RANGE = enum.auto()
    #: Offers http/1.1 beside h2.
    HTTP11 = enum.auto()
    #: Has a listener with HTTP/2 switched off.
    HTTP11_ONLY = enum.auto()
    #: Names the client's port in X-Client-Port, which tells connections apart.
    CLIENT_PORT = enum.auto()
    #: Has a listener that ends connections after ten requests.
    RETIRE = enum.auto()
    #: Ends its connections in good order when told to reload, and goes on.
    RELOAD = enum.auto()
    #: Pushes PUSHED with a GET of /pushing, and /100m with /pushing-large.
    PUSH = enum.auto()
    #: Sends the answer 103 of /early-hints.
    EARLY_HINTS = enum.auto()
    #: Sends the trailers of /trailers, to a request with "TE: trailers".
    TRAILERS = enum.auto()
    #: Knows the trailers of a request to /echo-trailers.
    REQUEST_TRAILERS = enum.auto()
    #: Answers 421 for apart.example.com on the connection to another host.
    MISDIRECTED = enum.auto()


_FULL = Can.DYNAMIC | Can.GZIP | Can.RANGE | Can.HTTP11 | Can.PUSH
_INTERIM_AND_TRAILERS = Can.EARLY_HINTS | Can.TRAILERS

#: nghttpd speaks HTTP/2 only and has no ranges, no compression of files and no reload. h2o 2.2 has
#: no setting against HTTP/2 and cannot tell the client's port. Hypercorn's request limit loses the
#: request that reaches it, so it is no use here. nginx waits for ever behind a backend's 103 and
#: takes a request's trailers for a connection error; h2o drops both. No proxy passes a request's
#: trailers on.
CAPABILITIES: dict[str, Can] = {
    "nghttpd": Can.ECHO_UPLOAD | Can.PUSH,
    "nginx": _FULL | Can.HTTP11_ONLY | Can.CLIENT_PORT | Can.RETIRE | Can.RELOAD | Can.MISDIRECTED,
    "h2o": _FULL | Can.RELOAD,
    "apache": (
        _FULL
        | Can.HTTP11_ONLY
        | Can.CLIENT_PORT
        | Can.RELOAD
        | Can.MISDIRECTED
        | _INTERIM_AND_TRAILERS
    ),
    "caddy": _FULL | Can.HTTP11_ONLY | Can.CLIENT_PORT | Can.RELOAD | _INTERIM_AND_TRAILERS,
    "node": (
        _FULL
        | Can.HTTP11_ONLY
        | Can.CLIENT_PORT
        | Can.RETIRE
        | _INTERIM_AND_TRAILERS
        | Can.REQUEST_TRAILERS
    ),
    "hypercorn": _FULL | Can.HTTP11_ONLY | Can.CLIENT_PORT | _INTERIM_AND_TRAILERS,
}

_CLASSES: tuple[type[Server], ...] = (Nghttpd, Nginx, H2O, Apache, Caddy, Node, Hypercorn)
SERVERS: dict[str, type[Server]] = {each.name: each for each in _CLASSES}


def having(capability: Can | None = None) -> list[str]:
    """The servers that have all of a capability's flags; all servers without one."""
    return [name for name in SERVERS if (capability or Can(0)) in CAPABILITIES[name]]
