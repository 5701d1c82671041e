"""``os.fork`` under a session in use: ``forks URL CA ENGINE``."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from typing import Any

import requests

from requests_h2 import HTTP2Adapter


def main(url: str, ca: str, engine: str) -> dict[str, Any]:
    session = requests.Session()
    session.mount("https://", HTTP2Adapter(engine=engine))
    session.verify = ca

    def get(target: str) -> requests.Response:
        response = session.get(url + target, timeout=20)
        assert (response.status_code, response.raw.version) == (200, 20)
        return response

    def in_child(function: Any) -> Any:
        """What the function returns, run in a forked child that then leaves as Python does."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            with os.fdopen(writing, "w") as file:
                json.dump(function(), file)
            sys.exit(0)
        os.close(writing)
        with os.fdopen(reading) as file:
            answer = file.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == 0, status
        return json.loads(answer)

    port = get("/1k").headers["x-client-port"]
    # Half read, when the process is forked.
    download = session.get(f"{url}/drip?sizes=9000000,9000000", stream=True, timeout=20)
    chunks = download.iter_content(1 << 20)
    body = bytearray(next(chunks))
    # And one that waits in another thread.
    late: list[str] = []
    waiting = threading.Thread(target=lambda: late.append(get("/delay?ms=700").text))
    waiting.start()

    def child() -> list[Any]:
        gc.collect()  # what was inherited and is collected says nothing to the server
        ports = {get("/1k").headers["x-client-port"] for _ in range(3)}
        session.close()
        return [len(ports), port in ports]

    children = [in_child(child) for _ in range(2)]
    for chunk in chunks:
        body += chunk
    waiting.join(20)
    after = get("/1k").headers["x-client-port"]
    session.close()
    return {
        "children": children,
        "downloaded": "".join(f"{letter}{body.count(letter.encode())}" for letter in "ab"),
        "late": late,
        "same connection": after == port,
    }


if __name__ == "__main__":
    found = main(*sys.argv[1:])
    print(json.dumps(found))
