"""Failures that no server of the wire tests can bring about, in words."""

from __future__ import annotations

import socket
import ssl

import pytest

from requests_h2.exceptions import ErrorCode, FaultKind, StreamFault
from requests_h2.remedies import Finding, of_complaint, of_error
from requests_h2.witness import Complaint, Witness


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] text")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (tls("TLSV1_UNRECOGNIZED_NAME"), "TLS: the server does not know this host."),
        (tls("TLSV1_ALERT_NO_APPLICATION_PROTOCOL"), "TLS: the server speaks neither"),
        (tls("SSL/TLS_ALERT_HANDSHAKE_FAILURE"), "TLS: the server refused the handshake."),
        (tls("SOMETHING_NEW"), "TLS: SOMETHING_NEW."),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "name: example.com does not resolve."),
        (ConnectionResetError(104, "Connection reset by peer"), "connection: Connection reset"),
        (OSError("a text with a s3cret"), "connection: none."),
    ],
)
def test_errors(error: Exception, expected: str) -> None:
    finding = of_error(error, Witness(), host="example.com", proxy=None, timeout=1)
    assert str(finding).startswith(f"!! {expected}")
    assert "s3cret" not in str(finding)


def test_a_server_that_allows_no_streams() -> None:
    witness = Witness()
    witness.address, witness.tls, witness.alpn = ("192.0.2.1", 443), "TLSv1.3", "h2"
    witness.settings = {3: 0}
    for error in (StreamFault(FaultKind.NOT_SENT, "x:443", "takes no stream now"), TimeoutError()):
        finding = of_error(error, witness, host="x", proxy=None, timeout=1)
        assert "MAX_CONCURRENT_STREAMS 0" in finding.text


def test_errors_of_a_proxy() -> None:
    for error, expected in {
        OSError("a text with a s3cret"): "no connection through it",
        socket.gaierror(socket.EAI_NONAME, "unknown"): "proxy.example does not resolve",
    }.items():
        finding = of_error(error, Witness(), host="x", proxy="proxy.example", timeout=1)
        assert finding.text == expected
        assert "s3cret" not in str(finding)


def test_errors_that_refer_to_each_other() -> None:
    one, two = ValueError(), ValueError()
    one.__cause__, two.__cause__ = two, one
    assert not of_error(one, Witness(), host="x", proxy=None, timeout=1).ok


@pytest.mark.parametrize("code", [*ErrorCode, 0x99])
def test_every_code_has_advice(code: int) -> None:
    assert not of_complaint(Complaint("GOAWAY", code, b"")).ok


def test_a_line_commands_no_terminal() -> None:
    assert str(Finding("topic", "a\x1b[2J\nb\u202e")) == "ok topic: a\\x1b[2J\\nb\\u202e"
