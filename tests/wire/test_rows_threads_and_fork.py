"""Threads on one connection, fork, lost connections: rows 93, 94, 95 and 97 of the fault table."""

from __future__ import annotations

import json
import os
import pathlib
import random
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import requests
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

import requests_h2.pump
from requests_h2.poller import Poller
from requests_h2.pump import Pump
from requests_h2.waiting import Waiting
from tests.support.certs import Certificates
from tests.support.interrupts import interrupting
from tests.support.peer import (
    Closed,
    MakeSession,
    Peer,
    PeerConnection,
    Request,
    StartPeer,
    hold,
    serve,
)
from tests.support.proxy import ESTABLISHED, Proxy
from tests.support.threads import PROMPT, WAIT, background, together

INTERNAL_ERROR, CANCEL = 2, 8
ROOT = pathlib.Path(__file__).parents[2]


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or request.path.encode()


ordinary = serve(answer)


# -- 93: one reader, a role that passes on -------------------------------------------------


def test_093_a_slow_answer_holds_nobody_up(session: requests.Session, peer: StartPeer) -> None:
    """The thread of the slow one waits first, so it is the one that reads the socket."""
    slow_is_there = threading.Event()

    def script(conn: PeerConnection) -> None:
        slow = conn.next_request()
        slow_is_there.set()
        for request in conn.next_requests(3):
            conn.respond(request, 200, (), b"quick")
        conn.next_request()
        conn.respond(slow, 200, (), b"slow")

    started = peer(script)
    slow = background(lambda: session.get(started.url + "/slow").content)
    assert slow_is_there.wait(WAIT)
    quick = together(3, lambda number: session.get(started.url, timeout=WAIT).content)
    assert quick == [b"quick"] * 3
    assert not slow.done()
    background(lambda: session.get(started.url, timeout=1))
    assert slow.result(WAIT) == b"slow"


def test_093_the_reading_thread_times_out_and_another_takes_over(
    session: requests.Session, peer: StartPeer
) -> None:
    first_is_there, second_is_there = threading.Event(), threading.Event()

    def script(conn: PeerConnection) -> None:
        first = conn.next_request()
        first_is_there.set()
        second = conn.next_request()
        second_is_there.set()
        conn.expect(RstStreamFrame, stream_id=first.stream_id)
        conn.respond(second, 200, (), b"second")

    started = peer(script)
    first = background(lambda: session.get(started.url, timeout=0.5))
    assert first_is_there.wait(WAIT)
    second = background(lambda: session.get(started.url, timeout=WAIT).content)
    assert second_is_there.wait(WAIT)
    with pytest.raises(requests.exceptions.ReadTimeout):
        first.result(WAIT)
    assert second.result(WAIT) == b"second"


def test_093_a_waiting_thread_keeps_its_own_deadline(
    session: requests.Session, peer: StartPeer
) -> None:
    """It is not the one that reads, and still times out while the reader waits on."""
    first_is_there = threading.Event()

    def script(conn: PeerConnection) -> None:
        first = conn.next_request()
        first_is_there.set()
        second = conn.next_request()
        conn.expect(RstStreamFrame, stream_id=second.stream_id)
        conn.respond(first, 200, (), b"first")

    started = peer(script)
    first = background(lambda: session.get(started.url, timeout=WAIT).content)
    assert first_is_there.wait(WAIT)
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(started.url, timeout=0.3)
    assert first.result(WAIT) == b"first"
    assert started.accepted == 1


@pytest.mark.parametrize("end", ["answer", "reset", "malformed"])
def test_093_the_reading_thread_is_done_first(
    session: requests.Session, peer: StartPeer, end: str
) -> None:
    """However its own wait ends, somebody else reads on, all the way down the line."""
    started = peer(hold)
    futures: list[Future[bytes]] = []
    for number in range(5):
        futures.append(background(lambda: session.get(started.url, timeout=WAIT).content))
        started.connection().wait_for(HeadersFrame, stream_id=2 * number + 1)
    conn = started.connection()
    for number, future in enumerate(futures[:-1]):
        begin = time.monotonic()
        stream_id = 2 * number + 1
        if end == "answer":
            conn.respond(stream_id, 200, (), b"answer")
            assert future.result(WAIT) == b"answer"
        else:
            if end == "reset":
                conn.reset(stream_id, INTERNAL_ERROR)
            else:
                conn.send_headers(stream_id, "2000")
            with pytest.raises(requests.ConnectionError):
                future.result(WAIT)
        assert time.monotonic() - begin < PROMPT
        assert not any(each.done() for each in futures[number + 1 :])
    conn.respond(9, 200, (), b"last")
    assert futures[-1].result(WAIT) == b"last"
    assert started.accepted == 1


def test_093_the_reading_thread_goes_away_with_its_headers(
    session: requests.Session, peer: StartPeer
) -> None:
    """It holds a response that it does not read; the others need no help of its."""
    started = peer(hold)
    first = background(lambda: session.get(started.url, stream=True, timeout=WAIT))
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    second = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn.wait_for(HeadersFrame, stream_id=3)
    conn.send_headers(1)
    held = first.result(WAIT)
    conn.respond(3, 200, (), b"second")
    assert second.result(WAIT) == b"second"
    conn.send_data(1, b"first", end_stream=True)
    assert held.content == b"first"


class Polls:
    """Every wait for a socket of the package."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.readers = 0
        self.most_readers = 0
        self.main_thread_waits = threading.Event()
        self._lock = threading.Lock()
        real = Pump._poll

        def poll(pump: Pump, *args: Any, **options: Any) -> None:
            with self._lock:
                self.count += 1
                self.readers += 1
                self.most_readers = max(self.most_readers, self.readers)
            if threading.current_thread() is threading.main_thread():
                self.main_thread_waits.set()
            try:
                real(pump, *args, **options)
            finally:
                with self._lock:
                    self.readers -= 1

        monkeypatch.setattr(Pump, "_poll", poll)


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> Polls:
    return Polls(monkeypatch)


def test_093_one_thread_reads_and_none_spins(
    session: requests.Session, peer: StartPeer, polls: Polls
) -> None:
    started = peer(hold)
    futures: list[Future[bytes]] = []
    for number in range(8):
        futures.append(background(lambda: session.get(started.url, timeout=WAIT).content))
        started.connection().wait_for(HeadersFrame, stream_id=2 * number + 1)
    conn = started.connection()
    conn.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)
    conn.respond(15, 200, (), b"answer")
    assert futures.pop().result(WAIT) == b"answer"
    polls_before, cpu_before = polls.count, time.process_time()
    threading.Event().wait(0.5)  # nothing happens, and nothing must
    assert polls.count - polls_before <= 2
    assert time.process_time() - cpu_before < 0.25
    for number in range(7):
        conn.respond(2 * number + 1, 200, (), b"answer")
    assert [future.result(WAIT) for future in futures] == [b"answer"] * 7
    assert polls.most_readers == 1
    # A response comes in at most two pieces, and a hand-over is a poll more.
    assert polls.count - polls_before <= 7 * 4


def test_093_one_thread_reads_while_all_are_busy(
    session: requests.Session, peer: StartPeer, polls: Polls
) -> None:
    started = peer(ordinary)
    body = b"x" * 50_000

    def work(number: int) -> int:
        return sum(session.post(started.url, data=body).content == body for _ in range(10))

    assert together(8, work) == [10] * 8
    assert polls.most_readers == 1
    assert started.accepted == 1


def test_093_the_reading_thread_is_interrupted(
    session: requests.Session, peer: StartPeer, polls: Polls
) -> None:
    """Control-C while it waits: its stream is reset, the role passed on, the others unharmed."""

    started = peer(serve_then_hold)
    session.get(started.url, timeout=WAIT)  # SETTINGS are exchanged: nothing more will come
    conn = started.connection()
    polls.main_thread_waits.clear()
    follower: list[Future[bytes]] = []

    def disturb() -> None:
        conn.wait_for(HeadersFrame, stream_id=3)
        assert polls.main_thread_waits.wait(WAIT)
        follower.append(background(lambda: session.get(started.url, timeout=WAIT).content))
        conn.wait_for(HeadersFrame, stream_id=5)
        interrupt()

    with interrupting(KeyboardInterrupt, lambda at: at.f_code is Poller.wait.__code__) as interrupt:
        disturbance = background(disturb)
        with pytest.raises(KeyboardInterrupt):
            session.get(started.url, timeout=WAIT)
        disturbance.result(WAIT)
    conn.wait_for(RstStreamFrame, stream_id=3, error_code=CANCEL)
    begin = time.monotonic()
    conn.respond(5, 200, (), b"follower")
    assert follower[0].result(WAIT) == b"follower"
    assert time.monotonic() - begin < PROMPT
    assert started.accepted == 1


def serve_then_hold(conn: PeerConnection) -> None:
    conn.respond(conn.next_request(), 200, (), b"answer")
    conn.linger()


# -- 93: the same with a thread switch after nearly every bytecode --------------------------


@pytest.fixture
def interleaved() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("interleaved")
def test_093_interleaved_dials(session: requests.Session, peer: StartPeer) -> None:
    started = peer(ordinary)
    for round_ in range(1, 6):
        bodies = together(12, lambda number: session.get(f"{started.url}/{number}").content)
        assert bodies == [f"/{number}".encode() for number in range(12)]
        assert started.accepted == round_
        session.close()


@pytest.mark.usefixtures("interleaved")
@pytest.mark.parametrize("seed", [1, 2])
def test_093_interleaved_hand_over(session: requests.Session, peer: StartPeer, seed: int) -> None:
    """Answers in a random order, in random pieces: every wait ends by somebody's reading."""

    def script(conn: PeerConnection) -> None:
        chance = random.Random(seed)
        waiting: list[Request] = []
        while True:
            waiting += [] if waiting else [conn.next_request(3600)]
            conn.read_available()
            while conn.has_request:
                waiting.append(conn.next_request())
            chance.shuffle(waiting)
            for _ in range(chance.randint(1, len(waiting))):
                request = waiting.pop()
                conn.send_headers(request, 200, {"x-path": request.path})
                if chance.random() < 0.5:
                    conn.read_available()
                conn.send_data(request, request.path.encode(), end_stream=True)

    started = peer(script)

    def work(number: int) -> int:
        answered = 0
        for count in range(25):
            path = f"/{number}/{count}"
            response = session.get(started.url + path, timeout=WAIT)
            assert (response.headers["x-path"], response.content) == (path, path.encode())
            answered += 1
        return answered

    assert together(10, work) == [25] * 10
    assert started.accepted == 1
    assert len(started.requests) == 250


class LimitedServer:
    """Answers what has ended, counts what is open, leaves /hold alone until it is reset."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.most = 0
        self._open: list[Request] = []

    def __call__(self, conn: PeerConnection) -> None:
        try:
            while True:
                frame = conn.read_frame(3600)
                while conn.has_request:
                    self._open.append(conn.next_request())
                    conn.ping()  # two timeouts in silence would retire the connection
                self._open = [each for each in self._open if each.reset_code is None]
                self.most = max(self.most, len(self._open))
                if isinstance(frame, DataFrame) and frame.body_len:
                    conn.credit(frame.stream_id, frame.body_len)
                self._answer(conn)
        except Closed:
            return

    def _answer(self, conn: PeerConnection) -> None:
        held = [each for each in self._open if each.path == "/hold" or not each.ended]
        for request in self._open:
            if request not in held:
                conn.respond(request, 200, (), bytes(request.body) or request.path.encode())
        finals = [each for each in held if each.path == "/final"]
        self._open = held if len(finals) < self.limit else []


@pytest.mark.usefixtures("interleaved")
def test_093_interleaved_slots(make_session: MakeSession, peer: StartPeer) -> None:
    """Answered, closed early, timed out, uploaded: the slots are never more, nor ever fewer."""
    limit = 3
    server = LimitedServer(limit)
    session = make_session(pool_maxsize=1)
    started = peer(server, settings={"max_concurrent_streams": limit})
    session.get(started.url, timeout=WAIT)

    def work(number: int) -> int:
        done = 0
        for count in range(12):
            path = f"{started.url}/{number}/{count}"
            if (number + count) % 4 == 0:
                done += session.get(path, timeout=WAIT).status_code == 200
            elif (number + count) % 4 == 1:
                session.get(path, stream=True, timeout=WAIT).close()
                done += 1
            elif (number + count) % 4 == 2:
                done += session.post(path, data=b"x" * 3000, timeout=WAIT).content == b"x" * 3000
            else:
                with pytest.raises(requests.exceptions.ReadTimeout):
                    session.get(started.url + "/hold", timeout=(WAIT, 0.1))
                done += 1
        return done

    assert together(8, work) == [12] * 8
    assert server.most <= limit
    assert started.accepted == 1
    # All slots are free again: so many requests are open side by side.
    conn = started.connection()
    before = len(conn.requests)
    finals = [
        background(lambda: session.get(started.url + "/hold", timeout=WAIT).content)
        for _ in range(limit)
    ]
    conn.wait_for(HeadersFrame, lambda _: len(conn.requests) >= before + limit)
    for request in conn.requests[before:]:
        conn.respond(request, 200, (), b"final")
    assert [final.result(WAIT) for final in finals] == [b"final"] * limit


@pytest.mark.usefixtures("interleaved")
def test_093_interleaved_limits(make_session: MakeSession, peer: StartPeer) -> None:
    """The stream limit rises and falls all the time, to zero at times."""
    session = make_session(pool_maxsize=1)

    def script(conn: PeerConnection) -> None:
        chance = random.Random(93)
        served = 0
        while True:
            if not conn.has_request and not conn.read_available():
                conn.settings(max_concurrent_streams=chance.randint(1, 6))
                if not conn.has_request:
                    conn.read_frame(3600)
            while conn.has_request:
                conn.respond(conn.next_request(), 200, (), b"answer")
                served += 1
                if served % 5 == 0:
                    conn.settings(max_concurrent_streams=chance.randint(0, 4))

    started = peer(script)

    def work(number: int) -> int:
        return sum(session.get(started.url, timeout=WAIT).content == b"answer" for _ in range(20))

    assert together(8, work) == [20] * 8
    assert started.accepted == 1


@pytest.mark.usefixtures("interleaved")
def test_093_interleaved_uploads_in_small_windows(
    session: requests.Session, peer: StartPeer
) -> None:
    started = peer(ordinary, settings={"initial_window_size": 700})

    def work(number: int) -> int:
        body = bytes([number]) * 8_000
        return sum(
            session.post(started.url, data=body, timeout=WAIT).content == body for _ in range(3)
        )

    assert together(6, work) == [3] * 6
    assert started.accepted == 1


@pytest.mark.usefixtures("interleaved")
@pytest.mark.parametrize("way", ["goaway", "cut"])
def test_093_interleaved_ends_of_connections(
    session: requests.Session, peer: StartPeer, way: str
) -> None:
    """A connection ends every few requests. Each POST is served once, or fails; none waits."""
    served: list[bytes] = []

    def script(conn: PeerConnection) -> None:
        for _ in range(7):
            request = conn.next_request()
            conn.read_body(request)
            served.append(bytes(request.body))
            conn.respond(request, 200, (), bytes(request.body))
        if way == "goaway":
            conn.goaway(request.stream_id)
        else:
            conn.cut()

    started = peer(script)
    lost: list[bytes] = []

    def work(number: int) -> int:
        answered = 0
        for count in range(10):
            body = f"{number} {count}".encode()
            try:
                answered += session.post(started.url, data=body, timeout=WAIT).content == body
            except requests.Timeout:
                raise
            except requests.ConnectionError:
                lost.append(body)
        return answered

    answered = sum(together(6, work))
    assert answered + len(lost) == 60
    assert len(served) == len(set(served))
    if way == "goaway":
        assert not lost


# -- 94: one SSL object, one thread at a time ----------------------------------------------


class OneAtATime:
    """Wraps what clients do with an SSLSocket after its handshake, and notes who meets whom."""

    NAMES = ("recv", "recv_into", "read", "send", "sendall", "write", "pending", "unwrap")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.timeouts: set[float | None] = set()
        self.meetings: list[str] = []
        self._locks: dict[int, Any] = {}
        for name in self.NAMES:
            monkeypatch.setattr(ssl.SSLSocket, name, self._wrap(name, getattr(ssl.SSLSocket, name)))

    def _wrap(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(sock: ssl.SSLSocket, *args: Any, **options: Any) -> Any:
            if sock.server_side:
                return method(sock, *args, **options)
            lock: Any = self._locks.setdefault(id(sock), threading.RLock())
            self.calls += 1
            self.timeouts.add(sock.gettimeout())
            if not lock.acquire(blocking=False):
                self.meetings.append(name)
                return method(sock, *args, **options)
            try:
                return method(sock, *args, **options)
            finally:
                lock.release()

        return wrapped


@pytest.mark.usefixtures("interleaved")
def test_094_nobody_meets_on_the_ssl_object(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads and downloads in full swing, both ways through one SSLSocket that never blocks."""
    watched = OneAtATime(monkeypatch)
    started = peer(ordinary)

    def work(number: int) -> int:
        body = bytes([number]) * 200_000
        return sum(
            session.post(started.url, data=body, timeout=WAIT).content == body for _ in range(3)
        )

    assert together(6, work) == [3] * 6
    session.close()
    assert started.accepted == 1
    assert watched.calls > 100
    assert watched.meetings == []
    assert watched.timeouts == {0.0}


def test_094_a_writer_is_not_held_up_by_a_reader(
    session: requests.Session, peer: StartPeer
) -> None:
    """CPython issue 151508: a thread blocked in recv must not keep another from sending."""
    started = peer(hold)
    reader = background(lambda: session.get(started.url, timeout=WAIT).content)
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    begin = time.monotonic()
    writer = background(lambda: session.post(started.url, data=b"x" * 50_000, timeout=WAIT).content)
    conn.wait_for(DataFrame, lambda frame: "END_STREAM" in frame.flags, stream_id=3)
    assert time.monotonic() - begin < PROMPT
    for stream_id in (3, 1):
        conn.respond(stream_id, 200, (), b"answer")
    assert (reader.result(WAIT), writer.result(WAIT)) == (b"answer", b"answer")


def test_094_what_tls_has_decrypted_already_is_not_forgotten(
    session: requests.Session, peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One TLS record, many reads: poll does not see what waits above the socket."""
    monkeypatch.setattr(requests_h2.pump, "_READ_BUFFER", 500)

    def script(conn: PeerConnection) -> None:
        for request in conn.next_requests(2):
            conn.respond(request, 200, (), b"x" * 16_000)
        request = conn.next_request()
        block = conn.encode({":status": "200"})
        headers = HeadersFrame(request.stream_id, block, flags=["END_HEADERS"])
        conn.send(headers, *[DataFrame(request.stream_id, b"y" * 90) for _ in range(100)])
        conn.next_request()
        conn.send_data(request, end_stream=True)

    started = peer(script)
    bodies = together(2, lambda number: session.get(started.url, timeout=WAIT).content)
    assert bodies == [b"x" * 16_000] * 2
    with session.get(started.url, stream=True, timeout=WAIT) as response:
        assert response.raw.read(9000) == b"y" * 9000
        background(lambda: session.get(started.url, timeout=1))
        assert response.raw.read() == b""


# -- 95: fork ------------------------------------------------------------------------------

PRELUDE = """
import faulthandler, gc, json, multiprocessing, os, signal, sys, threading
import requests
import requests_h2

url, proxy, ca, options = sys.argv[1:5]
faulthandler.register(signal.SIGALRM, chain=True)  # every stack, and the end
signal.alarm(25)
session = requests.Session()
session.trust_env = False
session.mount("https://", requests_h2.HTTP2Adapter(**json.loads(options)))
session.verify = ca
results = []

def get(path):
    return session.get(url + path, timeout=10).text

def in_child(work):
    '''What work() returns in a child, which then ends as any program does: finalizers run.'''
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        results.clear()
        try:
            result = work()
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
        os.write(writing, json.dumps(result).encode())
        sys.exit(0)
    os.close(writing)
    with open(reading) as file:
        text = file.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child was killed"
    return json.loads(text)
"""
EPILOGUE = """
print(json.dumps(results))
"""

Fork = Callable[..., Any]


@pytest.fixture
def fork(engine: str, certs: Certificates) -> Iterator[Fork]:
    """Run a script with what PRELUDE defines; returns its ``results``.

    A line comes on its stdin once ``when()`` has returned.
    """
    processes: list[subprocess.Popen[str]] = []

    def run(peer: Peer, script: str, when: Any = None, proxy: str = "") -> Any:
        options = json.dumps({"engine": engine})
        process = subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore::DeprecationWarning"),
                *("-c", PRELUDE + script + EPILOGUE),
                *(peer.url, proxy, certs.ca_path, options),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        if when is not None:
            when()
        output, errors = process.communicate("\n", timeout=28)
        assert not errors, errors
        assert process.returncode == 0
        return json.loads(output)

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def paths(conn: Any) -> list[str]:
    return [request.path for request in conn.requests]


FORKS = {
    "os.fork": "results.append(in_child(lambda: get('/child')))",
    "Process": """
context = multiprocessing.get_context("fork")
queue = context.SimpleQueue()
process = context.Process(target=lambda: queue.put(get("/child")))
process.start()
results.append(queue.get())
process.join()
assert process.exitcode == 0
""",
    "Pool": """
with multiprocessing.get_context("fork").Pool(1) as pool:
    results.append(pool.apply(get, ["/child"]))
    pool.close()
    pool.join()
""",
}


@needs_fork
@pytest.mark.parametrize("how", list(FORKS))
def test_095_a_child_dials_for_itself(fork: Fork, peer: StartPeer, how: str) -> None:
    started = peer(ordinary)
    script = "results.append(get('/before'))\n" + FORKS[how] + "\nresults.append(get('/after'))"
    assert fork(started, script) == ["/before", "/child", "/after"]
    parent, child = started.connections
    assert (paths(parent), paths(child)) == (["/before", "/after"], ["/child"])
    assert started.accepted == 2
    parent.wait_eof()
    # GOAWAY at most when the parent itself was done.
    after = parent.wait_for(HeadersFrame, stream_id=3)
    kinds = [type(frame) for frame in parent.frames[: parent.frames.index(after)]]
    assert GoAwayFrame not in kinds
    assert RstStreamFrame not in kinds


@needs_fork
def test_095_children_of_children(fork: Fork, peer: StartPeer) -> None:
    started = peer(ordinary)
    script = """
results.append(get("/parent"))
results += in_child(lambda: [get("/child"), in_child(lambda: get("/grandchild")), get("/child")])
results.append(get("/parent"))
"""
    expected = ["/parent", "/child", "/grandchild", "/child", "/parent"]
    assert fork(started, script) == expected
    assert sorted(map(paths, started.connections)) == [
        ["/child", "/child"],
        ["/grandchild"],
        ["/parent", "/parent"],
    ]


CHILDREN = {
    "exits": "lambda: None",
    "closes the response": "response.close",
    "drops the response": "lambda: (globals().pop('response') and 0, gc.collect(), None)[2]",
    "closes the session": "session.close",
    "uses the session": "lambda: get('/child')",
    "closes and uses the session": "lambda: (session.close(), get('/child'))[1]",
}


@needs_fork
@pytest.mark.parametrize("child", list(CHILDREN))
def test_095_the_parent_does_not_notice(fork: Fork, peer: StartPeer, child: str) -> None:
    """It is in the middle of a response."""
    started = peer(serve(lambda request: (200, {}, request.path.encode() * 300_000)))
    script = f"""
response = session.get(url + "/long", stream=True, timeout=10)
begin = response.raw.read(10)
work = {CHILDREN[child]}
result = in_child(work)
results.append(result is None or set(result) == set("/child"))
results.append((begin + response.raw.read()).decode() == "/long" * 300_000)
results.append(get("/after") == "/after" * 300_000)
"""
    assert fork(started, script) == [True, True, True]
    parent = started.connection(0)
    assert paths(parent) == ["/long", "/after"]
    parent.wait_eof()
    assert parent.received(RstStreamFrame) == []


@needs_fork
def test_095_an_inherited_response_fails_clearly(fork: Fork, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request)
        conn.send_data(request, b"begin")
        conn.next_request()
        conn.send_data(request, b"end", end_stream=True)
        conn.respond(3, 200, (), b"after")

    started = peer(script)
    code = """
response = session.get(url, stream=True, timeout=10)
begin = response.raw.read(5)
results.append(in_child(lambda: response.content.decode()))
results.append(get("/after"))
results.append((begin + response.raw.read()).decode())
"""
    in_child, after, whole = fork(started, code)
    assert "fork" in in_child
    assert in_child.startswith(("ChunkedEncodingError", "ConnectionError", "ProtocolError"))
    assert (after, whole) == ("after", "beginend")


@needs_fork
def test_095_fork_in_the_middle_of_an_upload(fork: Fork, peer: StartPeer) -> None:
    """From a body's generator; the child's way out leads through the whole stack."""
    started = peer(ordinary)
    script = """
def body():
    yield b"first "
    results.append(in_child(lambda: get("/child")))
    yield b"second"

results.append(session.post(url, data=body(), timeout=10).text)
results.append(get("/after"))
"""
    assert fork(started, script) == ["/child", "first second", "/after"]
    parent = started.connection(0)
    assert paths(parent) == ["/", "/after"]
    assert parent.requests[0].reset_code is None


@needs_fork
def test_095_fork_while_threads_are_busy(fork: Fork, peer: StartPeer) -> None:
    """They may hold any lock at that moment, which no thread of the child will ever release."""
    started = peer(ordinary)
    script = """
stop = threading.Event()
counts = [0] * 6

def busy(number):
    # The cookie jar of a session has a lock too, which an adapter knows nothing of.
    own = requests.Session()
    own.trust_env = False
    own.verify = ca
    own.mount("https://", session.get_adapter(url))
    while not stop.is_set():
        body = f"/{number}/{counts[number]}" * 500
        assert own.post(url, data=body, timeout=10).text == body
        counts[number] += 1

get("/parent")  # OpenSSL itself does not survive a fork beside a handshake
sys.setswitchinterval(1e-5)
threads = [threading.Thread(target=busy, args=[number]) for number in range(6)]
for thread in threads:
    thread.start()
results += [in_child(lambda: [get("/child"), get("/child")]) for _ in range(8)]
stop.set()
for thread in threads:
    thread.join()
results.append(all(counts))
"""
    assert fork(started, script) == [["/child", "/child"]] * 8 + [True]
    assert started.accepted == 9
    by_children = [paths(conn) for conn in started.connections if "/child" in paths(conn)]
    assert by_children == [["/child", "/child"]] * 8


@needs_fork
def test_095_fork_while_another_thread_dials(fork: Fork, peer: StartPeer) -> None:
    started = peer(ordinary)
    script = """
session.proxies = {"https": proxy}
def dial():
    try:
        session.get(url, timeout=1)
    except requests.RequestException as error:
        results.append(isinstance(error, requests.ConnectionError))

thread = threading.Thread(target=dial)
thread.start()
sys.stdin.readline()  # it is at it
child = in_child(lambda: get("/child"))
thread.join()
results.append(child)
"""
    with Proxy([None, ESTABLISHED]) as proxy:
        results = fork(started, script, when=lambda: proxy.wait_requests(1), proxy=proxy.url)
        assert results == [True, "/child"]
        assert proxy.accepted == 2


@needs_fork
def test_095_over_http1_too(fork: Fork, peer: StartPeer) -> None:
    """The idle HTTP/1.1 connection of an origin without h2 is the parent's as well."""
    started = peer(ordinary, alpn=("http/1.1",))
    script = """
results += [get("/before"), in_child(lambda: get("/child")), get("/after")]
"""
    assert fork(started, script) == ["/before", "/child", "/after"]
    assert sorted(map(paths, started.connections)) == [["/before", "/after"], ["/child"]]


@needs_fork
def test_095_through_an_https_proxy(fork: Fork, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, request.path.encode() * 300_000)))
    script = """
session.proxies = {"https": proxy}
response = session.get(url + "/long", stream=True, timeout=10)
begin = response.raw.read(10)
results.append(in_child(lambda: (session.close(), get("/child"))[1]) == "/child" * 300_000)
results.append((begin + response.raw.read()).decode() == "/long" * 300_000)
results.append(get("/after") == "/after" * 300_000)
"""
    with Proxy(tls=True) as proxy:
        assert fork(started, script, proxy=proxy.url) == [True, True, True]
        assert (proxy.accepted, proxy.handshake_errors) == (2, [])
    assert sorted(map(paths, started.connections)) == [["/child"], ["/long", "/after"]]


# -- 97: a connection dies with many waiters -----------------------------------------------


def _broken(conn: PeerConnection) -> None:
    conn.send_raw(b"\x00\x00\x08\x06\x00\x00\x00\x00\x01garbage!")  # PING on a stream


ENDS: dict[str, Callable[[PeerConnection], None]] = {
    "close": PeerConnection.close,
    "cut": PeerConnection.cut,
    "abort": PeerConnection.abort,
    "broken": _broken,
}


@pytest.mark.parametrize("end", list(ENDS))
def test_097_every_waiter_wakes(
    make_session: MakeSession, peer: StartPeer, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """For headers, a body, a window, a slot; and who has all of its response keeps it."""
    slot_waiters = threading.Semaphore(0)
    real = Waiting.for_slot

    def for_slot(self: Waiting, *args: Any) -> bool:
        slot_waiters.release()
        return real(self, *args)

    monkeypatch.setattr(Waiting, "for_slot", for_slot)
    session = make_session(pool_maxsize=1)
    started = peer([hold, ordinary], settings={"max_concurrent_streams": 5})
    url = started.url
    ended_at = 0.0

    def outcome(act: Callable[[], Any]) -> Callable[[], tuple[Any, float]]:
        def run() -> tuple[Any, float]:
            try:
                result = act()
            except requests.RequestException as error:
                result = error
            return result, time.monotonic()

        return run

    headers = background(outcome(lambda: session.post(url, data=b"x", timeout=WAIT)))
    conn = started.connection()
    conn.wait_for(HeadersFrame, stream_id=1)
    conn.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)

    complete_response = background(lambda: session.get(url, stream=True, timeout=WAIT))
    conn.wait_for(HeadersFrame, stream_id=3)
    conn.respond(3, 200, (), b"complete")
    complete = complete_response.result(WAIT)

    body = background(outcome(lambda: session.post(url, data=b"x", timeout=WAIT)))
    conn.wait_for(HeadersFrame, stream_id=5)
    conn.send_headers(5)
    conn.send_data(5, b"partial")

    window = background(outcome(lambda: session.post(url, data=bytes(200_000), timeout=WAIT)))
    conn.wait_for(HeadersFrame, stream_id=7)
    conn.wait_for(DataFrame, lambda _: conn.request(7).received >= 65_533)

    more = [background(outcome(lambda: session.post(url, timeout=WAIT))) for _ in range(2)]
    conn.wait_for(HeadersFrame, stream_id=11)

    queued = [
        background(outcome(lambda: session.post(url, data=iter([b"queued"]), timeout=WAIT).content))
        for _ in range(3)
    ]
    for _ in queued:
        assert slot_waiters.acquire(timeout=WAIT)

    ended_at = time.monotonic()
    ENDS[end](conn)
    results = {
        "headers": [headers.result(WAIT)],
        "body": [body.result(WAIT)],
        "window": [window.result(WAIT)],
        "more": [each.result(WAIT) for each in more],
        "queued": [each.result(WAIT) for each in queued],
    }
    for name, outcomes in results.items():
        for result, at in outcomes:
            assert at - ended_at < PROMPT, name
            if name == "queued":
                # Nothing of these was written, so they go on elsewhere.
                assert result == b"queued"
            elif name == "body":
                assert isinstance(result, requests.exceptions.ChunkedEncodingError)
            else:
                assert type(result) is requests.ConnectionError
                assert f"127.0.0.1:{started.port}" in str(result)
    assert complete.content == b"complete"
    # None of the failed ones was sent again.
    assert started.accepted == 2
    assert len(conn.requests) == 6
    assert len(started.connection(1).requests) == len(queued)


def test_097_what_is_complete_survives(session: requests.Session, peer: StartPeer) -> None:
    """In one segment with what breaks the connection."""

    def script(conn: PeerConnection) -> None:
        first, _ = conn.next_requests(2)
        block = conn.encode({":status": "200"})
        headers = HeadersFrame(first.stream_id, block, flags=["END_HEADERS"])
        data = DataFrame(first.stream_id, first.path.encode(), flags=["END_STREAM"])
        conn.send_raw(
            headers.serialize() + data.serialize() + b"\x00\x00\x08\x06\x00\x00\x00\x00\x01garbage!"
        )

    started = peer(script)

    def work(number: int) -> bytes:
        try:
            return session.post(f"{started.url}/{number}", data=b"x", timeout=WAIT).content
        except requests.ConnectionError:
            return b"lost"

    assert sorted(map(len, together(2, work))) == [2, 4]


@pytest.mark.parametrize("end", list(ENDS))
def test_097_eight_threads_wait_for_headers(
    session: requests.Session, peer: StartPeer, end: str
) -> None:
    ended_at: list[float] = []

    def script(conn: PeerConnection) -> None:
        conn.next_requests(8)
        ended_at.append(time.monotonic())
        ENDS[end](conn)

    started = peer(script)

    def work(number: int) -> float:
        with pytest.raises(requests.ConnectionError) as caught:
            session.post(started.url, data=b"x", timeout=WAIT)
        assert not isinstance(caught.value, requests.Timeout)
        return time.monotonic()

    assert max(together(8, work)) - ended_at[0] < PROMPT
    assert started.accepted == 1
    # The pool is not stuck with it.
    assert background(lambda: session.get(started.url, timeout=0.3)).exception(WAIT) is not None
    assert started.accepted == 2


def test_097_there_is_no_reader_thread(session: requests.Session, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        seen.update(thread.name for thread in threading.enumerate())
        conn.respond(request)

    started = peer(script)
    before = {thread.name for thread in threading.enumerate()}
    seen: set[str] = set()
    session.get(started.url, timeout=WAIT)
    seen.update(thread.name for thread in threading.enumerate())
    assert seen - before <= {"peer-connection"}
