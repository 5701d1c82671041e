"""The Python blocks of the documentation, run as they are printed.

A block has a name and a test of the same name in ``tests/docs``, in a module that says
``PAGE = "streams.rst"``. The fixture ``example`` is the block of the test that asks for it::

    .. code-block:: python
        :name: first-steps

        response = session.get("https://www.example.com/")

    def test_first_steps(example: Example, session: requests.Session, peer: StartPeer) -> None:
        done = example(peer(serve(...)).url, session=session)
        assert done["response"].status_code == 200

``tests/docs/test_pages.py`` sees to it that no block is without a test. The pages are those of
``docs`` and ``README.rst``, whose names are relative to ``docs``. Blocks with
``:class: hyper`` show the calls of hyper, which is not installed: they are only compiled.
"""

from __future__ import annotations

import importlib.util
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SITE = "https://www.example.com"
"""What stands for the server's URL in the pages."""

#: ``example(url, **names)`` runs a block, with ``url`` for :data:`SITE`; the names that it leaves.
Example = Callable[..., dict[str, Any]]

_BLOCK = re.compile(
    r"""^(?P<indent>\ *)\.\.\ code-block::\ python\n
    (?P<options>(?:(?P=indent)\ {3,4}:.*\n)*)
    \n
    (?P<code>(?:(?P=indent)\ {3,4}.*\n|\n)+)""",
    re.M | re.X,
)


class Block:
    """One block: its text, and the place it comes from, for tracebacks."""

    def __init__(self, page: Path, line: int, code: str, options: dict[str, str]) -> None:
        self.page = page
        self.line = line
        self.code = textwrap.dedent(code)
        self.name = options.get("name", "").replace("-", "_")
        self.of_hyper = options.get("class") == "hyper"

    def run(self, url: str = "", /, **names: Any) -> dict[str, Any]:
        """Run it with these names; the names there are afterwards."""
        exec(self.compiled(url), names)
        return names

    def compiled(self, url: str = "") -> Any:
        code = "\n" * (self.line - 1) + self.code.replace(SITE, url)
        return compile(code, str(self.page), "exec")


def blocks_of(page: str) -> list[Block]:
    """The Python blocks of a page in ``docs``, in its order."""
    path = ROOT / "docs" / page
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            path,
            text.count("\n", 0, match.start("code")) + 1,
            match["code"],
            dict(re.findall(r":(\w+): *(.*)", match["options"])),
        )
        for match in _BLOCK.finditer(text)
    ]


def block(page: str, name: str) -> Block:
    """The block with that name."""
    (found,) = [each for each in blocks_of(page) if each.name == name]
    return found


def extension(name: str) -> Any:
    """A module of ``docs/_ext``, which is not on the path outside of Sphinx."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/_ext/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
