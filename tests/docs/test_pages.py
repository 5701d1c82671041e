"""Every Python block of the pages is run by a test, or compiled if it shows hyper's calls."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.pages import ROOT, SITE, Block, blocks_of

NAMES = sorted(path.name for path in (ROOT / "docs").glob("*.rst"))
PAGES = [name for name in [*NAMES, "../README.rst"] if blocks_of(name)]


def ours(page: str) -> list[Block]:
    return [block for block in blocks_of(page) if not block.of_hyper]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_test(page: str) -> None:
    module = importlib.import_module(f"tests.docs.test_{Path(page).stem.lower()}")
    assert page == module.PAGE
    blocks = Counter(f"test_{block.name}" for block in ours(page))
    # Two tests of one name in a module are one: a block's name is unique.
    assert blocks == Counter(blocks.keys())
    assert not [name for name in blocks if not callable(getattr(module, name, None))]


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_overlooked(page: str) -> None:
    """As one would be whose options are not written as expected."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert text.count(".. code-block:: python") == len(blocks_of(page))


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_python(page: str) -> None:
    for block in blocks_of(page):
        block.compiled(SITE)


@pytest.mark.parametrize("page", NAMES)
def test_every_page_is_in_the_index(page: str) -> None:
    index = (ROOT / "docs/index.rst").read_text(encoding="utf-8")
    assert page == "index.rst" or f"<{page}>`_" in index


@pytest.mark.parametrize("page", [*NAMES, "../README.rst"])
def test_links_lead_somewhere(page: str) -> None:
    """In a checkout; Sphinx checks those of the pages, too."""
    path = ROOT / "docs" / page
    links = re.findall(r"<([\w./]+\.\w+)>`_", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []
