"""The tour's server: Hypercorn, HTTP/2 and HTTP/1.1 over TLS on an unused port of 127.0.0.1.

It runs in a process of its own, so that client and server do not share one interpreter's lock
and the tour's times are those of two programs talking.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import multiprocessing
import signal
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

START_LIMIT = 30.0
STOP_LIMIT = 5.0


class DemoServerError(Exception):
    """The embedded server cannot run here; the text says why, in one line."""


@dataclass(frozen=True)
class DemoServer:
    """A running server and the certificate authority that vouches for it."""

    url: str
    ca: str


@contextlib.contextmanager
def demo_server() -> Iterator[DemoServer]:
    """Run the server for the length of a ``with`` block.

    It is a process of its own, started by multiprocessing's ``spawn``: a script that calls this
    needs ``if __name__ == "__main__":``.
    """
    require_demo_extra()
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    with tempfile.TemporaryDirectory(prefix="requests_h2-demo-") as folder:
        ca = Path(folder, "ca.pem")
        authority.cert_pem.write_to_path(str(ca))
        pem = Path(folder, "server.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
        with _server_process(str(pem)) as port:
            yield DemoServer(url=f"https://127.0.0.1:{port}", ca=str(ca))


def require_demo_extra() -> None:
    missing = [name for name in ("hypercorn", "trustme") if not importlib.util.find_spec(name)]
    if missing:
        raise DemoServerError(
            f"the tour needs {' and '.join(missing)}: run  pip install '.[demo]'  in the checkout"
        )


@contextlib.contextmanager
def _server_process(pem: str) -> Iterator[int]:
    # Spawned, not forked: a fork would copy the caller's threads' locks and open sockets.
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs, pem), daemon=True)
    process.start()
    theirs.close()
    try:
        yield _listening_port(ours)
    finally:
        # The end of the pipe tells the server to stop, also when this process is killed.
        ours.close()
        process.join(STOP_LIMIT)
        if process.is_alive():
            process.kill()  # which cannot be ignored, so the next wait has an end
            process.join()
        process.close()


def _listening_port(pipe: Connection) -> int:
    try:
        if pipe.poll(START_LIMIT):
            return int(pipe.recv())
    except EOFError:
        raise DemoServerError("the embedded server ended while it started") from None
    raise DemoServerError(f"the embedded server did not start in {START_LIMIT:.0f} s")


def _serve(pipe: Connection, pem: str) -> None:
    # Ctrl-C reaches the whole process group; only the tour answers it, and closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve_until_closed(pipe, pem))


async def _serve_until_closed(pipe: Connection, pem: str) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    from requests_h2.demo.app import app

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    port = listener.getsockname()[1]

    config = Config()
    # Hypercorn takes the descriptor over. From listen() on, connections wait for it in the backlog.
    config.bind = [f"fd://{listener.detach()}"]
    config.certfile = config.keyfile = pem
    config.errorlog = None
    # Its default, written down because the tour rests on it: 20 threads, one connection.
    config.h2_max_concurrent_streams = 100
    config.keep_alive_timeout = 60
    config.graceful_timeout = 1

    async def closed() -> None:
        await asyncio.to_thread(_wait_for_end, pipe)

    pipe.send(port)
    await serve(app, config, shutdown_trigger=closed)  # type: ignore[arg-type]  # plain ASGI


def _wait_for_end(pipe: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
