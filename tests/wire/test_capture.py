"""SSLKEYLOGFILE: Wireshark reads what was encrypted, and sees the frames that the log tells of."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame, RstStreamFrame

from requests_h2 import BodyWithTrailers
from tests.support.capture import frames_seen, write_capture
from tests.support.farm import needed
from tests.support.frame_lines import frame_lines
from tests.support.peer import MakeSession, PeerConnection, StartPeer
from tests.support.relay import Relay
from tests.support.threads import WAIT


def script(conn: PeerConnection) -> None:
    request = conn.next_request()
    conn.read_body(request)
    conn.ping(b"12345678")
    conn.respond(request, 200, {"x-y": "z"}, bytes(40_000), trailers={"x-sum": "1", "x-n": "2"})
    given_up = conn.next_request()
    conn.send_headers(given_up, 200)
    conn.wait_for(RstStreamFrame, stream_id=given_up.stream_id)
    conn.reset(conn.next_request(), 2)
    conn.wait_for(GoAwayFrame)


def test_wireshark_sees_the_same_frames(
    make_session: MakeSession,
    peer: StartPeer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys, capture = tmp_path / "keys", tmp_path / "capture.pcap"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    started = peer(script, settings={"max_concurrent_streams": 128})
    with Relay(started.port, delay=0, record=True) as relay, frame_lines() as log:
        url = f"https://127.0.0.1:{relay.port}/"
        session = make_session()
        data = BodyWithTrailers([b"x" * 10], {"x-sum": "1"})
        assert len(session.post(url, data=data, timeout=WAIT).content) == 40_000
        session.get(url, stream=True, timeout=WAIT).close()
        with pytest.raises(OSError, match="INTERNAL_ERROR"):
            session.post(url, data=b"x", timeout=WAIT)
        session.close()
        started.connection().wait_for(GoAwayFrame)
    write_capture(capture, relay.recorded)
    with needed():
        seen = [(sent, line_of(frame)) for sent, frame in frames_seen(capture, keys)]
    assert log.sent == [line for sent, line in seen if sent and line != "the preface"]
    assert log.received == [line for sent, line in seen if not sent]
    kinds = {line.split(" ")[0] for _, line in seen}
    assert kinds > {"SETTINGS", "HEADERS", "DATA", "PING", "RST_STREAM", "GOAWAY", "WINDOW_UPDATE"}


def line_of(frame: ET.Element) -> str:
    """What the log tells of a frame, made of what tshark tells."""
    fields = [(field.get("name", ""), field.get("show", "")) for field in frame.iter("field")]
    seen = {name.removeprefix("http2."): shown for name, shown in reversed(fields)}
    if "magic" in seen:
        return "the preface"
    name = frame.get("showname", "").removeprefix("Stream: ").split(",")[0]
    stream = f"{name} stream={seen['streamid']}"
    end_or_ack = int(seen["flags"], 16) & 1
    if name == "DATA":
        return f"{stream} {seen['length']} octets{' END_STREAM' * end_or_ack}"
    if name == "HEADERS":
        count = int(seen["header.count"])
        return f"{stream}{' END_STREAM' * end_or_ack} {count} field{'s' * (count > 1)}"
    if name == "WINDOW_UPDATE":
        return f"{stream} +{seen['window_update.window_size_increment']}"
    if name == "RST_STREAM":
        return f"{stream} {code_of(seen['rst_stream.error'])}"
    if name == "GOAWAY":
        return f"GOAWAY last={seen['goaway.last_stream_id']} {code_of(seen['goaway.error'])}"
    if name == "PING":
        return f"PING {'ACK ' * end_or_ack}{(seen.get('ping') or seen['pong']).replace(':', '')}"
    assert name == "SETTINGS", name
    settings = [
        f" {name.removeprefix('http2.settings.').upper()}={shown}"
        for name, shown in fields
        if name.startswith("http2.settings.") and name != "http2.settings.id"
    ]
    return f"SETTINGS{' ACK' * end_or_ack}{''.join(settings)}"


def code_of(number: str) -> str:
    return f"{ErrorCodes(int(number)).name}({number})"
