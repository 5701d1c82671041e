"""Many threads, one session, a peer that does everything that peers may do, and more.

About two minutes by default. Longer, or again with the seed of a failure::

    pytest tests/soak --soak-seconds=600 --soak-seed=7

A seed fixes what is asked and what happens to it, but not how the threads interleave.
"""

from __future__ import annotations

import sys

import pytest

from tests.conftest import ENGINES
from tests.support.certs import Certificates

from .soak import Soak

#: Threads, pool_maxsize, the interpreter's switch interval in seconds (None: as it is).
CASES = [(20, 1, None), (35, 2, None), (50, 4, None), (30, 3, 1e-6)]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_soak(case: int, engine: str, certs: Certificates, request: pytest.FixtureRequest) -> None:
    seconds = request.config.getoption("--soak-seconds") / len(CASES) / len(ENGINES)
    seed = request.config.getoption("--soak-seed") + case
    threads, pool_maxsize, interval = CASES[case]
    before = sys.getswitchinterval()
    if interval is not None:
        sys.setswitchinterval(interval)
    try:
        Soak(
            certs,
            engine=engine,
            seed=seed,
            seconds=seconds,
            threads=threads,
            pool_maxsize=pool_maxsize,
        ).run()
    finally:
        sys.setswitchinterval(before)
