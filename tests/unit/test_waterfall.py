"""The page with the waterfall, as a browser shows it."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from requests_h2.entries import Entry, Phases
from requests_h2.har import har_text
from requests_h2.inspection import Dial
from requests_h2.waterfall import page_text, table_text
from tests.support.farm import needed
from tests.support.servers import ServerMissingError

EVIL = (
    "<img src=x onerror=\"document.title='evil'\"></script><script>document.title='evil'</script>"
)


def dial(number: int) -> Dial:
    return Dial(
        connection_id=number,
        origin=f"host{number}.example:443",
        alpn="h2",
        tls_version="TLSv1.3",
        cipher="TLS_AES_256_GCM_SHA384",
        peer_address=("192.0.2.1", 443),
        local_address=("2001:db8::1", 50_000),
        dial_time=0.01,
        handshake_time=0.02,
    )


def entry(number: int, path: str = "/path", *, pushed: bool = False, error: str = "") -> Entry:
    first = number < 2
    return Entry(
        method="GET",
        url=f"https://host{number % 2}.example{path}",
        request_headers=[("Accept", "*/*")],
        request_size=0,
        started=number * 0.005,
        phases=Phases(
            blocked=0.001,
            connect=0.01 if first else None,
            tls=0.02 if first else None,
            send=0.0005,
            wait=0.03,
            receive=0.02,
        ),
        finished=True,
        http_version="HTTP/2",
        status=0 if error else 200,
        response_headers=[("content-type", "text/css")],
        response_size=1234,
        dial=dial(number % 2 + 1),
        stream_id=2 * number + 1 - pushed,
        pushed=pushed,
        replays=0,
        bytes_sent=50,
        bytes_received=1300,
        error=error,
        remark="",
    )


ENTRIES = [
    entry(0),
    entry(1, f"/{EVIL}"),
    entry(2, "/pushed", pushed=True),
    entry(3, error=f"ConnectionError: {EVIL}"),
    *(entry(number, f"/{number}") for number in range(4, 300)),
]


@pytest.fixture
def chromium() -> str:
    with needed():
        program = shutil.which("chromium")
        if program is None:
            raise ServerMissingError("chromium is not installed")
    return program


def dom(chromium: str, page: Path, folder: Path) -> str:
    """The page as it is when its scripts have run."""
    done = subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
    )
    return done.stdout


@pytest.mark.timeout(180)
def test_in_a_browser(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "trace.html"
    hover = "rows.children[1].dispatchEvent(new MouseEvent('mousemove', {clientX: 9, clientY: 9}))"
    text = page_text(ENTRIES, 0.0)
    page.write_text(text.replace("</body>", f"<script>{hover}</script></body>"), encoding="utf-8")
    shown = dom(chromium, page, tmp_path)
    assert "<title>Recorded requests</title>" in shown
    assert "<img" not in shown
    rows = re.findall(r'<div class="row entry.*?<b .*?</div></div>', shown, re.S)
    assert len(rows) == len(ENTRIES)
    assert html.escape(EVIL, quote=False) in rows[1]
    assert [number for number, row in enumerate(rows) if "row entry pushed" in row] == [2]
    assert "failed" in rows[3]
    assert [kind in rows[0] for kind in ('"connect"', '"tls"', '"send"')] == [True] * 3
    assert [kind in rows[5] for kind in ('"connect"', '"tls"', '"wait"')] == [False, False, True]
    # Each connection has a colour.
    colours = [re.findall(r"--hue: ([\d.]+)", row)[0] for row in rows[:4]]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    assert "300 requests and pushes · 2 connections · 1.55 s" in shown
    assert "connection 2: host2.example:443, h2, TLSv1.3, dial 10.0 ms, handshake 20.0 ms" in shown
    ticks = re.findall(r'"tick" style="left: ([\d.]+)%;">([\d.]+) s<', shown)
    assert [text for _, text in ticks] == ["0", "1"]  # with room for each
    details = shown[shown.index('id="details"') :]
    assert "[2001:db8::1]:50000 → 192.0.2.1:443" in details
    assert html.escape(EVIL, quote=False) in details


def test_a_page_of_nothing() -> None:
    assert '"entries": []' in page_text([], 0.0)


def test_lone_surrogates_are_written_as_something_else() -> None:
    """Strict parsers of JSON, such as Rust's, refuse their escape sequences."""
    broken = [entry(0, "/\ud800\u00e9\U0001f600", error="OSError: \udcff")]
    for text in (page_text(broken, 0.0), har_text(broken, 0.0)):
        assert "/?\u00e9\U0001f600" in text
        assert "OSError: ?" in text


def test_tables_hold_no_control_characters() -> None:
    table = table_text([entry(0, "/\x1b[31m\u202e"), entry(1, error="Error: \r\n\x07")])
    assert table.count("\n") == 3
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", table)


def test_tables_are_even_with_wide_characters() -> None:
    wide = entry(0, "/\u4e2d\u6587")
    narrow, accented = entry(1, "/abcd"), entry(2, "/e\u0301bcd")
    assert len(wide.url) + 2 == len(narrow.url) == len(accented.url) - 1
    lines = table_text([wide, narrow, accented]).splitlines()[1:]
    behind = [line.partition("example/")[2].partition("200")[0] for line in lines]
    assert behind == ["\u4e2d\u6587     ", "abcd     ", "e\u0301bcd     "]
