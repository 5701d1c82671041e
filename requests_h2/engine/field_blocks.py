"""HPACK field blocks on python-hyper's hpack, with the loop over a received block our own.

hpack decodes a literal string bit by bit and copies the rest of the block for every field. Servers
repeat themselves: nginx sends every field as a Huffman-coded literal, each time. Short strings
are therefore remembered, by one connection, for as long as it lives.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence

from hpack import (
    Decoder,
    Encoder,
    HPACKDecodingError,
    HPACKError,
    NeverIndexedHeaderTuple,
    OversizedHeaderListError,
)
from hpack.hpack import decode_integer
from hpack.huffman_table import decode_huffman

from ..exceptions import ErrorCode
from ..fields import Field, Fields, NeverIndexedField
from .frames import PeerError

MAX_LIST_SIZE = 1 << 20
"""Octets of a received field section above which the connection ends: no part of it is kept."""
_ENCODER_TABLE_LIMIT = 4096  # octets
_REMEMBERED_STRINGS = 256
_REMEMBERED_LENGTH = 64  # octets
_LONGEST_INTEGER = 6  # octets of a prefix integer that hpack accepts
_HUFFMAN_LIMIT = 4096  # octets; hpack's encoder takes quadratic time
_ENTRY_OVERHEAD = 32  # RFC 7541 section 4.1


class FieldBlockDecoder(Decoder):
    """hpack's decoder with its tables and limits; only the loop over a block differs."""

    def __init__(self) -> None:
        super().__init__(MAX_LIST_SIZE)
        self._remembered = functools.lru_cache(_REMEMBERED_STRINGS)(decode_huffman)

    def decode_fields(self, block: bytes) -> Fields:
        """The fields of one complete block (RFC 7541 section 3.2).

        :raises PeerError: when it cannot be decoded; the connection's HPACK state is lost.
        """
        try:
            return self._decode_fields(block)
        except OversizedHeaderListError as error:
            text = f"a field section of more than {MAX_LIST_SIZE} octets"
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, text) from error
        except (HPACKError, IndexError) as error:
            # hpack's message quotes the block, which may be large and hold anything.
            text = f"a field block that cannot be decoded: {type(error).__name__}"
            raise PeerError(ErrorCode.COMPRESSION_ERROR, text) from error

    def _decode_fields(self, block: bytes) -> Fields:
        table = self.header_table
        fields: Fields = []
        size = at = 0
        end = len(block)
        while at < end:
            first = block[at]
            if first & 0x80:
                index, at = _integer(block, at, 0x7F, 7)
                name, value = table.get_by_index(index)
            elif first & 0x60 == 0x20:
                at = self._change_table_size(block, at, fields)
                continue
            else:
                mask, bits = (0x3F, 6) if first & 0x40 else (0x0F, 4)
                index, at = _integer(block, at, mask, bits)
                if index:
                    name = table.get_by_index(index)[0]
                else:
                    name, at = self._string(block, at)
                value, at = self._string(block, at)
                if first & 0x40:
                    table.add(name, value)
            fields.append((name, value))
            size += len(name) + len(value) + _ENTRY_OVERHEAD
            if size > self.max_header_list_size:
                raise OversizedHeaderListError
        return fields

    def _string(self, block: bytes, at: int) -> tuple[bytes, int]:
        """A string literal (RFC 7541 section 5.2) and where it ends."""
        huffman, length = block[at] & 0x80, block[at] & 0x7F
        if length < 0x7F:
            at += 1
        else:  # more octets tell it
            length, at = _integer(block, at, 0x7F, 7)
        end = at + length
        text = block[at:end]
        if len(text) != length:
            raise HPACKDecodingError("a string literal goes past the block")
        if huffman:
            text = (self._remembered if length <= _REMEMBERED_LENGTH else decode_huffman)(text)
        return text, end

    def _change_table_size(self, block: bytes, at: int, fields: Fields) -> int:
        """RFC 7541 sections 4.2 and 6.3: only before the first field, and within our limit."""
        size, at = _integer(block, at, 0x1F, 5)
        if fields or size > self.max_allowed_table_size:
            raise HPACKDecodingError("a dynamic table size update that is not allowed")
        self.header_table_size = size
        return at


def _integer(block: bytes, at: int, mask: int, bits: int) -> tuple[int, int]:
    """A prefix integer (RFC 7541 section 5.1) and where it ends."""
    number = block[at] & mask
    if number != mask:
        return number, at + 1
    number, used = decode_integer(block[at : at + _LONGEST_INTEGER], bits)
    return number, at + used


def encode_fields(encoder: Encoder, fields: Sequence[Field]) -> bytes:
    """One complete field block."""
    huffman = sum([len(value) for _, value in fields]) <= _HUFFMAN_LIMIT
    return encoder.encode(
        [NeverIndexedHeaderTuple(*f) if type(f) is NeverIndexedField else f for f in fields],
        huffman,
    )


def limit_encoder_table(encoder: Encoder, allowed: int) -> None:
    """Follow the peer's SETTINGS_HEADER_TABLE_SIZE (octets), but not above our own limit.

    h2 would let a peer make us keep a table of its size.
    """
    size = min(allowed, _ENCODER_TABLE_LIMIT)
    if encoder.header_table_size != size:
        encoder.header_table_size = size
    if changes := encoder.table_size_changes:
        # RFC 7541 section 4.2: of many changes the lowest and the last are signalled. hpack would
        # forget to when the same size is set twice.
        changes[:] = sorted({min(changes), size})
        encoder.header_table.resized = True


def keep_hpack_quiet() -> None:
    """Set hpack's logger to INFO unless somebody chose a level for it.

    It logs every field it codes, API keys and cookies included, as soon as a program turns DEBUG
    on for all loggers.
    """
    logger = logging.getLogger("hpack")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
