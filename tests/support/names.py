"""Host names of a test, which no name server knows."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pytest


class Names:
    """Makes ``*.example`` and ``*.example.com`` resolve: to 127.0.0.1, or to :attr:`addresses`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        #: Host names and their addresses; without any, the name does not exist.
        self.addresses: dict[str, Sequence[str]] = {}
        #: Where connections to port 443 of them go.
        self.https_port = 443
        #: The names that were looked up, in that order.
        self.lookups: list[str] = []
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(host, str) or not host.endswith((".example", ".example.com")):
            return self._real(host, port, *arguments, **options)
        host.encode("idna")  # as the real one does
        self.lookups.append(host)
        found = self.addresses.get(host, ["127.0.0.1"])
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if port == 443:
            port = self.https_port
        return [entry for each in found for entry in self._real(each, port, *arguments, **options)]
