"""What a session says about proxies, where there can be no HTTP proxy on the way: to a Unix domain
socket, and to a server that is known to speak HTTP/2 without TLS.
"""

from __future__ import annotations

import requests
from requests.utils import get_environ_proxies, select_proxy


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


def keep_password_back(request: requests.PreparedRequest, proxies: dict[str, str] | None) -> None:
    """After a redirect to ``http://`` a session adds the proxy's password to the request. An HTTP
    proxy would take it out; here the server would get it.
    """
    url = request.url or ""
    if proxies and url.lower().startswith("http://") and select_proxy(url, proxies):
        request.headers.pop("Proxy-Authorization", None)
