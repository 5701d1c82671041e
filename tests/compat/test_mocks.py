"""responses, requests-mock, betamax and vcrpy: what is played back, and what is recorded."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import betamax
import pytest
import requests
import requests_mock
import responses
import vcr
from requests.adapters import HTTPAdapter
from vcr.errors import CannotOverwriteExistingCassetteException

import requests_h2
from requests_h2.exceptions import HTTP2RequiredError
from tests.servers.support import TIMEOUT, sha256
from tests.support.certs import Certificates
from tests.support.har import checked
from tests.support.servers import Document, Server

from .conftest import Transport

pytestmark = pytest.mark.parametrize("server", ["h2o"], indirect=True)
NOWHERE = "https://nowhere.invalid/thing"


@pytest.fixture
def counted(server: Server) -> str:
    """A URL whose answers are numbered."""
    return f"{server.url}/count/{uuid.uuid4()}"


# -- above us ------------------------------------------------------------------------------


def test_responses(session: requests.Session, server: Server) -> None:
    with responses.RequestsMock() as mock:
        mock.get(NOWHERE, json={"mocked": True}, headers={"X-A": "b"})
        mock.get(NOWHERE, status=503)
        first = session.get(NOWHERE, timeout=TIMEOUT)
        assert (first.json(), first.headers["X-A"]) == ({"mocked": True}, "b")
        assert session.get(NOWHERE, timeout=TIMEOUT).status_code == 503
        with pytest.raises(requests.ConnectionError):
            session.get(f"{server.url}/1k", timeout=TIMEOUT)


def test_responses_streamed(session: requests.Session, server: Server) -> None:
    with responses.RequestsMock() as mock:
        mock.get(NOWHERE, body=b"x" * 1000)
        with session.get(NOWHERE, stream=True, timeout=TIMEOUT) as response:
            assert [len(each) for each in response.iter_content(400)] == [400, 400, 200]


def test_responses_inspected(server: Server) -> None:
    """There is no connection to tell of."""
    with responses.RequestsMock() as mock, requests.Session() as session:
        mock.get(f"{server.url}/1k", body=b"mocked")
        requests_h2.mount(session)
        with requests_h2.record(session) as recording:
            response = session.get(f"{server.url}/1k", timeout=TIMEOUT)
    info = response.raw.connection_info
    assert (info.connection_id, info.peer_address, info.reused) == (0, None, False)
    (entry,) = recording.entries
    assert (entry.status, entry.finished) == (200, True)
    assert "GET" in recording.table()


def test_responses_passing_through(
    session: requests.Session, transport: Transport, server: Server, documents: dict[str, Document]
) -> None:
    with responses.RequestsMock() as mock:
        mock.add_passthru(server.url)
        response = transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    assert sha256([response.content]) == (1024, documents["1k"].sha256)


def test_responses_retries(dress: Callable[..., Any], server: Server) -> None:
    """It follows the adapter's ``max_retries``."""
    retry = requests.adapters.Retry(total=2, status_forcelist=[503], backoff_factor=0)
    session = dress(requests.Session(), max_retries=retry)
    with responses.RequestsMock() as mock:
        mock.get(NOWHERE, status=503)
        answer = mock.get(NOWHERE, body="at last")
        assert session.get(NOWHERE, timeout=TIMEOUT).text == "at last"
        assert answer.call_count == 1


def test_requests_mock(session: requests.Session, server: Server) -> None:
    with requests_mock.Mocker() as mock:
        mock.get(NOWHERE, text="mocked")
        assert session.get(NOWHERE, timeout=TIMEOUT).text == "mocked"
        with pytest.raises(requests_mock.NoMockAddress):
            session.get(f"{server.url}/1k", timeout=TIMEOUT)
        assert mock.call_count == 2


def test_requests_mock_real_http(
    session: requests.Session, transport: Transport, server: Server
) -> None:
    with requests_mock.Mocker(real_http=True) as mock:
        mock.get(NOWHERE, text="mocked")
        transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
        assert session.get(NOWHERE, timeout=TIMEOUT).text == "mocked"


def test_requests_mock_as_an_adapter(
    session: requests.Session, transport: Transport, server: Server
) -> None:
    mock = requests_mock.Adapter()
    mock.register_uri("GET", "/thing", text="mocked")
    session.mount("https://nowhere.invalid", mock)
    assert session.get(NOWHERE, timeout=TIMEOUT).text == "mocked"
    transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow")
@pytest.mark.parametrize("target", ["/count", "/text.txt", "/drip?sizes=5,3000"])
def test_betamax(
    session: requests.Session, transport: Transport, server: Server, target: str, tmp_path: Path
) -> None:
    """What comes over HTTP/2 is recorded, and played back without a server."""
    versions: list[int] = []

    class Noting(transport.base):  # type: ignore[name-defined, misc]
        def build_response(self, request: Any, response: Any) -> Any:
            versions.append(response.version)
            return super().build_response(request, response)

    session.mount("https://", transport.adapter(Noting))
    url = server.url + target.replace("/count", f"/count/{uuid.uuid4()}")
    texts = []
    for _ in range(2):
        with betamax.Betamax(session, cassette_library_dir=str(tmp_path)).use_cassette("one"):
            texts.append(session.get(url, timeout=TIMEOUT).text)
    assert texts[0] == texts[1] != ""
    assert versions == [transport.version]


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow")
def test_betamax_of_a_post_and_redirects(
    session: requests.Session, transport: Transport, server: Server, tmp_path: Path
) -> None:
    answers = []
    recorder = betamax.Betamax(session, cassette_library_dir=str(tmp_path))
    for mode in ("once", "none"):
        with recorder.use_cassette("one", record=mode, match_requests_on=["method", "uri", "body"]):
            posted = session.post(f"{server.url}/echo", json={"a": 1}, timeout=TIMEOUT)
            moved = session.get(f"{server.url}/redirect/1", timeout=TIMEOUT)
            answers.append((posted.json(), moved.json(), len(moved.history)))
    assert answers[0] == answers[1]
    assert answers[0][2] == 2


# -- below us ------------------------------------------------------------------------------


#: What is for Python 3.10 leaves connections of stock adapters to the garbage collector.
old_vcr = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def play(session: requests.Session, url: str, cassette: Path, **options: Any) -> requests.Response:
    with vcr.use_cassette(str(cassette), **options) as tape:
        response = session.get(url, timeout=TIMEOUT)
        assert response.content
        response.played = tape.play_count  # type: ignore[attr-defined]
    return response


def test_vcr(dress: Callable[..., Any], counted: str, tmp_path: Path) -> None:
    """Records, and plays back without a connection."""
    cassette = tmp_path / "one.yaml"
    for number in range(2):
        response = play(dress(requests.Session()), counted, cassette)
        assert (response.text, response.played) == ("1", number)
    with pytest.raises(CannotOverwriteExistingCassetteException):
        play(dress(requests.Session()), counted + "-other", cassette)


@old_vcr
def test_vcr_inspected(server: Server, certs: Certificates, tmp_path: Path) -> None:
    """vcrpy's responses are none of urllib3's and have no version."""
    with requests.Session() as session:
        requests_h2.mount(session)
        for played in (False, True):
            with vcr.use_cassette(str(tmp_path / "tape")), requests_h2.record(session) as recording:
                response = session.get(f"{server.url}/1k", verify=certs.ca_path, timeout=TIMEOUT)
            assert (response.raw.connection_info.peer_address is None) is played
            assert response.raw.connection_info.http_version == ""
            recording.save(tmp_path / "trace.har")
            (entry,) = checked((tmp_path / "trace.har").read_text(encoding="utf-8"))
            assert (entry["response"]["status"], entry["_finished"]) == (200, True)


@old_vcr
def test_vcr_with_open_connections(
    session: requests.Session, transport: Transport, counted: str, tmp_path: Path
) -> None:
    """A session that was used before records too, and is on its way again afterwards."""
    cassette = tmp_path / "one.yaml"
    assert transport.check(session.get(counted, timeout=TIMEOUT)).text == "1"
    assert play(session, counted, cassette).text == "2"
    assert transport.check(session.get(counted, timeout=TIMEOUT)).text == "3"
    response = play(session, counted, cassette)
    assert (response.text, response.played) == ("2", 1)
    assert transport.check(session.get(counted, timeout=TIMEOUT)).text == "4"


@old_vcr
def test_vcr_and_adapters_made_inside(
    dress: Callable[..., Any], transport: Transport, counted: str, tmp_path: Path
) -> None:
    """They know nothing of it afterwards."""
    cassette = tmp_path / "one.yaml"
    with vcr.use_cassette(str(cassette)):
        session = dress(requests.Session())
        assert session.get(counted, timeout=TIMEOUT).text == "1"
    assert transport.check(session.get(counted, timeout=TIMEOUT)).text == "2"
    assert play(session, counted, cassette).text == "1"


@pytest.mark.parametrize("mode", ["new_episodes", "all"])
def test_vcr_record_modes(
    session: requests.Session, counted: str, mode: str, tmp_path: Path
) -> None:
    cassette = tmp_path / "one.yaml"
    assert play(session, counted, cassette, record_mode=mode).text == "1"
    second = play(session, counted, cassette, record_mode=mode)
    assert (second.text, second.played) == (("1", 1) if mode == "new_episodes" else ("2", 0))


def test_vcr_and_a_post(session: requests.Session, server: Server, tmp_path: Path) -> None:
    echoes = []
    for mode in ("once", "none"):
        with vcr.use_cassette(
            str(tmp_path / "one.yaml"), record_mode=mode, match_on=["method", "uri", "body"]
        ):
            response = session.post(f"{server.url}/echo", json={"a": [1]}, timeout=TIMEOUT)
            echoes.append(response.json())
    assert echoes[0] == echoes[1]
    assert json.loads(echoes[0]["body"]) == {"a": [1]}


def test_vcr_and_http2_required(
    dress: Callable[..., Any], transport: Transport, counted: str, tmp_path: Path
) -> None:
    """Recording is HTTP/1.1, so it is refused."""
    if transport.base is HTTPAdapter:
        return
    session = dress(requests.Session(), http2="required")
    with pytest.raises(requests.ConnectionError, match="VCR") as caught:
        play(session, counted, tmp_path / "one.yaml")
    assert isinstance(caught.value.args[0], HTTP2RequiredError)
