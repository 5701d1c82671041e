"""docs/api.rst has every public name; what it says of them are their docstrings."""

from __future__ import annotations

import inspect

import requests_h2
from tests.support.pages import ROOT

NAMES = [name for name in requests_h2.__all__ if name != "__version__"]


def test_every_public_name() -> None:
    text = (ROOT / "docs/api.rst").read_text(encoding="utf-8")
    assert [name for name in NAMES if f":: requests_h2.{name}" not in text] == []


def test_everything_public_has_a_docstring() -> None:
    public = [getattr(requests_h2, name) for name in NAMES]
    members = [
        member
        for each in filter(inspect.isclass, public)
        for name, member in vars(each).items()
        if name[0] != "_" and (inspect.isfunction(member) or isinstance(member, property))
    ]
    # Inherited ones count.
    assert [each for each in [*public, *members] if not inspect.getdoc(each)] == []
