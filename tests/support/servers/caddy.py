"""Caddy: Go's HTTP/2 server."""

from __future__ import annotations

import subprocess

from .base import Server

CONFIGURATION = """\
{{
    admin unix/{folder}/admin.sock
    auto_https off
    log {{
        level WARN
    }}
    servers 127.0.0.1:{port} {{
        protocols h1 h2
    }}
    servers 127.0.0.1:{http11_port} {{
        protocols h1
    }}
}}

(site) {{
    bind 127.0.0.1
    tls {certificate} {key}
    root * {documents}
    encode gzip
    header X-Client-Port {{http.request.remote.port}}
    push /pushing /pushed-1
    push /pushing /pushed-2
    push /pushing-large /100m
    @static path /1k /100m /text.txt /push*
    handle @static {{
        file_server
    }}
    handle {{
        reverse_proxy 127.0.0.1:{backend}
    }}
}}

https://127.0.0.1:{port}, https://*.example.com:{port} {{
    import site
}}

https://127.0.0.1:{http11_port} {{
    import site
}}
"""


class Caddy(Server):
    name = "caddy"
    package = "caddy"
    program = "caddy"

    def command(self) -> list[str]:
        self.configured("Caddyfile", CONFIGURATION)
        return [self.executable, "run", *self._configuration()]

    def _configuration(self) -> list[str]:
        return ["--adapter", "caddyfile", "--config", str(self.folder / "Caddyfile")]

    def environment(self) -> dict[str, str]:
        home = str(self.folder)
        return {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}

    def reload(self) -> None:
        subprocess.run(
            [
                self.executable,
                "reload",
                "--force",
                "--address",
                f"unix/{self.folder}/admin.sock",
                *self._configuration(),
            ],
            check=True,
            timeout=30,
            capture_output=True,
        )
