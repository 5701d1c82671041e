"""HTTP/2 for requests.

Usage::

    session = requests.Session()
    session.mount("https://", requests_h2.HTTP2Adapter())

or, for every session of the process that is made afterwards::

    requests_h2.install()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .adapter import HTTP2Adapter
from .body import BodyWithTrailers
from .fields import SECRET_HEADERS
from .flow_control import AdaptiveWindow, FlowControlManager
from .install import install, mount, uninstall
from .push import PushedResponse, get_pushes
from .response import InformationalResponse

if TYPE_CHECKING:
    from .inspection import ConnectionInfo, GoAway, OpenConnection
    from .recorder import Recording, record
else:

    def __getattr__(name):
        # Late, because most programs inspect and record nothing. Type checkers, which would take a
        # module with this function for one that has every name, do not see it.
        if name in ("ConnectionInfo", "GoAway", "OpenConnection"):
            from . import inspection as module
        elif name in ("Recording", "record"):
            from . import recorder as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "SECRET_HEADERS",
    "AdaptiveWindow",
    "BodyWithTrailers",
    "ConnectionInfo",
    "FlowControlManager",
    "GoAway",
    "HTTP2Adapter",
    "InformationalResponse",
    "OpenConnection",
    "PushedResponse",
    "Recording",
    "__version__",
    "get_pushes",
    "install",
    "mount",
    "record",
    "uninstall",
]

__version__ = "0.1.0"
