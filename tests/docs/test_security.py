"""The numbers of docs/security.rst are those of the code."""

from __future__ import annotations

import re

from requests_h2 import connection as connections
from requests_h2 import exceptions, flow_control, frame_sizes, replay, stream
from requests_h2.engine import base, field_blocks, frames, h2_engine, nghttp2_client, pushes
from requests_h2.options import Options
from tests.support.pages import ROOT

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def limits() -> dict[str, str]:
    """What is bounded, and the limit, in the words of the page."""
    text = (ROOT / "docs/security.rst").read_text(encoding="utf-8")
    cells = re.findall(r"^ {3}(?:\*| ) - (.*(?:\n {7}\S.*)*)", text, re.M)
    rows = [" ".join(cell.split()) for cell in cells]
    return dict(zip(rows[::3], rows[1::3], strict=False))


def test_the_limits() -> None:
    assert flow_control.STREAM_WINDOW == MIB
    assert flow_control.MAX_STREAM_WINDOW == 16 * MIB
    assert flow_control.CONNECTION_WINDOW == GIB
    assert stream.MAX_HEADER_LIST_SIZE == 256 * KIB
    assert nghttp2_client._HEADER_TABLE_SIZE == 4 * KIB
    options = Options()
    assert limits() == {
        "What": "Limit",
        "unread data of a response": "1 MiB, 16 MiB for a fast reader",
        "unread data of a connection": "1 GiB",
        "a frame": f"{base.MAX_FRAME_SIZE // KIB} KiB",
        "headers of a response, decompressed": f"256 KiB, {stream._MAX_FIELDS:,} fields",
        "the same, before the connection is given up": f"{field_blocks.MAX_LIST_SIZE // MIB} MiB",
        "CONTINUATION frames of a block": f"{frames.MAX_CONTINUATIONS}",
        "HPACK's table of received fields": "4 KiB",
        "informational responses to a request": f"{stream._MAX_INFORMATIONAL}",
        "frames that ``read_chunked`` tells apart, unread": f"{frame_sizes.MAX_FRAMES:,}",
        "unsent answers to PING, SETTINGS and the like": (
            f"{connections._ANSWER_LIMIT // KIB} KiB"
        ),
        "settings in one SETTINGS frame (engine h2)": f"{h2_engine._MAX_SETTINGS}",
        "unclaimed pushes of a connection": (
            f"{options.max_pushes}, each of a window, for {options.push_timeout:.0f} s"
        ),
        "promised streams that are not over": f"{pushes.MAX_EXCESS:,} more than ``max_pushes``",
        "replays of a request": (
            f"{len(replay._PAUSES)} that the server turned away, {replay._MAX_REPLAYS} of any kind"
        ),
        "SETTINGS of the server, acknowledgement of ours": (
            f"{connections._SETTINGS_TIMEOUT:.0f} s"
        ),
        "text of the server in a message": f"{exceptions._DEBUG_TEXT_LIMIT} octets, escaped",
    }
