"""Programs that must have a process of their own, because they patch the whole of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TIMEOUT = 40


def run(program: str, *arguments: str, timeout: float = TIMEOUT, leaves_open: bool = False) -> Any:
    """The JSON that ``tests/compat/programs/PROGRAM.py`` printed. It must be silent on stderr.

    :param leaves_open: it is no fault if Python has to close what the program has left open.
    """
    warned = [] if leaves_open else ["-W", "default::ResourceWarning"]
    command = [sys.executable, "-W", "ignore", *warned]
    done = subprocess.run(
        [*command, "-m", f"tests.compat.programs.{program}", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return json.loads(done.stdout)
