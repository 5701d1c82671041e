"""What a forked child must forget: connections and locks that belong to its parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Inherited(Protocol):
    """Something with sockets or locks."""

    def renew_after_fork(self) -> None:
        """Called in the child, where no other thread runs."""


_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()
_registered: list[bool] = []


def renew_in_children(thing: Inherited) -> None:
    """Have ``thing.renew_after_fork()`` called in every child that is forked from now on."""
    if not _registered and hasattr(os, "register_at_fork"):
        # At the first use, because importing must change nothing.
        _registered.append(True)
        os.register_at_fork(after_in_child=_renew)
    _inherited.add(thing)


def _renew() -> None:
    for thing in list(_inherited):
        thing.renew_after_fork()
