"""HTTPie with the plugin of ``requests_h2.httpie``: the program ``http`` over real servers."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import sysconfig
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.servers.support import MIB, sha256
from tests.support.certs import Certificates
from tests.support.peer import PeerConnection, Request, StartPeer, serve
from tests.support.proxy import Proxy
from tests.support.servers import Document, Server

from .httpie import TIMEOUT, Done, HTTPie

OK = "HTTP/2.0 200 OK"  # HTTPie's way to write the version
nginx = pytest.mark.parametrize("server", ["nginx"], indirect=True)
both = pytest.mark.parametrize("server", ["nginx", "node"], indirect=True)


@pytest.fixture
def http(tmp_path: Path, engine: str, certs: Certificates) -> HTTPie:
    return HTTPie(tmp_path, engine, certs.ca_path)


def answer(request: Request) -> Any:
    return 200, {"content-type": "text/plain"}, b"answer"


def test_surroundings(http: HTTPie, engine: str) -> None:
    """The plugin is found, and the engine is the one that is meant."""
    listed = http.run([str(Path(sysconfig.get_path("scripts"), "httpie")), "plugins", "list"])
    assert "requests-http2 " in listed.checked().text
    assert "http2 (httpie.plugins.transport.v1)" in listed.text
    code = "from requests_h2.engine.choice import choose; print(choose('auto'))"
    assert http.run([sys.executable, "-c", code]).checked().text == f"{engine}\n"


@both
def test_verbose(http: HTTPie, server: Server) -> None:
    done = http("-v", f"{server.url}/echo", "X-Repeated:1", "X-Repeated:2", "a=b").checked()
    request, response = done.text.split("\n\n", 1)
    assert request.startswith("POST /echo HTTP/1.1\n")  # written before anything is known
    sent, head, body = response.split("\n\n")
    assert (sent, head.splitlines()[0]) == ('{"a": "b"}', OK)
    echoed = json.loads(body)
    assert (echoed["method"], echoed["body"]) == ("POST", '{"a": "b"}')
    repeated = [value for name, value in echoed["headers"] if name == "x-repeated"]
    assert repeated == ["1", "2"]


def test_headers_are_shown_as_they_came(http: HTTPie, peer: StartPeer) -> None:
    fields = [
        ("x-last", "first"),
        ("set-cookie", "a=1; expires=Thu, 01 Jan 2099 00:00:00 GMT"),
        ("x-list", "1"),
        ("set-cookie", "b=2, c=3"),
        ("x-list", "2"),
    ]
    started = peer(serve(lambda request: (200, fields, b"")))
    shown = http("-h", started.url).checked().text.strip().splitlines()
    assert shown[0] == OK
    assert [tuple(line.split(": ", 1)) for line in shown[1:]][: len(fields)] == fields


def test_status_without_a_reason(http: HTTPie, peer: StartPeer) -> None:
    done = http("-h", peer(serve(lambda request: (299, {}, b""))).url).checked()
    assert done.status_lines == ["HTTP/2.0 299 "]


@nginx
def test_meta(http: HTTPie, server: Server) -> None:
    done = http("--print=hm", f"{server.url}/1k").checked()
    assert done.status_lines == [OK]
    elapsed = re.search(r"^Elapsed time: ([0-9.]+)s$", done.text, re.M)
    assert elapsed is not None
    assert 0 < float(elapsed[1]) < TIMEOUT


@pytest.mark.parametrize("pretty", ["none", "all"])
def test_stream(http: HTTPie, peer: StartPeer, pretty: str) -> None:
    """What has come is shown before there is more."""
    shown = threading.Event()

    def script(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"content-type": "text/plain"})
        conn.send_data(request, b"first\n", end_stream=False)
        assert shown.wait(TIMEOUT)
        conn.send_data(request, b"second\n", end_stream=True)

    with http.started("--stream", f"--pretty={pretty}", "-b", peer(script).url) as process:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"first\n"
        shown.set()
        assert process.stdout.read().split() == [b"second"]  # HTTPie adds empty lines
        assert process.wait(TIMEOUT) == 0


@nginx
def test_download(http: HTTPie, server: Server, documents: dict[str, Document]) -> None:
    done = http("--download", "--output=file", f"{server.url}/100m")
    assert (done.status, "Done. 104.9 MB" in done.errors) == (0, True), done
    with (http.folder / "file").open("rb") as file:
        received = sha256(iter(lambda: file.read(MIB), b""))
    assert received == (100 * MIB, documents["100m"].sha256)


@nginx
def test_continued_download(http: HTTPie, server: Server, documents: dict[str, Document]) -> None:
    whole = http("--body", f"{server.url}/text.txt").checked().output
    part = http.folder / "part"
    part.write_bytes(whole[:50_000])
    done = http("-dc", "-o", "part", "--print=Hh", f"{server.url}/text.txt")
    assert done.status == 0, done
    # With --download the heads go where the errors are.
    assert "Range: bytes=50000-\n" in done.errors.replace("\r", "")
    assert "HTTP/2.0 206 Partial Content" in done.errors
    assert hashlib.sha256(part.read_bytes()).hexdigest() == documents["text.txt"].sha256


def test_download_that_breaks_off(http: HTTPie, peer: StartPeer) -> None:
    whole = bytes(range(250)) * 800

    def break_off(conn: PeerConnection) -> None:
        request = conn.next_request()
        conn.send_headers(request, 200, {"content-length": str(len(whole))})
        conn.send_body(request, whole[:150_000], end_stream=False)
        conn.reset(request, 2)

    def rest(request: Request) -> Any:
        first = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
        content_range = f"bytes {first}-{len(whole) - 1}/{len(whole)}"
        return 206, {"content-range": content_range}, whole[first:]

    url = peer([break_off, serve(rest)]).url
    done = http("--download", "-o", "part", url).checked(1)
    assert "http: error: " in done.errors
    assert "Traceback" not in done.errors
    assert http("-dc", "-o", "part", url).status == 0
    assert (http.folder / "part").read_bytes() == whole


@nginx
def test_terminal(http: HTTPie, server: Server, documents: dict[str, Document]) -> None:
    """Colours, a progress bar, and the file's name from the URL."""
    done = http.in_terminal("--download", f"{server.url}/text.txt")
    assert done.status == 0, done
    first = done.text.strip().splitlines()[0]
    assert re.sub(r"\x1b\[[0-9;]*m", "", first) == OK
    assert first.count("\x1b[") > 4  # version, status and reason each have a colour
    assert "Done. " in done.text
    downloaded = (http.folder / "text.txt").read_bytes()
    assert hashlib.sha256(downloaded).hexdigest() == documents["text.txt"].sha256


@both
def test_session(http: HTTPie, server: Server) -> None:
    http("--session=./kept.json", f"{server.url}/cookies/set").checked()
    kept = json.loads((http.folder / "kept.json").read_text())
    assert {each["name"]: each["value"] for each in kept["cookies"]} == {
        "first": "1",
        "second": "two",
    }
    done = http("--session=./kept.json", f"{server.url}/cookies").checked()
    assert json.loads(done.text) == {"first": "1", "second": "two"}


@nginx
def test_session_forgets_what_has_expired(http: HTTPie, server: Server) -> None:
    """HTTPie looks for it in the joined Set-Cookie fields."""
    http("--session=./kept.json", f"{server.url}/1k", "Cookie:gone=1").checked()
    fields = ["field==set-cookie:new=1", "field==set-cookie:gone=; Max-Age=0; Path=/"]
    done = http("-h", "--session=./kept.json", f"{server.url}/say", *fields).checked()
    assert done.text.count("set-cookie: ") == 2
    kept = json.loads((http.folder / "kept.json").read_text())
    assert [each["name"] for each in kept["cookies"]] == ["new"]


@both
def test_redirects(http: HTTPie, server: Server) -> None:
    done = http("-h", "--follow", "--all", f"{server.url}/redirect/1").checked()
    assert done.status_lines == ["HTTP/2.0 302 Found"] * 2 + [OK]
    ports = re.findall("^x-client-port: (.*)$", done.text, re.M)
    assert (len(ports), len(set(ports))) == (3, 1)
    http("--follow", "--max-redirects=2", f"{server.url}/redirect/5").checked(6)


@pytest.mark.parametrize(("code", "status"), [(204, 0), (302, 3), (404, 4)])
def test_check_status(http: HTTPie, peer: StartPeer, code: int, status: int) -> None:
    started = peer(serve(lambda request: (code, {}, b"")))
    done = http("--check-status", "-h", started.url).checked(status)
    assert done.status_lines[0].startswith(f"HTTP/2.0 {code} ")
    assert (f"http: warning: HTTP {code} " in done.errors) == bool(status)


@nginx
def test_timeout(http: HTTPie, server: Server) -> None:
    done = http("--timeout=0.3", f"{server.url}/delay", f"ms=={TIMEOUT * 1000}").checked(2)
    assert "Request timed out (0.3s)" in done.errors


@pytest.mark.parametrize(
    ("verify", "trusted"),
    [("yes", False), ("other_ca_path", False), ("no", True), ("ca_path", True)],
)
def test_verify(
    http: HTTPie, peer: StartPeer, certs: Certificates, verify: str, trusted: bool
) -> None:
    value = getattr(certs, verify, verify)
    done = http(f"--verify={value}", "-h", peer(serve(answer)).url).checked(0 if trusted else 1)
    assert done.status_lines == ([OK] if trusted else [])
    assert trusted or "CERTIFICATE_VERIFY_FAILED" in done.errors


def test_ca_bundle_of_the_environment(http: HTTPie, peer: StartPeer, certs: Certificates) -> None:
    environment = {"REQUESTS_CA_BUNDLE": certs.ca_path}
    done = http("--verify=yes", "-h", peer(serve(answer)).url, **environment).checked()
    assert done.status_lines == [OK]


@pytest.fixture
def encrypted_key(certs: Certificates, tmp_path: Path) -> str:
    """The client's key under the password "sesame"."""
    read = Path(certs.client_key_path).read_bytes()
    key = serialization.load_pem_private_key(read, None)
    path = tmp_path / "encrypted.key"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    return str(path)


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ("", False),
        ("--cert={both}", True),
        ("--cert={cert} --cert-key={key}", True),
        ("--cert={cert} --cert-key={encrypted} --cert-key-pass=sesame", True),
        ("--cert={cert} --cert-key={encrypted} --cert-key-pass=open", False),
    ],
)
def test_client_certificate(
    http: HTTPie,
    peer: StartPeer,
    certs: Certificates,
    encrypted_key: str,
    options: str,
    accepted: bool,
) -> None:
    url = peer(serve(answer), context=certs.server_context(client_certificate=True)).url
    arguments = options.format(
        both=certs.client_pem_path,
        cert=certs.client_cert_path,
        key=certs.client_key_path,
        encrypted=encrypted_key,
    ).split()
    done = http(*arguments, "-h", url).checked(0 if accepted else 1)
    assert done.status_lines == ([OK] if accepted else [])
    assert accepted or "http: error: SSLError" in done.errors


def test_ssl_and_ciphers(http: HTTPie, peer: StartPeer) -> None:
    seen: list[Any] = []

    def script(conn: PeerConnection) -> None:
        tls = conn.channel.tls
        assert tls is not None
        seen.append((tls.version(), tls.cipher()[0]))
        serve(answer)(conn)

    url = peer(script).url
    # urllib3 warns of how HTTPie sets a version, with and without us.
    silent = {"PYTHONWARNINGS": "ignore"}
    chosen = "ECDHE-ECDSA-CHACHA20-POLY1305"  # not the first choice of either side
    http("-h", url).checked()
    http("--ssl=tls1.2", url, **silent).checked()
    done = http("--ssl=tls1.2", f"--ciphers={chosen}", "-h", url, **silent).checked()
    assert done.status_lines == [OK]
    assert seen[0][0] == "TLSv1.3"
    assert seen[1][0] == seen[2][0] == "TLSv1.2"
    assert seen[1][1] != seen[2][1] == chosen
    assert "No cipher can be selected" in http("--ciphers=none-such", url).checked(1).errors


def test_proxy(http: HTTPie, peer: StartPeer, certs: Certificates, encrypted_key: str) -> None:
    """With the options of TLS, which go another way then."""
    started = peer(serve(answer), context=certs.server_context(client_certificate=True))
    tls = ["--cert", certs.client_cert_path, "--cert-key", encrypted_key]
    tls += ["--cert-key-pass=sesame", "--ssl=tls1.2"]
    with Proxy() as proxy:
        done = http("-h", f"--proxy=https:{proxy.url}", *tls, started.url)
        assert (done.status, done.status_lines) == (0, [OK]), done
        (asked,) = proxy.requests
    assert asked.line.startswith(f"CONNECT 127.0.0.1:{started.port} ")


def test_offline(http: HTTPie, peer: StartPeer) -> None:
    started = peer(serve(answer))
    done = http("--offline", "--chunked", started.url, "a=b").checked()
    assert done.text.startswith("POST / HTTP/1.1\n")
    assert "Transfer-Encoding: chunked\n" in done.text
    assert started.accepted == 0


def uploaded(done: Done) -> tuple[int, str, list[str]]:
    said = json.loads(done.checked().text)
    return said["length"], said["sha256"], said["content-length"]


@both
def test_upload(http: HTTPie, server: Server) -> None:
    content = bytes(range(256)) * 8192
    file = http.folder / "file"
    file.write_bytes(content)
    size, digest = len(content), hashlib.sha256(content).hexdigest()
    url = f"{server.url}/upload"
    assert uploaded(http(url, "@file")) == (size, digest, [str(size)])
    assert uploaded(http(url, stdin=file)) == (size, digest, [str(size)])
    length, received, declared = uploaded(http("--chunked", url, stdin=file))
    assert (length, received) == (size, digest)
    if server.name == "node":  # nginx counts before it passes it on
        assert declared == []


@pytest.mark.parametrize("chunked", [False, True])
def test_forms(http: HTTPie, peer: StartPeer, chunked: bool) -> None:
    (http.folder / "file").write_bytes(b"x" * 300_000)
    options = ["--chunked"] if chunked else []
    started = peer(serve(answer))
    http(*options, "--form", started.url, "a=1", "b=two words").checked()
    http(*options, "--multipart", "--boundary=limit", started.url, "a=1", "file@file").checked()
    form, multipart = started.requests
    assert form.headers["content-type"] == "application/x-www-form-urlencoded; charset=utf-8"
    assert bytes(form.body) == b"a=1&b=two+words"
    assert multipart.headers["content-type"] == "multipart/form-data; boundary=limit"
    assert multipart.body.startswith(b"--limit\r\nContent-Disposition: form-data; name=")
    assert b"x" * 300_000 in multipart.body
    for request in (form, multipart):
        assert ("content-length" in request.headers) == (not chunked)
        assert "transfer-encoding" not in request.headers


def test_verbose_upload(http: HTTPie, peer: StartPeer) -> None:
    """The body is shown while it is read."""
    started = peer(serve(answer))
    (http.folder / "file").write_text("the body\n")
    for options in ([], ["--chunked"], ["--compress", "--compress"]):
        done = http("-v", *options, started.url, "@file").checked()
        assert options[-1:] == ["--compress"] or "\n\nthe body\n" in done.text
        assert done.status_lines == [OK]
    assert [each.headers.get("content-encoding") for each in started.requests] == [
        None,
        None,
        "deflate",
    ]


def test_headers_that_are_left_out(http: HTTPie, peer: StartPeer) -> None:
    started = peer(serve(answer))
    http(started.url, "User-Agent:", "Accept-Encoding:", "Host:example.org", "Empty;").checked()
    assert started.request.authority == "example.org"
    assert started.request.headers == {"accept": "*/*", "empty": ""}


def test_max_headers(http: HTTPie, peer: StartPeer) -> None:
    fields = [("x-field", str(number)) for number in range(20)]
    started = peer(serve(lambda request: (204, fields, b"")))
    assert http("--max-headers=20", "-h", started.url).checked().status_lines
    done = http("--max-headers=19", "-h", started.url).checked(1)
    assert "ConnectionError: got more than 19 headers" in done.errors


@both
def test_server_without_http2(http: HTTPie, server: Server) -> None:
    done = http("-h", f"{server.http11_url}/cookies/set").checked()
    stock = http("-h", f"{server.http11_url}/cookies/set", HTTPIE_HTTP2="no").checked()
    # But for the time of day and the port.
    assert re.sub("[0-9]", "", done.text) == re.sub("[0-9]", "", stock.text)
    assert done.status_lines == ["HTTP/1.1 200 OK"]
    done = http(f"{server.http11_url}/1k", HTTPIE_HTTP2="required").checked(1)
    assert "does not speak HTTP/2: ALPN negotiated http/1.1" in done.errors


@nginx
@pytest.mark.parametrize(
    ("value", "line"), [("no", "HTTP/1.1 200 OK"), ("yes", OK), ("required", OK), ("", OK)]
)
def test_variable(http: HTTPie, server: Server, value: str, line: str) -> None:
    done = http("-h", f"{server.url}/1k", HTTPIE_HTTP2=value).checked()
    assert done.status_lines == [line]


def test_variable_that_says_nothing(http: HTTPie) -> None:
    done = http("https://127.0.0.1:1", HTTPIE_HTTP2="off").checked(1)
    assert "HTTPIE_HTTP2 must be yes, no or required, not 'off'" in done.errors


def test_errors(http: HTTPie, peer: StartPeer) -> None:
    def script(conn: PeerConnection) -> None:
        conn.next_request()
        conn.goaway(0, code=11, debug=b"calm down")

    done = http(peer(script).url).checked(1)
    assert "http: error: ConnectionError" in done.errors
    assert "ENHANCE_YOUR_CALM" in done.errors
    done = http("https://no-such-host.invalid").checked(1)
    assert "http: error: gaierror" in done.errors


def test_nothing_is_imported_after_the_plugins(http: HTTPie, peer: StartPeer) -> None:
    """HTTPie takes the folder of its plugins off ``sys.path`` when it has loaded them."""
    program = """\
import sys
import requests_h2.httpie

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"h2", "hpack", "hyperframe", "ngh2"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Gone())
from httpie.__main__ import main
main()
"""
    command = http.command("-h", peer(serve(answer)).url)
    done = http.run([sys.executable, "-c", program, *command[1:]]).checked()
    assert done.status_lines == [OK]
