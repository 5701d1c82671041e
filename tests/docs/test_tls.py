"""The blocks of docs/tls.rst."""

from __future__ import annotations

import hashlib
import shutil
import ssl
from pathlib import Path

import pytest
import requests

from tests.support.certs import Certificates
from tests.support.pages import Example
from tests.support.peer import Peer, StartPeer, serve

PAGE = "tls.rst"

answer = serve(lambda request: (200, {}, b"fine"))


@pytest.fixture
def files(certs: Certificates, folder: Path) -> None:
    """The working folder has the files that the page names."""
    names = {
        "internal-ca.pem": certs.ca_path,
        "client.pem": certs.client_cert_path,
        "client.key": certs.client_key_path,
    }
    for name, path in names.items():
        shutil.copy(path, folder / name)


@pytest.mark.usefixtures("files")
def test_verify_and_cert(
    example: Example, session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    started = peer(answer, context=certs.server_context(client_certificate=True))
    assert example(started.url, session=session)["response"].raw.version == 20


@pytest.mark.usefixtures("files")
def test_a_context(example: Example, session: requests.Session, peer: StartPeer) -> None:
    context = example(session=session)["context"]
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    started = peer(answer)
    assert session.get(started.url, timeout=10).raw.version == 20
    cipher, _, _ = started.connection().channel.tls.cipher()
    assert cipher in {each["name"] for each in context.get_ciphers()}
    assert "GCM" in cipher or "CHACHA20" in cipher


def test_truststore(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    certs: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What OpenSSL takes for the system's.
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca_path)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    example(session=session)
    assert session.get(peer(answer).url, verify=True, timeout=10).raw.version == 20


def test_a_fingerprint(
    example: Example, session: requests.Session, peer: StartPeer, certs: Certificates
) -> None:
    pem = Path(certs.cert_path).read_text(encoding="ascii")
    der = ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END") + 26])
    right, wrong = hashlib.sha256(der).hexdigest(), hashlib.sha256(b"").hexdigest()
    started = peer(answer)
    example(started.url, session=session, fingerprint=right)
    assert session.get(started.url, timeout=10).raw.version == 20
    example(started.url, session=session, fingerprint=wrong)
    with pytest.raises(requests.exceptions.SSLError, match="Fingerprints did not match"):
        session.get(started.url, timeout=10)


def test_another_name(example: Example, session: requests.Session, peer: StartPeer) -> None:
    started: Peer = peer(answer)
    done = example(started.url, session=session, name="localhost")
    assert done["response"].raw.version == 20
    assert started.server_names == ["localhost"]
    assert started.request.authority == "localhost"
    with pytest.raises(requests.exceptions.SSLError, match="elsewhere"):
        example(started.url, session=session, name="elsewhere.example")


def test_what_was_agreed_on(
    example: Example,
    session: requests.Session,
    peer: StartPeer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    example(peer(answer).url, session=session)
    version, cipher, alpn = capsys.readouterr().out.split()
    assert (version, alpn) == ("TLSv1.3", "h2")
    assert cipher.startswith("TLS_")
