"""A request as the scripted peer received it, over either protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class Request:
    """Field names and values as bytes in ``raw_fields``, as text everywhere else."""

    stream_id: int
    #: hpack's tuples: ``field.indexable`` is False for never-indexed ones.
    raw_fields: Sequence[tuple[bytes, bytes]]
    ended: bool = False
    body: bytearray = field(default_factory=bytearray)
    #: Flow-controlled bytes, padding included.
    received: int = 0
    data_sizes: list[int] = field(default_factory=list)
    trailers: Sequence[tuple[bytes, bytes]] | None = None
    #: The code of the client's RST_STREAM.
    reset_code: int | None = None
    #: HTTP/1.1 only.
    request_line: str = ""

    @property
    def fields(self) -> list[tuple[str, str]]:
        return [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw_fields
        ]

    @property
    def headers(self) -> dict[str, str]:
        """Without pseudo-header fields, in lower case, repeated fields joined."""
        headers: dict[str, str] = {}
        for name, value in self.fields:
            key = name.lower()
            if not key.startswith(":"):
                headers[key] = f"{headers[key]}, {value}" if key in headers else value
        return headers

    def pseudo(self, name: str) -> str:
        (value,) = (value for field_name, value in self.fields if field_name == name)
        return value

    @property
    def method(self) -> str:
        return self.request_line.split(" ")[0] if self.request_line else self.pseudo(":method")

    @property
    def path(self) -> str:
        return self.request_line.split(" ")[1] if self.request_line else self.pseudo(":path")

    @property
    def authority(self) -> str:
        return self.headers["host"] if self.request_line else self.pseudo(":authority")

    @property
    def scheme(self) -> str:
        return self.pseudo(":scheme")

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path} on stream {self.stream_id}>"
