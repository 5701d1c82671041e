"""Hypothesis as CI needs it: the same examples every time, and nothing written to disk."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: ``FUZZ_SCALE=20`` tries so many times more examples, by fresh seeds.
_SCALE = int(os.environ.get("FUZZ_SCALE", "1"))


def fuzz(examples: int) -> settings:
    """Examples are few where each is a whole session: the suite has about a minute for all."""
    return settings(
        max_examples=examples * _SCALE,
        derandomize=_SCALE == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
