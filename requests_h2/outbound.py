"""What the socket has not taken yet."""

from __future__ import annotations


class Outbound:
    """A queue of octets whose beginning is never copied again. Guarded by the pump's lock."""

    __slots__ = ("_later", "head")

    def __init__(self) -> None:
        self.head = memoryview(b"")
        """What goes next."""
        self._later = bytearray()

    def __len__(self) -> int:
        return len(self.head) + len(self._later)

    def append(self, data: bytes | bytearray) -> None:
        if self.head:
            self._later += data
        else:
            self.head = memoryview(data)

    def advance(self, size: int) -> None:
        """The socket took ``size`` octets of the head."""
        self.head = self.head[size:]
        if not self.head and self._later:
            self.head, self._later = memoryview(self._later), bytearray()

    def clear(self) -> None:
        self.head, self._later = memoryview(b""), bytearray()
