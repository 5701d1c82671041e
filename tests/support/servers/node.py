"""Node's http2 module; the server itself is ``node_server.js``."""

from __future__ import annotations

import json
from pathlib import Path

from .base import Server

SCRIPT = Path(__file__).with_name("node_server.js")


class Node(Server):
    name = "node"
    package = "nodejs"
    program = "node"

    def command(self) -> list[str]:
        around = self.around
        options = {
            "certificate": around.certificate,
            "key": around.key,
            "documents": str(around.documents),
            "port": self.port,
            "http11Port": self.http11_port,
            "retiringPort": self.retiring_port,
            "requestsPerConnection": 10,
        }
        return [self.executable, str(SCRIPT), json.dumps(options)]
