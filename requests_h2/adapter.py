"""The transport adapter that requests mounts."""

from __future__ import annotations

import copy
import os
import ssl
import threading
import weakref
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import requests
from requests.adapters import DEFAULT_POOLBLOCK, DEFAULT_POOLSIZE, DEFAULT_RETRIES, HTTPAdapter
from urllib3 import PoolManager, Retry
from urllib3.exceptions import LocationParseError, LocationValueError

from .coalescing import OpenConnections
from .engine.choice import choose
from .exceptions import CallerError, HTTP2RequiredError
from .exchange import Exchange, Observer, register_events, watched
from .flow_control import STREAM_WINDOW, WindowManager
from .fork import renew_in_children
from .http1 import complement
from .options import Options
from .pool import HTTP2ConnectionPool, PingBody
from .pool_classes import use_http2_pools
from .proxy_settings import (
    check_manager,
    is_http,
    keep_password_back,
    no_prior_knowledge_through,
    no_proxy_to_socket,
    unusable_proxy,
    without_environment,
)
from .push import Pushes
from .register import Register
from .response import HTTP2Response
from .unix_socket import checked_path
from .urllib3_future import require_urllib3

if TYPE_CHECKING:
    from .inspection import OpenConnection

_Adapter = TypeVar("_Adapter", bound="HTTP2Adapter")


class HTTP2Adapter(HTTPAdapter):
    """``requests.adapters.HTTPAdapter`` that speaks HTTP/2 where the server does.

    Usage::

        session = requests.Session()
        session.mount("https://", requests_h2.HTTP2Adapter())

    All threads that use the session share one connection for each origin, until the server's
    stream limit makes it open another. Servers without HTTP/2 are served over HTTP/1.1, on the same
    socket, exactly as by the stock adapter.

    :param pool_connections: origins whose connections are kept.
    :param pool_maxsize: HTTP/2 connections to one origin at most, and connections kept for it
        over HTTP/1.1.
    :param max_retries: as for the stock adapter; ``urllib3.Retry`` works the same. Requests that a
        server certainly did not process are sent again apart from it.
    :param pool_block: whether ``pool_maxsize`` also limits HTTP/1.1 connections in use.
    :param http2: ``True``; ``False`` for the stock adapter's behaviour; ``"required"`` to raise
        ``requests.exceptions.ConnectionError`` when the server does not speak HTTP/2.
    :param engine: what speaks the protocol: ``"h2"``, ``"nghttp2"`` (the extra ``nghttp2``), or
        ``"auto"`` for nghttp2 when it is installed, else h2.
    :param ssl_context: used for every TLS connection, with the request's ``verify`` and ``cert``
        applied to it as urllib3 does.
    :param enable_push: keep what servers push, for :func:`get_pushes`, also without a hook.
    :param adopt_pushes: keep it, and answer later requests from it when they are the promised ones
        (method, URL, and the fields that ``Vary`` names); ``response.raw.pushed`` says so.
    :param max_pushes: pushes of one connection at once, 1 to 1000.
    :param push_timeout: seconds that a push waits for somebody who wants it.
    :param ping_interval: send PING when nothing came for so many seconds, while a response is
        awaited and before a request is sent; ``None`` for never.
    :param ping_timeout: seconds after which a connection without a word since is lost.
    :param window_manager: a subclass of :class:`FlowControlManager`, or whatever makes an instance
        of one for a window of so many octets: one for each stream and, on h2, one for each
        connection. ``None`` stands for :class:`AdaptiveWindow`, and for a connection's window that
        keeps its size.
    :param initial_window_size: octets that a server may send on a new stream, 1 to 2**31-1. Below
        16 MiB the window grows while its reader keeps up, unless ``window_manager`` says otherwise.
    :param log_fields: have the logger ``requests_h2.frames`` show fields by name and value, but for
        the values of ``authorization``, ``cookie``, ``proxy-authorization`` and ``set-cookie``.
    :param prior_knowledge: speak HTTP/2 to ``http://`` URLs, without TLS and without asking (RFC
        9113 section 3.3); mount it on ``http://`` or on the one server that is known to speak it.
        ``https://`` URLs are not concerned. Without it ``http://`` URLs are HTTP/1.1.
    :param uds: the path of a Unix domain socket, ``str`` or ``os.PathLike``, that all connections
        go to, whatever host the URL names. Proxies of the environment are ignored; any other raises
        ``requests.exceptions.ProxyError``.
    :param coalesce: let hosts of one address, port and certificate share a connection (RFC 9113
        section 9.1.1). What the server answers with 421 goes over a connection of its own.
    :raises ImportError: for an engine that is not installed, or when urllib3-future, which comes
        with niquests, is there in the place of urllib3.
    :raises ValueError, TypeError: for options that have no meaning.
    """

    _observers: tuple[Observer, ...] = ()  # replaced as a whole, under _manager_lock

    def __init__(
        self,
        pool_connections: int = DEFAULT_POOLSIZE,
        pool_maxsize: int = DEFAULT_POOLSIZE,
        max_retries: int | Retry = DEFAULT_RETRIES,
        pool_block: bool = DEFAULT_POOLBLOCK,
        *,
        http2: bool | Literal["required"] = True,
        engine: Literal["auto", "h2", "nghttp2"] = "auto",
        ssl_context: ssl.SSLContext | None = None,
        enable_push: bool = False,
        adopt_pushes: bool = False,
        max_pushes: int = 100,
        push_timeout: float = 30.0,
        ping_interval: float | None = None,
        ping_timeout: float = 10.0,
        window_manager: WindowManager | None = None,
        initial_window_size: int = STREAM_WINDOW,
        log_fields: bool = False,
        prior_knowledge: bool = False,
        uds: str | os.PathLike[str] | None = None,
        coalesce: bool = False,
    ) -> None:
        require_urllib3()
        register_events()
        self._options = Options(
            http2=http2,
            engine=engine,
            enable_push=enable_push,
            adopt_pushes=adopt_pushes,
            max_pushes=max_pushes,
            push_timeout=push_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            window_manager=window_manager,
            initial_window_size=initial_window_size,
            log_fields=log_fields,
            prior_knowledge=prior_knowledge,
            uds=None if uds is None else checked_path(uds),
            coalesce=coalesce,
        )
        self._options.check()
        # Subclasses keep contexts of their own in _ssl_context, HTTPie's among them.
        self._given_ssl_context = ssl_context
        self._begin()
        # By name: the next in line may be another adapter that we are combined with.
        super().__init__(
            pool_connections=pool_connections,
            pool_maxsize=pool_maxsize,
            max_retries=max_retries,
            pool_block=pool_block,
        )
        renew_in_children(self)

    def __getstate__(self) -> dict[str, Any]:
        # Not by __attrs__, which another adapter that we are combined with replaces.
        own = {"_options": self._options, "_given_ssl_context": self._given_ssl_context}
        return {**super().__getstate__(), **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        register_events()
        self._options = state["_options"]
        self._given_ssl_context = state["_given_ssl_context"]
        self._begin()
        super().__setstate__(state)
        renew_in_children(self)

    def _begin(self) -> None:
        """Set all that is no setting, before the class above makes the pool manager."""
        self._engine = choose(self._options.engine)
        self._register = Register()
        self._session: weakref.ref[requests.Session] | None = None
        self._manager_lock = threading.RLock()

    def __deepcopy__(self: _Adapter, memo: dict[int, Any]) -> _Adapter:
        """An adapter with the same settings. The ``ssl_context`` is shared: there are no copies of
        one, which is also why an adapter that has one cannot be pickled.
        """
        memo[id(self._given_ssl_context)] = self._given_ssl_context
        memo[id(self)] = copied = object.__new__(type(self))
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    @property
    def engine(self) -> str:
        """The engine that runs: ``"h2"`` or ``"nghttp2"``."""
        return self._engine

    @property
    def poolmanager(self) -> PoolManager:
        """The pools of requests without a proxy. Whichever manager is set here gets ours."""
        manager: PoolManager = vars(self)["poolmanager"]
        return manager

    @poolmanager.setter
    def poolmanager(self, manager: PoolManager) -> None:
        if self._given_ssl_context is not None:
            manager.connection_pool_kw.setdefault("ssl_context", self._given_ssl_context)
        check_manager(manager, self._options.uds)
        self._use_http2_pools(manager, OpenConnections() if self._options.coalesce else None)
        vars(self)["poolmanager"] = manager

    def renew_after_fork(self) -> None:
        """In a forked child: free the locks that another thread of the parent may have held."""
        self._manager_lock = threading.RLock()
        self._register.renew_after_fork()
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            manager.pools.lock = threading.RLock()

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """As ``HTTPAdapter.get_connection_with_tls_context``.

        :raises ProxyError: when ``prior_knowledge`` meets an HTTP proxy, which is sent ``http://``
            URLs in HTTP/1.1: nobody asks it for a tunnel there.
        """
        pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
        if self._options.prior_knowledge and pool.proxy is not None and is_http(request):
            raise no_prior_knowledge_through(request)
        return pool

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """As ``HTTPAdapter.proxy_manager_for``.

        :raises InvalidProxyURL: also where the stock adapter lets a ValueError out.
        :raises ProxyError: when the connections go to a Unix domain socket.
        """
        if self._options.uds is not None:
            raise no_proxy_to_socket(self._options.uds)
        if self._given_ssl_context is not None:
            proxy_kwargs.setdefault("ssl_context", self._given_ssl_context)
        # Threads that come first at the same time would each make a manager, with connections of
        # its own. Reentrant, because subclasses may override what is called from here.
        with self._manager_lock:
            known = proxy in self.proxy_manager
            try:
                manager = super().proxy_manager_for(proxy, **proxy_kwargs)
            except requests.RequestException:
                raise
            except ValueError:
                raise unusable_proxy(proxy) from None  # its own text may hold the password
            if not known:
                self._use_http2_pools(manager)
        return manager

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """As ``HTTPAdapter.send``.

        :param timeout: seconds, a pair of them for connecting and for each wait for the server, or
            ``urllib3.Timeout``; ``None`` for no limit. To wait for a free stream is to connect.
        :raises requests.exceptions.RequestException: and nothing else, but for what a body's
            iterator, a hook or a window manager raises, which comes out unchanged.
        """
        options = {
            "stream": stream,
            "timeout": timeout,
            "verify": verify,
            "cert": cert,
            "proxies": proxies,
        }
        exchange = Exchange(request, self._session, self._options.keeps_pushes, options)
        if observers := self._observers:
            return watched(exchange, observers, self._send)
        return self._send(exchange)

    def _send(self, exchange: Exchange) -> requests.Response:
        request, options = exchange.request, exchange.options
        known, uds = self._options.prior_knowledge, self._options.uds
        if self._options.required and not known and is_http(request):
            raise requests.exceptions.ConnectionError(
                'http2="required", but the URL is http://: HTTP/2 needs TLS, or '
                "prior_knowledge=True",
                request=request,
            )
        keep_password_back(request, options["proxies"], uds)
        if uds is not None:
            options["proxies"] = without_environment(request.url or "", options["proxies"])
        before = exchange.enter()
        try:
            response = super().send(request, **options)
        except CallerError as error:
            raise error.original from None
        except HTTP2RequiredError as error:
            raise requests.exceptions.ConnectionError(error, request=request) from error
        except LocationParseError as error:
            # A host that no DNS name can be; the stock adapter lets urllib3's exception out.
            raise requests.exceptions.InvalidURL(error, request=request) from error
        finally:
            exchange.leave(before)
        raw = response.raw
        if isinstance(raw, HTTP2Response):
            raw.wanted_whole = not exchange.streamed
            if raw.reader.connection.pushing.allowed:
                raw.pushes = Pushes(self, exchange, response, self._options.max_pushes)
                raw.pushes.surface()
        else:
            complement(raw, self._register)
        return response

    def connections(self) -> list[OpenConnection]:
        """The connections that are open now, in the order in which they were made.

        Those over HTTP/2 until they are closed, also when they only finish what they have. Those
        over HTTP/1.1 from their first response on, as long as this side keeps them open. Nothing is
        sent or received for it.
        """
        return self._register.open_connections()

    def ping(
        self,
        url: str,
        timeout: Any = None,
        *,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: dict[str, str] | None = None,
    ) -> float:
        """Ask the server for a sign of life, and tell how long it took.

        PING (RFC 9113 section 6.7) goes out on the connection that a request to ``url`` would use,
        or on a new one. Nothing is taken from the environment or a session.

        :param timeout: as for requests: seconds, a pair or ``urllib3.Timeout``.
        :param verify: with ``cert`` and ``proxies``, as the session gives them to its requests:
            other settings are other connections.
        :returns: seconds from the PING to its answer.
        :raises requests.exceptions.ReadTimeout: when none came in time. If nothing else came
            either, the connection gets no more requests; those on it go on.
        :raises requests.exceptions.ConnectionError: when the connection was lost, or the server
            cannot be asked because HTTP/2 is not spoken, as over ``http://`` without
            ``prior_knowledge``. What else keeps a request from being sent raises what it does
            there.
        """
        request = requests.Request("PING", url).prepare()
        try:
            pool = self.get_connection_with_tls_context(request, verify, proxies, cert)
        except LocationValueError as error:
            raise requests.exceptions.InvalidURL(error, request=request) from error
        if not isinstance(pool, HTTP2ConnectionPool) or not pool.multiplexes:
            raise requests.exceptions.ConnectionError(
                f"{url}: PING needs HTTP/2, which is spoken to https:// URLs and, with "
                "prior_knowledge=True, to http:// URLs; not through forwarding proxies and not "
                "with http2=False",
                request=request,
            )
        request.body = body = PingBody()  # type: ignore[assignment]  # the pool knows it
        # Not self.send, which subclasses make more of and others observe: this is no request.
        options = {
            "stream": False,
            "timeout": timeout,
            "verify": verify,
            "cert": cert,
            "proxies": proxies,
        }
        self._send(Exchange(request, self._session, self._options.keeps_pushes, options))
        return body.round_trip

    def serving(self, session: requests.Session) -> HTTP2Adapter:
        """This adapter, or one with the same connections, that calls the hooks of the session."""
        known = None if self._session is None else self._session()
        if known is session:
            return self
        adapter = self
        if known is not None:
            adapter = object.__new__(type(self))
            adapter.__dict__.update(self.__dict__)
            renew_in_children(adapter)
            adapter._observers = ()
        adapter._session = weakref.ref(session)
        return adapter

    def observe(self, observer: Observer) -> None:
        """Let it watch every exchange that begins from now on, until :meth:`ignore`."""
        with self._manager_lock:
            self._observers = (*self._observers, observer)

    def ignore(self, observer: Observer) -> None:
        """Let it watch no more exchanges than those that have begun."""
        with self._manager_lock:
            self._observers = tuple(one for one in self._observers if one is not observer)

    def __enter__(self: _Adapter) -> _Adapter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections; those in use finish their streams and then close.

        It may be used again, over new connections.
        """
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118  # not a mapping one may iterate over
                pool = manager.pools.get(key)
                if isinstance(pool, HTTP2ConnectionPool):
                    pool.drain("the adapter was closed")
        super().close()

    def _use_http2_pools(
        self, manager: PoolManager, open_connections: OpenConnections | None = None
    ) -> None:
        options = self._options._replace(engine=self._engine)
        use_http2_pools(manager, options, self._register, open_connections)
