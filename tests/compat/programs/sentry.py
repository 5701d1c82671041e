"""Sentry around requests over HTTP/2: ``python -m tests.compat.programs.sentry URL CA ENGINE``."""

from __future__ import annotations

import json
import sys
from typing import Any

import requests
import sentry_sdk

from requests_h2 import HTTP2Adapter


class TracedAdapter(HTTP2Adapter):
    """What docs/ecosystem.rst tells users to write."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> Any:
        url = request.url.partition("?")[0]
        with sentry_sdk.start_span(op="http.client", name=f"{request.method} {url}") as span:
            request.headers["sentry-trace"] = sentry_sdk.get_traceparent()
            request.headers["baggage"] = sentry_sdk.get_baggage()
            response = super().send(request, *args, **options)
            span.set_data("http.response.status_code", response.status_code)
            return response


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
    found = {}
    for name, adapter in (("plain", HTTP2Adapter), ("traced", TracedAdapter)):
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
