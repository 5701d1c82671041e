"""Hypercorn: an ASGI server on the h2 library; the application is ``asgi.py``."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

from .base import Server, ServerMissingError, Surroundings

#: The folder of the package ``tests``.
ROOT = Path(__file__).parents[3]


class Hypercorn(Server):
    name = "hypercorn"
    package = "python3"
    program = sys.executable

    def __init__(self, around: Surroundings) -> None:
        if importlib.util.find_spec("hypercorn") is None:
            raise ServerMissingError("hypercorn is missing: install the test extra")
        super().__init__(around)

    def command(self) -> list[str]:
        around = self.around
        options = {
            "certificate": around.certificate,
            "key": around.key,
            "documents": str(around.documents),
            "port": self.port,
            "http11_port": self.http11_port,
        }
        return [self.executable, "-m", "tests.support.servers.asgi", json.dumps(options)]

    def environment(self) -> dict[str, str]:
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
