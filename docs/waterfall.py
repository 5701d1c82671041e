"""Make docs/waterfall.png of a real recording: python docs/waterfall.py [FOLDER]

In an environment with the extra ``demo``, and with Chromium to take the picture. The page it is
taken of, and the same recording as a HAR file, stay in the folder when one is given.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

import requests_h2
from requests_h2.demo.server import demo_server

PICTURE = Path(__file__).with_name("waterfall.png")
PATHS = [
    *(f"/?ms={milliseconds}" for milliseconds in (40, 15, 60, 25, 90, 10, 35)),
    *(f"/download?bytes={size}" for size in (3_000_000, 400_000, 9_000_000)),
    "/nothing",
]


def recorded(folder: Path) -> Path:
    """The page of a recording: one request with its push, then many at once."""
    with demo_server() as server, requests.Session() as session:
        requests_h2.mount(session, enable_push=True)

        def get(path: str) -> requests.Response:
            return session.get(server.url + path, verify=server.ca, timeout=10)

        with requests_h2.record(session) as recording:
            for push in requests_h2.get_pushes(get("/page"), capture_all=True):
                push.response()
            with ThreadPoolExecutor(len(PATHS)) as threads:
                list(threads.map(get, PATHS))
    for name in ("waterfall.har", "waterfall.html"):
        recording.save(folder / name)
    print(recording.table())
    return folder / "waterfall.html"


def photographed(page: Path, profile: str) -> None:
    options = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={profile}", "--window-size=1000,430", f"--screenshot={PICTURE}"),
    )
    subprocess.run(["chromium", *options, page.as_uri()], check=True, timeout=120)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        kept = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        photographed(recorded(kept.resolve()), f"{temporary}/profile")
