"""What a client sent, parsed and checked without the code under test."""

from __future__ import annotations

import struct

from hpack import Decoder

from .frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Wire,
)

_ENABLE_PUSH = 2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SIZES = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_CLIENT_KINDS = {
    DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, PRIORITY_UPDATE
}  # fmt: skip


class ClientBytes:
    """Takes the octets in any portions; an AssertionError tells what a client must not send."""

    def __init__(self) -> None:
        self._buffer = b""
        self._greeted = False
        self._block: bytearray | None = None
        self._decoder = Decoder(max_header_list_size=1 << 24)
        self._decoder.max_allowed_table_size = 2**32 - 1
        self.frames: list[Wire] = []
        self.headers = 0
        self.field_lists: list[list[tuple[bytes, bytes]]] = []
        self.may_be_pushed_to = False
        self.total = 0

    @property
    def whole(self) -> bool:
        """Whether no frame is unfinished."""
        return not self._buffer and self._block is None

    def feed(self, data: bytes) -> None:
        self.total += len(data)
        self._buffer += data
        if not self._greeted:
            assert self._buffer.startswith(PREFACE[: len(self._buffer)])
            if len(self._buffer) < len(PREFACE):
                return
            self._buffer = self._buffer[len(PREFACE) :]
            self._greeted = True
        while len(self._buffer) >= 9:
            size = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + size:
                return
            stream_id = int.from_bytes(self._buffer[5:9], "big")
            kind, flags = self._buffer[3], self._buffer[4]
            frame = Wire(kind, flags, stream_id, self._buffer[9 : 9 + size])
            self._buffer = self._buffer[9 + size :]
            self._take(frame)

    def _take(self, frame: Wire) -> None:
        assert frame.kind in _CLIENT_KINDS, frame
        assert len(frame.payload) == _SIZES.get(frame.kind, len(frame.payload)), frame
        assert self.frames or frame.kind == SETTINGS, frame
        if frame.kind in (PING, SETTINGS, GOAWAY, PRIORITY_UPDATE):
            assert frame.stream_id == 0, frame
        elif frame.kind == RST_STREAM and self.may_be_pushed_to:
            assert frame.stream_id > 0, frame
        elif frame.kind != WINDOW_UPDATE:
            assert frame.stream_id % 2 == 1, frame
        if frame.kind == SETTINGS:
            self._note_settings(frame.payload)
        if frame.kind == PRIORITY_UPDATE:
            assert 0 < int.from_bytes(frame.payload[:4], "big") < 2**31, frame
            assert frame.payload[4:].isascii(), frame
        if frame.kind == WINDOW_UPDATE:
            assert 0 < int.from_bytes(frame.payload, "big") < 2**31, frame
        self.frames.append(frame)
        if frame.kind == HEADERS:
            self.headers += 1
            assert self._block is None
            self._block = bytearray()
        if frame.kind in (HEADERS, CONTINUATION):
            assert self._block is not None
            self._block += frame.payload
            if frame.flags & END_HEADERS:
                fields = self._decoder.decode(bytes(self._block), raw=True)
                self.field_lists.append([(bytes(name), bytes(value)) for name, value in fields])
                self._block = None
        else:
            assert self._block is None, "a frame inside a field block"

    def _note_settings(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            number, value = struct.unpack_from(">HL", payload, at)
            if number == _ENABLE_PUSH:
                assert value in (0, 1), value
                self.may_be_pushed_to = self.may_be_pushed_to or value == 1
