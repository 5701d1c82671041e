"""Which protocol a connection speaks, and what the caller may say about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from tests.support.certs import Certificates
from tests.support.peer import Http1Connection, MakeSession, Request, StartPeer, serve
from tests.support.threads import together


def answer(request: Request) -> Any:
    return 200, {"x-method": request.method}, b"answer"


def test_fallback_keeps_stock_habits(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: Http1Connection) -> None:
        request = conn.next_request()
        fields = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Connection", "close")]
        conn.respond(request, 200, fields, b"body")
        conn.close()

    started = peer(script, alpn=("http/1.1",))
    for _ in range(2):
        response = session.get(started.url)
        assert response.cookies.get_dict() == {"a": "1", "b": "2"}
        assert response.content == b"body"
    assert started.accepted == 2


def test_fallback_with_threads(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(answer), alpn=("http/1.1",))
    assert together(8, lambda number: session.get(started.url).content) == [b"answer"] * 8


def test_http2_false_is_the_stock_adapter(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer(serve(answer))
    response = make_session(http2=False).get(started.url)
    assert response.raw.version == 11
    assert started.connection().channel.alpn == "http/1.1"


def test_required_and_there(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer(serve(answer))
    assert make_session(http2="required").get(started.url).raw.version == 20


@pytest.mark.parametrize(("alpn", "negotiated"), [(("http/1.1",), "http/1.1"), (None, "ALPN")])
def test_required_and_missing(
    make_session: MakeSession, peer: StartPeer, alpn: Any, negotiated: str
) -> None:
    started = peer(serve(answer), alpn=alpn)
    session = make_session(http2="required")
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(started.url)
    assert "HTTP/2" in str(caught.value)
    if alpn:
        assert negotiated in str(caught.value)
    assert started.requests == []


def test_required_is_not_retried_for_ever(make_session: MakeSession, peer: StartPeer) -> None:
    started = peer(serve(answer), alpn=("http/1.1",))
    session = make_session(http2="required")
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            session.get(started.url)
    assert started.accepted == 2


def test_a_stock_adapter_on_the_same_context_offers_http1(
    make_adapter: Callable[..., Any], peer: StartPeer, certs: Certificates
) -> None:
    class Stock(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

    context = certs.client_context()
    started = peer(serve(answer))
    ours, stock = requests.Session(), requests.Session()
    with ours, stock:
        ours.mount("https://", make_adapter(ssl_context=context))
        stock.mount("https://", Stock())
        assert ours.get(started.url).raw.version == 20
        assert stock.get(started.url).raw.version == 11
        assert ours.get(started.url).raw.version == 20


def test_an_unknown_choice_is_refused(make_adapter: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="http2"):
        make_adapter(http2="maybe")


@pytest.mark.parametrize("method", ["request", "getresponse"])
def test_connections_that_want_to_see_exchanges_get_them(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """As vcrpy's, which are put there and taken away while sessions live."""
    seen: list[str] = []

    class Recording(HTTPSConnection):
        pass

    def record(self: Recording, *args: Any, **kwargs: Any) -> Any:
        seen.append(method)
        return getattr(HTTPSConnection, method)(self, *args, **kwargs)

    setattr(Recording, method, record)
    started = peer(serve(answer))
    assert session.get(started.url).raw.version == 20
    with monkeypatch.context() as patch:
        patch.setattr(HTTPSConnectionPool, "ConnectionCls", Recording)
        for _ in range(2):
            assert session.get(started.url).raw.version == 11
    assert session.get(started.url).raw.version == 20
    assert seen == [method] * 2
    assert started.accepted == 2


def test_connections_that_want_to_see_exchanges_leave_their_places(
    make_session: MakeSession, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pool with one place, which HTTP/2's dials need too."""

    class Recording(HTTPSConnection):
        def getresponse(self) -> Any:
            if fails:
                raise OSError("no tape")
            return super().getresponse()

    started = peer(serve(answer))
    session = make_session(pool_maxsize=1, pool_block=True)
    for fails in (False, True, True, False):
        with monkeypatch.context() as patch:
            patch.setattr(HTTPSConnectionPool, "ConnectionCls", Recording)
            if fails:
                with pytest.raises(requests.ConnectionError, match="no tape"):
                    session.get(started.url, timeout=5)
            else:
                assert session.get(started.url, timeout=5).raw.version == 11
        response = session.get(started.url, timeout=5)
        assert response.raw.version == 20
        response.raw._pool.drain("the next one shall be dialled too")


def test_connections_that_want_to_see_exchanges_when_http2_is_required(
    make_session: MakeSession, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Recording(HTTPSConnection):
        def getresponse(self) -> Any:
            raise AssertionError("it must not come so far")

    monkeypatch.setattr(HTTPSConnectionPool, "ConnectionCls", Recording)
    with pytest.raises(requests.ConnectionError, match=r"Recording, which speaks HTTP/1\.1"):
        make_session(http2="required").get(peer(serve(answer)).url)


def test_connections_of_a_class_of_ones_own(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is made or connected otherwise, and leaves the exchanges to urllib3."""
    connected: list[str] = []

    class Own(HTTPSConnection):
        def connect(self) -> None:
            connected.append(self.host)
            super().connect()

    monkeypatch.setattr(HTTPSConnectionPool, "ConnectionCls", Own)
    assert session.get(peer(serve(answer)).url).raw.version == 20
    assert connected == ["127.0.0.1"]
