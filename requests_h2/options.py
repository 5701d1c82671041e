"""What the caller of :class:`HTTP2Adapter` chose, on its way down to the connections."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Options:
    """The adapter's keyword arguments, which document them."""

    http2: bool | Literal["required"] = True
    engine: str = "auto"

    def __post_init__(self) -> None:
        if self.http2 not in (True, False, "required"):
            raise ValueError(f'http2 must be True, False or "required", not {self.http2!r}')

    @property
    def required(self) -> bool:
        """Whether servers without HTTP/2 are refused."""
        return self.http2 == "required"
