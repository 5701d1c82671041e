"""Where the DATA frames end that a stream has received and nobody has read to their end."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

MAX_FRAMES = 65_536
"""Unread frames that are told apart. Those beyond are joined: frames may be empty, and what is kept
of them must not be much more than their octets."""
_JOINED = 65_535  # octets, the most that an entry holds; a frame has fewer
_DROPPED = 1024  # entries that are kept before the others are moved to the front


class FrameSizes:
    """The sizes of the unread frames, in the order of arrival; of the first, part may be read.

    Guarded by the connection's lock, except for a look whether there are any.

    :param collecting: whether somebody will ask what has been read.
    """

    __slots__ = ("_ended", "_first", "_read", "_sizes")

    def __init__(self, collecting: bool = False) -> None:
        self._ended: list[int] | None = [] if collecting else None
        self._sizes = array("H")
        self._first = 0  # the index of the first
        # Octets that are read from its beginning. They may be more than it has: to go through
        # frames one by one is left to those who ask for them.
        self._read = 0

    def __bool__(self) -> bool:
        return len(self._sizes) > self._first

    def add(self, sizes: Iterable[int]) -> None:
        self._sizes.extend(sizes)
        if len(self._sizes) > MAX_FRAMES:
            self._drop_read()
            del self._sizes[: self._first]
            self._first = 0
            if len(self._sizes) > MAX_FRAMES:
                self._join()

    def read(self, size: int) -> None:
        """Note that ``size`` octets were read, and with them the empty frames around them."""
        self._read += size

    def clear(self) -> None:
        """Note that all was read."""
        self._drop(len(self._sizes) - self._first)
        self._read = 0

    def rest_of_first(self) -> int:
        """Octets to read before the first frame ends."""
        self._drop_read()
        return self._sizes[self._first] - self._read

    def read_of_first(self, size: int) -> None:
        """Note that ``size`` octets of the first frame were read, and nothing of the next one."""
        self._read += size
        if self._read == self._sizes[self._first]:
            self._drop(1)
            self._read = 0

    def take_ended(self) -> list[int]:
        """The sizes of the frames that were read to their end since this was last asked."""
        self._drop_read()
        ended, self._ended = self._ended, []
        return ended or []

    @property
    def begun(self) -> int:
        """Octets of the first frame that are read, after :meth:`take_ended`."""
        return self._read

    def _drop_read(self) -> None:
        if not self._read:
            return
        sizes, at = self._sizes, self._first
        while at < len(sizes) and sizes[at] <= self._read:
            self._read -= sizes[at]
            at += 1
        self._drop(at - self._first)

    def _drop(self, count: int) -> None:
        if self._ended is not None:
            self._ended += self._sizes[self._first : self._first + count]
        self._first += count
        if self._first >= _DROPPED or self._first == len(self._sizes):
            del self._sizes[: self._first]
            self._first = 0

    def _join(self) -> None:
        octets = sum(self._sizes[MAX_FRAMES - 1 :])
        del self._sizes[MAX_FRAMES - 1 :]
        # Few, however many frames came: a window holds no more octets.
        while octets > _JOINED:
            self._sizes.append(_JOINED)
            octets -= _JOINED
        self._sizes.append(octets)
