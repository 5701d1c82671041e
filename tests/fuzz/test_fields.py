"""``requests_h2.fields``: what goes out is safe, and only two exceptions come out."""

from __future__ import annotations

import contextlib
import re

from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import InvalidHeader

from requests_h2 import fields
from requests_h2.exceptions import RemoteProtocolError

from .profile import fuzz

HOSTILE = st.one_of(
    st.text(max_size=12),
    st.binary(max_size=12),
    st.text("abc-: \t\r\n\0,;5", max_size=12),
    st.sampled_from(
        [
            "close",
            "trailers, gzip",
            "5",
            "+5",
            "5_0",
            "\u0665",
            "\x0b5",
            "5\x0c",
            "@@@SKIP_HEADER@@@",
        ]
    ),
)
NAMES = HOSTILE | st.sampled_from(
    "Host host TE Connection Content-Length content-length Transfer-Encoding Cookie Authorization "
    "Accept-Encoding User-Agent X-A".split()
)
HEADERS = st.one_of(
    st.dictionaries(NAMES, HOSTILE | st.integers(-5, 5), max_size=3),
    st.dictionaries(st.just("Content-Length"), HOSTILE | st.integers(-5, 5)),
)


def mostly(valid: str) -> st.SearchStrategy[str]:
    return st.one_of(st.just(valid), st.just(valid), st.just(valid), TEXTS)


TEXTS = st.text(max_size=15) | st.text("/ab?%=\r\n\0 :[]@", max_size=15)
LENGTHS = st.none() | st.integers(0, 10**6)
RECEIVED_NAMES = st.sampled_from(b"x x-a content-length content-length set-cookie te Date".split())
RECEIVED_VALUES = st.one_of(
    st.sampled_from([*b"5 5,5 5,6 -1 trailers".split(), b"9" * 5000, b" 7 "]),
    st.sampled_from([b"5", b"\xe9", b"\x7f"]),
    st.binary(max_size=10),
)
RECEIVED = st.lists(
    st.one_of(
        st.tuples(RECEIVED_NAMES, RECEIVED_VALUES),
        st.tuples(RECEIVED_NAMES, RECEIVED_VALUES),
        st.tuples(st.binary(max_size=10), st.binary(max_size=10)),
        st.tuples(st.sampled_from([b":status", b":path"]), st.sampled_from([b"200", b"101", b"9"])),
    ),
    max_size=4,
)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")


@fuzz(600)
@given(mostly("GET"), mostly("a:1"), mostly("/"), HEADERS, LENGTHS)
def test_requests(
    method: str, authority: str, path: str, headers: dict[str, str], length: int | None
) -> None:
    target = fields.RequestTarget("https", authority, path)
    try:
        made = fields.request_fields(method, target, [*headers.items()], length)
    except InvalidHeader:
        return
    names = [name for name, _ in made]
    assert names[:4] == [b":method", b":scheme", b":authority", b":path"]
    assert names.count(b"content-length") <= 1
    assert not {b"connection", b"transfer-encoding", b"host", b"upgrade", b"keep-alive"} & {*names}
    for name, value in made:
        assert not set(name + value) & set(b"\r\n\0")
        assert value == value.strip(b" \t")
        assert name in names[:4] or _TOKEN.fullmatch(name)
        if name == b"te":
            assert value == b"trailers"
        if name == b"content-length":
            assert value.isdigit()
            assert length is None or int(value) == length
    assert fields.list_size(made) == sum(len(n) + len(v) + 32 for n, v in made)


@fuzz(300)
@given(HEADERS)
def test_declared_length_and_close(headers: dict[str, str]) -> None:
    with contextlib.suppress(InvalidHeader):
        length = fields.declared_length([*headers.items()])
        assert length is None or 0 <= length < 10**19
    with contextlib.suppress(InvalidHeader):
        assert fields.asks_to_close([*headers.items()]) in (True, False)


@fuzz(500)
@given(RECEIVED, st.booleans())
def test_responses(received: list[tuple[bytes, bytes]], complete: bool) -> None:
    if complete:
        received = [(b":status", b"200"), *received]
    with contextlib.suppress(RemoteProtocolError):
        response = fields.response_fields(received)
        assert 100 <= response.status <= 999
        _check_received(response.items)
        length = fields.content_length(response.items)
        assert length is None or length >= 0
    with contextlib.suppress(RemoteProtocolError):
        _check_received(fields.trailer_fields(received))


def _check_received(items: list[tuple[str, str]]) -> None:
    for name, value in items:
        assert _TOKEN.fullmatch(name.encode())
        assert not set(value) & set("\r\n\0")


@fuzz(200)
@given(
    st.lists(
        st.tuples(
            st.text("abc-xyz", min_size=1, max_size=8).map("x-{}".format),
            st.text(
                st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
            ),
        ),
        max_size=5,
        unique_by=lambda field: field[0],
    )
)
def test_round_trip(sent: list[tuple[str, str]]) -> None:
    """What a request's headers hold is what a response of the same fields gives."""
    target = fields.RequestTarget("https", "a", "/")
    made = fields.request_fields("GET", target, sent, None)
    back = fields.response_fields(
        [(b":status", b"200"), *((name, value) for name, value in made if name[:1] != b":")]
    )
    expected = {(name, value.strip(" \t")) for name, value in sent}
    assert {item for item in back.items if item[0].startswith("x-")} == expected
