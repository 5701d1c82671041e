"""The policies of receive windows, without a connection."""

from __future__ import annotations

from requests_h2.flow_control import (
    CONNECTION_WINDOW,
    MAX_STREAM_WINDOW,
    STREAM_WINDOW,
    AdaptiveWindow,
    FlowControlManager,
)

KIB, MIB = 1 << 10, 1 << 20


def read(manager: FlowControlManager, size: int) -> list[int]:
    """The increments that reading so much in steps of 128 KiB brings."""
    increments = (manager.consumed(128 * KIB) for _ in range(size // (128 * KIB)))
    return [increment for increment in increments if increment]


def test_half_a_window_at_a_time() -> None:
    manager = FlowControlManager(MIB)
    assert manager.consumed(MIB // 2 - 1) == 0
    assert manager.consumed(1) == MIB // 2
    assert manager.consumed(3 * MIB) == 3 * MIB
    assert manager.consumed(0) == 0


def test_a_fixed_window_stays() -> None:
    manager = FlowControlManager(CONNECTION_WINDOW)
    for _ in range(10):
        assert manager.consumed(CONNECTION_WINDOW // 2) == CONNECTION_WINDOW // 2
        assert not manager.may_grow
        assert manager.blocked() == 0
    assert manager.window_size == CONNECTION_WINDOW


def test_a_reader_that_never_waits_gets_no_more() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    assert read(manager, 64 * MIB) == [MIB // 2] * 128
    assert manager.window_size == STREAM_WINDOW


def test_waiting_for_the_first_octets_proves_nothing() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    for _ in range(10):
        assert not manager.may_grow
        assert manager.blocked() == 0
    assert manager.consumed(STREAM_WINDOW // 2 - 1) == 0
    assert manager.blocked() == 0
    assert manager.window_size == STREAM_WINDOW


def test_the_window_grows_when_the_reader_waits() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    sizes = []
    for _ in range(4):
        read(manager, manager.window_size)
        manager.blocked()
        sizes.append(manager.window_size)
    assert sizes == [4 * MIB, 16 * MIB, 16 * MIB, 16 * MIB]
    assert sizes[-1] == MAX_STREAM_WINDOW


def test_each_growth_takes_half_a_window_read() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    manager.consumed(MIB // 2)
    assert manager.may_grow
    assert manager.blocked() == 3 * MIB
    assert manager.blocked() == 0
    manager.consumed(2 * MIB - 1)
    assert manager.blocked() == 0
    manager.consumed(1)
    assert manager.blocked() > 0


def test_what_was_read_goes_out_with_the_growth() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    assert manager.consumed(MIB // 2) == MIB // 2
    assert manager.consumed(1000) == 0
    assert manager.blocked() == 3 * MIB + 1000
    assert manager.consumed(0) == 0


def test_a_grown_window_gives_back_as_often() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    manager.consumed(MIB)
    manager.blocked()
    assert read(manager, 4 * MIB) == [MIB // 2] * 8


def test_the_last_growth_ends_at_the_limit() -> None:
    manager = AdaptiveWindow(6 * MIB)
    read(manager, 6 * MIB)
    assert manager.blocked() == 10 * MIB
    assert manager.window_size == MAX_STREAM_WINDOW
    read(manager, 16 * MIB)
    assert not manager.may_grow
    assert manager.blocked() == 0
