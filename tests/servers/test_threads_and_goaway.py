"""Many requests on one session: shared connections, and connections that the server ends."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from urllib3.util import Retry

from tests.support.servers import Can, Server

from .support import TIMEOUT, check, client_port, has_client_port, on

#: Requests on a connection whose server ends it after ten.
REQUESTS = 1000
THREADS = 8
RELOADS = 3
#: mod_http2 works on six streams of a connection at first, and on more later.
MEETING = 4
#: How long a reload may take until a request sees a new connection, in seconds.
RELOAD_TIMEOUT = 30.0


def small(session: requests.Session, url: str) -> requests.Response:
    response = check(session.get(f"{url}/1k", timeout=TIMEOUT))
    assert len(response.content) == 1024
    return response


def in_threads(count: int, work: Callable[[int], list[str | None]]) -> list[str | None]:
    """Run ``work(number)`` in threads that start together; the first error is raised here."""
    together = threading.Barrier(count)

    def run(number: int) -> list[str | None]:
        together.wait(TIMEOUT)
        return work(number)

    with ThreadPoolExecutor(count) as executor:
        return [port for ports in executor.map(run, range(count)) for port in ports]


@on()
def test_50_threads_of_20_requests(server: Server, session: requests.Session) -> None:
    def work(_: int) -> list[str | None]:
        return [client_port(small(session, server.url)) for _ in range(20)]

    ports = in_threads(50, work)
    assert len(ports) == 1000
    if has_client_port(server) and not server.retires:
        # Every one of these servers allows 100 streams or more.
        assert len(set(ports)) == 1


@on(Can.DYNAMIC)
def test_50_threads_post(server: Server, session: requests.Session) -> None:
    """Every thread gets the answer to its own question."""

    def work(number: int) -> list[str | None]:
        for turn in range(4):
            body = f"{number}/{turn}/" + "x" * 5000
            response = check(session.post(f"{server.url}/echo", data=body, timeout=TIMEOUT))
            assert response.json()["body"] == body
        return []

    in_threads(50, work)


@on(Can.DYNAMIC)
def test_requests_are_at_the_server_together(server: Server, session: requests.Session) -> None:
    """Four requests that are answered only when all four have arrived."""
    small(session, server.url)
    key = uuid.uuid4().hex

    def work(_: int) -> list[str | None]:
        response = session.get(f"{server.url}/meet/{MEETING}?key={key}", timeout=TIMEOUT)
        return [client_port(check(response))]

    ports = in_threads(MEETING, work)
    if has_client_port(server):
        assert len(set(ports)) == 1


@on(Can.RETIRE)
def test_1000_requests_across_goaways(server: Server, session: requests.Session) -> None:
    ports = [client_port(small(session, server.retiring_url)) for _ in range(REQUESTS)]
    changes = sum(before != after for before, after in itertools.pairwise(ports))
    assert changes >= REQUESTS // 10 - 1


@on(Can.RETIRE)
def test_1000_requests_across_goaways_from_threads(
    server: Server, session: requests.Session
) -> None:
    def work(_: int) -> list[str | None]:
        return [
            client_port(small(session, server.retiring_url)) for _ in range(REQUESTS // THREADS)
        ]

    ports = in_threads(THREADS, work)
    assert len(ports) == REQUESTS
    assert len(set(ports)) > 10


@on(Can.RETIRE)
def test_posts_across_goaways(server: Server, session: requests.Session) -> None:
    """POST is not idempotent: only what the server disowned may be sent again."""
    for number in range(200):
        url = f"{server.retiring_url}/echo"
        # Not to be sent twice: an iterator cannot be rewound.
        body = iter([b"number ", str(number).encode()])
        response = check(session.post(url, data=body, timeout=TIMEOUT))
        assert response.json()["body"] == f"number {number}"


@on(Can.RETIRE)
def test_posts_across_goaways_from_threads(server: Server, session: requests.Session) -> None:
    def work(number: int) -> list[str | None]:
        for turn in range(25):
            url = f"{server.retiring_url}/echo"
            response = check(session.post(url, data=f"{number}/{turn}", timeout=TIMEOUT))
            assert response.json()["body"] == f"{number}/{turn}"
        return []

    in_threads(THREADS, work)


@pytest.fixture
def patient_session(
    server: Server, session: requests.Session, make_adapter: Callable[..., Any]
) -> requests.Session:
    """A new connection that dies is no case for a replay: that is the user's ``max_retries``."""
    if server.reload_drops_new_connections:
        session.mount("https://", make_adapter(max_retries=Retry(3)))
    return session


@on(Can.RELOAD)
def test_1000_requests_across_reloads(server: Server, patient_session: requests.Session) -> None:
    """The server is told to reload while it works; requests go on until it has moved on."""
    session = patient_session
    sent = 0

    def connection() -> str:
        nonlocal sent
        sent += 1
        return server.connection_of(client_port(small(session, server.url)))

    for _ in range(RELOADS):
        before = connection()
        server.reload()
        deadline = time.monotonic() + RELOAD_TIMEOUT
        while connection() == before:
            assert time.monotonic() < deadline, "the reload did not end the connection"
        while sent % (REQUESTS // RELOADS):
            connection()
    while sent < REQUESTS:
        connection()


@on(Can.RELOAD)
def test_1000_requests_across_reloads_from_threads(
    server: Server, patient_session: requests.Session
) -> None:
    session = patient_session
    progress = threading.Semaphore(0)

    def work(_: int) -> list[str | None]:
        ports = []
        for _ in range(REQUESTS // THREADS):
            ports.append(client_port(small(session, server.url)))
            progress.release()
        return ports

    def reload() -> None:
        for _ in range(RELOADS):
            for _ in range(REQUESTS // (RELOADS + 1)):
                # A failed thread stops releasing; the failure itself is raised by in_threads.
                if not progress.acquire(timeout=TIMEOUT):
                    return
            server.reload()

    with ThreadPoolExecutor(1) as executor:
        reloading = executor.submit(reload)
        ports = in_threads(THREADS, work)
        reloading.result(TIMEOUT * RELOADS)
    assert len(ports) == REQUESTS


@on(Can.RETIRE)
@pytest.mark.parametrize("stream", [False, True])
def test_every_answer_is_whole_across_goaways(
    server: Server, session: requests.Session, stream: bool
) -> None:
    """The tenth answer follows its GOAWAY; it must still be read to the end."""
    for _ in range(30):
        url = f"{server.retiring_url}/text.txt"
        headers = {"Accept-Encoding": "identity"}
        with session.get(url, headers=headers, stream=stream, timeout=TIMEOUT) as response:
            check(response)
            assert sum(map(len, response.iter_content(4096))) == 80_890
