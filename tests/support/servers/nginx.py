"""nginx: ends every HTTP/2 connection after ten requests, unless a subclass says otherwise.

What it pushes counts: the fourth GET of /pushing is the tenth request. nginx 1.25.1 removed push.
"""

from __future__ import annotations

import signal
from typing import ClassVar

from .base import Server

PROLOGUE = """\
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr notice;
daemon off;

events {{ worker_connections 1024; }}

http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/octet-stream;
    client_max_body_size 64m;
    root {documents};

    ssl_certificate {certificate};
    ssl_certificate_key {key};
"""

CONFIGURATION = (
    PROLOGUE
    + """\
    types {{ text/plain txt; }}
    keepalive_requests {requests_per_connection};
    # A cookie of 8 KiB, in requests and in answers.
    large_client_header_buffers 4 32k;
    proxy_buffer_size 32k;
    proxy_buffers 8 32k;
    gzip on;
    gzip_types text/plain;
    add_header X-Client-Port $remote_port always;

    upstream backend {{
        server 127.0.0.1:{backend};
        keepalive 16;
    }}

    server {{
        listen 127.0.0.1:{port} ssl http2;
        location / {{ try_files $uri @backend; }}
        # Both ways to push: by configuration, and by a field of the answer.
        location = /pushing {{
            http2_push /pushed-1;
            http2_push_preload on;
            add_header Link "</pushed-2>; rel=preload";
            add_header X-Client-Port $remote_port always;
        }}
        location = /pushing-large {{ http2_push /100m; }}
        location @backend {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
    server {{
        listen 127.0.0.1:{port} ssl http2;
        server_name apart.example.com;
        if ($ssl_server_name != $host) {{ return 421; }}
    }}
    server {{
        listen 127.0.0.1:{http11_port} ssl;
        location / {{ try_files $uri @backend; }}
        location @backend {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""
)


class Nginx(Server):
    name = "nginx"
    package = "nginx-light"
    program = "nginx"
    configuration: ClassVar[str] = CONFIGURATION
    requests_per_connection: ClassVar[int] = 10

    def command(self) -> list[str]:
        self.retiring_port = self.port
        configuration = self.configured(
            "nginx.conf",
            self.configuration,
            # Also for the temporary folders, which nginx gives to this user.
            user="user nobody nogroup;" if self.as_root else "",
            requests_per_connection=self.requests_per_connection,
        )
        # -e: else nginx complains of the compiled-in log before it has read the configuration.
        return [self.executable, "-e", "stderr", "-p", f"{self.folder}/", "-c", configuration]

    def reload(self) -> None:
        self.signal(signal.SIGHUP)
