"""``python -m tests.benchmarks``: what the adapter costs beside requests' own, as tables."""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence

from requests_h2.engine.choice import choose
from tests.support.servers import Server, ServerMissingError

from . import parts
from .imports import IMPORTS
from .measure import Ratio, Sample, cpu_ratio, interleaved, wall_ratio
from .servers import CountingNode, LastingNginx, running
from .workloads import ENGINES, MIB, STOCK, WORKLOADS, Client, Task

#: They would decide where requests go and whom they trust.
_ENVIRONMENT = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "ALL_PROXY")
KINDS: dict[str, type[Server]] = {"nginx": LastingNginx, "node": CountingNode}

Candidates = dict[str, Callable[[], None]]


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    for name in _ENVIRONMENT:
        os.environ.pop(name, None)
        os.environ.pop(name.lower(), None)
    if options.parts:
        for line in parts.report(installed_engines()):
            print(line, flush=True)
        return 0
    with contextlib.ExitStack() as stack:
        servers = start_servers(stack, options.workloads)
        for key in options.workloads:
            workload = WORKLOADS.get(key)
            if workload is not None and workload.server not in servers:
                continue
            with candidates(key, options.clients, servers) as works:
                samples = interleaved(works, options.rounds)
            title, count = (workload.title, workload.count) if workload else (IMPORTS[key][0], 1)
            print(f"\n{key}: {title}")
            for line in table(samples, count):
                print(line, flush=True)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    every = [*WORKLOADS, *IMPORTS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=(
            "Times whole exchanges with servers on this machine. Ratios are to the first client, "
            "above 1 is faster: the median of pairs, and (lowest to highest)."
        ),
        epilog=f"workloads: {', '.join(every)}. {Client.__doc__}",
    )
    parser.add_argument("-n", "--rounds", type=int, default=5)
    parser.add_argument("-w", "--workloads", type=known_workloads, default=every)
    parser.add_argument(
        "-c",
        "--clients",
        type=known_clients,
        default=[Client(name) for name in (STOCK, *installed_engines())],
    )
    parser.add_argument("--parts", action="store_true", help="time the parts, without sockets")
    return parser.parse_args(arguments)


def known_workloads(text: str) -> list[str]:
    keys = text.split(",")
    if unknown := [key for key in keys if key not in WORKLOADS and key not in IMPORTS]:
        raise argparse.ArgumentTypeError(f"no workload is named {unknown[0]!r}")
    return keys


def known_clients(text: str) -> list[Client]:
    try:
        return [Client(name) for name in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def installed_engines() -> list[str]:
    return [name for name in ENGINES if name == "h2" or choose("auto") == name]


def start_servers(stack: contextlib.ExitStack, keys: Sequence[str]) -> dict[str, Server]:
    """Those that the workloads need; what is not installed is left out, and said."""
    wanted = [WORKLOADS[key] for key in keys if key in WORKLOADS]
    servers: dict[str, Server] = {}
    for name in dict.fromkeys(workload.server for workload in wanted):
        sizes = {workload.size for workload in wanted if workload.server == name}
        try:
            servers[name] = stack.enter_context(running(KINDS[name], sizes))
        except ServerMissingError as missing:
            left_out = [key for key in keys if key in WORKLOADS and WORKLOADS[key].server == name]
            print(f"left out: {', '.join(left_out)}: {missing}", file=sys.stderr)
    return servers


@contextlib.contextmanager
def candidates(
    key: str, clients: Sequence[Client], servers: dict[str, Server]
) -> Iterator[Candidates]:
    """What to measure, warmed up."""
    with contextlib.ExitStack() as stack:
        works: Candidates = {}
        for client in clients:
            if key in IMPORTS:
                works[client.name] = IMPORTS[key][1](client)
                works[client.name]()
            else:
                workload = WORKLOADS[key]
                task = Task(workload, client, servers[workload.server])
                stack.callback(task.close)
                task.warm()
                works[client.name] = task
        yield works


def table(samples: dict[str, list[Sample]], count: int) -> Iterator[str]:
    yield (
        f"{'client':14}{'wall, ms':>10}{'CPU, ms':>10}  {'wall ratio':20}{'CPU ratio':20}"
        f"{'memory, MiB':>12}"
    )
    reference = next(iter(samples.values()))
    for name, taken in samples.items():
        wall, cpu = (
            statistics.median(times) / count * 1e3
            for times in ([s.wall for s in taken], [s.cpu for s in taken])
        )
        grown = [s.growth for s in taken if s.growth is not None]
        yield (
            f"{name:14}{wall:10.3f}{cpu:10.3f}  {shown(wall_ratio(reference, taken)):20}"
            f"{shown(cpu_ratio(reference, taken)):20}"
            f"{f'+{statistics.median(grown) / MIB:.1f}' if grown else '-':>12}"
        )


def shown(ratio: Ratio) -> str:
    return f"{ratio.median:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})"


if __name__ == "__main__":
    sys.exit(main())
