"""Servers without TLS, and on Unix domain sockets.

``CLEARTEXT`` names them. Each has HTTP/2 with prior knowledge on ``port``; ``sockets`` are the
paths of what else it listens on, by what is spoken there.
"""

from __future__ import annotations

import json
from typing import ClassVar, Literal

from .base import Server, accepts
from .h2o import H2O
from .nghttpd import Nghttpd
from .nginx import PROLOGUE, Nginx
from .node import Node

Spoken = Literal["h2c", "http1", "tls"]


class CleartextServer(Server):
    """A server without TLS on 127.0.0.1."""

    spoken: ClassVar[tuple[Spoken, ...]] = ()
    #: Has the paths of ``tests/support/backend.py``.
    dynamic: ClassVar[bool] = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sockets(self) -> dict[Spoken, str]:
        return {spoken: str(self.folder / spoken) for spoken in self.spoken}

    def ready(self) -> bool:
        return accepts(self.port)


class CleartextNghttpd(CleartextServer, Nghttpd):
    name = "nghttpd-cleartext"
    dynamic = False

    def command(self) -> list[str]:
        return [
            self.executable,
            "--no-tls",
            "--address=127.0.0.1",
            f"--htdocs={self.around.documents}",
            "--echo-upload",
            "--push=/pushing=/pushed-1,/pushed-2",
            str(self.port),
        ]


NGINX_CONFIGURATION = (
    PROLOGUE
    + """\
    server {{
        listen unix:{folder}/h2c http2;
        listen 127.0.0.1:{port} http2;
        location / {{ try_files $uri @backend; }}
        location @backend {{ proxy_pass http://127.0.0.1:{backend}; }}
    }}
    server {{
        listen unix:{folder}/tls ssl http2;
        listen unix:{folder}/http1;
        location / {{ try_files $uri @backend; }}
        location @backend {{ proxy_pass http://127.0.0.1:{backend}; }}
    }}
}}
"""
)


class CleartextNginx(CleartextServer, Nginx):
    name = "nginx-cleartext"
    spoken = ("h2c", "http1", "tls")
    configuration = NGINX_CONFIGURATION


H2O_CONFIGURATION = """\
{user}
num-threads: 1
error-log: /dev/stderr
listen:
  host: 127.0.0.1
  port: {port}
listen:
  type: unix
  port: {folder}/h2c
listen:
  type: unix
  port: {folder}/http1
listen:
  type: unix
  port: {folder}/tls
  ssl:
    certificate-file: {certificate}
    key-file: {key}
hosts:
  default:
    paths:
      /1k:
        file.file: {documents}/1k
      /100m:
        file.file: {documents}/100m
      /:
        proxy.reverse.url: http://127.0.0.1:{backend}/
        proxy.timeout.io: 60000
"""


class CleartextH2O(CleartextServer, H2O):
    """One that finds out by itself which of the two is spoken."""

    name = "h2o-cleartext"
    spoken = ("h2c", "http1", "tls")
    configuration = H2O_CONFIGURATION


class CleartextNode(CleartextServer, Node):
    name = "node-cleartext"
    spoken = ("h2c", "http1", "tls")

    def command(self) -> list[str]:
        around = self.around
        options = {
            "certificate": around.certificate,
            "key": around.key,
            "documents": str(around.documents),
            "port": self.port,
            "sockets": self.sockets,
        }
        return [self.executable, str(self.script), json.dumps(options)]


_CLASSES = (CleartextNghttpd, CleartextNginx, CleartextH2O, CleartextNode)
CLEARTEXT: dict[str, type[CleartextServer]] = {each.name: each for each in _CLASSES}
