"""What can go wrong on a stream, and the one table that maps it to urllib3's exceptions.

Nothing in this module reaches a caller of requests: the pool maps a :class:`StreamFault` by
:func:`to_urllib3`, urllib3 and ``requests.adapters.HTTPAdapter.send`` do the rest.
"""

from __future__ import annotations

import enum

from urllib3.exceptions import HTTPError, ProtocolError, SSLError

_DEBUG_TEXT_LIMIT = 200


class ErrorCode(enum.IntEnum):
    """The HTTP/2 error codes of RFC 9113 section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class FaultKind(enum.Enum):
    """Why a stream failed, as far as the decision to replay the request needs it."""

    NOT_SENT = "nothing of the request was written"
    STILLBORN = "a new connection ended before anything of the request was written"
    REFUSED = "RST_STREAM with REFUSED_STREAM"
    GOAWAY_UNPROCESSED = "GOAWAY with NO_ERROR and a last stream id below ours"
    GOAWAY_ERROR_UNPROCESSED = "GOAWAY with an error and a last stream id below ours"
    HTTP_1_1_REQUIRED = "RST_STREAM or GOAWAY with HTTP_1_1_REQUIRED"
    CONNECTION_LOST = "the connection ended"
    RESET = "RST_STREAM with any other error code"
    PROTOCOL = "the peer broke the protocol"
    TLS = "a TLS alert"
    LOCAL = "this side gave the stream up"

    @classmethod
    def of_reset(cls, error_code: int) -> FaultKind:
        """The kind of a received RST_STREAM."""
        if error_code == ErrorCode.REFUSED_STREAM:
            return cls.REFUSED
        if error_code == ErrorCode.HTTP_1_1_REQUIRED:
            return cls.HTTP_1_1_REQUIRED
        return cls.RESET

    @classmethod
    def of_goaway(cls, error_code: int) -> FaultKind:
        """The kind for streams above the last stream id of a received GOAWAY."""
        if error_code == ErrorCode.NO_ERROR:
            return cls.GOAWAY_UNPROCESSED
        if error_code == ErrorCode.HTTP_1_1_REQUIRED:
            return cls.HTTP_1_1_REQUIRED
        return cls.GOAWAY_ERROR_UNPROCESSED


class StreamFault(Exception):
    """One stream ended without a complete response.

    :param kind: what the replay table asks about.
    :param where: host and stream.
    :param reason: for people; names the HTTP/2 error.
    :param error_code: the HTTP/2 error code (RFC 9113 section 7) where there is one.
    :param progress: whether the connection that ends served another stream.
    :param cause: what the socket raised.
    """

    def __init__(
        self,
        kind: FaultKind,
        where: str,
        reason: str,
        error_code: int | None = None,
        progress: bool = False,
        cause: OSError | None = None,
    ) -> None:
        super().__init__(where, reason)
        self.where = where
        self.reason = reason
        self.progress = progress
        self.__cause__ = cause
        self.kind = kind
        self.error_code = error_code

    @property
    def message(self) -> str:
        return f"{self.where}: {self.reason}"

    def __str__(self) -> str:
        return self.message

    def add(self, text: str) -> None:
        """Say more about it."""
        self.reason += text


class RemoteProtocolError(Exception):
    """The peer sent on one stream what RFC 9113 or our limits forbid.

    :param error_code: what RST_STREAM tells the peer.
    """

    def __init__(self, reason: str, error_code: int = ErrorCode.PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.error_code = error_code


class CallerError(Exception):
    """Carries what the caller's own code raised, a body iterator or a hook, through ``urlopen``.

    It is no OSError on purpose: urllib3 would wrap or swallow one, and retry. ``HTTP2Adapter.send``
    unwraps it.
    """

    def __init__(self, original: Exception) -> None:
        super().__init__(repr(original))
        self.original = original


class HTTP2RequiredError(HTTPError):
    """``http2="required"`` and the server negotiated something else.

    An HTTPError that ``urlopen`` does not retry: the answer would be the same.
    """


def to_urllib3(fault: StreamFault) -> HTTPError:
    """The urllib3 exception for a fault; the place where it is raised makes the fault its cause."""
    if fault.kind is FaultKind.TLS:
        return SSLError(fault.message)
    return ProtocolError(fault.message, fault)


def on_connection(origin: str, dialled: str) -> str:
    """How messages name an origin whose request went over the connection to another."""
    return f"{origin} (on the connection to {dialled})"


def error_name(code: int) -> str:
    """``REFUSED_STREAM (0x7)``; the bare number for a code that RFC 9113 does not register."""
    try:
        return f"{ErrorCode(code).name} ({code:#x})"
    except ValueError:
        return f"error code {code:#x}"


def escaped(octets: bytes) -> str:
    """As in a Python literal: printable ASCII, and the rest as escape sequences."""
    return octets.decode("latin-1").encode("unicode_escape").decode("ascii")


def debug_text(data: bytes) -> str:
    """A peer's debug data, escaped and cut, ready to be put into a message; may be empty."""
    if not data:
        return ""
    text = escaped(data[:_DEBUG_TEXT_LIMIT])
    return f'; debug data: "{text}{"..." if len(data) > _DEBUG_TEXT_LIMIT else ""}"'
