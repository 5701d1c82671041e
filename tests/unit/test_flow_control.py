"""The policies of receive windows in hyper's terms, without a connection."""

from __future__ import annotations

import pytest

from requests_h2.flow_control import (
    CONNECTION_WINDOW,
    MAX_STREAM_WINDOW,
    STREAM_WINDOW,
    AdaptiveWindow,
    FlowControlManager,
    note_blocked,
    note_read,
)

KIB, MIB = 1 << 10, 1 << 20


def read(manager: FlowControlManager, size: int) -> list[int]:
    """The increments that reading so much in steps of 128 KiB brings."""
    increments = (note_read(manager, 128 * KIB) for _ in range(size // (128 * KIB)))
    return [increment for increment in increments if increment]


def test_half_a_window_at_a_time() -> None:
    manager = FlowControlManager(MIB)
    assert note_read(manager, MIB // 2 - 1) == 0
    assert note_read(manager, 1) == MIB // 2
    assert note_read(manager, 3 * MIB) == 3 * MIB
    assert note_read(manager, 0) == 0


def test_a_fixed_window_stays() -> None:
    manager = FlowControlManager(CONNECTION_WINDOW)
    for _ in range(10):
        assert note_read(manager, CONNECTION_WINDOW // 2) == CONNECTION_WINDOW // 2
        assert note_blocked(manager) == 0
    assert manager.window_size == CONNECTION_WINDOW


def test_a_reader_that_never_waits_gets_no_more() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    assert read(manager, 64 * MIB) == [MIB // 2] * 128
    assert manager.window_size == STREAM_WINDOW


def test_waiting_for_the_first_octets_proves_nothing() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    for _ in range(10):
        assert not manager.may_grow
        assert note_blocked(manager) == 0
    assert note_read(manager, STREAM_WINDOW // 2 - 1) == 0
    assert note_blocked(manager) == 0
    assert manager.window_size == STREAM_WINDOW // 2 + 1


def test_the_window_grows_when_the_reader_waits() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    sizes = []
    for _ in range(4):
        read(manager, manager.window_size)
        note_blocked(manager)
        sizes.append(manager.window_size)
    assert sizes == [4 * MIB, 16 * MIB, 16 * MIB, 16 * MIB]
    assert sizes[-1] == MAX_STREAM_WINDOW


def test_each_growth_takes_half_a_window_read() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    note_read(manager, MIB // 2)
    assert manager.may_grow
    assert note_blocked(manager) == 3 * MIB
    assert note_blocked(manager) == 0
    note_read(manager, 2 * MIB - 1)
    assert note_blocked(manager) == 0
    note_read(manager, 1)
    assert note_blocked(manager) > 0


def test_what_was_read_goes_out_with_the_growth() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    assert note_read(manager, MIB // 2) == MIB // 2
    assert note_read(manager, 1000) == 0
    assert note_blocked(manager) == 3 * MIB + 1000
    assert note_read(manager, 0) == 0


def test_a_grown_window_gives_back_as_often() -> None:
    manager = AdaptiveWindow(STREAM_WINDOW)
    note_read(manager, MIB)
    note_blocked(manager)
    assert read(manager, 4 * MIB) == [MIB // 2] * 8


def test_the_last_growth_ends_at_the_limit() -> None:
    manager = AdaptiveWindow(6 * MIB)
    read(manager, 6 * MIB)
    assert note_blocked(manager) == 10 * MIB
    assert manager.window_size == MAX_STREAM_WINDOW
    read(manager, 16 * MIB)
    assert not manager.may_grow
    assert note_blocked(manager) == 0


def test_a_manager_is_asked_before_its_window_falls() -> None:
    """As hyper does it; ``window_size`` is what may still be on its way or unread."""
    seen = []

    class Watching(FlowControlManager):
        def increase_window_size(self, frame_size: int) -> int:
            seen.append((self.window_size, frame_size))
            return frame_size // 2

        def blocked(self) -> int:
            seen.append((self.window_size, -1))
            return 7

    manager = Watching(100)
    assert (manager.initial_window_size, manager.document_size) == (100, None)
    assert [note_read(manager, 20), note_read(manager, 0), note_blocked(manager)] == [10, 0, 7]
    assert seen == [(100, 20), (90, 0), (90, -1)]
    assert manager.window_size == 97
    assert manager.initial_window_size == 100


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("kind", [FlowControlManager, AdaptiveWindow])
def test_the_smallest_windows_are_given_back(kind: type[FlowControlManager], size: int) -> None:
    manager = kind(size)
    for _ in range(size):
        assert note_read(manager, 0) == 0
        note_read(manager, 1)
    assert manager.window_size > 0
