"""Starting a real server, knowing when it is ready, and stopping it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

#: Bounds of the waits, in seconds.
START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0
#: A free port can be taken by somebody else before the server binds it.
START_ATTEMPTS = 3


class ServerMissingError(Exception):
    """The program is not installed."""


class ServerFailedError(Exception):
    """The program did not start; the text holds its log."""


@dataclass(frozen=True)
class Surroundings:
    """What every server is given."""

    #: The folder of static files, readable by everybody.
    documents: Path
    #: The port of the HTTP/1.1 backend on 127.0.0.1.
    backend: int
    ca: str
    certificate: str
    key: str


class Server(ABC):
    """One server process with its listeners, its folder and its log."""

    name: ClassVar[str]
    #: The Debian package that brings ``program``.
    package: ClassVar[str]
    program: ClassVar[str]
    #: The signal for a stop in good order.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    #: A reload may close a connection that was just opened, without an answer and without GOAWAY.
    reload_drops_new_connections: ClassVar[bool] = False
    #: Pushes the same resource more than once on a connection.
    pushes_again: ClassVar[bool] = True

    def __init__(self, around: Surroundings) -> None:
        found = shutil.which(self.program) or shutil.which(self.program, path="/usr/sbin:/sbin")
        if found is None:
            raise ServerMissingError(f"{self.program} is missing: install Debian's {self.package}")
        self.executable = found
        self.around = around
        # Workers run as another user when the tests run as root, hence not a 0700 folder.
        self.folder = Path(tempfile.mkdtemp(prefix=f"requests-h2-{self.name}-"))
        self.folder.chmod(0o755)
        self._log = self.folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = self.http11_port = self.retiring_port = 0

    @abstractmethod
    def command(self) -> list[str]:
        """Write the configuration for the present ports and return what to run."""

    def configured(self, name: str, template: str, **more: object) -> str:
        """Write a configuration file, of what all of them know and some more; its path."""
        around, path = self.around, self.folder / name
        path.write_text(
            template.format(
                folder=self.folder,
                certificate=around.certificate,
                key=around.key,
                documents=around.documents,
                backend=around.backend,
                port=self.port,
                http11_port=self.http11_port,
                **more,
            )
        )
        return str(path)

    def environment(self) -> dict[str, str]:
        """Variables to add to the server's environment."""
        return {}

    def reload(self) -> None:
        """Make the server end its connections in good order and go on with new ones."""
        raise NotImplementedError(self.name)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def http11_url(self) -> str:
        """A listener of the same server with HTTP/2 switched off."""
        return f"https://127.0.0.1:{self.http11_port}"

    @property
    def retiring_url(self) -> str:
        """A listener that ends each connection after ten requests."""
        return f"https://127.0.0.1:{self.retiring_port}"

    @property
    def retires(self) -> bool:
        """Whether ``url`` too ends each connection after ten requests."""
        return self.retiring_port == self.port

    @property
    def as_root(self) -> bool:
        return os.geteuid() == 0

    def start(self) -> None:
        for attempt in range(1, START_ATTEMPTS + 1):
            self.port, self.http11_port, self.retiring_port = free_ports(3)
            self._launch()
            try:
                self._wait_until_ready()
                return
            except ServerFailedError:
                self._end_process()
                if attempt == START_ATTEMPTS:
                    raise

    def stop(self) -> None:
        self._end_process()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connection_of(self, client_port: str | None) -> str:
        """What changes when requests go to a new connection, given the answer's X-Client-Port."""
        assert client_port is not None
        return client_port

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def log(self, size: int = 8000) -> str:
        """The end of what the server wrote."""
        if not self._log.exists():
            return ""
        return self._log.read_bytes()[-size:].decode("utf-8", "replace")

    def ready(self) -> bool:
        """Whether it serves by now."""
        return answers_h2(self.port, self.around.ca)

    def _launch(self) -> None:
        command = self.command()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                # Its own group, so that a server that will not stop takes its workers along.
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT
        while not self.ready():
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self._process.wait(0.05)
                raise ServerFailedError(f"{self.name} ended with {status}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise ServerFailedError(f"{self.name} is not ready:\n{self.log()}")

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_TIMEOUT)


def free_ports(count: int) -> list[int]:
    """Different ports on 127.0.0.1 that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def accepts(port: int) -> bool:
    """Whether somebody listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def answers_h2(port: int, ca: str) -> bool:
    """Whether a TLS handshake on the port ends with ALPN h2."""
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=2) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            return secure.selected_alpn_protocol() == "h2"
    except OSError:
        return False
