"""Answers that users of libraries on top of requests need; ``backend.answer`` has the others.

Node has none of these: its paths are written out in its own language.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from urllib.parse import parse_qs, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

Reply = tuple[int, bytes, list[tuple[str, str]]]

USER, PASSWORD, REALM = "user", "secret", "tests"
_NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}

_lock = threading.Lock()
_counts: Counter[str] = Counter()


def serve(method: str, target: str, authorization: list[str]) -> Reply:
    """``/say``, ``/count/K`` and ``/digest``, with their queries."""
    parts = urlsplit(target)
    query = parse_qs(parts.query)
    name, _, key = parts.path.strip("/").partition("/")
    if name == "digest":
        return _digest(method, target, query.get("algorithm", ["MD5"])[0], authorization)
    status, body, fields = _say(query)
    return status, _count(key) if name == "count" else body, fields


def _say(query: dict[str, list[str]]) -> Reply:
    parted = (each.partition(":") for each in query.get("field", []))
    fields = [(name, value) for name, _, value in parted]
    return int(query.get("status", ["200"])[0]), query.get("body", [""])[0].encode(), fields


def _count(key: str) -> bytes:
    with _lock:
        _counts[key] += 1
        return str(_counts[key]).encode()


def _digest(method: str, target: str, algorithm: str, authorization: list[str]) -> Reply:
    """RFC 7616; there is one nonce for all."""
    if authorization and _agrees(method, target, algorithm, authorization[0]):
        return 200, b"welcome", []
    challenge = f'Digest realm="{REALM}", nonce="{_NONCE}", qop="auth", algorithm={algorithm}'
    return 401, b"who are you?", [("www-authenticate", challenge)]


def _agrees(method: str, target: str, algorithm: str, authorization: str) -> bool:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "digest":
        return False
    said = parse_keqv_list(parse_http_list(rest))

    def hashed(*parts: str) -> str:
        return hashlib.new(_HASHES[algorithm], ":".join(parts).encode()).hexdigest()

    secret = hashed(USER, REALM, PASSWORD)
    request = hashed(method, target)
    expected = hashed(secret, _NONCE, said["nc"], said["cnonce"], said["qop"], request)
    return (said["username"], said["uri"], said["response"]) == (USER, target, expected)
