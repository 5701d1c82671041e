"""Gross regressions only: this adapter beside the stock one, in the same process and moment.

No absolute time is asserted. A ratio of CPU times is the median of interleaved pairs, and each
limit is about half of what was measured when it was set (docs/performance.rst has the figures).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import pytest

from tests.support.backend import running_backend
from tests.support.servers import Server, ServerMissingError

from . import parts
from .measure import cpu_ratio, interleaved
from .servers import LastingNginx, running
from .workloads import KIB, MIB, Client, Task, Workload, download, get, get_in_threads, stream

ROUNDS = 5
BODY = 16 * MIB
#: A workload, and the least CPU time of the stock adapter by CPU time of ours.
LIMITS = {
    "small": (download("GET of 1 KiB, one after the other", get, KIB, 100), 0.45),
    "threads": (download("the same from 16 threads", get_in_threads, KIB, 160, 16), 0.4),
    "pieces": (download("16 MiB by iter_content(65536)", stream, BODY, 2), 0.25),
    "whole": (download("16 MiB by .content", get, BODY, 2), 0.6),
    # Who spins instead of waiting needs ten times as much.
    "waiting": (Workload("8 threads wait", get_in_threads, "/delay?ms=100", 4, 8, 8), 0.3),
}


@pytest.fixture(scope="module")
def nginx() -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        try:
            backend = stack.enter_context(running_backend())
            server = stack.enter_context(running(LastingNginx, [KIB, BODY], backend.port))
        except ServerMissingError as missing:
            if os.environ.get("CI"):
                pytest.fail(str(missing))
            pytest.skip(str(missing))
        yield server


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer slows our lines, not requests'")
@pytest.mark.parametrize(("workload", "limit"), LIMITS.values(), ids=LIMITS)
def test_no_gross_regression(nginx: Server, engine: str, workload: Workload, limit: float) -> None:
    # A pool of the stock adapter that is too small for the threads would dial again and again.
    clients = {"stock": Client("stock-pool"), engine: Client(engine)}
    with contextlib.ExitStack() as stack:
        tasks = {}
        for name, client in clients.items():
            task = tasks[name] = Task(workload, client, nginx)
            stack.callback(task.close)
            task.warm()
        samples = interleaved(tasks, ROUNDS)
    ratio = cpu_ratio(samples["stock"], samples[engine])
    print(ratio)
    assert ratio.median >= limit, (ratio, samples)


def test_the_parts_can_be_timed(engine: str) -> None:
    assert all(parts.report([engine]))
