"""Servers without TLS, and on Unix domain sockets.

``CLEARTEXT`` names them. Each has HTTP/2 with prior knowledge on ``port``; ``sockets`` are the
paths of what else it listens on, by what is spoken there.
"""

from __future__ import annotations

import json
from typing import ClassVar, Literal

from .base import Server, accepts
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


class CleartextNghttpd(CleartextServer):
    name = "nghttpd-cleartext"
    package = "nghttp2-server"
    program = "nghttpd"
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


NGINX = """\
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr notice;
daemon off;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/octet-stream;
    client_max_body_size 64m;
    root {documents};
    ssl_certificate {certificate};
    ssl_certificate_key {key};
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


class CleartextNginx(CleartextServer):
    name = "nginx-cleartext"
    package = "nginx-light"
    program = "nginx"
    spoken = ("h2c", "http1", "tls")

    def command(self) -> list[str]:
        user = "user nobody nogroup;" if self.as_root else ""
        configuration = self.configured("nginx.conf", NGINX, user=user)
        return [self.executable, "-e", "stderr", "-p", f"{self.folder}/", "-c", configuration]


H2O = """\
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


class CleartextH2O(CleartextServer):
    """One that finds out by itself which of the two is spoken."""

    name = "h2o-cleartext"
    package = "h2o"
    program = "h2o"
    spoken = ("h2c", "http1", "tls")

    def command(self) -> list[str]:
        user = "user: nobody" if self.as_root else ""
        return [self.executable, "-c", self.configured("h2o.yaml", H2O, user=user)]


class CleartextNode(CleartextServer):
    name = "node-cleartext"
    package = "nodejs"
    program = "node"
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
        return [self.executable, str(Node.script), json.dumps(options)]


_CLASSES = (CleartextNghttpd, CleartextNginx, CleartextH2O, CleartextNode)
CLEARTEXT: dict[str, type[CleartextServer]] = {each.name: each for each in _CLASSES}
