"""One soak: many threads on one session against one peer, watched all the time."""

from __future__ import annotations

import faulthandler
import gc
import logging
import re
import sys
import threading
import time
from collections import Counter, deque
from typing import Any

import requests

from requests_h2 import HTTP2Adapter
from tests.support.certs import Certificates

from . import accounting, content, figures
from .control import PeerProcess
from .load import LONG, SLACK, Job, Worker

_LOOK = 0.25  # seconds between two looks at everything
# Octets of RSS between the third and the last quarter. Threads' arenas and bodies of megabytes make
# it breathe; a kilobyte that each request leaves behind is more in a long run, and in a short one
# the objects that are left give it away.
_GROWTH = 24 << 20
_MIN_REQUESTS = 50
_LOG_LINES = 6000
_PUSH_TIMEOUT = 3.0  # seconds; those of dropped responses are to be gone when the load is over


class RecentLog(logging.Handler):
    """The last records, not formatted: that is for failures only."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[tuple[float, str | None, str, Any]] = deque(maxlen=_LOG_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        # An exception among the arguments would keep its frames, and all that they refer to.
        args = tuple(a if isinstance(a, int) else str(a) for a in record.args or ())
        self.lines.append((record.created, record.threadName, str(record.msg), args))

    def tail(self, thread: str, count: int = 60) -> str:
        mine = [line for line in self.lines.copy() if line[1] == thread][-count:]
        return "\n".join(f"{at:.4f} {message % args}" for at, _, message, args in mine)


class Soak:
    """See the module's docstring. ``run`` raises AssertionError with all that is known."""

    def __init__(
        self,
        certs: Certificates,
        *,
        engine: Any,
        seed: int,
        seconds: float,
        threads: int,
        pool_maxsize: int,
    ) -> None:
        self.engine = engine
        self.seed = seed
        self.seconds = seconds
        self.threads = threads
        self.pool_maxsize = pool_maxsize
        self.stop = threading.Event()
        self.log = RecentLog()
        self._wake = threading.Event()
        self._failures: list[str] = []
        self._rss: list[int] = []
        self._certs = certs
        self.peer: PeerProcess
        self.session: requests.Session

    def failed(self, text: str, job: Job | None, thread: threading.Thread) -> None:
        """Called by workers; the first failure ends the soak."""
        name = thread.name
        if job is not None:
            text += "\npeer: " + "\n".join(self.peer.ask(history=job.nonce)["history"])
        elif named := re.match(r"\d+\.(\d+)\.\d+:", text):
            name = f"soak {named[1]}"  # a violation that the peer saw: it begins with the nonce
        if any(text.startswith(each) for each in self._failures):
            return
        text += f"\nlog of thread {name}:\n{self.log.tail(name)}"
        self._failures.append(text)
        self._wake.set()

    def run(self) -> None:
        descriptors, alive = accounting.descriptors(), accounting.objects()
        began = time.monotonic()
        logger = logging.getLogger("requests_h2")
        level, propagate = logger.level, logger.propagate
        logger.addHandler(self.log)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False  # pytest would keep every record
        try:
            with PeerProcess(self._certs, str(self.seed)) as self.peer:
                workers = self._load()
                self._settle(workers)
                record = self.peer.ask(figures=True)
        finally:
            logger.removeHandler(self.log)
            logger.setLevel(level)
            logger.propagate = propagate
        self._note(workers, record, time.monotonic() - began)
        del workers
        left = accounting.objects() - alive
        self._expect(not left, f"objects that nobody frees: {left}")
        now = accounting.descriptors()
        self._expect(now <= descriptors, f"{now} descriptors are open, {descriptors} were before")
        self._give_verdict()

    # -- the load ----------------------------------------------------------------------------------

    def _load(self) -> list[Worker]:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = self._certs.ca_path
        self.session.mount("https://", self._adapter())
        workers = [Worker(self, number) for number in range(self.threads)]
        for worker in workers:
            worker.thread.start()
        self._watch(workers)
        self.stop.set()
        self._join(workers)
        return workers

    def _adapter(self) -> HTTP2Adapter:
        return HTTP2Adapter(
            pool_maxsize=self.pool_maxsize,
            engine=self.engine,
            enable_push=content.pushes(self.seed),
            push_timeout=_PUSH_TIMEOUT,
        )

    def _watch(self, workers: list[Worker]) -> None:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and not self._wake.wait(_LOOK):
            # Dropped responses in cycles hold their streams until they are found.
            gc.collect()
            self._rss.append(accounting.rss())
            self._look_for_overdue(workers)

    def _look_for_overdue(self, workers: list[Worker]) -> None:
        now = time.monotonic()
        for worker in workers:
            if now > worker.overdue_at and worker.thread.is_alive():
                worker.overdue_at = float("inf")
                faulthandler.dump_traceback(all_threads=True, file=sys.__stderr__ or 2)
                self.failed(f"overdue: {worker.job}", worker.job, worker.thread)

    def _join(self, workers: list[Worker]) -> None:
        deadline = time.monotonic() + 2 * LONG + SLACK
        late = time.monotonic() + SLACK
        while any(w.thread.is_alive() for w in workers) and time.monotonic() < deadline:
            gc.collect()
            self._look_for_overdue(workers)
            if time.monotonic() > late:
                late = deadline
                self._show_waiting(workers)
            next(w for w in workers if w.thread.is_alive() or w is workers[-1]).thread.join(_LOOK)
        waiting = [str(w.job) for w in workers if w.thread.is_alive()]
        self._expect(not waiting, f"threads still wait: {waiting}")

    def _show_waiting(self, workers: list[Worker]) -> None:
        """Nothing that the peer does takes so long."""
        faulthandler.dump_traceback(all_threads=True, file=sys.__stderr__ or 2)
        for worker in workers:
            if worker.thread.is_alive():
                text = f"still waits {SLACK} seconds after the load: {worker.job}"
                self.failed(text, worker.job, worker.thread)

    # -- afterwards --------------------------------------------------------------------------------

    def _settle(self, workers: list[Worker]) -> None:
        """The peer behaves now: everything works, and everything is back in its place."""
        self.peer.ask(calm=True)
        if not self._failures:
            for number in range(5):
                self._plain_request(f"{self.seed}.calm.{number}")
            wrong = accounting.unbalanced(self.session, self.peer)
            self._expect(not wrong, "\n".join(wrong))
        self.session.close()
        gc.collect()
        deadline = time.monotonic() + SLACK
        while left := self.peer.ask(connections=True)["connections"]:
            if time.monotonic() > deadline:
                self._expect(False, f"connections that the client does not close: {left}")
                break
        del self.session
        requests_made = sum(sum(worker.counts.values()) for worker in workers)
        self._expect(requests_made >= _MIN_REQUESTS, f"only {requests_made} requests were made")
        quarter = len(self._rss) // 4
        if quarter:
            third, last = self._rss[2 * quarter : 3 * quarter], self._rss[3 * quarter :]
            growth = sum(last) // len(last) - sum(third) // quarter
            self._expect(growth < _GROWTH, f"RSS grew by {growth} in the last quarter")

    def _plain_request(self, nonce: str) -> None:
        fields = {content.NONCE: nonce, content.SIZE: "100", content.UPLOAD: "0"}
        fields |= {content.PATIENCE: "long", content.REWINDABLE: "1"}
        response = self.session.get(f"{self.peer.url}/{nonce}", headers=fields, timeout=LONG)
        body = response.content
        self._expect(body == content.response_body(nonce, 100), "a calm request's body")

    def _note(self, workers: list[Worker], record: dict[str, Any], seconds: float) -> None:
        late = record["slowest"]
        self._expect(late < SLACK, f"a response waited {late} seconds for its thread")
        self._failures += [
            violation
            for violation in record["violations"]
            if not any(each.startswith(violation) for each in self._failures)
        ]
        outcomes: Counter[str] = Counter()
        for worker in workers:
            outcomes.update(worker.counts)
        middle = len(self._rss) // 2
        counts = Counter(record["counts"])
        figures.RUNS.append(
            {
                "seed": self.seed,
                "engine": self.engine,
                "threads": self.threads,
                "pool_maxsize": self.pool_maxsize,
                "seconds": seconds,
                "requests": sum(outcomes.values()),
                "outcomes": outcomes,
                "streams": counts["requests read"],
                "replays": counts["replays"],
                "connections": counts["connections"],
                "faults": record["faults"],
                "slowest": record["slowest"],
                "rss_middle": self._rss[middle] if self._rss else 0,
                "rss_end": self._rss[-1] if self._rss else 0,
            }
        )

    def _expect(self, true: bool, text: str) -> None:
        if not true:
            self._failures.append(text)

    def _give_verdict(self) -> None:
        if self._failures:
            text = "\n\n".join(self._failures[-8:])
            raise AssertionError(f"soak with --soak-seed={self.seed}:\n{text}")
