"""One connection for many requests."""

from __future__ import annotations

from typing import Any

from tests.support.peer import Request, serve


def answer(request: Request) -> Any:
    return 200, {}, bytes(request.body) or b"answer"


ordinary = serve(answer)


# -- idle connections ----------------------------------------------------------------------
