"""Certificates and contexts: as with the stock adapter, and never shared when they differ."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3.exceptions import InsecureRequestWarning

from requests_h2.tls import _loaded_context
from tests.support.certs import Certificates
from tests.support.peer import MakeSession, Request, StartPeer, serve


def answer(request: Request) -> Any:
    return 200, {}, b"answer"


def get(session: requests.Session, url: str, **options: Any) -> requests.Response:
    return session.get(url, timeout=10, **options)


def test_unknown_ca_is_refused(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(answer))
    with pytest.raises(requests.exceptions.SSLError):
        get(session, started.url, verify=True)
    assert started.requests == []


def test_verify_path_and_folder(
    session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    started = peer(serve(answer))
    for verify in (certs.ca_path, certs.ca_folder):
        response = get(session, started.url, verify=verify)
        assert (response.content, response.raw.version) == (b"answer", 20)
    with pytest.raises(requests.exceptions.SSLError):
        get(session, started.url, verify=certs.other_ca_path)
    with pytest.raises(OSError, match="invalid path"):
        get(session, started.url, verify="/no/such/file")


def test_verify_false_warns(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(answer))
    session.verify = False
    with pytest.warns(InsecureRequestWarning):
        response = get(session, started.url)
    assert (response.content, response.raw.version) == (b"answer", 20)
    with pytest.warns(InsecureRequestWarning):
        get(session, started.url)


def test_verified_requests_do_not_warn(session: requests.Session, peer: StartPeer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get(session, peer(serve(answer)).url)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_ca_bundle_of_the_environment(
    session: requests.Session,
    peer: StartPeer,
    certs: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    session.verify = True
    monkeypatch.setenv(name, certs.ca_path)
    assert get(session, peer(serve(answer)).url).content == b"answer"


def test_client_certificate(
    session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    started = peer(serve(answer), context=certs.server_context(client_certificate=True))
    pair = (certs.client_cert_path, certs.client_key_path)
    for cert in (pair, certs.client_pem_path):
        response = get(session, started.url, cert=cert)
        assert (response.content, response.raw.version) == (b"answer", 20)
    # With TLS 1.3 the refusal comes after the client's side of the handshake is done.
    with pytest.raises(requests.ConnectionError):
        get(session, started.url)
    with pytest.raises(OSError, match="invalid path"):
        get(session, started.url, cert="/no/such/file")


def test_ssl_context_argument(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    started = peer(serve(answer))
    with requests.Session() as session:
        session.mount("https://", make_adapter(ssl_context=certs.client_context()))
        response = get(session, started.url)
    assert (response.content, response.raw.version) == (b"answer", 20)


def test_ssl_context_argument_decides(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    context = certs.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    started = peer(serve(answer))
    with requests.Session() as session:
        session.mount("https://", make_adapter(ssl_context=context))
        get(session, started.url, stream=True).close()
        assert started.connection().channel.tls.version() == "TLSv1.2"


def test_ssl_context_that_delegates(
    make_session: MakeSession, peer: StartPeer, certs: Certificates
) -> None:
    """As wrappers do that log or count."""

    class Wrapper:
        def __init__(self, context: ssl.SSLContext) -> None:
            self.__dict__["context"] = context

        def __getattr__(self, name: str) -> Any:
            return getattr(self.context, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(self.context, name, value)

    session = make_session(ssl_context=Wrapper(certs.client_context()))
    assert get(session, peer(serve(answer)).url).raw.version == 20


def test_ssl_context_through_init_poolmanager(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    base = type(make_adapter())

    class Own(base):  # type: ignore[misc, valid-type]
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, ssl_context=certs.client_context(), **kwargs)

    started = peer(serve(answer))
    with requests.Session() as session:
        session.mount("https://", Own())
        assert get(session, started.url).raw.version == 20


def test_ssl_context_that_a_subclass_keeps_under_the_usual_name(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    """As HTTPie's adapter does; ours must not set that attribute meanwhile."""
    base = type(make_adapter())

    class Own(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self._ssl_context = certs.client_context()
            self._ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2
            super().__init__()

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, ssl_context=self._ssl_context, **kwargs)

    started = peer(serve(answer))
    with requests.Session() as session:
        session.mount("https://", Own())
        get(session, started.url, stream=True).close()
        assert started.connection().channel.tls.version() == "TLSv1.2"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What CAs are loaded from, each time that happens; contexts made before are forgotten."""
    _loaded_context.cache_clear()
    loaded: list[Any] = []
    load = ssl.SSLContext.load_verify_locations

    def record(context: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
        loaded.append((args or tuple(kwargs.values()))[0])
        load(context, *args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", record)
    return loaded


def test_a_bundle_is_loaded_once(
    make_session: Callable[..., requests.Session],
    peer: StartPeer,
    certs: Certificates,
    loads: list[Any],
) -> None:
    """It takes longer than a handshake; other connections, origins and sessions use it too."""
    for started in (peer(serve(answer)), peer(serve(answer))):
        for _ in range(2):
            with make_session() as session:
                assert get(session, started.url, verify=certs.ca_path).raw.version == 20
    assert loads == [certs.ca_path]


def test_a_bundle_that_changes_is_loaded_again(
    make_session: Callable[..., requests.Session],
    peer: StartPeer,
    certs: Certificates,
    loads: list[Any],
    tmp_path: Path,
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(certs.ca_path).read_bytes())
    started = peer(serve(answer))
    assert get(make_session(), started.url, verify=str(bundle)).content == b"answer"
    bundle.write_bytes(Path(certs.other_ca_path).read_bytes() + b"\n")
    with pytest.raises(requests.exceptions.SSLError):
        get(make_session(), started.url, verify=str(bundle))
    assert loads == [str(bundle)] * 2


def test_what_differs_shares_no_context(
    make_session: Callable[..., requests.Session],
    peer: StartPeer,
    certs: Certificates,
    loads: list[Any],
) -> None:
    """Not with another bundle, without verification, nor with a client certificate."""
    started = peer(serve(answer))
    contexts = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        for options in (
            {"verify": certs.ca_path},
            {"verify": certs.ca_folder},
            {"verify": False},
            {"verify": certs.ca_path, "cert": certs.client_pem_path},
            {"verify": certs.ca_path, "cert": certs.client_pem_path},
        ):
            with get(make_session(), started.url, stream=True, **options) as response:
                contexts.add(response.raw._fp._connection.sock.context)
    assert len(contexts) == 5
    with pytest.raises(requests.exceptions.SSLError):
        get(make_session(), started.url, verify=certs.other_ca_path)
