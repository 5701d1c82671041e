"""``with requests_h2.record(session) as recording``."""

from __future__ import annotations

import gc
import io
import json
import re
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse, Retry

import requests_h2
from requests_h2 import HTTP2Adapter, Recording, record
from requests_h2.entries import Entry
from tests.support.certs import Certificates
from tests.support.har import checked
from tests.support.peer import (
    Http1Connection,
    MakeSession,
    PeerConnection,
    Request,
    StartPeer,
    hold,
    promise,
    serve,
)
from tests.support.proxy import MakeProxy
from tests.support.threads import WAIT, background, together

REFUSED_STREAM, INTERNAL_ERROR = 7, 2
KIB = 1024


def answer(request: Request) -> Any:
    return 200, {"content-type": "text/plain"}, b"body of " + request.path.encode()


ordinary = serve(answer)


def only(recording: Recording) -> Entry:
    (entry,) = recording.entries
    return entry


def har(recording: Recording, folder: Path) -> list[dict[str, Any]]:
    path = folder / "trace.har"
    recording.save(path)
    return checked(path.read_text(encoding="utf-8"))


def page_data(recording: Recording, folder: Path) -> Any:
    """What the page shows, found as a browser finds it."""
    recording.save(folder / "trace.html")
    text = (folder / "trace.html").read_text(encoding="utf-8")
    scripts = re.findall(r'<script type="application/json" id="data">(.*?)</script', text, re.S)
    return json.loads(scripts[0])


# -- what is recorded ----------------------------------------------------------------------


def test_a_request(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    with record(session) as recording:
        response = session.post(f"{started.url}/path?a=b", data=b"x" * 100, timeout=WAIT)
    entry, info = only(recording), response.raw.connection_info
    assert (entry.method, entry.url) == ("POST", f"{started.url}/path?a=b")
    assert (entry.status, entry.http_version) == (200, "HTTP/2")
    assert (entry.request_size, entry.response_size) == (100, len(response.content))
    assert ("Content-Length", "100") in entry.request_headers
    assert ("content-type", "text/plain") in entry.response_headers
    assert entry.dial is not None
    assert entry.dial.connection_id == info.connection_id
    assert entry.stream_id == info.stream_id
    assert (entry.bytes_sent, entry.bytes_received) == (info.bytes_sent, info.bytes_received)
    assert (entry.finished, entry.pushed, entry.replays) == (True, False, 0)
    assert (entry.error, entry.remark) == ("", "")


def test_the_phases_of_a_request(session: requests.Session, peer: StartPeer) -> None:
    go_on = threading.Event()

    def script(conn: PeerConnection) -> None:
        for _ in range(2):
            request = conn.next_request()
            conn.read_body(request)
            go_on.wait(0.1)
            conn.send_headers(request)
            go_on.wait(0.2)
            conn.send_data(request, b"body", end_stream=True)
        hold(conn)

    def body() -> Any:
        yield b"first"
        go_on.wait(0.05)
        yield b"last"

    started = peer(script)
    with record(session) as recording:
        response = session.post(started.url, data=body(), timeout=WAIT)
        session.get(started.url, timeout=WAIT)
    first, second = recording.entries
    info = response.raw.connection_info
    assert (first.phases.connect, first.phases.tls) == (
        pytest.approx(info.dial_time, abs=0.1),
        pytest.approx(info.handshake_time, abs=0.001),
    )
    assert (second.phases.connect, second.phases.tls) == (None, None)
    assert first.phases.send >= 0.05
    assert min(first.phases.wait, second.phases.wait) >= 0.1
    # A busy machine may see the HEADERS late, and the end in time.
    assert min(first.phases.receive, second.phases.receive) >= 0.05
    assert 0 <= first.started < second.started
    assert first.started + first.phases.total <= second.started + 0.001


def test_only_what_is_in_the_block(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    recording = record(session)
    session.get(f"{started.url}/before", timeout=WAIT)
    for number in (1, 2):
        with recording as entered:
            assert entered is recording
            session.get(f"{started.url}/{number}", timeout=WAIT)
    session.get(f"{started.url}/after", timeout=WAIT)
    assert [entry.url for entry in recording.entries] == [f"{started.url}/1", f"{started.url}/2"]


def test_it_cannot_be_entered_inside_its_block(session: requests.Session) -> None:
    with record(session) as recording, pytest.raises(RuntimeError, match="on already"):
        recording.__enter__()


def test_several_at_once(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    with record(session) as outer:
        session.get(f"{started.url}/1", timeout=WAIT)
        with record(session) as inner:
            session.get(f"{started.url}/2", timeout=WAIT)
        session.get(f"{started.url}/3", timeout=WAIT)
    assert [entry.url[-1] for entry in outer.entries] == ["1", "2", "3"]
    assert only(inner).url[-1] == "2"


def test_many_threads(session: requests.Session, peer: StartPeer, tmp_path: Path) -> None:
    started = peer(ordinary)

    def work(number: int) -> None:
        for each in range(10):
            session.get(f"{started.url}/{number}/{each}", timeout=WAIT)
            recording.table()

    with record(session) as recording:
        together(8, work)
    assert len({entry.url for entry in recording.entries}) == 80
    # One has dialled, and the others have waited for that.
    assert sum(entry.phases.tls is not None for entry in recording.entries) == 1
    assert len(har(recording, tmp_path)) == 80


def test_redirects(session: requests.Session, peer: StartPeer, tmp_path: Path) -> None:
    def redirecting(request: Request) -> Any:
        if request.path == "/from":
            return 302, {"location": "/to?a=b"}, b""
        return answer(request)

    with record(session) as recording:
        session.get(f"{peer(serve(redirecting)).url}/from", timeout=WAIT)
    first, second = har(recording, tmp_path)
    assert (first["response"]["status"], second["response"]["status"]) == (302, 200)
    assert first["response"]["redirectURL"] == "/to?a=b"
    assert second["request"]["queryString"] == [{"name": "a", "value": "b"}]


def test_replays(session: requests.Session, peer: StartPeer) -> None:
    def refuse(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), REFUSED_STREAM)
        ordinary(conn)

    with record(session) as recording:
        session.get(peer(refuse).url, timeout=WAIT)
    entry = only(recording)
    assert (entry.replays, entry.stream_id, entry.status) == (1, 3, 200)


def test_attempts_of_urllib3(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.respond(conn.next_request(), 503, (), b"busy")
        conn.reset(conn.next_request(), INTERNAL_ERROR)
        ordinary(conn)

    session = make_session(max_retries=Retry(3, status_forcelist=[503]))
    with record(session) as recording:
        session.get(peer(script).url, timeout=WAIT)
    entries = recording.entries
    assert [entry.status for entry in entries] == [503, 0, 200]
    assert [entry.stream_id for entry in entries] == [1, 3, 5]
    assert [bool(entry.error) for entry in entries] == [False, True, False]
    assert "INTERNAL_ERROR" in entries[1].error
    assert all(entry.finished for entry in entries)


def test_attempts_of_urllib3_over_http1(make_session: MakeSession, peer: StartPeer) -> None:
    def script(conn: Http1Connection) -> None:
        conn.respond(conn.next_request(), 503, {"content-length": "4"}, b"busy")
        conn.respond(conn.next_request(), 200, (), b"fine")

    session = make_session(max_retries=Retry(3, status_forcelist=[503]))
    with record(session) as recording:
        session.get(peer(script, alpn=None).url, timeout=WAIT)
    assert [(entry.status, entry.finished) for entry in recording.entries] == [
        (503, True),
        (200, True),
    ]


# -- what fails ----------------------------------------------------------------------------


def test_a_request_that_fails(session: requests.Session, peer: StartPeer, tmp_path: Path) -> None:
    def script(conn: PeerConnection) -> None:
        conn.reset(conn.next_request(), INTERNAL_ERROR)
        hold(conn)

    with record(session) as recording, pytest.raises(requests.ConnectionError) as caught:
        session.get(peer(script).url, timeout=WAIT)
    entry = only(recording)
    assert entry.error == f"ConnectionError: {caught.value}"
    assert (entry.status, entry.stream_id, entry.finished) == (0, 1, True)
    (archived,) = har(recording, tmp_path)
    assert archived["response"]["status"] == 0
    assert archived["response"]["_error"] == archived["comment"] == entry.error


def test_a_dial_that_fails(session: requests.Session, peer: StartPeer, tmp_path: Path) -> None:
    started = peer(ordinary)
    started.stop_listening()
    with record(session) as recording, pytest.raises(requests.ConnectionError):
        session.get(started.url, timeout=WAIT)
    entry = only(recording)
    assert (entry.dial, entry.stream_id, entry.phases.tls) == (None, None, None)
    assert entry.phases.connect is not None
    assert entry.error.startswith("ConnectionError: ")
    assert har(recording, tmp_path)[0]["timings"]["connect"] >= 0


def test_what_is_no_url(session: requests.Session, tmp_path: Path) -> None:
    request = session.prepare_request(requests.Request("GET", "https://a.example/"))
    request.url = "https://user:SECRET@[a.example/?b=c"
    with record(session) as recording, pytest.raises(ValueError, match="URL"):
        session.get_adapter("https://").send(request, timeout=WAIT)
    (entry,) = har(recording, tmp_path)
    assert entry["request"]["url"] == "[a.example/?b=c"
    assert entry["response"]["_error"].startswith("ValueError")
    assert "[a.example" in recording.table()


def test_a_time_out(session: requests.Session, peer: StartPeer) -> None:
    with record(session) as recording, pytest.raises(requests.ReadTimeout):
        session.get(peer(hold).url, timeout=(WAIT, 0.1))
    entry = only(recording)
    assert entry.error.startswith("ReadTimeout: ")
    assert entry.phases.wait >= 0.1


def test_a_body_that_fails(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"part")
        conn.reset(request, INTERNAL_ERROR)
        hold(conn)

    with record(session) as recording, pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(peer(script).url, timeout=WAIT)
    entry = only(recording)
    assert (entry.status, entry.error, entry.response_size) == (200, "", 4)
    assert entry.remark == "reset by the server with INTERNAL_ERROR (0x2)"


@pytest.mark.parametrize("alpn", [["h2"], None])
def test_a_body_that_is_not_read(session: requests.Session, peer: StartPeer, alpn: Any) -> None:
    started = peer(serve(lambda request: (200, {}, b"x" * (4 << 20))), alpn=alpn)
    with (
        record(session) as recording,
        session.get(started.url, stream=True, timeout=WAIT) as response,
    ):
        assert response.raw.read(1) == b"x"
        unfinished = only(recording)
    entry = only(recording)
    assert (unfinished.finished, unfinished.remark) == (False, "")
    assert (entry.finished, entry.remark) == (True, "closed before its end")
    assert unfinished.phases.receive > 0


def test_one_that_is_under_way(session: requests.Session, peer: StartPeer, tmp_path: Path) -> None:
    """It is in what is saved meanwhile, and complete in what is saved later."""
    asked, go_on = threading.Event(), threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        asked.set()
        assert go_on.wait(WAIT)
        conn.respond(request, 200, (), b"late")
        hold(conn)

    started = peer(script)
    with record(session) as recording:
        waiting = background(lambda: session.get(started.url, timeout=WAIT))
        assert asked.wait(WAIT)
    (early,) = har(recording, tmp_path)
    assert (early["response"]["status"], early["_finished"]) == (0, False)
    assert "under way" in recording.table()
    go_on.set()
    assert waiting.result(WAIT).content == b"late"
    (late,) = har(recording, tmp_path)
    assert (late["response"]["status"], late["_finished"]) == (200, True)
    assert late["response"]["bodySize"] == 4


def test_an_interrupt(session: requests.Session, peer: StartPeer) -> None:
    class Interrupted(BaseException):
        pass

    def body() -> Any:
        raise Interrupted("now")
        yield b""

    with record(session) as recording, pytest.raises(Interrupted):
        session.post(peer(ordinary).url, data=body(), timeout=WAIT)
    assert only(recording).error == "Interrupted: now"


def test_an_error_that_has_no_text(session: requests.Session, peer: StartPeer) -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def body() -> Any:
        raise UnspeakableError
        yield b""

    with record(session) as recording, pytest.raises(UnspeakableError):
        session.post(peer(ordinary).url, data=body(), timeout=WAIT)
    assert only(recording).error == "UnspeakableError"


# -- HTTP/1.1 ------------------------------------------------------------------------------


def test_over_http1(session: requests.Session, peer: StartPeer, tmp_path: Path) -> None:
    started = peer(ordinary, alpn=None)
    with record(session) as recording:
        for _ in range(2):
            response = session.get(started.url, timeout=WAIT)
    first, second = recording.entries
    assert first.http_version == second.http_version == "HTTP/1.1"
    assert first.phases.tls is not None
    assert second.phases.tls is None
    assert first.dial is not None
    assert second.dial is not None
    assert first.dial.connection_id == second.dial.connection_id
    assert (first.stream_id, first.bytes_sent, first.bytes_received) == (None, None, None)
    assert second.response_size == len(response.content)
    assert (second.finished, second.remark) == (True, "")
    assert [entry["_connectionId"] for entry in har(recording, tmp_path)] == [
        str(first.dial.connection_id)
    ] * 2


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n5\r\nfive.\r\n"


def chunked(conn: Http1Connection) -> None:
    conn.next_request()
    conn.send_raw(CHUNKED + b"0\r\n\r\n")
    conn.linger()


@pytest.mark.parametrize("stream", [False, True])
def test_chunks_over_http1(
    session: requests.Session, peer: StartPeer, tmp_path: Path, stream: bool
) -> None:
    started = peer(chunked, alpn=None)
    with record(session) as recording:
        response = session.get(started.url, stream=stream, timeout=WAIT)
        # What requests reads chunk by chunk urllib3 leaves to http.client when it is asked.
        assert (response.raw.read() if stream else response.content) == b"fourfive."
        response.close()
    entry = only(recording)
    assert (entry.response_size, entry.finished, entry.remark) == (9, True, "")
    (archived,) = har(recording, tmp_path)
    assert archived["response"]["bodySize"] == archived["response"]["content"]["size"] == 9


@pytest.mark.parametrize("way", ["iter_content", "read"])
def test_chunks_over_http1_that_are_not_all_read(
    session: requests.Session, peer: StartPeer, way: str
) -> None:
    started = peer(chunked, alpn=None)
    with (
        record(session) as recording,
        session.get(started.url, stream=True, timeout=WAIT) as response,
    ):
        first = response.raw.read(4) if way == "read" else next(response.iter_content(4))
        assert first == b"four"
    entry = only(recording)
    assert (entry.response_size, entry.finished) == (4, True)
    assert entry.remark == "closed before its end"


@pytest.mark.parametrize("script", [ordinary, chunked])
def test_several_at_once_over_http1(
    session: requests.Session, peer: StartPeer, script: Any
) -> None:
    started = peer(script, alpn=None)
    with record(session) as outer, record(session) as inner:
        size = len(session.get(started.url, timeout=WAIT).content)
    for recording in (outer, inner):
        entry = only(recording)
        assert (entry.response_size, entry.finished, entry.remark) == (size, True, "")


@pytest.mark.parametrize("amount", [None, 3])
@pytest.mark.parametrize("script", [ordinary, chunked])
def test_octets_over_http1_are_counted_as_they_are_read(
    session: requests.Session, peer: StartPeer, script: Any, amount: int | None
) -> None:
    """Nobody closes the response, or reads until there is nothing more."""
    started = peer(script, alpn=None)
    with record(session) as recording:
        response = session.get(started.url, stream=True, timeout=WAIT)
        data = response.raw.read(amount)
    entry = only(recording)
    assert (entry.response_size, entry.finished) == (len(data), amount is None)
    response.close()


def test_chunks_over_http1_that_end_too_early(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: Http1Connection) -> None:
        conn.next_request()
        conn.send_raw(CHUNKED)
        conn.cut()
        conn.linger()

    started = peer(script, alpn=None)
    with record(session) as recording, pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(started.url, timeout=WAIT)
    entry = only(recording)
    assert (entry.response_size, entry.finished) == (9, True)
    assert entry.remark == "closed before its end"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_over_http1_without_a_body(session: requests.Session, peer: StartPeer, method: str) -> None:
    started = peer(serve(lambda request: (200, {}, b"")), alpn=None)
    with record(session) as recording:
        session.request(method, started.url, timeout=WAIT)
    assert (only(recording).finished, only(recording).response_size) == (True, 0)


def test_a_response_over_http1_is_dropped_as_ever(
    session: requests.Session, peer: StartPeer
) -> None:
    """What notes the end of its body does not keep it."""
    started = peer(ordinary, alpn=None)
    gc.disable()
    try:
        with record(session):
            dropped = weakref.ref(session.get(started.url, stream=True, timeout=WAIT).raw)
        assert dropped() is None
    finally:
        gc.enable()


def test_urls_of_http(
    make_adapter: Callable[..., HTTP2Adapter], session: requests.Session, peer: StartPeer
) -> None:
    """urllib3's own pools tell no phases."""
    started = peer(ordinary, tls=False)
    session.mount("http://", make_adapter())
    with record(session) as recording:
        response = session.get(started.url, timeout=WAIT)
    entry = only(recording)
    assert (entry.status, entry.http_version) == (200, "HTTP/1.1")
    assert entry.response_size == len(response.content)
    assert entry.dial is not None
    assert entry.dial.peer_address == ("127.0.0.1", started.port)


def test_a_forwarding_proxy(
    make_adapter: Callable[..., HTTP2Adapter],
    session: requests.Session,
    make_proxy: MakeProxy,
    tmp_path: Path,
) -> None:
    proxy = make_proxy(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    session.mount("http://", make_adapter())
    with record(session) as recording:
        response = session.get("http://a.example/", proxies={"http": proxy.url}, timeout=WAIT)
    entry = only(recording)
    assert response.content == b"ok"
    assert (entry.status, entry.response_size, entry.finished) == (200, 2, True)
    assert entry.dial is not None
    assert entry.dial.peer_address == ("127.0.0.1", proxy.port)
    assert len(har(recording, tmp_path)) == 1


@pytest.mark.parametrize("alpn", [["h2"], None])
def test_a_response_that_a_cache_has_replaced(
    engine: str, session: requests.Session, peer: StartPeer, alpn: Any
) -> None:
    """As CacheControl does it when the server answers 304."""

    class Cache(HTTP2Adapter):
        def build_response(self, req: Any, resp: Any) -> requests.Response:
            resp.read()
            resp.release_conn()
            return super().build_response(
                req, HTTPResponse(io.BytesIO(b"kept"), status=200, preload_content=False)
            )

    started = peer(serve(lambda request: (304, {}, b"")), alpn=alpn)
    session.mount("https://", Cache(engine=engine))  # type: ignore[arg-type]
    with record(session) as recording:
        response = session.get(started.url, timeout=WAIT)
    assert response.content == b"kept"
    assert response.raw.connection_info.connection_id == 0
    assert (only(recording).status, only(recording).finished) == (304, True)


@pytest.mark.parametrize("raw", [None, object(), SimpleNamespace()])
def test_a_response_that_is_not_urllib3s(
    engine: str, session: requests.Session, peer: StartPeer, raw: Any
) -> None:
    """As vcrpy's; or what a test makes up."""

    class Library(HTTP2Adapter):
        def build_response(self, req: Any, resp: Any) -> requests.Response:
            response: requests.Response = super().build_response(req, resp)
            response.raw.close()
            response.raw, response._content = raw, b""
            return response

    session.mount("https://", Library(engine=engine))  # type: ignore[arg-type]
    with record(session) as recording:
        session.get(peer(ordinary).url, stream=True, timeout=WAIT)
    assert only(recording).finished
    if isinstance(raw, SimpleNamespace):
        assert raw.connection_info.connection_id == 0


# -- pushes --------------------------------------------------------------------------------


def pushing(conn: PeerConnection) -> None:
    request = conn.next_request()
    conn.send_headers(request)
    pushed = promise(conn, request, 2, "/pushed")
    conn.respond(pushed, 200, {"content-type": "text/css"}, b"pushed")
    conn.send_data(request, b"parent", end_stream=True)
    ordinary(conn)


@pytest.mark.parametrize("claimed", [False, True])
def test_a_push(make_session: MakeSession, peer: StartPeer, tmp_path: Path, claimed: bool) -> None:
    session = make_session(enable_push=True)
    started = peer(pushing)
    with record(session) as recording:
        parent = session.get(started.url, timeout=WAIT)
        if claimed:
            (push,) = requests_h2.get_pushes(parent)
            assert push.response().content == b"pushed"
    asked, pushed = recording.entries
    assert (asked.pushed, pushed.pushed) == (False, True)
    assert (pushed.method, pushed.url) == ("GET", f"{started.url}/pushed")
    assert (pushed.stream_id, pushed.dial) == (2, asked.dial)
    assert (pushed.status, pushed.response_size, pushed.finished) == (200, 6, True)
    assert ("content-type", "text/css") in pushed.response_headers
    assert [entry["_pushed"] for entry in har(recording, tmp_path)] == [False, True]
    assert "pushed" in recording.table().splitlines()[2]


def test_an_adopted_push_is_one_entry(make_session: MakeSession, peer: StartPeer) -> None:
    started, session = peer(pushing), make_session(adopt_pushes=True)
    with (
        record(session) as recording,
        session.get(started.url, stream=True, timeout=WAIT) as parent,
    ):
        assert parent.raw.read(6) == b"parent"
        assert session.get(f"{started.url}/pushed", timeout=WAIT).raw.pushed
    asked, pushed = recording.entries
    assert (pushed.stream_id, pushed.pushed, pushed.status) == (2, True, 200)
    assert ("Accept", "*/*") in pushed.request_headers
    # It waited for nobody.
    assert pushed.phases.send == 0
    assert pushed.started > asked.started


# -- what is not recorded ------------------------------------------------------------------


def test_a_session_without_our_adapter(make_adapter: Callable[..., HTTP2Adapter]) -> None:
    with requests.Session() as session:
        with pytest.raises(ValueError, match=r"requests_h2\.mount"):
            record(session)
        session.mount("https://only.example/", make_adapter())
        with record(session) as recording:
            assert recording.entries == []
    assert recording.table().count("\n") == 1


def test_other_adapters(session: requests.Session, peer: StartPeer, certs: Certificates) -> None:
    started = peer(ordinary)
    session.mount(f"{started.url}/stock", HTTPAdapter())
    with record(session) as recording:
        session.get(f"{started.url}/stock", timeout=WAIT)
        session.get(f"{started.url}/ours", timeout=WAIT)
    assert only(recording).url == f"{started.url}/ours"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_other_sessions(make_adapter: Callable[..., HTTP2Adapter], peer: StartPeer) -> None:
    """One adapter that requests_h2.mount has put on two."""
    started, adapter = peer(ordinary), make_adapter()
    with requests.Session() as one, requests.Session() as other:
        requests_h2.mount(one, adapter)
        with record(one) as recording:
            requests_h2.mount(other, adapter)
            other.get(f"{started.url}/other", timeout=WAIT, verify=False)
            one.get(f"{started.url}/one", timeout=WAIT, verify=False)
    assert only(recording).url == f"{started.url}/one"


def test_pings(session: requests.Session, peer: StartPeer, certs: Certificates) -> None:
    adapter: Any = session.get_adapter("https://")
    with record(session) as recording:
        adapter.ping(peer(ordinary).url, timeout=WAIT, verify=certs.ca_path)
    assert recording.entries == []


def test_bodies_are_not_kept(session: requests.Session, peer: StartPeer, tmp_path: Path) -> None:
    started = peer(serve(lambda request: (200, {}, b"the answer's SECRET")))
    with record(session) as recording:
        response = session.post(started.url, data=b"the request's SECRET", timeout=WAIT)
    held = weakref.ref(response.request), weakref.ref(response)
    session.close()  # a connection knows who has sent last
    del response
    gc.collect()
    assert [each() for each in held] == [None, None]
    for name in ("trace.har", "trace.html"):
        recording.save(tmp_path / name)
        assert "SECRET" not in (tmp_path / name).read_text()
    assert "SECRET" not in recording.table()


def test_who_keeps_a_recording_keeps_no_connection(
    make_adapter: Callable[..., HTTP2Adapter], peer: StartPeer, certs: Certificates
) -> None:
    started, session = peer(ordinary), requests.Session()
    session.mount("https://", make_adapter())
    with record(session) as recording:
        session.get(started.url, timeout=WAIT, verify=certs.ca_path)
    adapter = weakref.ref(session.get_adapter("https://"))
    session.adapters.clear()
    gc.collect()
    assert adapter() is None
    started.connection().wait_eof()
    with recording:
        assert only(recording).status == 200


# -- what is redacted ----------------------------------------------------------------------


@pytest.mark.parametrize("alpn", [["h2"], None])
def test_secrets(session: requests.Session, peer: StartPeer, tmp_path: Path, alpn: Any) -> None:
    def tell(request: Request) -> Any:
        fields = [
            ("set-cookie", "id=SECRET; Path=/; HttpOnly; Secure; note=SECRET"),
            ("set-cookie", "SECRET"),
            ("authorization", "SECRET"),
        ]
        return 200, fields, b""

    started = peer(serve(tell), alpn=alpn)
    url = started.url.replace("https://", "https://user:SECRET@")
    with record(session) as recording:
        session.get(
            url,
            headers={"Cookie": "a=SECRET; SECRET", "Proxy-Authorization": b"Basic SECRET"},
            timeout=WAIT,
        )
        session.get(started.url, headers={"Authorization": "Bearer SECRET"}, timeout=WAIT)
    first, second = har(recording, tmp_path)
    recording.save(tmp_path / "trace.html")
    for text in (
        (tmp_path / "trace.har").read_text(),
        (tmp_path / "trace.html").read_text(),
        recording.table(),
        repr(recording.entries),
    ):
        assert "SECRET" not in text
    assert first["request"]["url"] == f"{started.url}/"
    assert {"name": "Authorization", "value": "[redacted]"} in first["request"]["headers"]
    assert {"name": "Authorization", "value": "[redacted]"} in second["request"]["headers"]
    assert first["request"]["cookies"][0] == {"name": "a", "value": "[redacted]"}
    cookie = {"name": "id", "value": "[redacted]", "path": "/", "httpOnly": True, "secure": True}
    assert first["response"]["cookies"][0] == cookie


@pytest.mark.parametrize("alpn", [["h2"], None])
def test_secrets_in_urls(
    session: requests.Session, peer: StartPeer, tmp_path: Path, alpn: Any
) -> None:
    def redirecting(request: Request) -> Any:
        if request.path == "/to":
            return 200, {"content-location": "//[SECRET@b.example/"}, b""
        fields = [
            ("location", f"{secret}/to#fragment"),
            ("content-location", "//u:SECRET@a.example/"),
        ]
        return 302, fields, b""

    started = peer(serve(redirecting), alpn=alpn)
    secret = started.url.replace("https://", "https://user:SECRET@")
    with record(session) as recording:
        session.get(f"{started.url}/#SECRET", headers={"Referer": f"{secret}/a"}, timeout=WAIT)
    first, second = har(recording, tmp_path)
    assert "SECRET" not in (tmp_path / "trace.har").read_text()
    assert "SECRET" not in recording.table() + repr(recording.entries)
    assert [each["request"]["url"] for each in (first, second)] == [
        f"{started.url}/",
        f"{started.url}/to",
    ]
    assert {"name": "Referer", "value": f"{started.url}/a"} in first["request"]["headers"]
    assert first["response"]["redirectURL"] == f"{started.url}/to#fragment"
    assert {"name": "content-location", "value": "b.example/"} in second["response"]["headers"]


@pytest.mark.parametrize(
    "folded",
    [
        "a=SECRET; Path=/, b=SECRET; Path=/",
        "a=SECRET; Expires=Wed, 09 Jun 2100 10:18:14 GMT, b=SECRET",
        "a=SECRET; Secure, SECRET; Domain=a.example,SECRET",
    ],
)
def test_cookies_in_one_field(
    session: requests.Session, peer: StartPeer, tmp_path: Path, folded: str
) -> None:
    started = peer(serve(lambda request: (200, {"set-cookie": folded}, b"")))
    with record(session) as recording:
        session.get(started.url, timeout=WAIT)
    har(recording, tmp_path)
    assert "SECRET" not in (tmp_path / "trace.har").read_text()


def test_others_can_be_named(session: requests.Session, peer: StartPeer, tmp_path: Path) -> None:
    with record(session, redact=["X-Key"]) as recording:
        session.get(peer(ordinary).url, headers={"x-key": "one", "Cookie": "a=two"}, timeout=WAIT)
    (entry,) = har(recording, tmp_path)
    assert {"name": "x-key", "value": "[redacted]"} in entry["request"]["headers"]
    assert {"name": "Cookie", "value": "a=two"} in entry["request"]["headers"]
    assert entry["request"]["cookies"] == [{"name": "a", "value": "two"}]
    with pytest.raises(TypeError, match="list of header names"):
        record(session, redact="x-key")
    bad: Any
    for bad in (b"x-key", [b"x-key"]):
        with pytest.raises(TypeError, match="header names"):
            record(session, redact=bad)


# -- what is written -----------------------------------------------------------------------


def test_the_archive(session: requests.Session, peer: StartPeer, tmp_path: Path) -> None:
    started = peer(ordinary)
    with record(session) as recording:
        url = f"{started.url}/p?a=b&a=&c=%20"
        info = session.post(url, data={"x": "y"}, timeout=WAIT).raw.connection_info
    (entry,) = har(recording, tmp_path)
    log = json.loads((tmp_path / "trace.har").read_text())["log"]
    assert log["version"] == "1.2"
    assert log["creator"] == {"name": "requests-http2", "version": requests_h2.__version__}
    request, response = entry["request"], entry["response"]
    query = [("a", "b"), ("a", ""), ("c", " ")]
    assert request["queryString"] == [{"name": name, "value": value} for name, value in query]
    assert request["postData"] == {"mimeType": "application/x-www-form-urlencoded"}
    assert (request["bodySize"], request["httpVersion"]) == (3, "HTTP/2")
    assert (response["status"], response["statusText"]) == (200, "OK")
    assert response["content"]["mimeType"] == "text/plain"
    assert response["bodySize"] == len(b"body of /p?a=b&a=&c=%20")
    assert response["_transferSize"] == entry["_bytesReceived"]
    assert (entry["serverIPAddress"], entry["connection"]) == ("127.0.0.1", str(started.port))
    assert (entry["_connectionId"], entry["_streamId"]) == (str(info.connection_id), 1)
    assert entry["timings"]["connect"] >= entry["timings"]["ssl"] > 0


def test_the_page(session: requests.Session, peer: StartPeer, tmp_path: Path) -> None:
    started = peer(ordinary)
    with record(session) as recording:
        session.get(f"{started.url}/a", timeout=WAIT)
    data = page_data(recording, tmp_path)
    (row,), (connection,) = data["entries"], data["connections"]
    assert (row["url"], row["status"], row["stream"]) == (f"{started.url}/a", 200, 1)
    assert row["connection"] == connection["id"]
    assert connection["peer"] == f"127.0.0.1:{started.port}"
    assert set(row["phases"]) <= {"blocked", "connect", "tls", "send", "wait", "receive"}
    assert sum(row["phases"].values()) == pytest.approx(row["total"], abs=0.01)


def test_what_servers_say_is_no_markup(
    session: requests.Session, peer: StartPeer, tmp_path: Path
) -> None:
    evil = "</script><script>alert(1)</script><!--"

    def tell(request: Request) -> Any:
        if request.path.startswith("/to"):
            return 200, {"content-type": evil}, b""
        return 302, {"location": f"/to{evil}"}, b""

    with record(session) as recording:
        session.get(peer(serve(tell)).url, timeout=WAIT)
    data = page_data(recording, tmp_path)
    assert data["entries"][1]["type"] == evil
    text = (tmp_path / "trace.html").read_text()
    assert "<script>alert" not in text
    assert text.count("</script") == text.count("<script") == 2
    assert "<!--" not in text


def test_the_page_needs_nothing_else(session: requests.Session, tmp_path: Path) -> None:
    record(session).save(tmp_path / "empty.html")
    text = (tmp_path / "empty.html").read_text()
    assert not re.search(r"""(src|href)\s*=|url\(|@import|https?://""", text)
    assert "default-src 'none'" in text


def test_the_table(session: requests.Session, peer: StartPeer, make_proxy: MakeProxy) -> None:
    started, proxy = peer(ordinary), make_proxy(b"HTTP/1.1 403 No \x1b[31m\r\n\r\n")
    with record(session) as recording:
        session.get(f"{started.url}/short", timeout=WAIT)
        session.get(f"{started.url}/{'long' * 30}/end", timeout=WAIT)
        with pytest.raises(requests.exceptions.ProxyError):
            session.get(started.url, proxies={"https": proxy.url}, timeout=WAIT)
    heading, *lines = recording.table().splitlines()
    assert heading.split()[:6] == ["start", "method", "url", "status", "on", "octets"]
    dial = recording.entries[0].dial
    assert dial is not None
    assert lines[0].split()[1:5] == [
        "GET",
        f"127.0.0.1:{started.port}/short",
        "200",
        f"{dial.connection_id}/1",
    ]
    assert "..." in lines[1]
    assert lines[1].split()[2].endswith("longlong/end")
    assert "ProxyError: " in lines[2]
    assert "\x1b" not in lines[2]


@pytest.mark.parametrize("name", ["trace.json", "trace", "har", "trace.har.gz"])
def test_an_unknown_suffix(session: requests.Session, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"\.har or \.html"):
        record(session).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_places_to_save_to(session: requests.Session, tmp_path: Path) -> None:
    recording = record(session)
    recording.save(str(tmp_path / "trace.HAR"))
    assert checked((tmp_path / "trace.HAR").read_text()) == []
    with pytest.raises(FileNotFoundError):
        recording.save(tmp_path / "nowhere" / "trace.html")
