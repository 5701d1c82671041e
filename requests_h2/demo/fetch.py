"""One GET against a server of the user's choice, and what is worth knowing about it."""

from __future__ import annotations

import time
from http.client import responses
from typing import TextIO

import requests
from urllib3.exceptions import MaxRetryError, ProtocolError

from requests_h2 import HTTP2Adapter


def fetch(url: str, out: TextIO, *, timeout: float, verify: bool | str | None = None) -> None:
    """Print protocol, status, header count, size and time of ``GET url``.

    ``verify=None`` leaves the choice to requests: certifi, or what REQUESTS_CA_BUNDLE names.
    """
    with requests.Session() as session:
        session.mount("https://", HTTP2Adapter())
        began = time.perf_counter()
        with session.get(url, timeout=timeout, verify=verify, stream=True) as response:
            headers_after = time.perf_counter() - began
            size = sum(len(chunk) for chunk in response.iter_content(64 * 1024))
            took = time.perf_counter() - began
    for hop in response.history:
        print(f"{hop.url} answered {hop.status_code}, going on", file=out)
    reason = response.reason or responses.get(response.status_code, "")
    print(response.url, file=out)
    print(f"  protocol  {response.raw.version_string}", file=out)
    print(f"  status    {response.status_code} {reason}".rstrip(), file=out)
    print(f"  headers   {len(response.raw.headers)}", file=out)
    print(f"  size      {size:,} bytes", file=out)
    print(f"  time      {took:.3f} s (headers after {headers_after:.3f} s)", file=out)


def one_line(error: Exception) -> str:
    """Say what went wrong without the wrapping that retries and pools put around it."""
    cause: object = error
    if isinstance(error, requests.RequestException) and error.args:
        cause = error.args[0]
    if isinstance(cause, MaxRetryError) and cause.reason is not None:
        cause = cause.reason
    if isinstance(cause, ProtocolError):
        # Ours repeats the first part in the rest; urllib3's has only there what has happened.
        cause = cause.args[-1 if cause.args[0] == "Connection aborted." else 0]
    text = " ".join(str(cause).split()) or repr(cause)
    return f"{type(error).__name__}: {text}"
