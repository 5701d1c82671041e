"""python-hyper's connection as this package uses it: for the preface, SETTINGS and PING."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from ..exceptions import ErrorCode
from .frames import PeerError, RawFrame


def client_connection(
    stream_window: int, max_header_list_size: int, push: dict[int, int]
) -> H2Connection:
    """A client's connection, initiated: preface and SETTINGS are in its output.

    :param stream_window: what SETTINGS_INITIAL_WINDOW_SIZE says, in octets.
    :param max_header_list_size: what is advertised, in octets; above it a stream fails, and only
        above a megabyte the connection.
    :param push: the settings about push.
    """
    connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    connection.local_settings = Settings(
        client=True,
        initial_values={
            **{SettingCodes(number): value for number, value in push.items()},
            SettingCodes.INITIAL_WINDOW_SIZE: stream_window,
            SettingCodes.MAX_HEADER_LIST_SIZE: max_header_list_size,
        },
    )
    # h2 would advertise ENABLE_CONNECT_PROTOCOL=0, which some servers refuse from a client.
    del connection.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
    connection.initiate_connection()
    return connection


def feed(connection: H2Connection, frame: RawFrame) -> bytes:
    """Have h2 act on a SETTINGS or PING frame; returns what it answers.

    :raises PeerError: when the frame breaks the protocol.
    """
    try:
        connection.receive_data(frame.whole())
    except ProtocolError as error:
        raise PeerError(ErrorCode(error.error_code), str(error)) from error
    return connection.data_to_send()
