"""One thread of the soak: requests of every kind, each checked to its last octet."""

from __future__ import annotations

import io
import random
import threading
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests

import requests_h2

from . import content

#: Far longer than anything the peer does to a request that asks it to be patient, on any machine.
LONG = 60.0
#: What a request may take beyond its timeouts: replays wait 1.44 s, the rest is the machine's.
SLACK = 30.0
_BATCH = 100
DOCUMENTED = (
    requests.exceptions.ConnectionError,
    requests.exceptions.ReadTimeout,
    requests.exceptions.ChunkedEncodingError,
)


class UploadBroken(Exception):
    """Raised in the middle of a request body; must come out as it is."""


class Wrong(AssertionError):
    """A response that is not this request's."""


@dataclass(frozen=True)
class Job:
    """What is asked, decided before anything is sent."""

    nonce: str
    method: str
    body: str  # none, bytes, file, generator, broken
    upload: int
    size: int
    reading: str
    timeout: float | tuple[float, float]

    @property
    def patient(self) -> bool:
        return self.timeout in (LONG, (LONG, LONG))

    @property
    def limit(self) -> float:
        """Seconds after which it must have ended: each of four attempts may connect and wait."""
        parts = self.timeout if isinstance(self.timeout, tuple) else (self.timeout, self.timeout)
        return 4 * sum(parts) + SLACK


def choose(nonce: str, rng: random.Random) -> Job:
    method = rng.choices(("GET", "HEAD", "POST", "PUT"), (50, 10, 25, 15))[0]
    body, upload = "none", 0
    if method in ("POST", "PUT"):
        body = rng.choices(("bytes", "file", "generator", "broken"), (40, 30, 27, 3))[0]
        upload = _size(rng)
    short = round(rng.uniform(0.02, 0.3), 3)
    timeout = rng.choices((LONG, (LONG, LONG), short, (5.0, short)), (60, 25, 5, 10))[0]
    reading = rng.choices(
        ("content", "chunks", "early close", "unread", "dropped", "dropped in a cycle"),
        (60, 20, 8, 4, 5, 3),
    )[0]
    return Job(nonce, method, body, upload, _size(rng), reading, timeout)


def _size(rng: random.Random) -> int:
    most = rng.choices((1, 200, 5_000, 60_000, 300_000, 2_500_000), (5, 45, 30, 15, 4, 1))[0]
    return rng.randrange(most)


class Worker:
    """A thread that sends one job after another until it is told to stop."""

    def __init__(self, soak: Any, number: int) -> None:
        self.soak = soak
        self.counts: Counter[str] = Counter()
        self.job: Job | None = None
        self.overdue_at = float("inf")
        self.ending: str | None = None
        self._name = f"{soak.seed}.{number}"
        self._rng = random.Random(self._name)
        self._outcomes: list[tuple[str, dict[str, Any]]] = []
        self.thread = threading.Thread(target=self._run, name=f"soak {number}", daemon=True)

    def _run(self) -> None:
        number = 0
        while not self.soak.stop.is_set():
            number += 1
            job = choose(f"{self._name}.{number}", self._rng)
            self.overdue_at = time.monotonic() + job.limit
            self.job = job
            try:
                self._perform(job)
            except BaseException:  # noqa: BLE001 - whatever it is, it is a find
                self.soak.failed(f"{job}\n{traceback.format_exc()}", job, self.thread)
                break
        self.overdue_at = float("inf")
        self._report()

    def _perform(self, job: Job) -> None:
        error: Exception | None = None
        whole = False
        try:
            whole = self._exchange(job)
        except (*DOCUMENTED, UploadBroken) as caught:
            if isinstance(caught, UploadBroken) and job.body != "broken":
                raise
            error = caught
        name = None if error is None else type(error).__name__
        self.counts[f"ended with {name or 'a response'}"] += 1
        outcome = {
            "error": name,
            "text": "" if error is None else str(error)[:400],
            "ended": time.monotonic(),
            "whole": whole,
            "patient": job.patient,
        }
        self._outcomes.append((job.nonce, outcome))
        if len(self._outcomes) >= _BATCH:
            self._report()

    def _report(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        violations = self.soak.peer.ask(judge=outcomes)["violations"]
        for violation in violations:
            self.soak.failed(violation, None, self.thread)

    def _exchange(self, job: Job) -> bool:
        """Send, read as the job says, check all that was read; whether that was everything."""
        response = self.soak.session.request(
            job.method,
            f"{self.soak.peer.url}/{job.nonce}",
            data=_body(job),
            headers={
                content.NONCE: job.nonce,
                content.SIZE: str(job.size),
                content.UPLOAD: str(job.upload),
                content.PATIENCE: "long" if job.patient else "short",
                content.REWINDABLE: str(int(job.body in ("none", "bytes", "file"))),
            },
            timeout=job.timeout,
            stream=job.reading != "content",
        )
        if response.raw.version != 20:
            raise Wrong(f"HTTP version {response.raw.version}")
        if response.headers.get(content.NONCE) != job.nonce:
            raise Wrong(f"fields of another request: {response.headers}")
        if job.reading == "content":
            return _check(job, response, response.content) and _take_pushes(job, response)
        if job.reading == "dropped":
            return False
        if job.reading == "dropped in a cycle":
            response.itself = response
            return False
        with response:
            if job.reading == "unread":
                return False
            chunk_size = self._rng.choice((1 << 20, 65_536, 8192, 1000))
            early = job.reading == "early close"
            enough = self._rng.randrange(job.size + 1) if early else None
            got = bytearray()
            for chunk in response.iter_content(chunk_size):
                got += chunk
                if enough is not None and len(got) >= enough:
                    expected = content.response_body(job.nonce, len(got))
                    if got != expected:
                        raise Wrong("the beginning of another body")
                    return False
            return _check(job, response, bytes(got)) and _take_pushes(job, response)


def _take_pushes(job: Job, response: requests.Response) -> bool:
    """Read, cancel or leave what was pushed; true when it is what it was to be."""
    for push in requests_h2.get_pushes(response):
        nonce, size = str(push.headers[content.NONCE]), int(push.headers[content.SIZE])
        if not nonce.startswith(f"{job.nonce}.push"):
            raise Wrong(f"the push {nonce}")
        what = random.Random(nonce).choice(("content", "stream", "cancel", "leave"))
        if what == "cancel":
            push.cancel()
        elif what != "leave":
            try:
                body = push.response(timeout=LONG, stream=what == "stream").content
            except DOCUMENTED as error:
                if "timed out" in str(error):
                    raise Wrong(f"the push {nonce} does not come") from error
                continue  # reset, lost, or dropped because its time was over
            if body != content.response_body(nonce, size):
                raise Wrong(f"{len(body)} octets of another body; the push has {size}")
    return True


def _body(job: Job) -> Any:
    if job.body == "none":
        return None
    data = content.request_body(job.nonce, job.upload)
    if job.body == "bytes":
        return data
    if job.body == "file":
        return io.BytesIO(data)
    return _pieces(data, broken=job.body == "broken")


def _pieces(data: bytes, *, broken: bool) -> Iterator[bytes]:
    step = max(1, len(data) // 5)
    for at in range(0, len(data), step):
        if broken and at >= len(data) // 2:
            break
        yield data[at : at + step]
    if broken:
        raise UploadBroken


def _check(job: Job, response: requests.Response, body: bytes) -> bool:
    size = int(response.headers[content.SIZE])
    if job.method == "HEAD":
        if body:
            raise Wrong("HEAD with a body")
    elif body != content.response_body(job.nonce, size):
        raise Wrong(f"{len(body)} octets of another body; its own has {size}")
    elif str(zlib.crc32(body)) != response.headers[content.CHECKSUM]:
        raise Wrong("checksum")
    trailers = response.raw._original_response.trailers
    if trailers not in ([], [("x-end", job.nonce)]):
        raise Wrong(f"trailers of another request: {trailers}")
    if "trailer" in response.headers and job.method != "HEAD" and not trailers:
        raise Wrong("the trailers are missing")
    return True
