"""Real proxies: HTTP, HTTPS and SOCKS, on ephemeral ports of 127.0.0.1.

``PROXIES`` names them; ``WAYS`` pairs each with the schemes of the URLs it is reached by.
"""

from __future__ import annotations

import contextlib
from typing import ClassVar

from .base import Server, Surroundings, accepts

CREDENTIALS = "user:pass"
#: A host that HTTP proxies are told to refuse.
DENIED = "denied.example"


class ProxyServer(Server):
    """A proxy process. It lets nobody through without its credentials, if it has some."""

    schemes: ClassVar[tuple[str, ...]]
    credentials: ClassVar[str] = CREDENTIALS

    def url_for(self, scheme: str, credentials: str | None = None) -> str:
        """With its own credentials if none are given."""
        user = self.credentials if credentials is None else credentials
        return f"{scheme}://{user}{'@' if user else ''}127.0.0.1:{self.port}"

    def ready(self) -> bool:
        return accepts(self.port)


class Tinyproxy(ProxyServer):
    name = "tinyproxy"
    package = "tinyproxy-bin"
    program = "tinyproxy"
    schemes = ("http",)

    def command(self) -> list[str]:
        (self.folder / "filter").write_text(DENIED.replace(".", r"\.") + "\n")
        configuration = self.folder / "tinyproxy.conf"
        configuration.write_text(
            f"""\
Port {self.port}
Listen 127.0.0.1
Timeout 60
MaxClients 100
LogLevel Connect
BasicAuth {CREDENTIALS.replace(":", " ")}
Filter "{self.folder / "filter"}"
"""
        )
        return [self.executable, "-d", "-c", str(configuration)]


class Nghttpx(ProxyServer):
    """An HTTPS proxy that prefers h2 and hands on to another proxy, as it has none of its own."""

    name = "nghttpx"
    package = "nghttp2-proxy"
    program = "nghttpx"
    schemes = ("https",)

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self.behind = Tinyproxy(around)

    def start(self) -> None:
        self.behind.start()
        super().start()

    def stop(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.behind.stop)
            super().stop()

    def command(self) -> list[str]:
        around = self.around
        return [
            self.executable,
            "--conf=/dev/null",
            "--http2-proxy",
            "--workers=1",
            f"--frontend=127.0.0.1,{self.port}",
            f"--backend=127.0.0.1,{self.behind.port}",
            "--errorlog-file=/dev/stderr",
            "--accesslog-file=/dev/stdout",
            "--accesslog-format=alpn=$alpn $request",
            around.key,
            around.certificate,
        ]


class Microsocks(ProxyServer):
    name = "microsocks"
    package = "microsocks"
    program = "microsocks"
    schemes = ("socks5", "socks5h")

    def command(self) -> list[str]:
        user, _, password = CREDENTIALS.partition(":")
        address = ["-i", "127.0.0.1", "-p", str(self.port)]
        return [self.executable, *address, "-u", user, "-P", password]


class Dante(ProxyServer):
    """Version 4 too, but not 4a. Its users are the system's, so that it has none here."""

    name = "dante"
    package = "dante-server"
    program = "danted"
    schemes = ("socks4", "socks5", "socks5h")
    credentials = ""

    def command(self) -> list[str]:
        # A worker that serves as another user is what it wants when it is started as root.
        users = "user.privileged: root\nuser.unprivileged: nobody\n" if self.as_root else ""
        configuration = self.folder / "danted.conf"
        configuration.write_text(
            f"""\
logoutput: stderr
internal: 127.0.0.1 port = {self.port}
external: 127.0.0.1
socksmethod: none
clientmethod: none
{users}
client pass {{ from: 127.0.0.0/8 to: 127.0.0.0/8 }}
socks pass {{ from: 127.0.0.0/8 to: 127.0.0.0/8 command: connect }}
"""
        )
        pid_file = str(self.folder / "danted.pid")
        return [self.executable, "-f", str(configuration), "-p", pid_file]


_CLASSES: tuple[type[ProxyServer], ...] = (Tinyproxy, Nghttpx, Microsocks, Dante)
PROXIES: dict[str, type[ProxyServer]] = {each.name: each for each in _CLASSES}
WAYS = [(name, scheme) for name, each in PROXIES.items() for scheme in each.schemes]
