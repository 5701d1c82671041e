"""How one connection came to its end, and what that is to requests that have no stream on it."""

from __future__ import annotations

from .engine.events import GoAwayReceived
from .exceptions import ErrorCode, FaultKind, StreamFault, debug_text, error_name


class Ending:
    """What GOAWAY said, and what went wrong. The connection's lock guards it.

    :param origin: ``host:port``, for messages.
    """

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._failure: tuple[FaultKind, str, int | None, OSError | None] | None = None
        self._complaint = ""  # the last GOAWAY with an error
        self._farewell = ""  # the last one without
        self.goaway: GoAwayReceived | None = None
        """The last one."""

    def goaway_received(self, event: GoAwayReceived) -> str:
        """What to call it in messages."""
        text = f"GOAWAY with {error_name(event.error_code)}{debug_text(event.debug)}"
        self.goaway = event
        if event.error_code == ErrorCode.NO_ERROR:
            self._farewell = text
        else:
            self._complaint = text
        return text

    def failed(
        self, kind: FaultKind, text: str, error_code: int | None, cause: OSError | None
    ) -> str:
        """The connection has failed; with what, for its streams."""
        if self._complaint:
            # How servers report a connection error: GOAWAY that accepts all, then the end.
            text = f"{text}; before that it sent {self._complaint}"
        self._failure = (kind, text, error_code, cause)
        return text

    @property
    def fault(self) -> StreamFault:
        """See :attr:`StreamTable.fault`."""
        end = self._failure
        if self._complaint:
            said = f"the server sent {self._complaint}"
            end = end or (FaultKind.CONNECTION_LOST, said, None, None)
        elif end is None or self._farewell:
            end = (FaultKind.NOT_SENT, self._farewell or "the connection was closed", None, None)
        kind, text, error_code, cause = end
        return StreamFault(kind, self._origin, text, error_code, cause=cause)

    def not_sent(self, proven: bool) -> StreamFault:
        """Why no stream can be opened.

        :param proven: whether the connection has ever answered a request.
        """
        if self._failure is not None and not proven:
            kind, text, error_code, cause = self._failure
            if kind is FaultKind.CONNECTION_LOST:
                kind = FaultKind.STILLBORN
            return StreamFault(kind, self._origin, text, error_code, cause=cause)
        return StreamFault(FaultKind.NOT_SENT, self._origin, "takes no stream now", progress=proven)
