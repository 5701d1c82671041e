"""Many threads, few connections."""

from __future__ import annotations

from typing import Any

import requests
from hyperframe.frame import HeadersFrame

from tests.support.peer import Request, StartPeer, hold, serve
from tests.support.threads import WAIT, background, together


def echo_path(request: Request) -> Any:
    return 200, {}, request.path.encode()


def test_a_cold_origin_is_dialled_once(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(echo_path))
    bodies = together(20, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [f"/{number}".encode() for number in range(20)]
    assert started.accepted == 1


def test_large_answers_side_by_side(session: requests.Session, peer: StartPeer) -> None:
    started = peer(serve(lambda request: (200, {}, request.path[-1].encode() * 3_000_000)))
    bodies = together(6, lambda number: session.get(f"{started.url}/{number}").content)
    assert bodies == [str(number).encode() * 3_000_000 for number in range(6)]
    assert started.accepted == 1


# -- ends that concern everybody -----------------------------------------------------------


def test_nobody_waits_for_another_origin(session: requests.Session, peer: StartPeer) -> None:
    stuck, quick = peer(hold), peer(serve(echo_path))
    background(lambda: session.get(stuck.url, timeout=5))
    stuck.connection().wait_for(HeadersFrame)
    assert session.get(quick.url + "/quick", timeout=WAIT).content == b"/quick"
