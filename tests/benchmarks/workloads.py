"""The workloads, and the clients that run them: whole exchanges through plain requests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests
from requests.adapters import DEFAULT_POOLSIZE, HTTPAdapter

from requests_h2 import HTTP2Adapter
from tests.support.servers import Server

KIB, MIB = 1 << 10, 1 << 20
CHUNK = 64 * KIB
ENGINES = ("h2", "nghttp2")
STOCK = "stock"


@dataclass(frozen=True)
class Client:
    """``stock``, ``h2`` or ``nghttp2``, with options: ``stock-pool``, ``h2-noenv``.

    ``pool`` gives the stock adapter a connection for each thread, ``noenv`` sets
    ``session.trust_env`` to false.
    """

    name: str

    def __post_init__(self) -> None:
        if self.base not in (STOCK, *ENGINES) or not self.options <= {"pool", "noenv"}:
            raise ValueError(f"no client is named {self.name!r}")

    @property
    def base(self) -> str:
        return self.name.split("-")[0]

    @property
    def options(self) -> set[str]:
        return set(self.name.split("-")[1:])

    @property
    def version(self) -> int:
        return 11 if self.base == STOCK else 20

    def session(self, authority: str, threads: int = 1) -> requests.Session:
        session = requests.Session()
        session.verify = authority
        session.trust_env = "noenv" not in self.options
        size = max(DEFAULT_POOLSIZE, threads) if "pool" in self.options else DEFAULT_POOLSIZE
        session.mount("https://", self._adapter(size))
        return session

    def _adapter(self, size: int) -> HTTPAdapter:
        if self.base == STOCK:
            return HTTPAdapter(pool_maxsize=size)
        return HTTP2Adapter(pool_maxsize=size, engine="h2" if self.base == "h2" else "nghttp2")


class Task:
    """A workload in one client's hands: its session stays open from call to call."""

    def __init__(self, workload: Workload, client: Client, server: Server) -> None:
        self.workload = workload
        self.client = client
        self.url = server.url + workload.path
        self.authority = server.around.ca
        self.file = server.around.documents / str(workload.size)
        self.session = client.session(self.authority, workload.threads)

    def __call__(self) -> None:
        self.workload.run(self, self.workload.count)

    def warm(self) -> None:
        self.workload.run(self, max(self.workload.threads, self.workload.count // 10))

    def close(self) -> None:
        self.session.close()

    def check(self, response: requests.Response, size: int) -> None:
        assert response.status_code == 200, response.status_code
        assert response.raw.version == self.client.version, response.raw.version
        assert size == self.workload.size, size


def get(task: Task, count: int) -> None:
    for _ in range(count):
        response = task.session.get(task.url)
        task.check(response, len(response.content))


def get_in_threads(task: Task, count: int) -> None:
    threads = task.workload.threads
    with ThreadPoolExecutor(threads) as executor:
        done = [executor.submit(get, task, count // threads) for _ in range(threads)]
    for each in done:
        each.result()


def stream(task: Task, count: int) -> None:
    for _ in range(count):
        with task.session.get(task.url, stream=True) as response:
            task.check(response, sum(len(chunk) for chunk in response.iter_content(CHUNK)))


def upload(task: Task, count: int) -> None:
    for _ in range(count):
        with task.file.open("rb") as file:
            response = task.session.post(task.url, data=file)
        task.check(response, int(response.content))


def connect(task: Task, count: int) -> None:
    for _ in range(count):
        with task.client.session(task.authority) as session:
            response = session.get(task.url)
            task.check(response, len(response.content))


@dataclass(frozen=True)
class Workload:
    """``run(task, count)`` does ``count`` exchanges, those of all threads together."""

    title: str
    run: Callable[[Task, int], None]
    path: str
    size: int
    count: int = 1
    threads: int = 1
    server: str = "nginx"


def download(
    title: str, run: Callable[[Task, int], None], size: int, count: int = 1, threads: int = 1
) -> Workload:
    """A workload of nginx's file of that size."""
    return Workload(title, run, f"/{size}", size, count, threads)


WORKLOADS = {
    "W1": download("GET of 1 KiB, one after the other", get, KIB, 1000),
    "W2": download("GET of 1 KiB, 16 threads on one session", get_in_threads, KIB, 3200, 16),
    "W3": download("GET of 100 MiB by iter_content(65536)", stream, 100 * MIB),
    "W4": download("GET of 100 MiB by .content", get, 100 * MIB),
    "W5": Workload("POST of 100 MiB from a file", upload, "/upload", 100 * MIB, server="node"),
    "W6": Workload(
        "GET answered after 20 ms, 64 threads", get_in_threads, "/delay/20", 64, 512, 64, "node"
    ),
    "W7": download("new session, connection and GET of 1 KiB", connect, KIB, 20),
    "W9": download("GET of 100 KiB, one after the other", get, 100 * KIB, 500),
}
