"""Node's http2 module; the server itself is ``node_server.js``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from .base import Server


class Node(Server):
    name = "node"
    package = "nodejs"
    program = "node"
    script: ClassVar[Path] = Path(__file__).with_name("node_server.js")

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
        return [self.executable, str(self.script), json.dumps(options)]
