"""truststore before, in the place of every context and again not: ``injected URL ENGINE``, run
where the system (SSL_CERT_FILE) trusts the server.
"""

from __future__ import annotations

import json
import sys

import requests
import truststore

from requests_h2 import HTTP2Adapter


def answers(url: str, engine: str) -> list[object]:
    found: list[object] = []
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", HTTP2Adapter(engine=engine))
        try:
            found.append(session.get(url, timeout=20).raw.version)
        except requests.exceptions.SSLError:
            found.append("refused")
    return found


if __name__ == "__main__":
    url, engine = sys.argv[1:]
    found = answers(url, engine)
    truststore.inject_into_ssl()
    found += answers(url, engine)
    truststore.extract_from_ssl()
    found += answers(url, engine)
    print(json.dumps(found))
