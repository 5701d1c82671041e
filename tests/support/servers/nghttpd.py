"""nghttpd: nghttp2's own server. Static files and an echo of uploads, HTTP/2 only."""

from __future__ import annotations

from .base import Server


class Nghttpd(Server):
    name = "nghttpd"
    package = "nghttp2-server"
    program = "nghttpd"

    def command(self) -> list[str]:
        around = self.around
        return [
            self.executable,
            "--address=127.0.0.1",
            f"--htdocs={around.documents}",
            "--echo-upload",
            "--push=/pushing=/pushed-1,/pushed-2",
            "--push=/pushing-large=/100m",
            str(self.port),
            around.key,
            around.certificate,
        ]
