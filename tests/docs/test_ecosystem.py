"""The blocks of docs/ecosystem.rst; ``tests/compat`` runs the libraries themselves."""

from __future__ import annotations

import pickle
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from requests_h2 import HTTP2Adapter
from tests.support.certs import Certificates
from tests.support.pages import Example
from tests.support.peer import Request, StartPeer, serve

PAGE = "ecosystem.rst"


def answer(request: Request) -> Any:
    return 200, {"cache-control": "max-age=600", "date": formatdate(usegmt=True)}, b"answer"


def test_combining_adapters(example: Example, peer: StartPeer, certs: Certificates) -> None:
    started = peer(serve(answer))
    with example()["session"] as session:
        session.verify = certs.ca_path
        for number in range(2):
            response = session.get(started.url, timeout=10)
            assert (response.raw.version, response.from_cache) == (20, number > 0)
        session.mount(started.url, session.get_adapter("https://intranet.example.com"))
        with session.get(started.url, stream=True, timeout=10) as response:
            assert response.raw.reader.connection.sock.getsockname()[0] == "127.0.0.2"


def test_opentelemetry(example: Example, session: requests.Session, peer: StartPeer) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    note_version = example()["note_version"]
    try:
        # The block instruments with the provider of the process.
        RequestsInstrumentor().uninstrument()
        RequestsInstrumentor().instrument(tracer_provider=provider, response_hook=note_version)
        session.get(peer(serve(answer)).url, timeout=10)
    finally:
        RequestsInstrumentor().uninstrument()
        provider.shutdown()
    (span,) = exporter.get_finished_spans()
    assert span.attributes["network.protocol.version"] == "2"


@pytest.mark.filterwarnings(r"ignore:\s*Eventlet is deprecated")  # Sentry looks at it
def test_sentry(example: Example, peer: StartPeer, certs: Certificates) -> None:
    """Where Sentry is not set up it does no harm; ``tests/compat`` sets it up."""
    with requests.Session() as session:
        session.mount("https://", example()["TracedHTTP2Adapter"]())
        response = session.get(peer(serve(answer)).url, verify=certs.ca_path, timeout=10)
    assert (response.raw.version, response.text) == (20, "answer")


def test_certificate_from_memory(example: Example, peer: StartPeer, certs: Certificates) -> None:
    started = peer(serve(answer), context=certs.server_context(client_certificate=True))
    context = example()["context_with"](Path(certs.client_pem_path).read_bytes())
    with requests.Session() as session:
        session.mount("https://", HTTP2Adapter(ssl_context=context))
        response = session.get(started.url, verify=certs.ca_path, timeout=10)
    assert response.raw.version == 20


def test_context_in_workers(
    example: Example,
    peer: StartPeer,
    certs: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
) -> None:
    (folder / "internal-ca.pem").write_bytes(Path(certs.ca_path).read_bytes())
    kind = example(__name__=__name__)["InternalAdapter"]
    # As a worker finds it.
    monkeypatch.setitem(globals(), "InternalAdapter", kind)
    with requests.Session() as session:
        session.mount("https://", pickle.loads(pickle.dumps(kind())))
        assert session.get(peer(serve(answer)).url, timeout=10).raw.version == 20
