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


def say(target: str) -> Reply:
    """What ``?status=N&body=text&field=Name:value`` asks for; there may be many fields."""
    asked = parse_qs(urlsplit(target).query)
    parted = (each.partition(":") for each in asked.get("field", []))
    fields = [(name, value) for name, _, value in parted]
    return int(asked.get("status", ["200"])[0]), asked.get("body", [""])[0].encode(), fields


def count(key: str, target: str) -> Reply:
    """As :func:`say`, but the body is how often this key was asked for, this time included."""
    with _lock:
        _counts[key] += 1
        number = _counts[key]
    status, _, fields = say(target)
    return status, str(number).encode(), fields


def digest(method: str, target: str, authorization: list[str]) -> Reply:
    """200 for who knows the password (RFC 7616), else a challenge; ``?algorithm=SHA-256``."""
    asked = parse_qs(urlsplit(target).query)
    algorithm = asked.get("algorithm", ["MD5"])[0]
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
