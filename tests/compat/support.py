"""Programs that must have a process of their own, because they patch the whole of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TIMEOUT = 40


def run(program: str, *arguments: str, timeout: float = TIMEOUT) -> Any:
    """The JSON that ``tests/compat/programs/PROGRAM.py`` printed. It must be silent on stderr, also
    about what Python has to close.
    """
    command = [sys.executable, "-W", "ignore", "-W", "default::ResourceWarning"]
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
