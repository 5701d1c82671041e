"""python-hyper's connection as this package uses it: configured, and kept within our limits."""

from __future__ import annotations

import logging

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import DenialOfServiceError, ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import HPACKError
from hyperframe.exceptions import HyperframeError

from ..exceptions import ErrorCode
from .frames import PeerError

_ENCODER_TABLE_LIMIT = 4096  # octets
_HEADER_LIST_HARD_LIMIT = 1 << 20  # octets


def client_connection(stream_window: int, max_header_list_size: int) -> H2Connection:
    """A client's connection that validates no field and is not initiated yet.

    :param stream_window: what SETTINGS_INITIAL_WINDOW_SIZE says, in octets.
    :param max_header_list_size: what is advertised, in octets; above it a stream fails, and only
        above a megabyte the connection.
    """
    _keep_hpack_quiet()
    connection = H2Connection(
        H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
        )
    )
    connection.local_settings = Settings(
        client=True,
        initial_values={
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: stream_window,
            SettingCodes.MAX_HEADER_LIST_SIZE: max_header_list_size,
        },
    )
    # h2 would advertise ENABLE_CONNECT_PROTOCOL=0, which some servers refuse from a client.
    del connection.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
    connection.decoder.max_header_list_size = _HEADER_LIST_HARD_LIMIT
    return connection


def limit_encoder_table(connection: H2Connection) -> None:
    """After SETTINGS: follow the peer's SETTINGS_HEADER_TABLE_SIZE, but not above our limit.

    h2 would let a peer make us keep a table of its size.
    """
    encoder = connection.encoder
    size = min(connection.remote_settings.header_table_size, _ENCODER_TABLE_LIMIT)
    if encoder.header_table_size != size:
        encoder.header_table_size = size
    if changes := encoder.table_size_changes:
        # RFC 7541 section 4.2: of many changes the lowest and the last are signalled. hpack would
        # forget to when the same size is set twice.
        changes[:] = sorted({min(changes), size})
        encoder.header_table.resized = True


def connection_error(error: ProtocolError) -> PeerError | None:
    """What h2 raised for a field block, if HPACK is out of step since, so nothing can go on."""
    if isinstance(error, DenialOfServiceError):
        text = f"a field section of more than {_HEADER_LIST_HARD_LIMIT} octets"
        return PeerError(ErrorCode.ENHANCE_YOUR_CALM, text)
    if isinstance(error.__cause__, HPACKError):
        # hpack's message quotes the block, which may be large and hold anything.
        text = f"a field block that cannot be decoded: {type(error.__cause__).__name__}"
        return PeerError(ErrorCode.COMPRESSION_ERROR, text)
    if isinstance(error.__cause__, HyperframeError):
        # The frame could not be parsed, so its fragment never reached HPACK.
        return PeerError(error.error_code, str(error))
    return None


def _keep_hpack_quiet() -> None:
    """Set hpack's logger to INFO unless somebody chose a level for it.

    It logs every field it codes, API keys and cookies included, as soon as a program turns DEBUG
    on for all loggers.
    """
    logger = logging.getLogger("hpack")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
