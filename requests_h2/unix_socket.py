"""Connections to a Unix domain socket, whatever host a URL names."""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any

from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from .timeouts import Deadline

_MAX_PATH = 107 if sys.platform.startswith("linux") else 103
"""Octets of ``sockaddr_un.sun_path``, without the NUL at its end."""
_RETRY = 0.01  # seconds


def checked_path(path: str | os.PathLike[str]) -> str:
    """The path of a socket, which need not be there yet. On Linux it may begin with NUL, for a name
    of the abstract namespace (unix(7)).

    :raises TypeError: when it is neither ``str`` nor a path object of one.
    :raises ValueError: when no socket can have it, or this system has none of these sockets.
    """
    text = path.__fspath__() if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise TypeError(f"uds must be a str or an os.PathLike of one, not {path!r}")
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError("uds: this system has no Unix domain sockets")
    if not text or "\0" in text[1:]:
        raise ValueError(f"uds is no path: {text!r}")
    size = len(os.fsencode(text))
    if size > _MAX_PATH:
        raise ValueError(f"uds has {size} octets, the path of a socket at most {_MAX_PATH}")
    return text


def unix_pool(*args: Any, stock: Any, uds: str, **kwargs: Any) -> Any:
    """A pool of urllib3 whose connections go to that socket.

    :param stock: what makes the pool.
    """
    pool = stock(*args, **kwargs)
    kind = type(pool)
    pool.__class__ = type(kind.__name__, (_UnixPool, kind), {"_uds": uds})
    return pool


class _UnixPool:
    """Comes before a class of urllib3's pools."""

    _uds: str
    _made: tuple[Any, Any] = (None, None)  # the last class of connections, and what became of it

    @property
    def ConnectionCls(self) -> Any:  # noqa: N802  # urllib3's name
        """What the class has at this moment: vcrpy replaces it for a while."""
        given = vars(self).get("ConnectionCls") or super().ConnectionCls  # type: ignore[misc]  # of a pool
        made = self._made
        if made[0] is not given:
            made = self._made = given, _unix_class(given, self._uds)
        return made[1]

    @ConnectionCls.setter
    def ConnectionCls(self, given: Any) -> None:  # noqa: N802  # as above
        vars(self)["ConnectionCls"] = given


def _unix_class(base: Any, uds: str) -> Any:
    within = getattr(base, "_baseclass", None)
    if within is not None:
        # vcrpy's, which connects by one that it has inside.
        return type(base.__name__, (base,), {"_baseclass": _unix_class(within, uds)})
    return type(f"Unix{base.__name__}", (_UnixSocket, base), {"_uds": uds})


class _UnixSocket:
    """Comes before a class of urllib3, whose ``connect`` calls this."""

    _uds: str

    def _new_conn(self: Any) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Those of IP and TCP, as TCP_NODELAY, have no meaning here.
            for level, *option in self.socket_options or ():
                if level == socket.SOL_SOCKET:
                    sock.setsockopt(level, *option)
            sock.settimeout(self.timeout)
            _connect(sock, self._uds, Deadline(self.timeout))
        except BaseException as error:
            sock.close()
            if isinstance(error, TimeoutError):
                raise ConnectTimeoutError(
                    self,
                    f"Connection to the Unix domain socket {self._uds!r} timed out. "
                    f"(connect timeout={self.timeout})",
                ) from error
            if isinstance(error, OSError):
                raise NewConnectionError(
                    self, f"Failed to connect to the Unix domain socket {self._uds!r}: {error}"
                ) from error
            raise
        return sock


def _connect(sock: socket.socket, path: str, deadline: Deadline) -> None:
    """:raises TimeoutError: after the deadline."""
    while True:
        try:
            return sock.connect(path)
        except BlockingIOError as error:
            # The listener's queue is full, which a socket with a timeout does not wait for, and
            # nothing can be polled to know when it is not (connect(2): EAGAIN).
            if deadline.expired:
                raise TimeoutError("timed out") from error
        time.sleep(_RETRY)
