"""Interleaved measurements and the medians of their paired ratios.

A machine's speed drifts, by a factor of two where it is shared. So nothing is compared with a
number from another time: in each round all candidates run back to back, in an order that changes
from round to round, and each ratio is taken within a round.
"""

from __future__ import annotations

import contextlib
import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_STATUS = Path("/proc/self/status")


class Sample(NamedTuple):
    """Seconds; CPU is that of this process, all its threads, and of children that have ended."""

    wall: float
    cpu: float
    #: Growth of the resident memory at its highest, in octets; ``None`` where nothing tells.
    growth: int | None = None


@dataclass(frozen=True)
class Ratio:
    """Reference by candidate: above 1 the candidate is faster."""

    median: float
    lowest: float
    highest: float


def sample(work: Callable[[], None]) -> Sample:
    gc.collect()
    before = _reset_peak()
    cpu, wall = _cpu(), time.perf_counter()
    work()
    wall, cpu = time.perf_counter() - wall, _cpu() - cpu
    peak = _memory("VmHWM")
    growth = None if before is None or peak is None else max(0, peak - before)
    return Sample(wall, cpu, growth)


def interleaved(
    candidates: Mapping[str, Callable[[], None]], rounds: int
) -> dict[str, list[Sample]]:
    """``rounds`` samples of each."""
    names = list(candidates)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            samples[name].append(sample(candidates[name]))
    return samples


def wall_ratio(reference: list[Sample], candidate: list[Sample]) -> Ratio:
    return _ratio([r.wall / c.wall for r, c in zip(reference, candidate, strict=True)])


def cpu_ratio(reference: list[Sample], candidate: list[Sample]) -> Ratio:
    return _ratio([r.cpu / c.cpu for r, c in zip(reference, candidate, strict=True)])


def _ratio(pairs: list[float]) -> Ratio:
    return Ratio(statistics.median(pairs), min(pairs), max(pairs))


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _memory(name: str) -> int | None:
    """A line of Linux's ``/proc/self/status``, in octets."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
    return None


def _reset_peak() -> int | None:
    """Make what is resident now the peak; returns it, or ``None`` where that cannot be done."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _memory("VmRSS")
