"""HTTP/2 for requests.

Usage::

    session = requests.Session()
    session.mount("https://", requests_h2.HTTP2Adapter())

or, for every session of the process that is made afterwards::

    requests_h2.install()
"""

from __future__ import annotations

from .adapter import HTTP2Adapter
from .body import BodyWithTrailers
from .fields import SECRET_HEADERS
from .flow_control import AdaptiveWindow, FlowControlManager
from .inspection import ConnectionInfo, GoAway, OpenConnection
from .install import install, mount, uninstall
from .push import PushedResponse, get_pushes
from .recorder import Recording, record
from .response import InformationalResponse

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
