"""h2o, under its own master process, which replaces the worker on SIGHUP."""

from __future__ import annotations

import signal
from typing import ClassVar

from .base import Server

CONFIGURATION = """\
{user}
num-threads: 1
error-log: /dev/stderr
compress: ON
http2-graceful-shutdown-timeout: 5
listen:
  host: 127.0.0.1
  port: {port}
  ssl:
    certificate-file: {certificate}
    key-file: {key}
file.mime.settypes:
  text/plain: .txt
  application/octet-stream: .bin
hosts:
  default:
    paths:
      /1k:
        file.file: {documents}/1k
      /100m:
        file.file: {documents}/100m
      /text.txt:
        file.file: {documents}/text.txt
      /pushed-1:
        file.file: {documents}/pushed-1
      /pushed-2:
        file.file: {documents}/pushed-2
      # A Link that header.add makes does not push; one of mruby or of a backend does.
      /pushing:
        mruby.handler: |
          proc {{ [399, {{"link" => "</pushed-1>; rel=preload, </pushed-2>; rel=preload"}}, []] }}
        file.file: {documents}/pushing
      /pushing-large:
        mruby.handler: |
          proc {{ [399, {{"link" => "</100m>; rel=preload"}}, []] }}
        file.file: {documents}/pushing-large
      /:
        proxy.reverse.url: http://127.0.0.1:{backend}/
        proxy.timeout.io: 60000
"""


class H2O(Server):
    name = "h2o"
    package = "h2o"
    program = "h2o"
    configuration: ClassVar[str] = CONFIGURATION
    # It remembers what it has pushed, and no setting of 2.2 makes it forget.
    pushes_again = False

    def command(self) -> list[str]:
        user = "user: nobody" if self.as_root else ""
        configuration = self.configured("h2o.yaml", self.configuration, user=user)
        return [self.executable, "-m", "master", "-c", configuration]

    def connection_of(self, client_port: str | None) -> str:
        # h2o cannot name the client's port, but its master tells when an old worker has ended,
        # which it does after its last connection.
        return str(self.log(1 << 30).count("old worker "))

    def reload(self) -> None:
        self.signal(signal.SIGHUP)
