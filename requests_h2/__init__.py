"""HTTP/2 for requests.

Usage::

    session = requests.Session()
    session.mount("https://", requests_h2.HTTP2Adapter())
"""

from __future__ import annotations

from .adapter import HTTP2Adapter

__all__ = ["HTTP2Adapter", "__version__"]

__version__ = "0.1.0"
