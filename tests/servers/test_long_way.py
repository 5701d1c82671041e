"""A server far away: a download is not held back by the windows."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.peer import MakeSession
from tests.support.relay import Relay
from tests.support.servers import Server

from .support import MIB, TIMEOUT, check

SIZE = 100 * MIB
#: Of curl's throughput. A window that stays at 1 MiB gives a sixteenth of it; what a machine with
#: two busy cores makes of the rest is for the benchmarks.
ENOUGH = 0.25
ROUNDS = 3

nginx = pytest.mark.parametrize("server", ["nginx"], indirect=True)


@pytest.fixture
def curl() -> str:
    found = shutil.which("curl")
    if found is None:
        missing = "curl is missing: install Debian's curl"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    """50 ms there and back."""
    with Relay(server.port, delay=0.025) as relay:
        yield relay


def seconds_of_curl(program: str, authority: str, url: str) -> float:
    """From the first octet of the request on, as the session's connection is there already."""
    answer = "%{http_version} %{size_download} %{time_pretransfer} %{time_total}"
    command = [program, "--disable", "--silent", "--show-error", "--fail", "--http2"]
    command += ["--cacert", authority, "--output", os.devnull, "--write-out", answer, url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT)
    version, size, start, end = done.stdout.split()
    assert (version, int(size)) == ("2", SIZE)
    return float(end) - float(start)


@nginx
def test_a_long_way_does_not_hold_a_download_back(
    server: Server, relay: Relay, curl: str, make_session: MakeSession
) -> None:
    url = f"https://127.0.0.1:{relay.port}"
    authority = server.around.ca
    session = make_session()
    session.trust_env = False
    session.verify = authority
    ours, theirs = [], []
    for _ in range(ROUNDS):
        check(session.get(f"{url}/1k", timeout=TIMEOUT))
        start = time.perf_counter()
        response = check(session.get(f"{url}/100m", stream=True, timeout=TIMEOUT))
        assert sum(len(chunk) for chunk in response.iter_content(65_536)) == SIZE
        ours.append(time.perf_counter() - start)
        theirs.append(seconds_of_curl(curl, authority, f"{url}/100m"))
    assert min(theirs) / min(ours) >= ENOUGH, (ours, theirs)
