"""The tour and ``python -m requests_h2.demo URL``, run for real against the embedded server."""

from __future__ import annotations

import importlib.util
import io
import re
import socket
from collections.abc import Iterator

import pytest
import requests

from requests_h2.demo import examples
from requests_h2.demo.__main__ import main
from requests_h2.demo.server import DemoServer, demo_server
from requests_h2.demo.tour import ProgressBar


@pytest.fixture(scope="module")
def server() -> Iterator[DemoServer]:
    with demo_server() as running:
        yield running


@pytest.mark.extra("demo")
def test_tour_shows_what_it_promises(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out, err = capfd.readouterr()  # the server's process, too, has nothing to complain of
    assert err == ""
    assert re.search(r"plain session +HTTP/1\.1, status 200\n", out)
    assert re.search(r"http2_session\(\) +HTTP/2, status 200\n", out)
    assert re.search(r"HTTP/1\.1, one connection +\d+\.\d\d s +1 connection seen", out)
    assert re.search(r"HTTP/2 +\d+\.\d\d s +1 connection seen", out)
    assert "100 %   64.0 MiB" in out
    assert "received                    67,108,864 bytes" in out
    assert "server received             16,777,216 bytes" in out
    assert "303 to /account" in out
    assert "server received             {'theme': 'dark', 'user': 'ada'}" in out
    assert re.search(r"/nowhere +404  stream \d+ ", out)


@pytest.mark.extra("demo")
def test_tour_overrules_a_certificate_bundle_in_the_environment(
    server: DemoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", requests.certs.where())
    with examples.http2_session() as session:
        assert examples.ask(session, server.url, server.ca) == "HTTP/2, status 200"


@pytest.mark.extra("demo")
def test_fetch_reports_one_get(server: DemoServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{server.url}/download?bytes=123456", "--cacert", server.ca]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, *report = out.splitlines()
    assert first == f"{server.url}/download?bytes=123456"
    assert [line.split()[0] for line in report] == [
        "protocol",
        "status",
        "headers",
        "size",
        "time",
    ]
    assert report[:2] == ["  protocol  HTTP/2", "  status    200 OK"]
    assert report[3] == "  size      123,456 bytes"


@pytest.mark.extra("demo")
def test_fetch_shows_redirects_and_error_statuses(
    server: DemoServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"{server.url}/login", "--cacert", server.ca]) == 0
    assert main([f"{server.url}/nowhere", "--cacert", server.ca]) == 0
    out = capsys.readouterr().out
    assert f"{server.url}/login answered 303, going on\n{server.url}/account\n" in out
    assert "  status    404 Not Found\n" in out


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.extra("demo")
def test_errors_are_one_line_and_status_1(
    server: DemoServer, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = f"https://127.0.0.1:{unused_port()}/"
    cases = {
        refused: "refused",
        "127.0.0.1": "No scheme supplied",
        server.url: "CERTIFICATE_VERIFY_FAILED",
        server.url.replace("https", "http"): "Remote end closed connection",
    }
    for url, expected in cases.items():
        assert main([url]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("python -m requests_h2.demo: ")
        assert expected in err
        assert ("requests_h2 doctor" in err) == (url != "127.0.0.1")
        assert err.count("\n") == 1


def test_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "trustme" else object()
    )
    assert main([]) == 1
    assert capsys.readouterr().err == (
        "python -m requests_h2.demo: the tour needs trustme:"
        " run  pip install '.[demo]'  in the checkout\n"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--timeout", "0", "https://127.0.0.1/"]])
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == (0 if arguments == ["--help"] else 2)
    assert "usage: python -m requests_h2.demo" in "".join(capsys.readouterr())


@pytest.mark.extra("demo")
def test_server_stops_with_its_block() -> None:
    with demo_server() as running:
        port = int(running.url.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_progress_bar_off_a_terminal_prints_one_line() -> None:
    out = io.StringIO()
    bar = ProgressBar(out)
    for done in range(0, 1001, 100):
        bar.show(done, 1000)
    assert out.getvalue() == ""
    bar.finish()
    assert out.getvalue().startswith(f"  [{'#' * 30}] 100 %")
    assert out.getvalue().count("\n") == 1
