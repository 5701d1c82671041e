"""Apache httpd with mod_http2."""

from __future__ import annotations

import signal
from pathlib import Path

from .base import Server, ServerMissingError

MODULE_FOLDERS = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules")
MODULES = (
    "mpm_event",
    "authz_core",
    "mime",
    "filter",
    "deflate",
    "headers",
    "setenvif",
    "ssl",
    "http2",
    "proxy",
    "proxy_http",
)

CONFIGURATION = """\
ServerRoot {folder}
ServerName 127.0.0.1
PidFile {folder}/httpd.pid
DefaultRuntimeDir {folder}
ErrorLog /dev/stderr
LogLevel warn
{modules}
{user}
Listen 127.0.0.1:{port}
Listen 127.0.0.1:{http11_port}

StartServers 1
# More than MaxRequestWorkers needs: children that a graceful restart retires keep their slots.
ServerLimit 16
ThreadsPerChild 32
MaxRequestWorkers 64
GracefulShutdownTimeout 5
# No limit for HTTP/1.1, so that the fallback tests keep their connection.
MaxKeepAliveRequests 0
# A cookie of 8 KiB and the name beside it.
LimitRequestFieldSize 32768
H2MaxSessionStreams 100
H2EarlyHints on
# Else it pushes what it has pushed on this connection already no second time.
H2PushDiarySize 0

SSLEngine on
SSLCertificateFile {certificate}
SSLCertificateKeyFile {key}
SSLSessionCache none

TypesConfig /dev/null
AddType text/plain .txt
AddOutputFilterByType DEFLATE text/plain
DocumentRoot {documents}
<Directory {documents}>
    Require all granted
</Directory>
Header always set X-Client-Port "expr=%{{REMOTE_PORT}}"
# Both ways to push: by configuration, and by a field of the answer.
<Location /pushing>
    H2PushResource /pushed-1
    Header add Link "</pushed-2>; rel=preload"
</Location>
<Location /pushing-large>
    H2PushResource /100m
</Location>

ProxyPass /1k !
ProxyPass /100m !
ProxyPass /text.txt !
ProxyPassMatch ^/push !
ProxyPass / http://127.0.0.1:{backend}/ responsefieldsize=32768

<VirtualHost 127.0.0.1:{port}>
    Protocols h2 http/1.1
</VirtualHost>
# Other TLS settings, for which it answers 421 to requests that come over the first one's.
<VirtualHost 127.0.0.1:{port}>
    ServerName apart.example.com
    Protocols h2 http/1.1
    SSLCipherSuite ECDHE+AESGCM
</VirtualHost>
<VirtualHost 127.0.0.1:{http11_port}>
    Protocols http/1.1
</VirtualHost>
"""


class Apache(Server):
    name = "apache"
    package = "apache2"
    program = "apache2"
    # A child that is told to stop may still accept, and then closes after the TLS handshake.
    reload_drops_new_connections = True

    def command(self) -> list[str]:
        configuration = self.configured(
            "httpd.conf",
            CONFIGURATION,
            modules="\n".join(self._modules()),
            user="User nobody\nGroup nogroup" if self.as_root else "",
        )
        return [self.executable, "-f", configuration, "-DFOREGROUND"]

    def _modules(self) -> list[str]:
        for folder in map(Path, MODULE_FOLDERS):
            if folder.is_dir():
                return [f"LoadModule {name}_module {folder}/mod_{name}.so" for name in MODULES]
        raise ServerMissingError("Apache's modules are missing: install Debian's apache2")

    def reload(self) -> None:
        self.signal(signal.SIGUSR1)
