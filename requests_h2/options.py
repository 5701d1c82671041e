"""What the caller of :class:`HTTP2Adapter` chose, on its way down to the connections."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from .flow_control import (
    MAX_WINDOW,
    STREAM_WINDOW,
    AdaptiveWindow,
    FlowControlManager,
    WindowManager,
)

MAX_PUSHES = 1000
"""Of one connection at once, at most."""


class Options(NamedTuple):
    """The adapter's keyword arguments, which document them."""

    http2: bool | Literal["required"] = True
    engine: str = "auto"
    enable_push: bool = False
    adopt_pushes: bool = False
    max_pushes: int = 100
    push_timeout: float = 30.0
    ping_interval: float | None = None
    ping_timeout: float = 10.0
    window_manager: WindowManager | None = None
    initial_window_size: int = STREAM_WINDOW
    log_fields: bool = False
    prior_knowledge: bool = False
    uds: str | None = None
    coalesce: bool = False

    def check(self) -> None:
        """Refuse what cannot be."""
        if self.http2 not in (True, False, "required"):
            raise ValueError(f'http2 must be True, False or "required", not {self.http2!r}')
        if self.prior_knowledge and self.http2 is False:
            raise ValueError("prior_knowledge=True is about HTTP/2, which http2=False excludes")
        if not isinstance(self.coalesce, bool):
            raise TypeError(f"coalesce must be True or False, not {self.coalesce!r}")
        pushes = self.max_pushes
        if type(pushes) is not int or not 1 <= pushes <= MAX_PUSHES:
            raise ValueError(f"max_pushes must be 1 to {MAX_PUSHES}, not {pushes!r}")
        if self.push_timeout != math.inf and not _is_duration(self.push_timeout):
            raise ValueError(f"push_timeout must be positive seconds, not {self.push_timeout!r}")
        if self.ping_interval is not None and not _is_duration(self.ping_interval):
            raise ValueError(
                f"ping_interval must be positive seconds or None, not {self.ping_interval!r}"
            )
        if not _is_duration(self.ping_timeout):
            raise ValueError(f"ping_timeout must be positive seconds, not {self.ping_timeout!r}")
        size = self.initial_window_size
        if type(size) is not int or not 1 <= size <= MAX_WINDOW:
            raise ValueError(f"initial_window_size must be 1 to {MAX_WINDOW}, not {size!r}")
        manager = self.window_manager
        is_class = isinstance(manager, type)
        if is_class and not issubclass(manager, FlowControlManager):  # type: ignore[arg-type]  # a class
            raise TypeError(f"{manager!r} is no subclass of FlowControlManager")
        if manager is not None and not callable(manager):
            raise TypeError(f"window_manager must be a class or a function, not {manager!r}")

    @property
    def callers_manager(self) -> WindowManager | None:
        """What makes window managers that are not ours."""
        return None if self.window_manager is AdaptiveWindow else self.window_manager

    @property
    def required(self) -> bool:
        """Whether servers without HTTP/2 are refused."""
        return self.http2 == "required"

    @property
    def keeps_pushes(self) -> bool:
        """Whether pushes are wanted without a hook."""
        return self.enable_push or self.adopt_pushes


def _is_duration(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < math.inf
