"""HTTP/2 for HTTPie: a transport plugin, which HTTPie finds by its entry point.

HTTPie makes its own adapter for ``https://`` from the command line, and then mounts those of
plugins, which it tells nothing. So the plugin makes HTTPie's adapter once more, of the same options
and combined with ours. Nothing but HTTPie imports this module.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import requests
from httpie.plugins import TransportPlugin
from httpie.ssl_ import AVAILABLE_SSL_VERSION_ARG_MAPPING, HTTPieHTTPSAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import BaseHTTPResponse, HTTPHeaderDict

from .adapter import HTTP2Adapter
from .engine.choice import choose, engine_class
from .response import HTTP2Response

# The engine is imported now and not with the first connection: the folder into which HTTPie
# installs plugins is only in sys.path while it loads them.
engine_class(choose("auto"))

_VARIABLE = "HTTPIE_HTTP2"
_MODES: dict[str, bool | Literal["required"]] = {"yes": True, "no": False, "required": "required"}


class HTTP2Plugin(TransportPlugin):  # type: ignore[misc]  # HTTPie has no types
    """The name, prefix and adapter that HTTPie asks for, once in each process."""

    name = "HTTP/2"
    description = "HTTP/2 where the server speaks it (requests_h2)"
    prefix = "https://"

    def get_adapter(self) -> HTTPieHTTP2Adapter:
        """An adapter with the TLS options of the command line, as ``build_requests_session`` of
        HTTPie makes its own.

        :raises ValueError: when the environment variable is none of ``yes``, ``no``, ``required``.
        """
        # In which they are kept. Not at the top: HTTPie loads plugins for its other programs too.
        from httpie.cli.definition import parser
        from httpie.client import make_send_kwargs_mergeable_from_env

        args = parser.args
        version = args.ssl_version
        return HTTPieHTTP2Adapter(
            http2=_mode(),
            max_headers=args.max_headers,
            verify=bool(make_send_kwargs_mergeable_from_env(args)["verify"]),
            ssl_version=AVAILABLE_SSL_VERSION_ARG_MAPPING[version] if version else None,
            ciphers=args.ciphers,
        )


class HTTPieHTTP2Adapter(HTTPieHTTPSAdapter, HTTP2Adapter):  # type: ignore[misc]  # as above
    """HTTPie's adapter over HTTP/2. Over HTTP/1.1 it does what HTTPie's own does.

    :param max_headers: of a response, more of which are an error; ``None`` or 0 for any number.
    :param options: of ``HTTPieHTTPSAdapter`` and ``HTTP2Adapter``.
    """

    def __init__(self, *, max_headers: int | None, **options: Any) -> None:
        self._max_headers = max_headers
        super().__init__(**options)

    def build_response(
        self, req: requests.PreparedRequest, resp: BaseHTTPResponse
    ) -> requests.Response:
        """As the stock adapter's, with fields that HTTPie prints one by one.

        :raises requests.exceptions.ConnectionError: for more than ``--max-headers``, which HTTPie
            tells ``http.client`` otherwise.
        """
        response: requests.Response = super().build_response(req, resp)
        if isinstance(resp, HTTP2Response):
            fields = resp.reader.getheaders()
            response.headers = _PrintedHeaders(resp.headers, fields)
            if self._max_headers and len(fields) > self._max_headers:
                response.close()
                raise requests.exceptions.ConnectionError(
                    f"got more than {self._max_headers} headers (--max-headers)", request=req
                )
        return response


class _PrintedHeaders(CaseInsensitiveDict[str]):
    """Headers whose ``items()``, which HTTPie prints, are the fields as they came.

    Everything else has the values of repeated ones joined, as ever in requests. (HTTPie parts those
    of ``Set-Cookie`` again, but not if the name is in lower case.)
    """

    def __init__(self, headers: HTTPHeaderDict, fields: list[tuple[str, str]]) -> None:
        super().__init__(headers)
        self._fields = fields

    def items(self) -> Any:
        return self._fields


def _mode() -> bool | Literal["required"]:
    value = os.environ.get(_VARIABLE) or "yes"
    if value not in _MODES:
        raise ValueError(f"{_VARIABLE} must be yes, no or required, not {value!r}")
    return _MODES[value]
