"""HAR files held against the schema of HAR 1.2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft6Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT6

#: The parts of npm's package har-schema.
_SCHEMAS = json.loads(Path(__file__).with_name("har_schema.json").read_text())["schemas"]
_DURATIONS = ("blocked", "dns", "connect", "ssl", "send", "wait", "receive")


def checked(text: str) -> list[dict[str, Any]]:
    """The entries of a HAR file, which has to be a valid one."""
    archive = json.loads(text)
    parts = [(f"{name}.json", Resource(each, DRAFT6)) for name, each in _SCHEMAS.items()]
    registry: Registry[Any] = Registry().with_resources(parts)
    validator = Draft6Validator(
        {"$ref": "har.json"}, registry=registry, format_checker=FormatChecker()
    )
    validator.validate(archive)
    entries: list[dict[str, Any]] = archive["log"]["entries"]
    for entry in entries:
        timings = entry["timings"]
        # What the schema says by a word that JSON Schema does not have.
        assert set(timings) == set(_DURATIONS)
        assert all(timings[name] >= 0 or timings[name] == -1 for name in _DURATIONS)
        assert min(timings[name] for name in ("send", "wait", "receive")) >= 0
        total = sum(timings[name] for name in _DURATIONS if name != "ssl" and timings[name] != -1)
        assert abs(entry["time"] - total) < 0.01
    return entries
