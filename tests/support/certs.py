"""Throw-away certificates: one CA a process, and what it signed.

``certificates()`` makes everything on first use and removes it at exit. The files are readable by
other users because web servers drop their privileges before they serve.
"""

from __future__ import annotations

import atexit
import datetime
import functools
import hashlib
import pathlib
import shutil
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import trustme
from cryptography import x509

ALPN_BOTH = ("h2", "http/1.1")


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files. The server certificate names localhost, 127.0.0.1, ::1 and
    *.example.com.
    """

    folder: pathlib.Path
    ca_path: str
    cert_path: str
    key_path: str
    #: Certificate chain and key of a client, signed by the same CA.
    client_cert_path: str
    client_key_path: str
    #: Chain and key in one file, as ``cert="file.pem"`` expects.
    client_pem_path: str
    #: A CA that signed nothing here but ``other_pem_path``, for the same names.
    other_ca_path: str
    other_pem_path: str
    wrong_host_pem_path: str
    expired_pem_path: str
    #: A folder as ``c_rehash`` leaves it, for ``verify=folder``.
    ca_folder: str

    def server_context(
        self,
        alpn: Sequence[str] | None = ALPN_BOTH,
        *,
        client_certificate: bool = False,
        certificate: str | None = None,
    ) -> ssl.SSLContext:
        """A server context. ``certificate`` is one PEM file with the chain and its key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if certificate is None:
            context.load_cert_chain(self.cert_path, self.key_path)
        else:
            context.load_cert_chain(certificate)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if client_certificate:
            context.load_verify_locations(self.ca_path)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self) -> ssl.SSLContext:
        """A client context that trusts the CA."""
        return ssl.create_default_context(cafile=self.ca_path)


@functools.lru_cache(maxsize=1)
def certificates() -> Certificates:
    """The certificates of this process."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="requests-h2-certs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)

    ca = trustme.CA()
    server = ca.issue_cert("localhost", "127.0.0.1", "::1", "*.example.com")
    other_ca = trustme.CA()
    other = other_ca.issue_cert("localhost", "127.0.0.1", "::1")
    client = ca.issue_cert("client@example.org")
    wrong_host = ca.issue_cert("elsewhere.example")
    long_ago = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
    expired = ca.issue_cert("localhost", "127.0.0.1", not_after=long_ago, not_before=long_ago)

    def write(name: str, *blobs: trustme.Blob) -> str:
        path = folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        path.chmod(0o644)
        return str(path)

    ca_folder = folder / "cas"
    ca_folder.mkdir(mode=0o755)
    (ca_folder / f"{_subject_hash(ca.cert_pem.bytes())}.0").write_bytes(ca.cert_pem.bytes())

    return Certificates(
        folder=folder,
        ca_path=write("ca.pem", ca.cert_pem),
        cert_path=write("server.pem", *server.cert_chain_pems),
        key_path=write("server.key", server.private_key_pem),
        client_cert_path=write("client.pem", *client.cert_chain_pems),
        client_key_path=write("client.key", client.private_key_pem),
        client_pem_path=write("client-both.pem", client.private_key_and_cert_chain_pem),
        other_ca_path=write("other-ca.pem", other_ca.cert_pem),
        other_pem_path=write("other.pem", other.private_key_and_cert_chain_pem),
        wrong_host_pem_path=write("wrong-host.pem", wrong_host.private_key_and_cert_chain_pem),
        expired_pem_path=write("expired.pem", expired.private_key_and_cert_chain_pem),
        ca_folder=str(ca_folder),
    )


def _subject_hash(pem: bytes) -> str:
    """What ``openssl x509 -hash`` prints: the name under which OpenSSL looks in a CA folder.

    SHA-1 of the subject in OpenSSL's canonical form: UTF-8 strings in lower case with single
    spaces, without the outer SEQUENCE. Its first four bytes are read as little-endian.
    """
    subject = x509.load_pem_x509_certificate(pem).subject
    canonical = x509.Name(
        x509.NameAttribute(each.oid, " ".join(str(each.value).lower().split())) for each in subject
    ).public_bytes()
    header = 2 if canonical[1] < 0x80 else 2 + (canonical[1] & 0x7F)
    digest = hashlib.sha1(canonical[header:], usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"
