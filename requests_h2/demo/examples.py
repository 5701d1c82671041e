"""What the tour does, as a program of yours would: this is all plain requests.

The tour prints the source of these functions before it runs them. ``verify`` is given with each
request because a REQUESTS_CA_BUNDLE in the environment overrules ``session.verify``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from requests_h2 import HTTP2Adapter, Recording, record

Progress = Callable[[int, int], None]


def http2_session() -> requests.Session:
    session = requests.Session()
    session.mount("https://", HTTP2Adapter())
    return session


def ask(session: requests.Session, url: str, ca: str) -> str:
    response = session.get(url, verify=ca, timeout=10)
    return f"{response.raw.version_string}, status {response.status_code}"


def count_connections(session: requests.Session, url: str, ca: str) -> int:
    def client_port(_: int) -> int:
        return int(session.get(url, verify=ca, timeout=10).json()["client_port"])

    with ThreadPoolExecutor(max_workers=20) as threads:
        return len(set(threads.map(client_port, range(100))))


def download(session: requests.Session, url: str, ca: str, show: Progress) -> int:
    received = 0
    with session.get(url, verify=ca, timeout=10, stream=True) as response:
        total = int(response.headers["Content-Length"])
        for chunk in response.iter_content(64 * 1024):
            received += len(chunk)
            show(received, total)
    return received


def blocks(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield number.to_bytes(4, "big") * 4096


def upload(session: requests.Session, url: str, ca: str, body: Iterator[bytes]) -> Any:
    response = session.put(url, data=body, verify=ca, timeout=10)
    response.raise_for_status()
    return response.json()


def log_in(session: requests.Session, url: str, ca: str) -> requests.Response:
    return session.post(url, data={"user": "ada"}, verify=ca, timeout=10)


def watch(session: requests.Session, urls: list[str], ca: str) -> Recording:
    def get(url: str) -> requests.Response:
        return session.get(url, verify=ca, timeout=10)

    with record(session) as recording, ThreadPoolExecutor() as threads:
        list(threads.map(get, urls))
    return recording
