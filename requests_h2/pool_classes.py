"""Which classes make the pools of a ``urllib3.PoolManager``: ours in the place of urllib3's."""

from __future__ import annotations

import functools
from typing import Any

from urllib3 import PoolManager

from .cleartext import CleartextPool
from .coalescing import OpenConnections
from .options import Options
from .pool import SecurePool
from .register import Register
from .unix_socket import unix_pool


def use_http2_pools(
    manager: PoolManager,
    options: Options,
    register: Register,
    open_connections: OpenConnections | None = None,
) -> None:
    """Swap the classes of a manager's pools. What ours need goes by ``partial``: unknown keywords
    would break the manager's pool keys.

    :param options: with the engine "h2" or "nghttp2".
    :param open_connections: what the pools of this manager share, if they do.
    """
    manager.pool_classes_by_scheme = {
        scheme: _pool_class(scheme, stock, options, register, open_connections)
        for scheme, stock in manager.pool_classes_by_scheme.items()
    }


def _pool_class(
    scheme: str,
    stock: Any,
    options: Options,
    register: Register,
    open_connections: OpenConnections | None,
) -> Any:
    while isinstance(stock, functools.partial) and "stock" in stock.keywords:
        stock = stock.keywords["stock"]  # the manager is another adapter's too
    ours: dict[str, Any] = {"options": options, "register": register, "stock": stock}
    made = stock
    if scheme == "https" and options.http2 is not False:
        made = functools.partial(SecurePool, open_connections=open_connections, **ours)
    elif scheme == "http" and options.prior_knowledge:
        made = functools.partial(CleartextPool, **ours)
    if options.uds is not None:
        made = functools.partial(unix_pool, stock=made, uds=options.uds)
    return made
