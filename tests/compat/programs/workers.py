"""A session in worker processes: ``workers METHOD URL CA ENGINE``, METHOD as multiprocessing's."""

from __future__ import annotations

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import requests

from requests_h2 import HTTP2Adapter


def get(session: requests.Session, url: str) -> tuple[int, str]:
    """Run in a worker, with a copy of the session that came by pickle."""
    response = session.get(url, timeout=20)
    return response.raw.version, response.text


def main(method: str, url: str, ca: str, engine: str) -> list[object]:
    with requests.Session() as session:
        session.mount("https://", HTTP2Adapter(engine=engine, pool_maxsize=3))
        session.verify = ca
        urls = [f"{url}/say?body={number}" for number in range(6)]
        # Connections that are open already are no hindrance.
        found: list[object] = [get(session, urls[0])]
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            found += pool.starmap(get, [(session, each) for each in urls[1:4]])
            pool.close()
            pool.join()
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            found.append(executor.submit(get, session, urls[4]).result(20))
        return [*found, get(session, urls[5])]


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
