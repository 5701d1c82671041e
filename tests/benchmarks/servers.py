"""The servers of the tests, set up for measuring: connections that last, files of any size."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.certs import certificates
from tests.support.servers import Server, Surroundings
from tests.support.servers.nginx import Nginx
from tests.support.servers.node import Node


class LastingNginx(Nginx):
    requests_per_connection = 1_000_000_000


class CountingNode(Node):
    script = Path(__file__).with_name("node_server.js")


@contextlib.contextmanager
def running(kind: type[Server], sizes: Iterable[int], backend: int = 9) -> Iterator[Server]:
    """A started server; each of its files is named for its size in octets.

    :param backend: the port of nginx's backend; none by default, where port 9 discards.
    :raises ServerMissingError: when it is not installed.
    """
    made = certificates()
    with tempfile.TemporaryDirectory(prefix="requests-h2-bench-") as folder:
        documents = Path(folder)
        documents.chmod(0o755)  # workers run as another user when this runs as root
        for size in sizes:
            write_document(documents / str(size), size)
        around = Surroundings(documents, backend, made.ca_path, made.cert_path, made.key_path)
        server = kind(around)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def write_document(path: Path, size: int) -> None:
    block = bytes(range(256)) * 4096
    with path.open("wb") as file:
        for start in range(0, size, len(block)):
            file.write(block[: size - start])
    path.chmod(0o644)
