"""The interpreter ends in the middle of something: ``exits HOW URL CA ENGINE``."""

from __future__ import annotations

import atexit
import sys
import threading

import requests

from requests_h2 import HTTP2Adapter

how, url, ca, engine = sys.argv[1:]
session = requests.Session()
session.mount("https://", HTTP2Adapter(engine=engine))
session.verify = ca
response = session.get(f"{url}/100m", stream=True, timeout=20)
assert response.raw.version == 20
waiting = threading.Event()


def wait_for_an_answer() -> None:
    waiting.set()
    session.get(f"{url}/delay?ms=15000", timeout=20)


print("true", flush=True)
if how == "half read":
    next(response.iter_content(100_000))
elif how == "uploading":
    threading.Thread(
        target=lambda: session.post(f"{url}/upload", data=iter(lambda: b"x" * 999, 0), timeout=20),
        daemon=True,
    ).start()
elif how == "daemon thread":
    threading.Thread(target=wait_for_an_answer, daemon=True).start()
    waiting.wait()
elif how == "in a cycle":
    cycle: list[object] = [response, session]
    cycle.append(cycle)
    del response, session, cycle
elif how == "atexit":
    atexit.register(lambda: session.get(f"{url}/1k", timeout=20).raise_for_status())
elif how == "sys.exit":
    sys.exit(0)
elif how == "closed session":
    session.close()
