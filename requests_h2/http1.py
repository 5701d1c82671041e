"""What ``response.raw`` over HTTP/1.1 has in the place of what HTTP/2 alone can do."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from urllib3 import HTTPHeaderDict

from .register import Register, version_of


def complement(raw: Any, register: Register) -> None:
    """Give it what :class:`HTTP2Response` has, so that nobody has to ask which it is.

    :param raw: urllib3's response, or what a library has put in its place, which may take nothing.
    """
    with contextlib.suppress(AttributeError):
        raw.trailers, raw.informational, raw.pushed = HTTPHeaderDict(), [], False
        raw.reprioritize = _refuse_priority
        if not hasattr(raw, "connection_info"):
            # The pool knows more where HTTP/2 was on offer; this is urllib3's own.
            conn = getattr(raw, "_connection", None)
            raw.connection_info = register.of_http1(conn, version_of(raw))


def _refuse_priority(urgency: int = 3, incremental: bool = False) -> None:  # noqa: ARG001  # as over HTTP/2
    raise io.UnsupportedOperation("PRIORITY_UPDATE needs HTTP/2, and this came over HTTP/1.1")
