"""HTTPie's program ``http``, run as a user runs it, in a home of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT = 40
_SCRIPTS = Path(sysconfig.get_path("scripts"))


@dataclass(frozen=True)
class Done:
    """How it ended: its exit status and what it wrote."""

    status: int
    output: bytes
    errors: str

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace").replace("\r\n", "\n")

    @property
    def status_lines(self) -> list[str]:
        return re.findall(r"^HTTP/.*$", self.text, re.M)

    def checked(self, status: int = 0) -> Done:
        """This one; it has to have ended so, and to have kept silent if all is well."""
        assert self.status == status, self
        assert status or not self.errors, self
        return self


class HTTPie:
    """Runs ``http`` in a folder.

    :param engine: the one that runs. ``h2`` because the package of the other cannot be imported.
    :param ca: the CA that is trusted unless an argument says otherwise.
    """

    def __init__(self, folder: Path, engine: str, ca: str) -> None:
        self.folder = folder
        self._ca = ca
        config = folder / "config"
        config.mkdir()
        # It would ask for new versions of itself.
        (config / "config.json").write_text(json.dumps({"disable_update_warnings": True}))
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HTTPIE_CONFIG_DIR": str(config),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
        }
        if engine == "h2":
            hidden = folder / "hidden"
            hidden.mkdir()
            (hidden / "ngh2.py").write_text("raise ImportError('hidden')\n")
            self.environment["PYTHONPATH"] = str(hidden)

    def __call__(self, *arguments: str, stdin: Path | None = None, **environment: str) -> Done:
        """``http`` to its end."""
        command = self.command(*arguments, reads_stdin=stdin is not None)
        return self.run(command, stdin, environment)

    def command(self, *arguments: str, reads_stdin: bool = False) -> list[str]:
        options = [] if reads_stdin else ["--ignore-stdin"]
        if not any(each.startswith("--verify") for each in arguments):
            options.append(f"--verify={self._ca}")
        return [str(_SCRIPTS / "http"), *options, *arguments]

    def run(
        self,
        command: list[str],
        stdin: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> Done:
        """Another program in the same surroundings."""
        with (stdin or Path(os.devnull)).open("rb") as file:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env={**self.environment, **(environment or {})},
                stdin=file,
                capture_output=True,
                timeout=TIMEOUT,
                check=False,
            )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    @contextmanager
    def started(self, *arguments: str, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
        """``http`` that goes on, until the end of the block."""
        streams.setdefault("stdout", subprocess.PIPE)
        command = self.command(*arguments)
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, **streams
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def in_terminal(self, *arguments: str) -> Done:
        """``http`` with a terminal for its output and errors."""
        ours, theirs = os.openpty()
        shown = bytearray()
        with (
            os.fdopen(ours, "rb", buffering=0) as screen,
            self.started(*arguments, stdout=theirs, stderr=theirs) as process,
        ):
            os.close(theirs)
            with suppress(OSError):  # EIO: http has closed its side
                while data := screen.read(65536):
                    shown += data
            return Done(process.wait(TIMEOUT), bytes(shown), "")
