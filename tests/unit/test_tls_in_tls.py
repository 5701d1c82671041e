"""The transport for TLS inside TLS, over a tunnel that takes and gives what a test lets it."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from urllib3.util.ssltransport import SSLTransport

from requests_h2.tls import OFFERED_PROTOCOLS, TLS_RECORD, ALPNContext
from requests_h2.tls_in_tls import TLSInTLSTransport, transport
from tests.support.certs import Certificates

EVERYTHING = 1 << 30
PATTERN = bytes(range(256)) * 1024  # 256 KiB


class Server:
    """The origin's end of the inner TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.received = b""
        self.alert: ssl.SSLError | None = None
        self._established = False

    def feed(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if not self._established:
                self.tls.do_handshake()
                self._established = True
            while True:
                piece = self.tls.read(65536)
                if not piece:
                    return
                self.received += piece
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            self.alert = error

    def output(self) -> bytes:
        return self._outgoing.read()


class Tunnel:
    """The SSLSocket to the proxy, in front of the origin."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.arrived = bytearray()  # what there is to read
        self.room = EVERYTHING  # octets that are taken until there is no more
        self.piece = TLS_RECORD  # octets at once, either way
        self.ended = False
        self.closed = False
        self.error: OSError | None = None  # what sending raises
        self._refused = b""

    # What SSLTransport uses for the handshake.

    def sendall(self, data: bytes) -> None:
        self._server.feed(data)
        self.arrived += self._server.output()

    def recv(self, size: int) -> bytes:
        taken = bytes(self.arrived[:size])
        del self.arrived[:size]
        return taken

    # What SSLSocketTransport uses.

    def settimeout(self, seconds: float) -> None:
        assert seconds == 0

    def recv_into(self, buffer: memoryview) -> int:
        if not self.arrived and not self.ended:
            raise ssl.SSLWantReadError()
        taken = self.recv(min(len(buffer), self.piece))
        buffer[: len(taken)] = taken
        return len(taken)

    def send(self, data: memoryview) -> int:
        if self.error is not None:
            raise self.error
        # OpenSSL's rule: what was refused has to come again.
        assert bytes(data) == self._refused or not self._refused
        size = min(len(data), self.room, self.piece)
        if not size:
            self._refused = bytes(data)
            raise ssl.SSLWantWriteError()
        self._refused = b""
        self.room -= size
        self._server.feed(bytes(data[:size]))
        self.arrived += self._server.output()
        return size

    def pending(self) -> int:
        return 0

    def fileno(self) -> int:
        return 77

    def shutdown(self, how: int) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True


class Link:
    """Both ends and what lies between."""

    def __init__(self, certs: Certificates, alpn: tuple[str, ...] = ("h2",)) -> None:
        self.server = Server(certs.server_context(alpn))
        self.tunnel = Tunnel(self.server)
        context: Any = ALPNContext(certs.client_context(), OFFERED_PROTOCOLS)
        self.sock = SSLTransport(self.tunnel, context, "localhost")  # type: ignore[arg-type]
        self.client = TLSInTLSTransport(self.sock)
        self._buffer = memoryview(bytearray(128 << 10))

    def say(self, data: bytes) -> None:
        """The origin sends something."""
        self.server.tls.write(data)
        self.tunnel.arrived += self.server.output()

    def read(self, size: int = 128 << 10) -> bytes | None:
        got = self.client.receive_into(self._buffer[:size])
        return None if got is None else bytes(self._buffer[:got])

    def read_all(self, size: int = 128 << 10) -> bytes:
        whole = b""
        while piece := self.read(size):
            whole += piece
        return whole


MakeLink = Callable[..., Link]


@pytest.fixture
def link(certs: Certificates) -> Link:
    return Link(certs)


def test_it_is_chosen_for_ssltransports_only(link: Link) -> None:
    assert isinstance(transport(link.sock), TLSInTLSTransport)
    assert not isinstance(transport(link.tunnel), TLSInTLSTransport)


def test_the_offer_and_the_certificate(link: Link) -> None:
    assert link.client.sock.selected_alpn_protocol() == "h2"
    assert link.client.sock.getpeercert()["subjectAltName"]
    assert link.client.fileno() == 77


def test_nothing_to_read(link: Link) -> None:
    assert link.read() is None  # TLS 1.3's tickets are no data
    assert not link.client.pending()
    assert link.read() is None


@pytest.mark.parametrize("piece", [1, 5, 1000, TLS_RECORD])
def test_records_in_pieces(link: Link, piece: int) -> None:
    data = PATTERN[: 3 * TLS_RECORD + 17]
    link.tunnel.piece = piece
    link.say(data)
    assert link.read_all() == data
    assert link.read() is None


def test_a_part_of_a_record_is_no_end(link: Link) -> None:
    link.say(b"hello")
    record, link.tunnel.arrived = link.tunnel.arrived, bytearray()
    for octet in record[:-1]:
        link.tunnel.arrived.append(octet)
        assert link.read() is None
        assert not link.client.pending()
    link.tunnel.arrived.append(record[-1])
    assert link.read() == b"hello"


def test_what_poll_does_not_see_is_pending(link: Link) -> None:
    link.say(b"first")
    link.say(b"second")
    assert link.read(3) == b"fir"
    assert link.client.pending()  # in the SSL object
    assert link.read() == b"st"
    assert link.client.pending()  # a record before it
    assert link.read() == b"second"
    assert not link.client.pending()


def test_pending_in_the_tunnel(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link.tunnel, "pending", lambda: 1)
    assert link.client.pending()


def test_what_came_with_the_handshake_is_not_lost(certs: Certificates) -> None:
    """A server may send its SETTINGS in the flight that ends its handshake."""

    class Eager(Server):
        def feed(self, data: bytes) -> None:
            before = self._established
            super().feed(data)
            if self._established and not before:
                self.tls.write(b"SETTINGS")

    server = Eager(certs.server_context(("h2",)))
    tunnel = Tunnel(server)
    sock = SSLTransport(tunnel, certs.client_context(), "localhost")  # type: ignore[arg-type]
    # As if SSLTransport had read on.
    sock.incoming.write(bytes(tunnel.arrived))
    tunnel.arrived.clear()
    client = TLSInTLSTransport(sock)
    assert client.pending()
    buffer = memoryview(bytearray(100))
    assert client.receive_into(buffer) == len(b"SETTINGS")


def test_close_notify_is_the_end(link: Link) -> None:
    link.say(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        link.server.tls.unwrap()
    link.tunnel.arrived += link.server.output()
    assert link.read() == b"last"
    assert link.read() == b""
    assert link.read() == b""


def test_so_is_the_end_of_the_tunnel(link: Link) -> None:
    link.say(b"last")
    link.tunnel.ended = True
    assert link.read() == b"last"
    assert link.read() == b""


def test_also_within_a_record(link: Link) -> None:
    link.say(b"never")
    del link.tunnel.arrived[-1]
    link.tunnel.ended = True
    assert link.read() == b""


def test_a_broken_record_is_an_error_and_an_alert(link: Link) -> None:
    link.say(b"hello")
    link.tunnel.arrived[-1] ^= 1
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        link.read()
    assert "ALERT_BAD_RECORD_MAC" in str(link.server.alert)


def test_an_alert_that_cannot_be_sent_hides_nothing(link: Link) -> None:
    link.say(b"hello")
    link.tunnel.arrived[-1] ^= 1
    link.tunnel.error = BrokenPipeError()
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        link.read()


def test_answers_that_are_not_read_are_bounded(link: Link) -> None:
    """A flood of KeyUpdate, which Python's ssl cannot send: what it leaves behind."""
    link.tunnel.room = 0
    for size in (10, 60_000):
        link.sock.outgoing.write(bytes(size))
        assert link.read() is None
    # What the client itself has to say is not counted.
    assert link.client.send(memoryview(PATTERN)) == 0
    assert link.read() is None
    link.sock.outgoing.write(bytes(10_000))
    with pytest.raises(ConnectionError, match="TLS messages"):
        link.read()


def test_all_is_sent_at_once(link: Link) -> None:
    assert link.client.send(memoryview(PATTERN)) == len(PATTERN)
    assert link.server.received == PATTERN


def test_nothing_counts_before_all_has_left(link: Link) -> None:
    """Who thinks that all is sent does not wait for room."""
    link.tunnel.room = 10
    data = memoryview(PATTERN)[:50_000]
    for _ in range(3):
        assert link.client.send(data) == 0
    link.tunnel.room = 40_000
    assert link.client.send(data) == 0
    link.tunnel.room = EVERYTHING
    assert link.client.send(data) == len(data)
    assert link.client.send(memoryview(b"and more")) == len(b"and more")
    assert link.server.received == bytes(data) + b"and more"


def test_reading_goes_on_while_there_is_no_room(link: Link) -> None:
    link.tunnel.room = 100
    data = memoryview(PATTERN)
    assert link.client.send(data) == 0
    link.say(b"stop that")
    assert link.read() == b"stop that"
    link.tunnel.room = EVERYTHING
    assert link.client.send(data) == len(data)
    assert link.server.received == PATTERN


def test_any_pieces_both_ways(link: Link) -> None:
    rng = random.Random(1)
    outbound, expected, got = memoryview(PATTERN), b"", b""
    while outbound or len(got) < len(expected):
        link.tunnel.piece = rng.choice((1, 100, TLS_RECORD))
        link.tunnel.room = rng.choice((0, 1, 5000, 60_000))
        if rng.random() < 0.5 and len(expected) < 500_000:
            data = rng.randbytes(rng.randrange(1, 30_000))
            expected += data
            link.say(data)
        outbound = outbound[link.client.send(outbound[:40_000]) if outbound else 0 :]
        got += link.read(rng.choice((1, 1000, 100_000))) or b""
    assert (got, link.server.received) == (expected, PATTERN)


def test_a_tunnel_that_breaks(link: Link) -> None:
    link.tunnel.error = BrokenPipeError()
    with pytest.raises(BrokenPipeError):
        link.client.send(memoryview(b"hello"))


def test_the_end(link: Link) -> None:
    link.client.shutdown()
    assert link.tunnel.ended
    assert not link.tunnel.closed
    link.client.close()
    assert link.tunnel.closed
