"""Which engine runs: python-hyper's h2, always there, or nghttp2 through its Python binding ngh2.

ngh2 is imported with the first adapter that may use it, h2 with the first connection and neither
before: importing this package stays cheap.
"""

from __future__ import annotations

import re

from .base import Engine

ENGINES = ("auto", "h2", "nghttp2")
_NGH2_RANGE = ((0, 3), (0, 4))  # alpha: the range that the tests cover, its end excluded


def choose(wanted: str) -> str:
    """The engine that ``wanted`` stands for: ``"auto"`` is nghttp2 when it can be imported.

    :returns: ``"h2"`` or ``"nghttp2"``.
    :raises ValueError: for a name that is none of :data:`ENGINES`.
    :raises ImportError: when nghttp2 is asked for by name and cannot be imported.
    """
    if wanted not in ENGINES:
        raise ValueError(f'engine must be "auto", "h2" or "nghttp2", not {wanted!r}')
    if wanted == "h2":
        return "h2"
    try:
        _require_ngh2()
    except ImportError as error:
        if wanted == "auto":
            return "h2"
        raise ImportError(
            f'engine="nghttp2" needs the package ngh2>=0.3,<0.4 ({error}); install requests-http2 '
            'with its extra "nghttp2", or use engine="auto", which falls back to h2'
        ) from error
    return "nghttp2"


def engine_class(name: str) -> type[Engine]:
    """The class behind a name that :func:`choose` returned."""
    if name == "nghttp2":
        from .nghttp2_engine import NGHTTP2Engine

        return NGHTTP2Engine
    from .h2_engine import H2Engine

    return H2Engine


def _require_ngh2() -> None:
    import ngh2

    version = tuple(int(number) for number in re.findall("[0-9]+", ngh2.__version__)[:2])
    if not _NGH2_RANGE[0] <= version < _NGH2_RANGE[1]:
        raise ImportError(f"version {ngh2.__version__} is installed")
