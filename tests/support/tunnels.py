"""What scripted proxies of all kinds share: a listener, its threads, and tunnels of bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

from .channel import TIMEOUT, Channel, Closed

Self_ = TypeVar("Self_", bound="TunnelServer")
Address = tuple[str, int]


class TunnelServer(ABC):
    """A listener on 127.0.0.1."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stopping = False
        self._flowing = threading.Event()
        self._flowing.set()
        self._channels: list[Channel] = []
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self.accepted = 0
        #: Connections that the client has closed.
        self.ended = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @abstractmethod
    def negotiate(self, channel: Channel, number: int) -> Address | None:
        """Serve the connection with this number until a tunnel is to be opened, or none is."""

    def wait_ended(self, count: int) -> None:
        """Until the client has closed so many connections."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.ended >= count, TIMEOUT), (
                f"the client closed {self.ended} of {self.accepted} connections to the proxy"
            )

    def cut_tunnels(self) -> None:
        """End every connection there is; new ones are accepted."""
        for channel in list(self._channels):
            channel.end_stream_of_bytes()

    def pause(self) -> None:
        """Read nothing more from clients, until :meth:`resume`."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    # -- threads ---------------------------------------------------------------------------

    def _start(self, function: object, *args: object) -> None:
        thread = threading.Thread(target=self._run, args=(function, *args), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, function: object, *args: object) -> None:
        assert callable(function)
        try:
            function(*args)
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again at the end of the block
            self._failures.append(error)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._stopping:
                sock.close()
                return
            channel = Channel(sock)
            self._channels.append(channel)
            number, self.accepted = self.accepted, self.accepted + 1
            self._start(self._serve, channel, number)

    def _serve(self, channel: Channel, number: int) -> None:
        try:
            target = self.negotiate(channel, number)
            if target is not None:
                origin = Channel(socket.create_connection(target, TIMEOUT))
                self._channels.append(origin)
                self._start(self._relay, origin, channel, None)
                self._relay(channel, origin, self._flowing)
            else:
                while channel.receive(timeout=3600):
                    pass
        finally:
            if channel.eof:
                with self._changed:
                    self.ended += 1
                    self._changed.notify_all()

    def _relay(self, source: Channel, sink: Channel, gate: threading.Event | None) -> None:
        try:
            while data := source.receive(timeout=3600):
                sink.send(data)
                if gate is not None and not gate.wait(TIMEOUT):
                    raise TimeoutError("the proxy was paused and not resumed")
        finally:
            sink.end_stream_of_bytes()

    # -- the end ---------------------------------------------------------------------------

    def stop_listening(self) -> None:
        if not self._stopping:
            self._stopping = True
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def close(self) -> None:
        """End everything and raise what went wrong."""
        self.stop_listening()
        self.resume()
        for channel in list(self._channels):
            channel.stop()
        deadline = time.monotonic() + TIMEOUT
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), "a thread of the proxy did not end"
        for channel in self._channels:
            channel.dispose()
        if self._failures:
            raise self._failures[0]

    def __enter__(self: Self_) -> Self_:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(*([Exception] if value is not None else [])):
            self.close()
