"""HTTP/2 for requests.

Usage::

    session = requests.Session()
    session.mount("https://", requests_h2.HTTP2Adapter())
"""

from __future__ import annotations

from .adapter import HTTP2Adapter
from .body import BodyWithTrailers
from .flow_control import AdaptiveWindow, FlowControlManager
from .install import mount
from .push import PushedResponse, get_pushes
from .response import InformationalResponse

__all__ = [
    "AdaptiveWindow",
    "BodyWithTrailers",
    "FlowControlManager",
    "HTTP2Adapter",
    "InformationalResponse",
    "PushedResponse",
    "__version__",
    "get_pushes",
    "mount",
]

__version__ = "0.1.0"
