"""One HTTP/2 connection of the scripted peer: frames by hyperframe, fields by hpack, never h2.

It obeys nothing unless asked, so a script may break any rule.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
)

from .channel import Channel
from .peer_frames import FrameReader, id_of
from .peer_request import Request

_PRIORITY_UPDATE = 0x10

Fields = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]


class PeerConnection(FrameReader):
    """What a script is given. Any thread may send; only the script's thread reads."""

    def __init__(self, channel: Channel, *, settings: Mapping[str, int] | None = None) -> None:
        super().__init__(channel, settings=settings)
        self._encoder = Encoder()
        self._encode_lock = threading.RLock()
        #: What was promised, in that order: ``reset_code`` tells what the client made of it.
        self.promises: list[Request] = []

    # -- answers ---------------------------------------------------------------------------

    def respond(
        self,
        stream: int | Request,
        status: int | str = 200,
        headers: Fields = (),
        body: bytes = b"",
        *,
        end_stream: bool = True,
        trailers: Fields | None = None,
    ) -> None:
        """A whole response that ignores the windows. No field is added to yours."""
        ends_here = end_stream and not body and trailers is None
        self.send_headers(stream, status, headers, end_stream=ends_here)
        if body:
            self.send_data(stream, body, end_stream=end_stream and trailers is None)
        if trailers is not None:
            self.send_trailers(stream, trailers)

    def send_headers(
        self,
        stream: int | Request,
        status: int | str | None = 200,
        headers: Fields = (),
        *,
        end_stream: bool = False,
    ) -> None:
        """HEADERS, continued as often as needed. ``status=None`` leaves ``:status`` out."""
        pseudo = [] if status is None else [(b":status", str(status).encode())]
        with self._encode_lock:
            block = self._encoder.encode(pseudo + _as_pairs(headers), huffman=False)
            self.send_header_block(stream, block, end_stream=end_stream)

    def informational(self, stream: int | Request, status: int, headers: Fields = ()) -> None:
        self.send_headers(stream, status, headers)

    def send_trailers(self, stream: int | Request, fields: Fields) -> None:
        self.send_headers(stream, None, fields, end_stream=True)

    def send_header_block(
        self,
        stream: int | Request,
        block: bytes,
        *,
        end_stream: bool = False,
        frame_size: int = 16_384,
    ) -> None:
        """HPACK bytes as they are."""
        stream_id = id_of(stream)
        pieces = [block[at : at + frame_size] for at in range(0, len(block), frame_size)] or [b""]
        frames: list[Frame] = [HeadersFrame(stream_id, pieces[0])]
        frames += [ContinuationFrame(stream_id, piece) for piece in pieces[1:]]
        if end_stream:
            frames[0].flags.add("END_STREAM")
        frames[-1].flags.add("END_HEADERS")
        self.send(*frames)

    def send_data(
        self,
        stream: int | Request,
        data: bytes = b"",
        *,
        end_stream: bool = False,
        padding: int = 0,
        frame_size: int = 16_384,
    ) -> None:
        """DATA, cut to frames. Counts against the windows and does not obey them."""
        stream_id = id_of(stream)
        pieces = [data[at : at + frame_size] for at in range(0, len(data), frame_size)] or [b""]
        frames = []
        for piece in pieces:
            frame = DataFrame(stream_id, piece, pad_length=padding)
            if padding:
                frame.flags.add("PADDED")
            self.send_window -= frame.flow_controlled_length
            self.send_windows[stream_id] = self.window_of(stream_id) - frame.flow_controlled_length
            frames.append(frame)
        if end_stream:
            frames[-1].flags.add("END_STREAM")
        self.send(*frames)

    def send_body(self, stream: int | Request, data: bytes, *, end_stream: bool = True) -> None:
        """DATA within the client's windows, reading while it waits for credit."""
        stream_id, view = id_of(stream), memoryview(data)
        while view:
            room = min(self.send_window, self.window_of(stream_id))
            if room <= 0:
                self.read_frame()
                continue
            self.send_data(
                stream_id, bytes(view[:room]), end_stream=end_stream and room >= len(view)
            )
            view = view[room:]

    # -- everything else -------------------------------------------------------------------

    def reset(self, stream: int | Request, code: int = 0) -> None:
        self.send(RstStreamFrame(id_of(stream), error_code=code))

    def goaway(self, last_stream_id: int = 0, code: int = 0, debug: bytes = b"") -> None:
        self.send(
            GoAwayFrame(last_stream_id=last_stream_id, error_code=code, additional_data=debug)
        )

    def push_promise(
        self,
        stream: int | Request,
        promised_id: int,
        fields: Fields,
        *,
        end_headers: bool = True,
        padding: int = 0,
        frame_size: int = 16_000,
    ) -> Request:
        """PUSH_PROMISE, continued as often as needed; what it promises, to be answered."""
        stream_id, pairs = id_of(stream), _as_pairs(fields)
        promised = Request(promised_id, pairs, ended=True)
        # Before it is sent: the client's RST_STREAM may be read by another thread at once.
        self._by_id.setdefault(promised_id, promised)
        self.promises.append(promised)
        with self._encode_lock:
            block = self._encoder.encode(pairs)
            starts = range(0, len(block), frame_size)
            pieces = [block[at : at + frame_size] for at in starts] or [b""]
            first = PushPromiseFrame(stream_id, promised_id, pieces[0], pad_length=padding)
            if padding:
                first.flags.add("PADDED")
            frames: list[Frame] = [first]
            frames += [ContinuationFrame(stream_id, piece) for piece in pieces[1:]]
            if end_headers:
                frames[-1].flags.add("END_HEADERS")
            self.send(*frames)
        return promised

    def push(
        self,
        stream: int | Request,
        promised_id: int,
        fields: Fields,
        status: int = 200,
        headers: Fields = (),
        body: bytes = b"",
    ) -> Request:
        """A promise and the whole of its response at once."""
        promised = self.push_promise(stream, promised_id, fields)
        self.respond(promised, status, headers, body)
        return promised

    @property
    def may_push(self) -> bool:
        """Whether the client's SETTINGS allow it; without a word they do (RFC 9113 6.5.2)."""
        return self.client_settings.get(SettingsFrame.ENABLE_PUSH, 1) == 1

    @property
    def priority_updates(self) -> list[tuple[int, bytes]]:
        """Stream and field value of each PRIORITY_UPDATE (RFC 9218 section 7.1)."""
        frames = self.received(ExtensionFrame)
        bodies = [bytes(frame.body) for frame in frames if frame.type == _PRIORITY_UPDATE]
        return [(int.from_bytes(body[:4], "big"), body[4:]) for body in bodies]

    def encode(self, fields: Fields) -> bytes:
        """An HPACK block of this connection: it must be sent, before any other."""
        with self._encode_lock:
            return self._encoder.encode(_as_pairs(fields), huffman=False)

    def close(self) -> None:
        """close_notify and FIN."""
        self.channel.close_gently()

    def cut(self) -> None:
        """FIN without close_notify."""
        self.channel.end_stream_of_bytes()

    def abort(self) -> None:
        """TCP RST."""
        self.channel.abort()


def _as_pairs(fields: Fields) -> list[tuple[bytes, bytes]]:
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return [(_octets(name), _octets(value)) for name, value in pairs]


def _octets(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")
