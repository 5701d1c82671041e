"""What the socket has not taken yet."""

from __future__ import annotations

from collections import deque


class Outbound:
    """A queue of octets whose beginning is never copied again. Guarded by the pump's lock."""

    __slots__ = ("_later", "head", "size")

    def __init__(self) -> None:
        self.head = memoryview(b"")
        """What goes next."""
        self._later = bytearray()
        self.size = 0

    def append(self, data: bytes) -> None:
        self.size += len(data)
        if self.head:
            self._later += data
        else:
            self.head = memoryview(data)

    def advance(self, size: int) -> None:
        """The socket took ``size`` octets of the head."""
        self.size -= size
        self.head = self.head[size:]
        if not self.head and self._later:
            self.head, self._later = memoryview(self._later), bytearray()

    def clear(self) -> None:
        self.head, self._later, self.size = memoryview(b""), bytearray(), 0


class Answers:
    """How much of what is unsent answers the peer: it can ask for more without reading any."""

    __slots__ = ("_unsent",)

    def __init__(self) -> None:
        self._unsent: deque[tuple[int, int]] = deque()  # where each ends, and its size

    def add(self, end: int, size: int) -> None:
        """An answer of ``size`` octets was queued; ``end`` octets are sent when it is."""
        self._unsent.append((end, size))

    def size(self, sent: int) -> int:
        """Octets of answers that are unsent when ``sent`` octets of all have left."""
        while self._unsent and self._unsent[0][0] <= sent:
            self._unsent.popleft()
        return sum(size for _, size in self._unsent)
