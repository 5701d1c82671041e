"""What a stream has received and nobody has read yet.

Data arrives as views of the pump's read buffer. A reader that keeps up takes it from there, by one
copy. What is left when the read buffer is needed again is *kept*: copied into segments, which a
connection uses over and over. Both save memory traffic, which is what a fast download spends its
time on, and large objects that come and go, for which the allocator asks the system each time.
So is what comes in tiny frames: a window full of them must not cost many times its octets.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Sequence

from .frame_sizes import FrameSizes

SEGMENT_SIZE = 64 << 10
_SPARE_SEGMENTS = 4
_SMALL_PART = 512  # octets, below which a view is larger than what it shows


class Segments:
    """Spare segments of one connection, whose lock guards them."""

    __slots__ = ("_spare",)

    def __init__(self) -> None:
        self._spare: list[bytearray] = []

    def get(self) -> bytearray:
        return self._spare.pop() if self._spare else bytearray(SEGMENT_SIZE)

    def put(self, segment: bytearray) -> None:
        if len(self._spare) < _SPARE_SEGMENTS:
            self._spare.append(segment)


class ReceiveBuffer:
    """A queue of octets. Guarded by the connection's lock.

    :param frames: whether it remembers where frames end, for :meth:`take_frame`.
    :param collecting: whether it collects the sizes of frames for :meth:`take_ended`, too.
    """

    __slots__ = ("_end", "_frames", "_kept", "_segments", "_start", "_views", "size")

    def __init__(self, segments: Segments, frames: bool, collecting: bool = False) -> None:
        self._frames = FrameSizes(collecting) if frames or collecting else None
        self._segments = segments
        self._kept: deque[bytearray] = deque()
        self._start = 0  # of what is unread in the first segment
        self._end = 0  # of what is filled in the last one
        self._views: deque[memoryview | bytes] = deque()
        self.size = 0

    def add(self, parts: Sequence[memoryview | bytes], size: int) -> None:
        """Queue parts of ``size`` octets together, which are valid until :meth:`keep`."""
        self._views.extend(parts)
        self.size += size
        if self._frames is not None:
            self._frames.add(map(len, parts))
        if size < len(parts) * _SMALL_PART:
            self.keep()

    @property
    def has_frame(self) -> bool:
        """Whether :meth:`take_frame` has something to take, were it empty."""
        return self.size > 0 or bool(self._frames)

    def take(self, limit: int) -> bytes:
        """Remove at most ``limit`` octets."""
        data = self._take(limit)
        if self._frames is not None:
            if self.size:
                self._frames.read(len(data))
            else:
                self._frames.clear()
        return data

    def take_frame(self, limit: int | None) -> bytes:
        """Remove the first frame, or what is left of it, or ``limit`` octets of that.

        Where the ends of frames are not known, all there is.
        """
        frames = self._frames
        size = self.size if frames is None else frames.rest_of_first()
        data = self._take(size if limit is None else min(size, limit))
        if frames is not None:
            frames.read_of_first(len(data))
        return data

    def take_ended(self) -> list[int]:
        """The sizes of the frames that were read to their end since this was last asked."""
        assert self._frames is not None
        return self._frames.take_ended()

    @property
    def begun(self) -> int:
        """Octets that are read of the first unread frame, after :meth:`take_ended`."""
        return 0 if self._frames is None else self._frames.begun

    def _take(self, limit: int) -> bytes:
        parts: list[memoryview | bytes] = []
        left = limit
        while self._kept and left > 0:
            start, filled = self._start, self._filled()
            stop = min(filled, start + left)
            parts.append(memoryview(self._kept[0])[start:stop])
            left -= stop - start
            self._start = stop
            if stop == filled:
                self._drop()
        views = self._views
        while views and left > 0:
            view = views.popleft()
            if len(view) > left:
                view = memoryview(view)
                views.appendleft(view[left:])
                view = view[:left]
            parts.append(view)
            left -= len(view)
        self.size -= limit - left
        return b"".join(parts)

    def move_to(self, sink: io.BytesIO) -> int:
        """Remove all of it into ``sink``; returns how much it was."""
        moved, self.size = self.size, 0
        if self._frames is not None:
            self._frames.clear()
        while self._kept:
            sink.write(memoryview(self._kept[0])[self._start : self._filled()])
            self._drop()
        sink.writelines(self._views)
        self._views.clear()
        return moved

    def own(self) -> None:
        """Keep all of it apart from the connection, which is done with the stream."""
        data = self._take(self.size)
        self._views.append(data)
        self.size = len(data)

    def keep(self) -> None:
        """Copy what the read buffer is about to lose."""
        for view in self._views:
            at, size = 0, len(view)
            while at < size:
                if not self._kept or self._end == SEGMENT_SIZE:
                    self._kept.append(self._segments.get())
                    self._end = 0
                count = min(SEGMENT_SIZE - self._end, size - at)
                self._kept[-1][self._end : self._end + count] = view[at : at + count]
                self._end += count
                at += count
        self._views.clear()

    def clear(self) -> None:
        self.size = 0
        if self._frames is not None:
            self._frames.clear()
        self._views.clear()
        while self._kept:
            self._drop()

    def _filled(self) -> int:
        """Where the first segment's octets end."""
        return self._end if len(self._kept) == 1 else SEGMENT_SIZE

    def _drop(self) -> None:
        self._segments.put(self._kept.popleft())
        self._start = 0
