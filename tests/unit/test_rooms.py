"""The drawing of the package's modules in docs/internals.rst."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest

import requests_h2
from tests.support.pages import extension

rooms = extension("rooms")
PACKAGE = Path(requests_h2.__file__).parent
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """``top`` imports ``middle`` and ``bottom``, ``middle`` imports ``bottom``."""
    root = tmp_path / "house"
    (root / "cellar").mkdir(parents=True)
    files = {
        "__init__.py": '"""A house."""\nfrom .top import roof\n__version__ = "1"\n',
        "top.py": '"""Top."""\nfrom .middle import x\nfrom .cellar.bottom import w\n',
        "middle.py": (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from .top import y\n"
            "def later():\n    from .cellar import bottom\n"
        ),
        "cellar/__init__.py": "",
        "cellar/bottom.py": '"""The bottom,\nbelow all."""\nimport os\n',
        "program.py": "from house import __version__\nfrom os import path\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    return root


def names(layers: list[list[rooms.Room]]) -> list[list[str]]:
    return [[room.name for room in layer] for layer in layers]


def test_layers(package: Path) -> None:
    found = rooms.rooms_of(package)
    layers = [["program"], ["__init__"], ["top"], ["middle"], ["cellar.bottom"]]
    assert names(rooms.layers_of(found)) == layers
    # Without the way from top to bottom, which is there by way of the middle.
    steps = [layer[0] for layer in layers]
    assert rooms.direct_imports(found) == set(itertools.pairwise(steps))
    purposes = {room.name: room.purpose for room in found}
    assert purposes["cellar.bottom"] == "The bottom, below all."


def test_a_circle(package: Path) -> None:
    (package / "cellar/bottom.py").write_text("from ..middle import x\n")
    with pytest.raises(ValueError, match="circle"):
        rooms.layers_of(rooms.rooms_of(package))


def test_the_drawing_has_every_module_once_and_lines_that_go_down() -> None:
    found = rooms.rooms_of(PACKAGE)
    svg = ElementTree.fromstring(rooms.drawing(found))
    drawn = [text.text for text in svg.iter(f"{SVG}text")]
    modules = {
        rooms.room_name(path, PACKAGE)
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }
    assert sorted(drawn) == sorted({*modules, "__init__"})
    lines = [line.attrib["d"].replace("M", "").replace("L", "") for line in svg.iter(f"{SVG}path")]
    assert lines
    for line in lines:
        _, begin, _, end = map(float, line.split())
        assert begin < end


def test_every_module_says_what_it_is_for() -> None:
    assert [room.name for room in rooms.rooms_of(PACKAGE) if not room.purpose] == []
