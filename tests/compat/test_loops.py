"""What goes around requests: pools of threads, requests-futures, tenacity, tqdm, rate limits."""

from __future__ import annotations

import io
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
import requests
from requests_futures.sessions import FuturesSession
from requests_ratelimiter import LimiterMixin, LimiterSession
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_none
from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

from tests.servers.support import TIMEOUT, sha256
from tests.support.servers import Document, Server

from .conftest import Transport

MIB = 1 << 20
pytestmark = pytest.mark.parametrize("server", ["hypercorn"], indirect=True)


# -- threads -------------------------------------------------------------------------------


def test_concurrent_futures(
    session: requests.Session, transport: Transport, server: Server
) -> None:
    def get(number: int) -> tuple[str, str]:
        response = session.get(f"{server.url}/say?body={number}", timeout=TIMEOUT)
        return transport.check(response).text, response.headers["x-client-port"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(get, range(100)))
    assert [text for text, _ in answers] == [str(number) for number in range(100)]
    if transport.version == 20:
        assert len({port for _, port in answers}) == 1


def test_as_completed(session: requests.Session, transport: Transport, server: Server) -> None:
    """Late answers hold early ones up on no connection."""

    def get(target: str) -> str:
        return transport.check(session.get(f"{server.url}{target}", timeout=TIMEOUT)).text

    with ThreadPoolExecutor(4) as pool:
        late = pool.submit(get, "/delay?ms=600")
        early = [pool.submit(get, "/say?body=early") for _ in range(20)]
        assert [future.result() for future in as_completed([late, *early])][-1] == "late"


def test_requests_futures(dress: Callable[..., Any], transport: Transport, server: Server) -> None:
    def read(response: requests.Response, *args: Any, **kwargs: Any) -> None:
        response.parsed = response.json()  # type: ignore[attr-defined]

    session = dress(FuturesSession(max_workers=6))
    # /meet answers nobody before all six are there.
    meeting = f"{server.url}/meet/6?key={uuid.uuid4()}"
    met = [session.get(meeting, timeout=TIMEOUT) for _ in range(6)]
    assert {transport.check(each.result()).text for each in met} == {"met"}
    future = session.post(f"{server.url}/echo", json=[1], hooks={"response": read}, timeout=TIMEOUT)
    assert transport.check(future.result()).parsed["body"] == "[1]"


def test_requests_futures_of_a_session(
    session: requests.Session, transport: Transport, server: Server
) -> None:
    with FuturesSession(session=session, executor=ThreadPoolExecutor(4)) as futures:
        pending = [futures.get(f"{server.url}/say?body={n}", timeout=TIMEOUT) for n in range(20)]
        texts = [transport.check(each.result()).text for each in pending]
    assert texts == [str(n) for n in range(20)]


# -- again and again -----------------------------------------------------------------------


def test_tenacity(session: requests.Session, transport: Transport, server: Server) -> None:
    """Failures are of the classes that people retry on."""
    targets = iter(["/status/503", "/delay?ms=3000", "/say?body=done"])

    @retry(
        retry=retry_if_exception_type((requests.HTTPError, requests.Timeout)),
        stop=stop_after_attempt(3),
        wait=wait_none(),
    )
    def get() -> str:
        response = session.get(f"{server.url}{next(targets)}", timeout=(TIMEOUT, 0.3))
        response.raise_for_status()
        return transport.check(response).text

    assert get() == "done"
    assert get.statistics["attempt_number"] == 3


@pytest.mark.parametrize("kind", ["session", "adapter"])
def test_requests_ratelimiter(
    dress: Callable[..., Any], transport: Transport, server: Server, kind: str
) -> None:
    limits = {"per_minute": 3, "max_delay": 0.01}

    class LimitedAdapter(LimiterMixin, transport.base):  # type: ignore[name-defined, misc]
        pass

    if kind == "session":
        session = dress(LimiterSession(**limits))
    else:
        session = dress(requests.Session(), transport.adapter(LimitedAdapter, **limits))
    for _ in range(3):
        transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))
    with pytest.raises(requests.Timeout, match="Rate limit"):
        session.get(f"{server.url}/1k", timeout=TIMEOUT)


# -- downloads -----------------------------------------------------------------------------


def test_tqdm_download(
    session: requests.Session, transport: Transport, server: Server, tmp_path: Path
) -> None:
    """The loop that everybody copies, stopped in the middle."""
    target = tmp_path / "100m"
    with session.get(f"{server.url}/100m", stream=True, timeout=TIMEOUT) as response:
        transport.check(response)
        total = int(response.headers["content-length"])
        assert total == 100 * MIB
        with (
            target.open("wb") as file,
            tqdm(total=total, unit="B", unit_scale=True, file=io.StringIO()) as bar,
        ):
            for chunk in response.iter_content(chunk_size=8192):
                file.write(chunk)
                bar.update(len(chunk))
                if bar.n >= 4 * MIB:
                    break
        assert bar.n == target.stat().st_size == 4 * MIB
    transport.check(session.get(f"{server.url}/1k", timeout=TIMEOUT))


def test_tqdm_around_the_raw_file(
    session: requests.Session, transport: Transport, server: Server, documents: dict[str, Document]
) -> None:
    """``copyfileobj`` from ``response.raw``."""
    copy = io.BytesIO()
    with (
        session.get(f"{server.url}/1k", stream=True, timeout=TIMEOUT) as response,
        tqdm.wrapattr(transport.check(response).raw, "read", total=1024, file=io.StringIO()) as raw,
    ):
        shutil.copyfileobj(raw, copy)
    assert sha256([copy.getvalue()]) == (1024, documents["1k"].sha256)


def test_tqdm_upload(session: requests.Session, transport: Transport, server: Server) -> None:
    body = b"x" * MIB
    with tqdm(total=len(body), file=io.StringIO()) as bar:
        file = CallbackIOWrapper(bar.update, io.BytesIO(body), "read")
        response = session.post(f"{server.url}/upload", data=file, timeout=TIMEOUT)
    assert transport.check(response).json()["length"] == MIB
    assert bar.n == MIB
