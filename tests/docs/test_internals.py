"""The blocks of docs/internals.rst."""

from __future__ import annotations

from hpack import Encoder
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame

from requests_h2.engine.events import DataReceived, HeadersReceived
from tests.support.pages import block

PAGE = "internals.rst"


def test_an_engine(engine: str) -> None:
    fields = Encoder().encode([(":status", "200")])
    frames = [
        SettingsFrame(0),
        HeadersFrame(1, data=fields, flags=["END_HEADERS"]),
        DataFrame(1, data=b"body", flags=["END_STREAM"]),
    ]
    from_server = b"".join(frame.serialize() for frame in frames)
    shown = block(PAGE, "an_engine")
    shown.code = shown.code.replace('"h2"', repr(engine))
    done = shown.run(from_server=from_server)
    assert done["stream_id"] == 1
    assert done["to_server"].startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert done["to_server"].endswith(SettingsFrame(0, flags=["ACK"]).serialize())
    headers, data = done["events"][-2:]
    assert isinstance(headers, HeadersReceived)
    assert headers.fields == [(b":status", b"200")]
    assert isinstance(data, DataReceived)
    assert (b"".join(data.parts), data.end_stream) == (b"body", True)
