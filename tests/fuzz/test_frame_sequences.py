"""Sequences of frames, legal and not, as the answer to real requests."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ENGINES

from . import exchange
from .exchange import Plan
from .frames import DATA, END_STREAM, SETTINGS, SPLITS, Heading, Split, Wire, assemble, sequences
from .profile import fuzz
from .stub import Portion, Script, StubServers

# Hypothesis makes hundreds of sessions of each test.
pytestmark = pytest.mark.timeout(300)

PLANS = st.builds(
    Plan,
    st.sampled_from(["GET", "GET", "HEAD", "POST", "PUT"]),
    st.none() | st.none() | st.sampled_from([0, 5, 70_000, 400_000]),
    st.sampled_from(
        ["content", "content", "iter_content", "lines", "raw", "partly", "close", "keep", "drop"]
    ),
)


class Case(NamedTuple):
    """What the server says and what the client does meanwhile."""

    frames: list[Wire]
    split: Split
    gates: tuple[bool, bool]
    end: str
    send_limit: int
    plans: list[Plan]

    @property
    def script(self) -> Script:
        portions = []
        after = 0
        for number, part in enumerate(self.split.of(b"".join(map(Wire.encode, self.frames)))):
            after += number in (1, 3) and self.gates[number // 2]
            portions.append(Portion(part, after))
        return Script(portions, self.end, self.send_limit)


CASES = st.builds(
    Case,
    sequences(),
    SPLITS,
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from(["eof", "eof", "reset", "silence"]),
    st.sampled_from([1 << 20, 1 << 20, 1 << 20, 7]),
    st.lists(PLANS, min_size=1, max_size=3),
)


def run(engine: str, frames: list[Wire], script: Script, plans: list[Plan]) -> None:
    servers = StubServers(script)
    made = servers.session(engine=engine)
    with exchange.no_pauses(), exchange.verbose_log(), made as session:
        kept: list[Any] = []
        for plan in plans:
            result = exchange.perform(session, plan)
            if plan.reading != "drop":
                kept.append(result.response)
            if result.response is not None:
                _check(result, frames)
        exchange.assert_recovers(session, servers)
        for response in kept:
            if response is not None:
                response.close()


def _check(result: exchange.Result, frames: list[Wire]) -> None:
    response = result.response
    assert response is not None
    assert 200 <= response.status_code <= 999
    assert response.raw.version == 20
    for name, value in response.headers.items():
        assert not set(name + value) & set("\r\n\0")
        assert name == name.lower()
    if "content-encoding" in response.headers or "x-good" in response.headers:
        return
    possible = [exchange.contents(frames, stream_id) for stream_id in (1, 3, 5, 7, 9, 11, 13, 15)]
    assert any(each.startswith(result.body) for each in possible)


@pytest.mark.parametrize("engine", ENGINES)
@fuzz(450)
@given(case=CASES)
def test_any_sequence_ends_documented(engine: str, case: Case) -> None:
    run(engine, case.frames, case.script, case.plans)


@pytest.mark.parametrize("end", ["eof", "reset", "silence"])
def test_the_harness_delivers_a_good_answer(engine: str, end: str) -> None:
    """Else everything above would pass for the wrong reason."""
    frames = [
        Wire(SETTINGS),
        *assemble([Heading(1, [(b":status", b"404"), (b"x-a", b"1")], False, 3, 7)]),
        Wire(DATA, 0, 1, b"one"),
        Wire(DATA, END_STREAM, 1, b"two"),
    ]
    script = Script([Portion(frame.encode(), 1) for frame in frames], end)
    servers = StubServers(script)
    with servers.session(engine=engine) as session:
        result = exchange.perform(session, Plan("POST", 100_000, "raw"))
        assert result.error is None
        assert result.body == b"onetwo"
        assert result.response is not None
        assert result.response.status_code == 404
        exchange.assert_recovers(session, servers)
    assert servers.sockets[0].client.whole


def test_the_harness_reports_the_fault(engine: str) -> None:
    servers = StubServers(Script([Portion(b"HTTP/1.1 400 Bad Request\r\n\r\n", 1)]))
    with servers.session(engine=engine) as session:
        result = exchange.perform(session, Plan())
    assert isinstance(result.error, requests.exceptions.ConnectionError)
    assert "HTTP/1.1" in str(result.error)
