"""What the socket has not taken yet."""

from __future__ import annotations


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
