"""A monkey-patched process: ``python -m tests.compat.programs.greenlets KIND URL CA ENGINE``.

Everything runs in one thread of the system; what blocks without giving way blocks all of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

KIND = sys.argv[1]

# Before anything else is imported, as users do it.
if KIND == "gevent":
    import gevent.monkey

    gevent.monkey.patch_all()
else:
    import eventlet

    eventlet.monkey_patch()

import hashlib  # noqa: E402
import time  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402

import requests  # noqa: E402

from requests_h2 import HTTP2Adapter  # noqa: E402

TIMEOUT = 20


def together(count: int, function: Callable[[int], Any]) -> list[Any]:
    """``function(0..count-1)`` in a greenlet each. Results in order."""
    if KIND == "gevent":
        jobs = [gevent.spawn(function, number) for number in range(count)]
        return [job.get(timeout=TIMEOUT) for job in jobs]
    pool = eventlet.GreenPool(count)
    return list(pool.imap(function, range(count)))


def cut_off(seconds: float, function: Callable[[], Any]) -> bool:
    """Whether the framework's own timeout, raised out of nothing in the greenlet, ended it."""
    timeout = gevent.Timeout if KIND == "gevent" else eventlet.Timeout
    try:
        with timeout(seconds):
            function()
    except timeout:
        return True
    return False


class Ticks:
    """A greenlet that counts while others wait, and so shows whether they give way."""

    def __init__(self) -> None:
        self.count = 0
        self.over = False

    def run(self, _: int = 0) -> None:
        while not self.over:
            self.count += 1
            time.sleep(0.01)

    def __enter__(self) -> Ticks:
        if KIND == "gevent":
            self.job = gevent.spawn(self.run)
        else:
            self.job = eventlet.spawn(self.run)
        return self

    def __exit__(self, *args: object) -> None:
        self.over = True
        if KIND == "gevent":
            self.job.join()
        else:
            self.job.wait()


def main(url: str, ca: str, engine: str) -> dict[str, Any]:
    with requests.Session() as session:
        session.mount("https://", HTTP2Adapter(engine=engine))
        session.verify = ca
        ports = set()

        def get(target: str) -> requests.Response:
            response = session.get(url + target, timeout=TIMEOUT)
            assert (response.status_code, response.raw.version) == (200, 20)
            ports.add(response.headers.get("x-client-port"))
            return response

        def download(number: int) -> tuple[int, str]:
            digest, size = hashlib.sha256(), 0
            with session.get(f"{url}/text.txt", stream=True, timeout=TIMEOUT) as response:
                for chunk in response.iter_content(1000):
                    digest.update(chunk)
                    size += len(chunk)
            return size, digest.hexdigest()

        def upload(number: int) -> int:
            body = (b"x" * 10_000 for _ in range(50))
            length: int = session.post(f"{url}/upload", data=body, timeout=TIMEOUT).json()["length"]
            return length

        found: dict[str, Any] = {}
        # From cold: one dial, whatever comes first. /meet answers when all are there.
        found["met"] = together(30, lambda number: get("/meet/30?key=greenlets").text)
        found["said"] = together(50, lambda number: int(get(f"/say?body={number}").text))
        with Ticks() as ticks:
            found["late"] = together(3, lambda number: get("/delay?ms=400").text)
        found["ticks"] = ticks.count
        begin = time.monotonic()
        try:
            session.get(f"{url}/delay?ms=5000", timeout=(TIMEOUT, 0.2))
        except requests.ReadTimeout:
            found["timed out"] = time.monotonic() - begin < 2
        found["cut off"] = together(
            5,
            lambda number: (
                cut_off(0.2, lambda: get("/delay?ms=5000"))
                if number % 2
                else get("/delay?ms=400").text
            ),
        )
        found["downloads"] = together(5, download)
        found["uploads"] = together(5, upload)
        with ThreadPoolExecutor(4) as pool:
            found["pool"] = list(pool.map(lambda n: int(get(f"/say?body={n}").text), range(20)))
        found["connections"] = len(ports)
        return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[2:])))
