"""Sentry around requests over HTTP/2: ``python -m tests.compat.programs.sentry URL CA ENGINE``."""

from __future__ import annotations

import json
import sys
from typing import Any

import requests
import sentry_sdk

from requests_h2 import HTTP2Adapter
from tests.support.pages import block


def main(url: str, ca: str, engine: str) -> dict[str, Any]:
    """What arrived at the server and in Sentry, for the adapter as it is and the traced one."""
    events: list[Any] = []

    def keep(event: Any, hint: Any) -> None:
        events.append(event)

    sentry_sdk.init(
        "https://key@127.0.0.1:9/1",
        traces_sample_rate=1.0,
        before_send_transaction=keep,
        send_client_reports=False,
    )
    traced = block("ecosystem.rst", "sentry").run()["TracedHTTP2Adapter"]
    found = {}
    for name, adapter in (("plain", HTTP2Adapter), ("traced", traced)):
        with requests.Session() as session:
            session.mount("https://", adapter(engine=engine))
            session.verify = ca
            with sentry_sdk.start_transaction(op="task", name=name):
                response = session.get(f"{url}/echo", timeout=30)
        transaction = events.pop()
        found[name] = {
            "version": response.raw.version,
            "headers": dict(response.json()["headers"]),
            "trace": transaction["contexts"]["trace"]["trace_id"],
            "spans": [
                (each["op"], each["description"], each["data"].get("http.response.status_code"))
                for each in transaction["spans"]
            ],
        }
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
