"""OpenTelemetry's instrumentation of requests and urllib3, and Sentry's of http.client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tests.servers.support import TIMEOUT
from tests.support.servers import Server

from .conftest import Transport
from .support import run

pytestmark = pytest.mark.parametrize("server", ["caddy"], indirect=True)


def note_version(span: Any, request: Any, response: requests.Response) -> None:
    """What docs/ecosystem.rst tells users to write: the instrumentation knows 1.0 and 1.1 only."""
    versions = {11: "1.1", 20: "2"}
    span.set_attribute("network.protocol.version", versions[response.raw.version])


@pytest.fixture(params=["requests", "urllib3"])
def instrumented(request: pytest.FixtureRequest) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    if request.param == "requests":
        instrumentor: Any = RequestsInstrumentor()
        instrumentor.instrument(tracer_provider=provider, response_hook=note_version)
    else:
        instrumentor = URLLib3Instrumentor()
        instrumentor.instrument(tracer_provider=provider)
    try:
        yield exporter
    finally:
        instrumentor.uninstrument()
        provider.shutdown()


def test_opentelemetry(
    instrumented: InMemorySpanExporter,
    session: requests.Session,
    transport: Transport,
    server: Server,
) -> None:
    response = transport.check(session.get(f"{server.url}/echo", timeout=TIMEOUT))
    (span,) = instrumented.get_finished_spans()
    assert (span.name, span.attributes["http.status_code"]) == ("GET", 200)
    assert span.attributes["http.url"] == f"{server.url}/echo"
    # The server is told whose child it is.
    trace, parent = f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"
    assert f"00-{trace}-{parent}" in dict(response.json()["headers"])["traceparent"]
    if "network.protocol.version" in span.attributes:
        version = {11: "1.1", 20: "2"}[transport.version]
        assert span.attributes["network.protocol.version"] == version


def test_opentelemetry_sees_failures(
    instrumented: InMemorySpanExporter, session: requests.Session, server: Server
) -> None:
    assert session.get(f"{server.url}/status/503", timeout=TIMEOUT).status_code == 503
    with pytest.raises(requests.ReadTimeout):
        session.get(f"{server.url}/delay?ms=3000", timeout=(TIMEOUT, 0.3))
    refused, timed_out = instrumented.get_finished_spans()
    assert (refused.status.status_code, refused.attributes["http.status_code"]) == (
        StatusCode.ERROR,
        503,
    )
    assert timed_out.status.status_code is StatusCode.ERROR


def test_sentry(server: Server, engine: str) -> None:
    """Sentry watches http.client, where HTTP/2 does not pass; so an adapter of three lines."""
    found = run("sentry", server.url, server.around.ca, engine)
    plain, traced = found["plain"], found["traced"]
    assert plain["version"] == traced["version"] == 20
    assert plain["spans"] == []
    assert "sentry-trace" not in plain["headers"]
    assert traced["spans"] == [["http.client", f"GET {server.url}/echo", 200]]
    assert traced["headers"]["sentry-trace"].startswith(traced["trace"])
    assert traced["trace"] in traced["headers"]["baggage"]
