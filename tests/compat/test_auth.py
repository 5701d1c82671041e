"""Digest authentication, requests-oauthlib and requests-ntlm."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import spnego
from oauthlib.common import Request as SignedRequest
from oauthlib.oauth1.rfc5849 import signature
from oauthlib.oauth2 import BackendApplicationClient
from requests.auth import HTTPDigestAuth
from requests_ntlm import HttpNtlmAuth
from requests_oauthlib import OAuth1, OAuth1Session, OAuth2Session

from tests.servers.support import TIMEOUT
from tests.support.peer import Http1Connection, PeerConnection, StartPeer
from tests.support.servers import Server
from tests.support.services import PASSWORD, USER

from .conftest import Transport

HTTP_1_1_REQUIRED = 13
apache = pytest.mark.parametrize("server", ["apache"], indirect=True)


@apache
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_digest(
    session: requests.Session, transport: Transport, server: Server, algorithm: str
) -> None:
    session.auth = HTTPDigestAuth(USER, PASSWORD)
    url = f"{server.url}/digest?algorithm={algorithm}"
    first = transport.check(session.get(url, timeout=TIMEOUT))
    assert (first.text, [each.status_code for each in first.history]) == ("welcome", [401])
    # It remembers the challenge.
    second = transport.check(session.get(url, timeout=TIMEOUT))
    assert (second.text, second.history) == ("welcome", [])
    session.auth = HTTPDigestAuth(USER, "wrong")
    assert transport.check(session.get(url, timeout=TIMEOUT), 401).text == "who are you?"


@apache
def test_digest_rewinds_a_body(
    session: requests.Session, transport: Transport, server: Server
) -> None:
    """The body that met the challenge is sent again."""
    body = io.BytesIO(b"x" * 200_000)
    auth = HTTPDigestAuth(USER, PASSWORD)
    response = session.post(f"{server.url}/digest", data=body, auth=auth, timeout=TIMEOUT)
    assert transport.check(response).text == "welcome"
    assert response.request.headers["Content-Length"] == "200000"
    assert body.tell() == 200_000


# -- OAuth ---------------------------------------------------------------------------------


def signed_well(response: requests.Response, client_secret: str, owner_secret: str) -> bool:
    """Whether what arrived at the server bears the signature that RFC 5849 wants."""
    echo = response.json()
    (authorization,) = [value for name, value in echo["headers"] if name == "authorization"]
    arrived = SignedRequest(
        response.url, echo["method"], echo["body"], {"Authorization": authorization}
    )
    said = dict(
        signature.collect_parameters(
            headers={"Authorization": authorization}, exclude_oauth_signature=False
        )
    )
    arrived.signature = said["oauth_signature"]
    arrived.params = signature.collect_parameters(
        uri_query=arrived.uri_query or "",
        body=echo["body"] or [],
        headers={"Authorization": authorization},
    )
    return bool(signature.verify_hmac_sha1(arrived, client_secret, owner_secret))


@apache
def test_oauth1(dress: Callable[..., Any], transport: Transport, server: Server) -> None:
    secrets = {"client_secret": "a", "resource_owner_key": "key", "resource_owner_secret": "b"}
    session = dress(OAuth1Session("client", **secrets))
    got = transport.check(session.get(f"{server.url}/echo?x=1&y=two%20words", timeout=TIMEOUT))
    assert signed_well(got, "a", "b")
    assert not signed_well(got, "a", "another")
    posted = session.post(f"{server.url}/echo", data={"form": "a b"}, timeout=TIMEOUT)
    assert signed_well(transport.check(posted), "a", "b")


@apache
def test_oauth1_as_auth(session: requests.Session, transport: Transport, server: Server) -> None:
    auth = OAuth1("client", "a", "key", "b")
    response = session.put(f"{server.url}/echo", data=b"bytes", auth=auth, timeout=TIMEOUT)
    assert transport.check(response).json()["body"] == "bytes"


def token_url(server: Server, token: str) -> str:
    answer = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
    return f"{server.url}/say?field=Content-Type:application/json&body={quote(json.dumps(answer))}"


@apache
def test_oauth2(dress: Callable[..., Any], transport: Transport, server: Server) -> None:
    session = dress(OAuth2Session(client=BackendApplicationClient("client")))
    # It passes verify=True on, unless told otherwise.
    token = session.fetch_token(
        token_url(server, "first"), client_secret="s", verify=session.verify, timeout=TIMEOUT
    )
    assert token["access_token"] == "first"
    response = transport.check(session.get(f"{server.url}/echo", timeout=TIMEOUT))
    assert ["authorization", "Bearer first"] in response.json()["headers"]


@apache
def test_oauth2_refreshes(dress: Callable[..., Any], transport: Transport, server: Server) -> None:
    updated: list[str] = []
    expired = {"access_token": "old", "refresh_token": "r", "expires_at": time.time() - 10}
    session = dress(
        OAuth2Session(
            "client",
            token=expired,
            auto_refresh_url=token_url(server, "new"),
            auto_refresh_kwargs={"client_id": "client"},
            token_updater=lambda token: updated.append(token["access_token"]),
        )
    )
    # As above: the refresh has the verify of the request.
    response = session.get(f"{server.url}/echo", verify=session.verify, timeout=TIMEOUT)
    assert ["authorization", "Bearer new"] in transport.check(response).json()["headers"]
    assert updated == ["new"]


# -- NTLM ----------------------------------------------------------------------------------


@pytest.fixture
def ntlm_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    users = tmp_path / "users"
    users.write_text(f"DOMAIN:{USER}:{PASSWORD}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    return f"DOMAIN\\{USER}"


def authenticate(conn: Http1Connection) -> None:
    """NTLM: three requests of one connection."""
    request = conn.next_request()
    assert "authorization" not in request.headers
    conn.respond(request, 401, {"WWW-Authenticate": "NTLM"}, b"no")
    acceptor = spnego.server(protocol="ntlm")
    while not acceptor.complete:
        request = conn.next_request()
        token = base64.b64decode(request.headers["authorization"].removeprefix("NTLM "))
        answer = acceptor.step(token)
        if answer is not None:
            challenge = "NTLM " + base64.b64encode(answer).decode()
            conn.respond(request, 401, {"WWW-Authenticate": challenge}, b"no")
    conn.respond(request, 200, (), acceptor.client_principal.encode())


def test_ntlm_of_a_server_without_http2(
    session: requests.Session, peer: StartPeer, ntlm_user: str
) -> None:
    started = peer(authenticate, alpn=("http/1.1",))
    session.auth = HttpNtlmAuth(ntlm_user, PASSWORD)
    response = session.get(started.url, timeout=TIMEOUT)
    assert (response.status_code, response.text) == (200, ntlm_user)
    assert started.accepted == 1


def test_ntlm_of_a_server_that_then_requires_http1(
    session: requests.Session, transport: Transport, peer: StartPeer, ntlm_user: str
) -> None:
    """As IIS does: NTLM authenticates connections, so they must not be shared."""

    def script(conn: PeerConnection | Http1Connection) -> None:
        if isinstance(conn, PeerConnection):
            conn.reset(conn.next_request(), HTTP_1_1_REQUIRED)
        else:
            authenticate(conn)

    started = peer(script)
    session.auth = HttpNtlmAuth(ntlm_user, PASSWORD)
    response = session.get(started.url, timeout=TIMEOUT)
    assert (response.status_code, response.text) == (200, ntlm_user)
    assert started.accepted == (2 if transport.version == 20 else 1)
