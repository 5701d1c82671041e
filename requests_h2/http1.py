"""What ``response.raw`` over HTTP/1.1 has in the place of what HTTP/2 alone can do."""

from __future__ import annotations

import io
from typing import Any

from urllib3 import HTTPHeaderDict, HTTPResponse


def complement(response: HTTPResponse) -> None:
    """Give it what :class:`HTTP2Response` has, so that nobody has to ask which it is."""
    raw: Any = response
    raw.trailers, raw.informational, raw.pushed = HTTPHeaderDict(), [], False
    raw.reprioritize = _refuse_priority


def _refuse_priority(urgency: int = 3, incremental: bool = False) -> None:  # noqa: ARG001
    raise io.UnsupportedOperation("PRIORITY_UPDATE needs HTTP/2, and this came over HTTP/1.1")
