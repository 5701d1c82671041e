"""What both ends of the soak agree on: octets that belong to one request and to no other."""

from __future__ import annotations

import hashlib

#: Request fields.
NONCE = "x-nonce"
SIZE = "x-size"  # wanted of the response; in a response, what it has
UPLOAD = "x-upload-size"
PATIENCE = "x-patience"  # "long": never let it wait for ever
REWINDABLE = "x-rewindable"
#: Response fields.
CHECKSUM = "x-crc32"


def response_body(nonce: str, size: int) -> bytes:
    return hashlib.shake_128(f"response {nonce}".encode()).digest(size)


def request_body(nonce: str, size: int) -> bytes:
    return hashlib.shake_128(f"request {nonce}".encode()).digest(size)


def pushes(seed: int) -> bool:
    """Whether the adapter lets the peer push: with every other seed."""
    return seed % 2 == 0
