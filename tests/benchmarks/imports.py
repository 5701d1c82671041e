"""What importing costs, in interpreters of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .workloads import STOCK, Client

#: The folder of the packages ``requests_h2`` and ``tests``.
ROOT = Path(__file__).resolve().parents[2]


def import_package(client: Client) -> Callable[[], None]:
    return _python("import requests" if client.base == STOCK else "import requests, requests_h2")


def import_engine(client: Client) -> Callable[[], None]:
    """And what the first connection imports."""
    if client.base == STOCK:
        return _python("import requests")
    return _python(
        "import requests, requests_h2, requests_h2.inspection; "
        "from requests_h2.engine.choice import engine_class; "
        f"engine_class({client.base!r})"
    )


IMPORTS: dict[str, tuple[str, Callable[[Client], Callable[[], None]]]] = {
    "W10": ("a new interpreter that imports the package", import_package),
    "W10e": ("a new interpreter that imports the package and the engine", import_engine),
}


def _python(code: str) -> Callable[[], None]:
    # Compiled modules must be there, as they are where something is installed.
    unwanted = "PYTHONDONTWRITEBYTECODE"
    environment = {name: value for name, value in os.environ.items() if name != unwanted}

    def run() -> None:
        # Without a timeout, which would look for the end every 50 ms only.
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)

    return run
