"""The tour: the functions of `examples`, run against the embedded server and explained."""

from __future__ import annotations

import inspect
import shlex
import sys
import textwrap
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TextIO

import requests
from requests.adapters import HTTPAdapter

import requests_h2
from requests_h2.demo import examples
from requests_h2.demo.server import demo_server

MEBIBYTE = 1024 * 1024
DOWNLOAD = 64 * MEBIBYTE
UPLOAD_BLOCKS = 1024
BAR_WIDTH = 30


def run(out: TextIO) -> None:
    """Give the whole tour. A failing request raises what requests raises."""
    with demo_server() as server, local(requests.Session()) as stock:
        say = Narrator(out)
        say.line(f"requests_h2 {requests_h2.__version__}, requests {version('requests')}")
        say.line(f"A Hypercorn server runs at {server.url}, its certificate made for this run.")
        with local(examples.http2_session()) as session:
            protocol(say, stock, session, server.url, server.ca)
            many_requests(say, server.url, server.ca)
            streamed_download(say, session, server.url, server.ca)
            streamed_upload(say, session, server.url, server.ca)
            cookies_and_redirect(say, session, server.url, server.ca)
            recording(say, session, server.url, server.ca)
        say.line()
        say.line("That was all. Now try a server of your choice:")
        say.line(f"  {shlex.quote(sys.executable)} -m requests_h2.demo https://www.example.com/")


def local(session: requests.Session) -> requests.Session:
    """Keep the environment's proxies and .netrc away from a server on this machine."""
    session.trust_env = False
    return session


def protocol(
    say: Narrator, stock: requests.Session, session: requests.Session, url: str, ca: str
) -> None:
    say.title("1. One line makes a session speak HTTP/2")
    say.code(examples.http2_session, examples.ask)
    say.result("plain session", examples.ask(stock, url, ca))
    say.result("http2_session()", examples.ask(session, url, ca))


def many_requests(say: Narrator, url: str, ca: str) -> None:
    say.title("2. 100 requests from 20 threads, each answered after 20 ms")
    say.code(examples.count_connections)
    sessions = [
        ("HTTP/1.1, one connection", stock_session(pool_maxsize=1, pool_block=True)),
        ("HTTP/1.1, as many as needed", stock_session(pool_maxsize=20)),
        ("HTTP/2", examples.http2_session()),
    ]
    for label, session in sessions:
        with local(session):
            began = time.perf_counter()
            connections = examples.count_connections(session, f"{url}/?ms=20", ca)
            took = time.perf_counter() - began
        plural = "connection" if connections == 1 else "connections"
        say.result(label, f"{took:5.2f} s   {connections:2d} {plural} seen by the server")


def stock_session(**options: Any) -> requests.Session:
    session = requests.Session()
    session.mount("https://", HTTPAdapter(**options))
    return session


def streamed_download(say: Narrator, session: requests.Session, url: str, ca: str) -> None:
    say.title("3. A streamed download")
    say.code(examples.download)
    bar = ProgressBar(say.out)
    received = examples.download(session, f"{url}/download?bytes={DOWNLOAD}", ca, bar.show)
    bar.finish()
    say.result("received", f"{received:,} bytes")


def streamed_upload(say: Narrator, session: requests.Session, url: str, ca: str) -> None:
    say.title("4. A streamed upload from a generator")
    say.code(examples.blocks, examples.upload)
    receipt = examples.upload(session, f"{url}/upload", ca, examples.blocks(UPLOAD_BLOCKS))
    say.result("server received", f"{receipt['bytes']:,} bytes, sha256 {receipt['sha256'][:16]}...")


def cookies_and_redirect(say: Narrator, session: requests.Session, url: str, ca: str) -> None:
    say.title("5. Cookies and a redirect")
    say.code(examples.log_in)
    response = examples.log_in(session, f"{url}/login", ca)
    for hop in response.history:
        say.result("redirected", f"{hop.status_code} to {hop.headers['Location']}")
    say.result("session.cookies", str(session.cookies.get_dict()))
    say.result("server received", str(response.json()))


def recording(say: Narrator, session: requests.Session, url: str, ca: str) -> None:
    say.title("6. What happened, recorded")
    say.code(examples.watch)
    paths = ("/?ms=40", "/?ms=20", "/download?bytes=1000000", "/nowhere")
    recorded = examples.watch(session, [url + path for path in paths], ca)
    for entry in recorded.entries:
        times = (
            f"{name} {1000 * getattr(entry.phases, name):5.1f} ms"
            for name in ("blocked", "wait", "receive")
        )
        path = entry.url.removeprefix(url)
        say.result(path, f"{entry.status}  stream {entry.stream_id}  {'  '.join(times)}")
    say.line()
    say.line("  recording.table() has more, recording.save('trace.html') draws a waterfall, and")
    say.line("  recording.save('trace.har') is for the developer tools of a browser.")


class Narrator:
    """The tour's voice: titles, the code about to run, and what came of it."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def line(self, text: str = "") -> None:
        print(text, file=self.out, flush=True)

    def title(self, text: str) -> None:
        self.line()
        self.line(text)
        self.line("-" * len(text))

    def code(self, *functions: Callable[..., object]) -> None:
        source = "\n".join(inspect.getsource(function) for function in functions)
        self.line(textwrap.indent(source, "    | ", predicate=lambda _: True))

    def result(self, label: str, value: str) -> None:
        self.line(f"  {label:<28}{value}")


class ProgressBar:
    """Redraws one line on a terminal; elsewhere prints only the finished line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._began = time.perf_counter()
        self._drawn = -1
        self._text = ""

    def show(self, done: int, total: int) -> None:
        percent = 100 * done // total
        if percent == self._drawn:
            return
        self._drawn = percent
        rate = done / MEBIBYTE / (time.perf_counter() - self._began)
        bar = ("#" * (BAR_WIDTH * done // total)).ljust(BAR_WIDTH, ".")
        self._text = f"  [{bar}] {percent:3d} %  {done / MEBIBYTE:5.1f} MiB  {rate:5.0f} MiB/s"
        if self._live:
            self._out.write(f"\r{self._text}")
            self._out.flush()

    def finish(self) -> None:
        self._out.write("\n" if self._live else f"{self._text}\n")
        self._out.flush()
