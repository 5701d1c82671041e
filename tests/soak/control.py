"""The other end of the peer process's pipes."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import threading
from typing import Any

from tests.support.certs import Certificates

_ROOT = pathlib.Path(__file__).parents[2]
_END = 20.0


class PeerProcess:
    """A running peer; ``with`` ends it."""

    def __init__(self, certs: Certificates, seed: str) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.peer", certs.cert_path, certs.key_path, seed],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        assert self._process.stdout is not None
        self.url = f"https://127.0.0.1:{int(self._process.stdout.readline())}"

    def ask(self, **order: Any) -> dict[str, Any]:
        """One order, one answer."""
        pipes = self._process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        with self._lock:
            pipes.stdin.write(json.dumps(order) + "\n")
            pipes.stdin.flush()
            answer: dict[str, Any] = json.loads(pipes.stdout.readline())
        return answer

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_END)
        process.stdout.close()
