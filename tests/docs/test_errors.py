"""The blocks of docs/errors.rst, and what its tables say of each fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.pages import Example, block
from tests.support.peer import PeerConnection, StartPeer, hold, serve

PAGE = "errors.rst"
INTERNAL_ERROR = 2


def reset(conn: PeerConnection) -> None:
    conn.reset(conn.next_request(), INTERNAL_ERROR)


def cut_off(conn: PeerConnection) -> None:
    request = conn.next_request()
    conn.send_headers(request, 200, {"content-length": "10"})
    conn.send_data(request, b"half ")
    conn.reset(request, INTERNAL_ERROR)


def stall(conn: PeerConnection) -> None:
    conn.send_headers(conn.next_request(), 200)
    hold(conn)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (serve(lambda request: (404, {}, b"none")), "answered"),
        (hold, "sent, no answer in time"),
        (reset, "perhaps sent, no answer"),
        (stall, "perhaps sent, no answer"),
        (cut_off, "answered, cut off"),
        (serve(lambda request: (200, {"content-encoding": "gzip"}, b"no gzip")), "something else"),
    ],
)
def test_which_to_catch(
    example: Example, session: requests.Session, peer: StartPeer, script: Any, outcome: str
) -> None:
    url = peer(script).url
    outcome_of: Callable[..., str] = example(url, session=Quick())["outcome_of"]
    assert outcome_of(lambda: session.get(url, timeout=(3.05, 0.5))) == outcome


class Quick:
    """Stands for the session of the block, whose ten seconds are for readers."""

    def get(self, url: str, timeout: Any) -> None:
        assert timeout == (3.05, 10)


def test_what_was_not_sent(make_session: Callable[..., requests.Session], peer: StartPeer) -> None:
    session = make_session(pool_maxsize=1)
    started = peer(stall, settings={"MAX_CONCURRENT_STREAMS": 1})
    outcome_of = block(PAGE, "which_to_catch").run(started.url, session=Quick())["outcome_of"]
    with session.get(started.url, stream=True, timeout=10):
        assert outcome_of(lambda: session.get(started.url, timeout=(0.2, 5))) == "not sent"
    bad = {"x": "a\r\nb"}
    assert outcome_of(lambda: session.get(started.url, headers=bad)) == "my mistake"
