"""A TCP connection as a capture file, made of what a relay recorded, and what tshark sees in it.

Nothing is captured: that would take privileges, and packets may be missed.
"""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.servers.base import ServerMissingError

_CLIENT, _SERVER = socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2")
_CLIENT_PORT, SERVER_PORT = 50_000, 443
_FIN, _SYN, _PSH, _ACK = 0x01, 0x02, 0x08, 0x10
_SEGMENT = 1460  # octets
_RAW_IP = 101  # LINKTYPE_RAW


def write_capture(path: Path, pieces: Iterable[tuple[bool, bytes]]) -> None:
    """One connection to port 443: ``(from_client, octets)`` in order, an empty piece for FIN."""
    next_number = {True: 1000, False: 2000}  # of the next octet, by who sends it
    packets = []

    def add(from_client: bool, flags: int, data: bytes = b"") -> None:
        acknowledged = next_number[not from_client] if flags & _ACK else 0
        packets.append(_packet(from_client, next_number[from_client], acknowledged, flags, data))
        next_number[from_client] += len(data) + bool(flags & (_SYN | _FIN))

    add(True, _SYN)
    add(False, _SYN | _ACK)
    add(True, _ACK)
    for from_client, piece in pieces:
        if not piece:
            add(from_client, _FIN | _ACK)
        for at in range(0, len(piece), _SEGMENT):
            add(from_client, _PSH | _ACK, piece[at : at + _SEGMENT])
    with path.open("wb") as file:
        file.write(struct.pack("<LHHlLLL", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, _RAW_IP))
        for number, packet in enumerate(packets):
            file.write(struct.pack("<LLLL", 1, number, len(packet), len(packet)) + packet)


def _packet(from_client: bool, number: int, acknowledged: int, flags: int, data: bytes) -> bytes:
    source, target = (_CLIENT, _SERVER) if from_client else (_SERVER, _CLIENT)
    ports = (_CLIENT_PORT, SERVER_PORT) if from_client else (SERVER_PORT, _CLIENT_PORT)
    head = struct.pack(">HHLLBBHHH", *ports, number, acknowledged, 5 << 4, flags, 65_535, 0, 0)
    pseudo = source + target + struct.pack(">BBH", 0, socket.IPPROTO_TCP, len(head) + len(data))
    head = head[:16] + _checksum(pseudo + head + data) + head[18:]
    size = 20 + len(head) + len(data)
    outer = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0x4000, 64, socket.IPPROTO_TCP, 0)
    outer += source + target
    return outer[:10] + _checksum(outer) + outer[12:] + head + data


def _checksum(data: bytes) -> bytes:
    """RFC 1071."""
    total = sum(struct.unpack(f">{len(data + b'0') // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)


def frames_seen(capture: Path, keys: Path) -> Iterator[tuple[bool, ET.Element]]:
    """The HTTP/2 frames that tshark finds: whether the client sent it, and its PDML."""
    program = shutil.which("tshark")
    if program is None:
        raise ServerMissingError("tshark is missing: install Debian's tshark")
    command = [program, "-n", "-r", str(capture), "-o", f"tls.keylog_file:{keys}", "-T", "pdml"]
    command += ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=50)
    for packet in ET.fromstring(done.stdout).iter("packet"):
        from_client = _shown(packet, "tcp.dstport") == str(SERVER_PORT)
        for protocol in packet.iter("proto"):
            if protocol.get("name") == "http2":
                for frame in protocol.findall("field[@name='http2.stream']"):
                    yield from_client, frame


def _shown(parent: ET.Element, name: str) -> str:
    return next(
        field.get("show", "") for field in parent.iter("field") if field.get("name") == name
    )
