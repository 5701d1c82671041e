"""What soaks have done, for the summary at the end of the run and for docs/reliability.rst."""

from __future__ import annotations

from collections import Counter
from typing import Any

MIB = 1 << 20
#: A line of the table each.
RUNS: list[dict[str, Any]] = []


def lines() -> list[str]:
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    text = []
    for run in RUNS:
        faults.update(run["faults"])
        outcomes.update(run["outcomes"])
        text.append(
            f"{run['engine']}, seed {run['seed']}: {run['threads']} threads, "
            f"pool_maxsize {run['pool_maxsize']}, {run['seconds']:.0f} s: "
            f"{run['requests']} requests, {run['streams']} streams read, "
            f"{run['replays']} replays, {run['connections']} connections, "
            f"{sum(run['faults'].values())} events injected, "
            f"RSS {run['rss_middle'] / MIB:.1f} -> {run['rss_end'] / MIB:.1f} MiB, "
            f"slowest return after END_STREAM {run['slowest']:.2f} s"
        )
    if RUNS:
        total = sum(run["requests"] for run in RUNS)
        text.append(f"together {total} requests; outcomes: {_list(outcomes)}")
        text.append(f"injected: {_list(faults)}")
    return text


def _list(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))
