"""ngh2's connection as this package uses it: configured, and its errors as HTTP/2 error codes."""

from __future__ import annotations

from collections.abc import Sequence

import ngh2

from ..exceptions import ErrorCode
from ..fields import Field, NeverIndexedField
from .base import ASSUMED_CONCURRENT_STREAMS, DEFAULT_WINDOW, MAX_FRAME_SIZE
from .frames import MAX_CONTINUATIONS
from .pushes import MAX_EXCESS

_HEADER_TABLE_SIZE = 4096  # octets

# Beyond the limits ngh2 ends the connection. What ends a stream is decided above the engine.
_CONFIGURATION = ngh2.Configuration(
    auto_window_update=True,  # see NGHTTP2Engine
    peer_max_concurrent_streams=ASSUMED_CONCURRENT_STREAMS,
    max_reserved_remote_streams=3 * MAX_EXCESS,  # counted by the engine
    max_send_header_block_length=1 << 30,  # only the peer's limit counts
    max_deflate_dynamic_table_size=_HEADER_TABLE_SIZE,
    max_outbound_ack=1 << 16,  # more than are asked for before the output is taken
    max_settings=32,  # in one frame (CVE-2020-11080)
    max_continuations=MAX_CONTINUATIONS,
    max_inbound_header_list_size=1 << 20,
    max_inbound_header_count=1 << 15,  # no more fit into that size
)


def client_connection(
    stream_window: int, connection_window: int, max_header_list_size: int, push: dict[int, int]
) -> ngh2.Connection:
    """A client's connection, its preface and SETTINGS in the output.

    :param stream_window: what SETTINGS_INITIAL_WINDOW_SIZE says, in octets.
    :param connection_window: what a WINDOW_UPDATE makes of the connection's window, in octets.
    :param max_header_list_size: what is advertised, in octets.
    :param push: the settings about push.
    """
    connection = ngh2.Connection(ngh2.Role.CLIENT, _CONFIGURATION)
    connection.initiate_connection(
        {
            ngh2.Setting.HEADER_TABLE_SIZE: _HEADER_TABLE_SIZE,
            **{ngh2.Setting(number): value for number, value in push.items()},
            ngh2.Setting.INITIAL_WINDOW_SIZE: stream_window,
            ngh2.Setting.MAX_FRAME_SIZE: MAX_FRAME_SIZE,
            ngh2.Setting.MAX_HEADER_LIST_SIZE: max_header_list_size,
        }
    )
    if connection_window > DEFAULT_WINDOW:
        connection.set_local_window_size(connection_window)
    return connection


def error_code(error: ngh2.NGH2Error) -> ErrorCode:
    """The HTTP/2 error code for what ended an ngh2 connection without a GOAWAY."""
    if isinstance(error, ngh2.DenialOfServiceError):
        return ErrorCode.ENHANCE_YOUR_CALM
    if isinstance(error, ngh2.ProtocolError):
        return ErrorCode.PROTOCOL_ERROR
    return ErrorCode.INTERNAL_ERROR


def header_list(fields: Sequence[Field]) -> list[ngh2.Header]:
    """Fields as ngh2 takes them."""
    return [ngh2.NeverIndexedHeader(*f) if type(f) is NeverIndexedField else f for f in fields]
