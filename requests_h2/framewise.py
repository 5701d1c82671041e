"""``read_chunked`` over HTTP/2: a response's content by DATA frames."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import urllib3
from urllib3.response import ContentDecoder

# Since urllib3 2.6: a frame may be a decompression bomb.
_DECODES_IN_PARTS = hasattr(ContentDecoder, "has_unconsumed_tail")


class FramewiseResponse(urllib3.HTTPResponse):
    """A urllib3 response whose chunks are frames."""

    def read_chunked(
        self, amt: int | None = None, decode_content: bool | None = None
    ) -> Generator[bytes]:
        """One item for each DATA frame, as it arrives; empty frames are items too.

        What the other methods have left of a frame comes first. Where the content is decoded an
        item is what the decoder makes of a frame, which may be nothing yet; if it has kept anything
        at the end, that is the last item.

        :param amt: octets in an item at most: a larger frame makes several. ``None`` or below 0
            for no limit; 0 gives nothing.
        :param decode_content: ``False`` for the frames as they were sent.
        :raises urllib3.exceptions.HTTPError: as :meth:`read`.
        """
        if amt == 0:
            return
        limit = None if amt is None or amt < 0 else amt
        decode = decode_content is None or decode_content
        self._init_decoder()
        self._decoded_buffer.put(self._decode(b"", decode, flush_decoder=False))
        if len(self._decoded_buffer):
            yield from self._decoded_items(limit)
        while (frame := self._read_frame(limit)) is not None:
            if decode:
                yield from self._items_of(frame, limit)
            else:
                yield frame
        if decode:
            self._decoded_buffer.put(self._decode(b"", decode, flush_decoder=True))
            if len(self._decoded_buffer):
                yield from self._decoded_items(limit)

    def _read_frame(self, limit: int | None) -> bytes | None:
        """A frame, or what is left of it, at most ``limit`` octets; ``None`` at the end."""
        raise NotImplementedError

    def _items_of(self, frame: bytes, limit: int | None) -> Iterator[bytes]:
        """What the decoder makes of a frame, in items of at most ``limit`` octets."""
        options: dict[str, Any] = {"max_length": limit} if _DECODES_IN_PARTS else {}
        while True:
            self._decoded_buffer.put(self._decode(frame, True, flush_decoder=False, **options))
            yield from self._decoded_items(limit)
            if not getattr(self._decoder, "has_unconsumed_tail", False):
                return
            frame = b""

    def _decoded_items(self, limit: int | None) -> Iterator[bytes]:
        """What is decoded already: one item, more past the limit."""
        buffer = self._decoded_buffer
        if limit is None:
            yield buffer.get_all()
            return
        yield buffer.get(limit)
        while len(buffer):
            yield buffer.get(limit)
