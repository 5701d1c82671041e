"""Fault table, rows 47-59: fields of responses, informational responses, trailers, our fields."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, RstStreamFrame
from requests.adapters import HTTPAdapter
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from tests.support.channel import Closed
from tests.support.peer import MakeSession, Peer, PeerConnection, Request, StartPeer, serve
from tests.support.threads import PROMPT, WAIT, background

PROTOCOL_ERROR, CANCEL, ENHANCE_YOUR_CALM = 1, 8, 11

Fields = list[tuple[str | bytes, str | bytes]]
Misbehave = Callable[[PeerConnection, Request], None]


def once(status: int = 200, headers: Any = (), body: bytes = b"") -> Callable[[Any], None]:
    """Answer each request with exactly this, Content-Length only when it is among the headers."""

    def script(conn: PeerConnection) -> None:
        while True:
            conn.respond(conn.next_request(), status, headers, body)

    return script


class Harm:
    """A misbehaving response between two siblings of which one was there before."""

    def __init__(self, session: requests.Session, peer: StartPeer) -> None:
        self._session = session
        self._peer = peer

    def __call__(
        self,
        misbehave: Misbehave,
        *,
        error: type[Exception] = requests.ConnectionError,
        code: int | None = PROTOCOL_ERROR,
        text: str = "PROTOCOL_ERROR (0x1)",
    ) -> Exception:
        """Let the second of three requests be answered like this; returns its exception.

        :param code: of the RST_STREAM that must be sent, None when the stream may be over.
        """
        sent: list[float] = []

        def script(conn: PeerConnection) -> None:
            good = conn.next_request()
            bad = conn.next_request()
            conn.send_headers(good, 200, {"x-same": "value"})
            sent.append(time.monotonic())
            misbehave(conn, bad)
            if code is not None:
                conn.wait_for(RstStreamFrame, stream_id=bad.stream_id)
                # What was on its way is dropped, and HPACK goes on.
                conn.send_data(bad, b"late")
                conn.send_headers(bad, None, {"x-late": "trailer"}, end_stream=True)
            conn.send_data(good, b"good", end_stream=True)
            conn.respond(
                conn.next_request(), 200, {"x-same": "value", "x-late": "trailer"}, b"next"
            )

        started = self._peer(script)
        session = self._session
        good = background(lambda: session.get(started.url + "/good", timeout=WAIT))
        conn = started.connection()
        conn.wait_for(HeadersFrame, stream_id=1)
        with pytest.raises(error) as caught:
            session.get(started.url + "/bad", timeout=WAIT)
        assert time.monotonic() - sent[0] < PROMPT
        assert isinstance(caught.value, requests.RequestException)
        assert not isinstance(caught.value, requests.Timeout)
        for part in (f"127.0.0.1:{started.port}", "stream 3", text):
            assert part in str(caught.value)
        response = good.result(WAIT)
        assert (response.content, response.headers["x-same"]) == (b"good", "value")
        response = session.get(started.url + "/next", timeout=WAIT)
        assert (response.content, response.headers["x-same"]) == (b"next", "value")
        assert response.headers["x-late"] == "trailer"
        # The connection is kept, nothing is sent twice, nobody else is reset.
        assert started.accepted == 1
        assert [request.path for request in started.requests] == ["/good", "/bad", "/next"]
        resets = [(frame.stream_id, frame.error_code) for frame in conn.received(RstStreamFrame)]
        assert resets == ([] if code is None else [(3, code)])
        return caught.value


@pytest.fixture
def harms_only_itself(session: requests.Session, peer: StartPeer) -> Harm:
    return Harm(session, peer)


def headers_of(fields: Fields) -> Misbehave:
    return lambda conn, request: conn.send_headers(request, None, fields)


STATUS_200 = b"\x88"  # RFC 7541 appendix A: index 8 of the static table


# -- row 47 -------------------------------------------------------------------------------

BAD_STATUSES = ["abc", "", "99", "099", "2000", "+200", "-200", "1000", "101", "20", "2e2", " 200"]
BAD_STATUSES += ["200 ", "20\xb2", "0x1", "1xx", "200 OK"]


@pytest.mark.parametrize("status", BAD_STATUSES)
def test_047_bad_status(harms_only_itself: Harm, engine: str, status: str) -> None:
    error = harms_only_itself(headers_of([(":status", status), ("x-a", "b")]))
    # nghttp2 does not tell what it dislikes.
    assert (":status" if engine == "h2" else "nghttp2 calls the response malformed") in str(error)


def test_047_missing_status(harms_only_itself: Harm) -> None:
    harms_only_itself(headers_of([("x-a", "b")]))


def test_047_bad_status_at_the_end_of_a_stream(harms_only_itself: Harm) -> None:
    def misbehave(conn: PeerConnection, request: Request) -> None:
        conn.send_headers(request, "2000", end_stream=True)

    harms_only_itself(misbehave, code=None)


@pytest.mark.parametrize("status", [200, 299, 499, 599, 600, 999])
def test_047_any_three_digits(session: requests.Session, peer: StartPeer, status: int) -> None:
    response = session.get(peer(once(status, (), b"body")).url, timeout=WAIT)
    assert (response.status_code, response.content) == (status, b"body")


# -- row 48 -------------------------------------------------------------------------------

OK: tuple[str | bytes, str | bytes] = (":status", "200")
MALFORMED: dict[str, Fields] = {
    "upper case": [OK, ("X-Upper", "y")],
    "space in a name": [OK, ("x y", "z")],
    "colon in a name": [OK, ("x:y", "z")],
    "parenthesis in a name": [OK, ("a(", "z")],
    "control in a name": [OK, ("a\x01", "z")],
    "line feed in a name": [OK, ("a\nb", "z")],
    "octet above ASCII in a name": [OK, (b"caf\xe9", b"z")],
    "empty name": [OK, ("", "z")],
    "line feed in a value": [OK, ("x", "y\nset-cookie: a=b")],
    "carriage return in a value": [OK, ("x", "y\rz")],
    "response splitting": [OK, ("x", "y\r\n\r\nHTTP/1.1 200 OK")],
    "nul in a value": [OK, ("x", "y\0z")],
    "control in a value": [OK, ("x", "y\x01z")],
    "delete in a value": [OK, ("x", "y\x7fz")],
    "line feed around a value": [OK, ("x", "\ny\n")],
    "request pseudo-header": [OK, (":path", "/")],
    "request pseudo-header first": [(":method", "GET"), OK],
    "unknown pseudo-header": [OK, (":x", "y")],
    "pseudo-header late": [("x", "y"), OK],
    "two statuses": [OK, OK],
    "two different statuses": [OK, (":status", "404")],
    "connection": [OK, ("connection", "close")],
    "keep-alive": [OK, ("keep-alive", "timeout=5")],
    "proxy-connection": [OK, ("proxy-connection", "close")],
    "upgrade": [OK, ("upgrade", "h2c")],
    "transfer-encoding": [OK, ("transfer-encoding", "chunked")],
    "te": [OK, ("te", "gzip")],
    "content-length no number": [OK, ("content-length", "abc")],
    "content-length negative": [OK, ("content-length", "-1")],
    "content-length empty": [OK, ("content-length", "")],
    "content-length endless": [OK, ("content-length", "9" * 5000)],
    "content-lengths that disagree": [OK, ("content-length", "4"), ("content-length", "5")],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
def test_048_malformed_fields(harms_only_itself: Harm, fields: Fields) -> None:
    error = harms_only_itself(headers_of(fields))
    assert not any(sign in str(error) for sign in "\r\n\0\x01")


@pytest.mark.parametrize("value", [" v", "v ", "\tv\t", "  v  "])
def test_048_surrounding_spaces_are_stripped(
    make_session: MakeSession, peer: StartPeer, harms_only_itself: Harm, engine: str, value: str
) -> None:
    """By h2; nghttp2 keeps to RFC 9113 section 8.2.1, which makes such a response malformed."""
    if engine == "nghttp2":
        harms_only_itself(headers_of([OK, ("x-a", value)]))
        return
    response = make_session().get(peer(once(200, [("x-a", value)], b"body")).url, timeout=WAIT)
    assert (response.headers["x-a"], response.content) == ("v", b"body")


def test_048_spaces_around_a_content_length(
    session: requests.Session, peer: StartPeer, engine: str, harms_only_itself: Harm
) -> None:
    if engine == "nghttp2":  # it refuses them itself
        harms_only_itself(headers_of([(":status", "200"), ("content-length", " 4 ")]))
        return

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200, [("content-length", " 4 ")], b"body")

    response = session.get(peer(script).url, timeout=WAIT)
    assert response.content == b"body"
    assert response.headers["content-length"] == "4"


def test_048_padding_that_leaves_no_fragment(session: requests.Session, peer: StartPeer) -> None:
    """Legal before CONTINUATION (RFC 9113 section 6.2), though hyperframe would not parse it."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        first = HeadersFrame(request.stream_id, b"", pad_length=7, flags=["PADDED"])
        conn.send(
            first,
            ContinuationFrame(request.stream_id, STATUS_200, flags=["END_HEADERS"]),
            DataFrame(request.stream_id, b"body", flags=["END_STREAM"]),
        )
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    assert session.get(started.url, timeout=WAIT).content == b"body"
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.accepted == 1


def test_048_legal_oddities(session: requests.Session, peer: StartPeer) -> None:
    fields: Fields = [
        ("x-empty", ""),
        ("x-tab", "a\tb"),
        (b"x-latin", b"caf\xe9"),
        ("!#$%&'*+-.^_`|~0", "token"),
    ]
    headers = session.get(peer(once(200, fields)).url, timeout=WAIT).headers
    assert headers["x-empty"] == ""
    assert headers["x-tab"] == "a\tb"
    assert headers["x-latin"] == "café"
    assert headers["!#$%&'*+-.^_`|~0"] == "token"


# -- row 50 -------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "size"), [(30, 10_000), (5, 60_000), (1001, 1), (3000, 1)])
def test_050_over_the_soft_limit(harms_only_itself: Harm, count: int, size: int) -> None:
    def misbehave(conn: PeerConnection, request: Request) -> None:
        # The first is indexed: later responses refer to it, or HPACK is out of step.
        headers = {"x-late": "trailer"}
        headers |= {f"x-{number}": "~" * size for number in range(count)}
        conn.send_headers(request, 200, headers)

    harms_only_itself(misbehave, code=ENHANCE_YOUR_CALM, text="over the limit")


@pytest.mark.parametrize("size", [65_536, 65_537, 140_000])
def test_050_a_large_value(
    session: requests.Session, peer: StartPeer, engine: str, size: int
) -> None:
    """nghttp2 decodes no value of more than 64 KiB: HPACK is lost, and the connection with it."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        with contextlib.suppress(Closed):  # the client may have had enough before the end
            # Octets that a Huffman code would not make shorter.
            conn.respond(request, 200, {"x-large": "~" * size}, b"large")
            conn.respond(conn.next_request(), 200, (), b"next")

    started = peer([script, once(200, (), b"next")])
    if engine == "nghttp2" and size > 65_536:
        with pytest.raises(requests.ConnectionError, match=r"COMPRESSION_ERROR \(0x9\)"):
            session.get(started.url, timeout=WAIT)
    else:
        response = session.get(started.url, timeout=WAIT)
        assert (response.content, len(response.headers["x-large"])) == (b"large", size)
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.accepted == (2 if engine == "nghttp2" and size > 65_536 else 1)


@pytest.mark.parametrize("continuations", [1, 62, 63, 64])
def test_050_many_continuations(
    session: requests.Session, peer: StartPeer, continuations: int
) -> None:
    """However a block is cut, it is understood, or else the connection ends: never HPACK alone."""

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        fields = [(":status", "200")] + [(f"x-{number}", "~" * 40) for number in range(100)]
        block = conn.encode(fields)
        size = -(-len(block) // (continuations + 1))
        conn.send_header_block(request, block, frame_size=size, end_stream=True)
        conn.respond(conn.next_request(), 200, dict(fields[1:]), b"next")

    started = peer(script)
    try:
        first = session.get(started.url, timeout=5)
    except requests.ConnectionError:
        assert continuations >= 63  # more than 62 may be refused, with the connection
        started.connection().wait_eof()
    else:
        assert len(first.headers) == 100
        response = session.get(started.url, timeout=5)
        assert (len(response.headers), response.content) == (100, b"next")
        assert started.accepted == 1


def test_050_over_the_hard_limit(session: requests.Session, peer: StartPeer) -> None:
    """A small block that decompresses to more than a mebibyte."""
    sent: list[float] = []

    def script(conn: PeerConnection) -> None:
        conn.next_request()
        other = conn.next_request()
        conn.encode([("x-bomb", "~" * 4000)])
        conn._encoder.header_table_size = 4096
        block = conn.encode([(":status", "200"), ("x-bomb", "~" * 4000)])
        indexed = conn.encode([("x-bomb", "~" * 4000)])
        assert len(indexed) == 1
        sent.append(time.monotonic())
        conn.send_header_block(other, block + indexed * 12_000)
        conn.wait_eof()

    started = peer(script)

    def post() -> Exception | None:
        return background(lambda: session.post(started.url, timeout=WAIT)).exception(WAIT)  # type: ignore[return-value]

    futures = [background(post) for _ in range(2)]
    for future in futures:
        error = future.result(WAIT)
        assert isinstance(error, requests.ConnectionError)
        assert "(0x" in str(error)
    assert time.monotonic() - sent[0] < PROMPT
    assert started.accepted == 1


# -- row 51 -------------------------------------------------------------------------------


def test_051_informational_responses_are_skipped(
    session: requests.Session, peer: StartPeer
) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.informational(request, 100)
        conn.informational(request, 102)
        conn.informational(request, 103, {"link": "</style.css>", "set-cookie": "early=1"})
        conn.informational(request, 150)
        conn.informational(request, 199, {"x-final": "0"})
        conn.respond(request, 200, {"x-final": "1"}, b"final")

    response = session.get(peer(script).url, timeout=WAIT)
    assert (response.status_code, response.content) == (200, b"final")
    assert dict(response.headers) == {"x-final": "1"}
    assert not response.cookies
    assert not session.cookies


@pytest.mark.parametrize(("count", "size"), [(5000, 0), (30, 10_000)])
def test_051_too_many_informational_responses(
    harms_only_itself: Harm, count: int, size: int
) -> None:
    def misbehave(conn: PeerConnection, request: Request) -> None:
        for _ in range(count):
            conn.informational(request, 103, {"x": "~" * size})

    harms_only_itself(misbehave, code=ENHANCE_YOUR_CALM, text="informational")


def test_051_as_many_as_are_allowed(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        for _ in range(100):
            conn.informational(request, 103)
        conn.respond(request, 200, (), b"final")

    assert session.get(peer(script).url, timeout=WAIT).content == b"final"


def test_051_they_do_not_extend_the_timeout(session: requests.Session, peer: StartPeer) -> None:
    pause = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        while request.reset_code is None:
            conn.informational(request, 103)
            pause.wait(0.05)
            conn.read_available()
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    begin = time.monotonic()
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(started.url, timeout=0.4)
    assert 0.35 < time.monotonic() - begin < 0.4 + PROMPT
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.requests[0].reset_code == CANCEL


# -- row 52 -------------------------------------------------------------------------------


def informational_that_ends(conn: PeerConnection, request: Request) -> None:
    conn.send_headers(request, 103, end_stream=True)


def data_after_informational(conn: PeerConnection, request: Request) -> None:
    conn.informational(request, 103)
    conn.send(DataFrame(request.stream_id, b"early"))


def data_before_headers(conn: PeerConnection, request: Request) -> None:
    conn.send(DataFrame(request.stream_id, b"early"))


def end_before_headers(conn: PeerConnection, request: Request) -> None:
    conn.send(DataFrame(request.stream_id, b"", flags=["END_STREAM"]))


@pytest.mark.parametrize(
    "misbehave",
    [informational_that_ends, data_after_informational, data_before_headers, end_before_headers],
)
def test_052_frames_out_of_order(
    harms_only_itself: Harm, engine: str, misbehave: Misbehave
) -> None:
    # A stream that both sides have ended needs no RST_STREAM; h2 sends one.
    over = misbehave is informational_that_ends and engine == "nghttp2"
    harms_only_itself(misbehave, code=None if over else PROTOCOL_ERROR)


@pytest.mark.parametrize("data", [b"", b"data"])
def test_052_informational_after_the_final_response(harms_only_itself: Harm, data: bytes) -> None:
    def misbehave(conn: PeerConnection, request: Request) -> None:
        conn.send_headers(request, 200)
        if data:
            conn.send_data(request, data)
        conn.informational(request, 103)

    harms_only_itself(misbehave, error=requests.exceptions.ChunkedEncodingError)


# -- row 53 -------------------------------------------------------------------------------

TRAILERS: Fields = [
    ("x-checksum", "abc"),
    ("set-cookie", "late=1"),
    ("authorization", "Bearer stolen"),
    ("content-encoding", "gzip"),
    ("location", "/elsewhere"),
]


@pytest.mark.parametrize("headers", [{}, {"trailer": "x-checksum"}, {"content-length": "4"}])
@pytest.mark.parametrize("stream", [False, True])
def test_053_trailers_are_kept_apart(
    session: requests.Session, peer: StartPeer, headers: dict[str, str], stream: bool
) -> None:
    def script(conn: PeerConnection) -> None:
        while True:
            conn.respond(conn.next_request(), 200, headers, b"body", trailers=TRAILERS)

    started = peer(script)
    response = session.get(started.url, stream=stream, timeout=WAIT)
    assert response.content == b"body"
    assert dict(response.headers) == headers
    assert dict(response.raw.trailers) == dict(TRAILERS)
    assert not response.cookies
    assert not session.cookies
    session.get(started.url, timeout=WAIT)
    assert "cookie" not in started.requests[1].headers


@pytest.mark.parametrize("headers", [{}, {"content-length": "4"}])
def test_053_content_length_in_trailers(
    session: requests.Session, peer: StartPeer, engine: str, headers: dict[str, str]
) -> None:
    """RFC 9110 section 6.5.1 forbids it. It changes nothing, unless nghttp2 takes offence."""

    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200, headers, b"body", trailers={"content-length": "9"})
        conn.respond(conn.next_request(), 200, (), b"next")

    started = peer(script)
    response = session.get(started.url, stream=True, timeout=WAIT)
    if engine == "nghttp2":
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="malformed"):
            assert response.content
    else:
        assert response.content == b"body"
        assert dict(response.headers) == headers
        assert dict(response.raw.trailers) == {"content-length": "9"}
    assert session.get(started.url, timeout=WAIT).content == b"next"
    assert started.accepted == 1


def test_053_no_trailers(session: requests.Session, peer: StartPeer) -> None:
    response = session.get(peer(once(200, (), b"body")).url, timeout=WAIT)
    assert not response.raw.trailers


def test_053_trailers_without_a_body(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 200, (), b"", trailers={"grpc-status": "0"})

    response = session.get(peer(script).url, timeout=WAIT)
    assert (response.content, dict(response.headers)) == (b"", {})
    assert dict(response.raw.trailers) == {"grpc-status": "0"}


BAD_TRAILERS: dict[str, Fields] = {
    "pseudo-header": [(":status", "200")],
    "upper case": [("X-Upper", "y")],
    "line feed": [("x", "y\nz")],
    "connection": [("connection", "close")],
}


@pytest.mark.parametrize("fields", BAD_TRAILERS.values(), ids=BAD_TRAILERS)
@pytest.mark.parametrize("ends", [True, False])
def test_053_malformed_trailers(harms_only_itself: Harm, fields: Fields, ends: bool) -> None:
    def misbehave(conn: PeerConnection, request: Request) -> None:
        conn.send_headers(request, 200)
        conn.send_data(request, b"body")
        conn.send_headers(request, None, fields, end_stream=ends)

    expected = requests.exceptions.ChunkedEncodingError
    harms_only_itself(misbehave, error=expected, code=None if ends else PROTOCOL_ERROR)


def test_053_trailers_that_do_not_end_the_stream(harms_only_itself: Harm) -> None:
    def misbehave(conn: PeerConnection, request: Request) -> None:
        conn.send_headers(request, 200)
        conn.send_data(request, b"body")
        conn.send_headers(request, None, {"x": "y"})

    harms_only_itself(misbehave, error=requests.exceptions.ChunkedEncodingError)


# -- row 55 -------------------------------------------------------------------------------


def test_055_cookies(session: requests.Session, peer: StartPeer) -> None:
    set_cookies = [("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2; Path=/; HttpOnly")]
    set_cookies += [("set-cookie", "c=3; Expires=Wed, 21 Oct 2099 07:28:00 GMT")]
    started = peer(once(200, set_cookies))
    response = session.get(started.url)
    assert response.cookies.get_dict() == {"a": "1", "b": "2", "c": "3"}
    assert session.cookies.get_dict() == {"a": "1", "b": "2", "c": "3"}
    session.get(started.url)
    sent = "; ".join(value for name, value in started.requests[1].fields if name == "cookie")
    assert sorted(sent.split("; ")) == ["a=1", "b=2", "c=3"]


def test_055_repeated_fields_are_joined(session: requests.Session, peer: StartPeer) -> None:
    fields = [("content-type", "text/plain; charset=iso-8859-15"), ("x-a", "1"), ("x-a", "2")]
    response = session.get(peer(once(200, fields, b"\xa4")).url)
    assert response.headers["X-A"] == response.headers["x-a"] == "1, 2"
    assert response.raw.headers.getlist("x-A") == ["1", "2"]
    assert response.encoding == "iso-8859-15"
    assert response.text == "€"
    assert not any(name.startswith(":") for name in response.headers)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, "OK"),
        (404, "Not Found"),
        (418, "I'm a Teapot"),
        (503, "Service Unavailable"),
        (299, ""),
    ],
)
def test_055_reasons_come_from_the_registry(
    session: requests.Session, peer: StartPeer, status: int, reason: str
) -> None:
    response = session.get(peer(once(status)).url)
    assert (response.status_code, response.reason, response.raw.reason) == (status, reason, reason)


@pytest.mark.parametrize(
    ("status", "text"),
    [(404, "404 Client Error: Not Found"), (500, "500 Server Error: Internal Server Error")],
)
def test_055_raise_for_status_reads_as_over_http1(
    session: requests.Session, peer: StartPeer, status: int, text: str
) -> None:
    url = peer(once(status)).url + "/missing"
    with pytest.raises(requests.HTTPError) as caught:
        session.get(url).raise_for_status()
    assert str(caught.value) == f"{text} for url: {url}"


# -- row 56 -------------------------------------------------------------------------------

HOP_BY_HOP = {
    "Connection": "keep-alive, X-Hop, ,x-other",
    "X-Hop": "by hop",
    "X-OTHER": "by hop",
    "Keep-Alive": "timeout=5",
    "Proxy-Connection": "keep-alive",
    "Transfer-Encoding": "identity",
    "Upgrade": "h2c",
    "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
}


@pytest.mark.parametrize("where", ["request", "session"])
def test_056_connection_fields_are_dropped(
    session: requests.Session, peer: StartPeer, where: str
) -> None:
    started = peer(once())
    headers: dict[str, str] = {**HOP_BY_HOP, "X-End": "kept"}
    if where == "session":
        session.headers.update(headers)
    session.get(started.url, headers=headers if where == "request" else None)
    dropped = {name.lower() for name in HOP_BY_HOP}
    assert started.request.headers["x-end"] == "kept"
    assert not dropped & set(started.request.headers)


def test_056_the_sessions_default_is_no_obstacle(
    session: requests.Session, peer: StartPeer
) -> None:
    assert session.headers["Connection"] == "keep-alive"
    started = peer(once())
    session.get(started.url)
    assert "connection" not in started.request.headers


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("gzip, trailers", "trailers"),
        ("Trailers", "trailers"),
        ("gzip", None),
        ("", None),
        ("trailers;q=0.5, deflate", None),
    ],
)
def test_056_te(session: requests.Session, peer: StartPeer, given: str, sent: str | None) -> None:
    started = peer(once())
    session.get(started.url, headers={"TE": given})
    assert started.request.headers.get("te") == sent


def test_056_nominated_by_connection(session: requests.Session, peer: StartPeer) -> None:
    """What frames the message is not up to Connection."""
    started = peer(serve(lambda request: (200, {}, b"")))
    headers = {"Connection": "content-length, host, x-a", "X-A": "1", "Host": "front.example"}
    session.post(started.url, data=b"body", headers=headers)
    assert started.request.authority == "front.example"
    assert started.request.headers["content-length"] == "4"
    assert "x-a" not in started.request.headers
    assert started.request.body == b"body"


# -- row 57 -------------------------------------------------------------------------------


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[Peer], None]:
    """Let connections to whatever host and port end at this peer."""

    def redirect(started: Peer) -> None:
        def connect(address: Any, *args: Any, **kwargs: Any) -> socket.socket:
            return socket.create_connection(("127.0.0.1", started.port))

        monkeypatch.setattr("urllib3.util.connection.create_connection", connect)

    return redirect


def test_057_host_header_is_the_authority(session: requests.Session, peer: StartPeer) -> None:
    started = peer(once())
    url = f"https://localhost:{started.port}"
    session.get(url, headers={"Host": "front.example"})
    session.get(url, headers={"Host": "other.example:8443"})
    session.get(url)
    assert [request.authority for request in started.requests] == [
        "front.example",
        "other.example:8443",
        f"localhost:{started.port}",
    ]
    assert all("host" not in request.headers for request in started.requests)
    # SNI, certificate check and pool key stay with the URL.
    assert started.server_names == ["localhost"]


def as_requests_has_it(path: str) -> str:
    """What it asks for: older ones leave only one of the slashes that a path begins with."""
    prepared = requests.Request("GET", f"https://localhost{path}").prepare()
    return HTTPAdapter().request_url(prepared, {})


URLS = [
    ("https://localhost", "localhost", "/"),
    ("https://localhost:443/a", "localhost", "/a"),
    ("https://localhost:8443?q=1", "localhost:8443", "/?q=1"),
    ("https://LOCALHOST/A", "localhost", "/A"),
    ("https://[::1]/", "[::1]", "/"),
    ("https://[::1]:8443/p#part", "[::1]:8443", "/p"),
    ("https://user:secret@localhost/p?q#part", "localhost", "/p?q"),
    ("https://user@localhost:8443/#", "localhost:8443", "/"),
    ("https://localhost//double//", "localhost", as_requests_has_it("//double//")),
]


@pytest.mark.parametrize(("url", "authority", "path"), URLS)
def test_057_authority_and_path(
    session: requests.Session,
    peer: StartPeer,
    anywhere: Callable[[Peer], None],
    url: str,
    authority: str,
    path: str,
) -> None:
    started = peer(once())
    anywhere(started)
    assert session.get(url, timeout=WAIT).ok
    assert (started.request.authority, started.request.path) == (authority, path)
    assert "host" not in started.request.headers
    assert b"secret" not in b"".join(
        value for name, value in started.request.raw_fields if name != b"authorization"
    )


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize(
    ("host", "authority", "server_name"),
    [
        ("bücher.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("[fe80::1%25eth0]", "[fe80::1]", None),
    ],
)
def test_057_odd_hosts(
    session: requests.Session,
    peer: StartPeer,
    anywhere: Callable[[Peer], None],
    host: str,
    authority: str,
    server_name: str | None,
) -> None:
    started = peer(once())
    anywhere(started)
    assert session.get(f"https://{host}/", verify=False, timeout=WAIT).ok
    assert started.request.authority == authority
    assert started.server_names == [server_name]


# -- row 58 -------------------------------------------------------------------------------

Refused = Callable[..., None]


@pytest.fixture
def started(peer: StartPeer) -> Peer:
    ok: Peer = peer(serve(lambda request: (200, {}, bytes(request.body) or b"ok")))
    return ok


@pytest.fixture
def refused(session: requests.Session, started: Peer) -> Iterator[Refused]:
    """Send one request that must be refused, between two that work on the same connection.

    They send what HPACK would index: a request that fails half-way would put it out of step.
    """
    used = []

    def check(
        change: Callable[[requests.PreparedRequest], None] = lambda prepared: None,
        error: type[Exception] = requests.exceptions.InvalidHeader,
        **options: Any,
    ) -> None:
        used.append(True)
        options = {"method": "POST", "url": started.url, **options}
        assert session.get(started.url + "/before").content == b"ok"

        def send() -> None:
            request = requests.Request(
                **{**options, "headers": {"X-New": "new", **options.get("headers", {})}}
            )
            prepared = session.prepare_request(request)
            change(prepared)
            session.send(prepared, timeout=WAIT, verify=session.verify)

        with pytest.raises(error) as caught:
            send()
        assert isinstance(caught.value, requests.RequestException)
        after = session.get(started.url + "/after", headers={"X-New": "new"})
        assert after.content == b"ok"
        assert [request.path for request in started.requests] == ["/before", "/after"]
        assert started.requests[1].stream_id == 3
        assert started.requests[1].headers["x-new"] == "new"
        assert started.accepted == 1
        assert started.connection().received(RstStreamFrame) == []

    yield check
    assert used


def test_058_a_bad_header_found_late(refused: Refused) -> None:
    refused(headers={f"X-{number}": "value" for number in range(50)} | {"X-Last\0": "value"})


def test_058_over_the_peers_limit(session: requests.Session, started: Peer) -> None:
    conn_settings = {"max_header_list_size": 1000}
    session.get(started.url)
    conn = started.connection()
    conn.settings(**conn_settings)
    conn.channel.wait_until_delivered()
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.get(started.url, headers={"X-New": "new", "X-Large": "~" * 1000})
    assert session.get(started.url, headers={"X-New": "new"}).content == b"ok"
    assert started.requests[-1].headers["x-new"] == "new"
    assert [request.stream_id for request in started.requests] == [1, 3]
    assert started.accepted == 1


@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_058_an_iterator_that_raises(session: requests.Session, started: Peer, pieces: int) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(pieces):
            yield b"piece"
        raise KeyError("mine")

    for number in range(3):
        with pytest.raises(KeyError, match="mine"):
            session.post(started.url, data=body(), headers={"X-New": f"new-{number}"})
        response = session.get(started.url, headers={"X-New": f"new-{number}"}, timeout=WAIT)
        assert response.content == b"ok"
    assert started.accepted == 1
    assert started.requests[-1].headers["x-new"] == "new-2"
    ended = [frame for frame in started.connection().received(DataFrame) if frame.flags]
    assert ended == []


# -- row 59 -------------------------------------------------------------------------------

BAD_NAMES = ["", "a b", "a:b", ":path", "a\r\nb", "a\0", "naïve", "a(", "a\x7f", "a\t", 'a"b']
BAD_VALUES = ["a\r\nb: c", "a\nb", "a\rb", "a\0b"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_059_header_names(refused: Refused, name: str) -> None:
    refused(lambda prepared: prepared.headers.__setitem__(name, "value"))


@pytest.mark.parametrize("value", BAD_VALUES)
@pytest.mark.parametrize("name", ["X-Custom", "Cookie", "Content-Type", "Host"])
def test_059_header_values(refused: Refused, name: str, value: str) -> None:
    refused(lambda prepared: prepared.headers.__setitem__(name, value))


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\0b"])
def test_059_header_values_in_bytes(refused: Refused, value: bytes) -> None:
    refused(lambda prepared: prepared.headers.__setitem__("X-Custom", value))


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb"])
def test_059_header_values_that_requests_refuses(refused: Refused, value: str) -> None:
    refused(headers={"X-Custom": value})


@pytest.mark.parametrize(
    "method",
    ["IN SANE", "GET\r\nX: y", "GET / HTTP/1.1\r\nHost: evil\r\n\r\n", "G\0T", "", "GÉT", "A:B"],
)
def test_059_methods(refused: Refused, method: str) -> None:
    refused(lambda prepared: setattr(prepared, "method", method))


@pytest.mark.parametrize("host", ["", "a b", "a/b", "user@host", "a\0b", "a?b", "a#b", "a\\b"])
def test_059_host_headers(refused: Refused, host: str) -> None:
    refused(lambda prepared: prepared.headers.__setitem__("Host", host))


def test_059_empty_host(refused: Refused) -> None:
    refused(url="https:///path", error=requests.exceptions.InvalidURL)


@pytest.mark.parametrize("host", ["a\r\nb", "a\0b", "a b"])
def test_059_hosts_in_urls(refused: Refused, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """urllib3 refuses the URL; an older one looks up the escaped name, which nobody has."""

    def look_up(name: Any, *args: Any, **kwargs: Any) -> Any:
        if "%" in name:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found(name, *args, **kwargs)

    found = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    url = f"https://{host}/"
    error: type[Exception] = requests.ConnectionError
    try:
        parse_url(url)
    except LocationParseError:
        error = requests.exceptions.InvalidURL
    refused(url=url, error=error)


@pytest.mark.parametrize("length", ["2", "4", "0", "-1", "abc", "3, 3", "", "+3", "0x3", "\uff13"])
def test_059_content_length_of_bytes(refused: Refused, length: str) -> None:
    refused(lambda prepared: prepared.headers.__setitem__("Content-Length", length), data=b"abc")


def test_059_content_length_of_no_body(refused: Refused) -> None:
    refused(lambda prepared: prepared.headers.__setitem__("Content-Length", "3"))


def test_059_content_length_of_a_file(refused: Refused) -> None:
    refused(
        lambda prepared: prepared.headers.__setitem__("Content-Length", "5"),
        data=io.BytesIO(b"abc"),
    )


class Sized:
    def __init__(self, pieces: list[bytes], size: int) -> None:
        self._pieces, self._size = pieces, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


@pytest.mark.parametrize("size", [5, 7])
def test_059_content_length_of_an_iterator(
    session: requests.Session, started: Peer, size: int
) -> None:
    """Only the iterator's end shows it: the stream is reset, and not ended."""
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.post(started.url, data=Sized([b"abc", b"def"], size), timeout=WAIT)
    conn = started.connection()
    conn.wait_for(RstStreamFrame, stream_id=1)
    assert not started.requests[0].ended
    assert len(started.requests[0].body) <= size
    assert not any("END_STREAM" in frame.flags for frame in conn.received(DataFrame))
    assert session.get(started.url).content == b"ok"
    assert started.accepted == 1


def test_059_right_content_lengths_pass(session: requests.Session, started: Peer) -> None:
    """A length that the caller knows and requests does not."""
    headers = {"Content-Length": "6"}
    response = session.post(started.url, data=iter([b"abc", b"def"]), headers=headers)
    assert response.content == b"abcdef"
    assert started.request.headers["content-length"] == "6"


def test_059_two_content_lengths(refused: Refused) -> None:
    def twice(prepared: requests.PreparedRequest) -> None:
        prepared.headers = {"Content-Length": "3", "content-length": "3"}  # type: ignore[assignment]

    refused(twice, data=b"abc")


def test_059_paths_are_quoted(session: requests.Session, started: Peer) -> None:
    session.get(started.url + "/a b\r\nx: y")
    assert started.request.path == "/a%20b%0D%0Ax:%20y"


@pytest.mark.parametrize("bad", ["\0", "\r\n\r\nGET /evil HTTP/1.1", "\x7f", " HTTP/1.1"])
def test_059_targets_hold_no_control_characters(
    session: requests.Session, started: Peer, bad: str
) -> None:
    """Whoever changes a prepared URL gets it quoted, or refused."""
    prepared = session.prepare_request(requests.Request("GET", started.url))
    prepared.url = f"{started.url}/path{bad}?q={bad}"
    try:
        session.send(prepared, timeout=WAIT, verify=session.verify)
    except (requests.RequestException, ValueError):
        assert started.requests == []
    else:
        assert all("\x20" < sign < "\x7f" for sign in started.request.path)
