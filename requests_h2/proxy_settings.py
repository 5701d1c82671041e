"""What is said about proxies, where no HTTP proxy is on the way or can be: through SOCKS, to a Unix
domain socket, and to a server that is known to speak HTTP/2 without TLS.
"""

from __future__ import annotations

import requests
from requests.exceptions import InvalidProxyURL, ProxyError
from requests.utils import get_environ_proxies, select_proxy
from urllib3 import PoolManager


def without_environment(url: str, proxies: dict[str, str] | None) -> dict[str, str] | None:
    """The proxies, or ``None`` when the one for this URL is what the environment names: that is
    about the network, which a Unix domain socket does not belong to.

    requests puts both into one; of a proxy that was set to the very same nobody can tell.
    """
    chosen = select_proxy(url, proxies)
    if chosen is None:
        return proxies
    environment = get_environ_proxies(url, no_proxy=(proxies or {}).get("no_proxy"))
    return None if chosen == select_proxy(url, environment) else proxies


def keep_password_back(
    request: requests.PreparedRequest, proxies: dict[str, str] | None, uds: str | None
) -> None:
    """After a redirect to ``http://`` a session adds the proxy's password to the request. An HTTP
    proxy would take it out; through SOCKS, or over a Unix domain socket, the server would get it.
    """
    if proxies and is_http(request):
        proxy = select_proxy(request.url or "", proxies)
        if proxy and (uds is not None or proxy.lower().startswith("socks")):
            request.headers.pop("Proxy-Authorization", None)


def check_manager(manager: PoolManager, uds: str | None) -> None:
    """:raises ValueError: when its connections are to go through a proxy and to a socket."""
    proxy = manager.proxy or getattr(manager, "proxy_url", None)  # SOCKS has the second only
    if uds is not None and proxy is not None:
        raise ValueError(f"uds={uds!r} and a ProxyManager exclude each other")


def is_http(request: requests.PreparedRequest) -> bool:
    return (request.url or "").lower().startswith("http://")


def no_prior_knowledge_through(request: requests.PreparedRequest) -> ProxyError:
    """What to raise when an HTTP proxy stands in the way of a request."""
    return ProxyError(
        "prior_knowledge=True cannot be kept through an HTTP proxy, which is sent http:// "
        "URLs in HTTP/1.1. SOCKS proxies carry it; no_proxy goes past a proxy, and an "
        "adapter without the option through it",
        request=request,
    )


def no_proxy_to_socket(uds: str) -> ProxyError:
    """What to raise when a proxy stands in the way to a Unix domain socket."""
    return ProxyError(
        f"uds={uds!r} and a proxy exclude each other: leave proxies= out, or "
        "mount another adapter for what goes through the proxy"
    )


def unusable_proxy(url: str) -> InvalidProxyURL:
    """What to raise when urllib3 or PySocks can do nothing with a proxy. Without its password."""
    scheme = url.partition("://")[0]
    return InvalidProxyURL(
        f"Cannot use this {scheme}:// proxy: the schemes are http, https, socks4, "
        "socks4a, socks5 and socks5h, and credentials have to be Latin-1"
    )
