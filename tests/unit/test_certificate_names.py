"""For which hosts a certificate is good: no more than OpenSSL would say in a handshake."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme

from requests_h2.tls import certificate_names

CASES = [
    ("www.example.com", "www.example.com", True),
    ("www.example.com", "WWW.example.COM", True),
    ("www.example.com", "example.com", False),
    ("*.example.com", "www.example.com", True),
    ("*.example.com", "example.com", False),
    ("*.example.com", "a.b.example.com", False),
    ("*.com", "example.com", False),
    ("127.0.0.1", "127.0.0.1", True),
    ("127.0.0.1", "127.0.0.2", False),
    ("::1", "0:0::1", True),
]


def as_in_a_handshake(identity: str, host: str) -> tuple[bool, dict[str, Any] | None]:
    """Whether OpenSSL accepts it, and what ``getpeercert`` makes of it."""
    ca = trustme.CA()
    client, server = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.check_hostname = bool(host)
    ca.configure_trust(client)
    ca.issue_cert(identity).configure_cert(server)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname=host or None)
    theirs = server.wrap_bio(up, down, server_side=True)
    for _ in range(3):
        for each in (ours, theirs):
            try:
                each.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False, None
    return True, ours.getpeercert()


@pytest.mark.parametrize(("identity", "host", "good"), CASES)
def test_as_openssl(identity: str, host: str, good: bool) -> None:
    _, certificate = as_in_a_handshake(identity, "")
    assert certificate_names(certificate, host) is good
    assert as_in_a_handshake(identity, host)[0] is good


@pytest.mark.parametrize("name", ["w*.example.com", "*w.example.com", "www.*.com", "*.*.com", "*"])
def test_other_wildcards(name: str) -> None:
    certificate = {"subjectAltName": (("DNS", name),)}
    assert not certificate_names(certificate, "www.example.com")


@pytest.mark.parametrize("certificate", [None, {}, {"subject": ((("commonName", "a.example"),),)}])
def test_certificates_without_names(certificate: dict[str, Any] | None) -> None:
    """``getpeercert`` gives none or an empty one when nothing was verified."""
    assert not certificate_names(certificate, "a.example")
