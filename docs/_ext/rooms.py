"""The modules of a package by layer, read from their imports, and a drawing of them.

    python docs/_ext/rooms.py requests_h2 > rooms.svg

A module is in the lowest layer that is above all that it imports. Imports for annotations only
(``if TYPE_CHECKING``) do not count. Subpackages named in ``WHOLE`` are one room.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

WHOLE = ("demo",)
_ROW, _BOX, _LETTER, _MARGIN, _GAP = 54, 26, 7.4, 10, 14


class Room(NamedTuple):
    """A module: what it is for, by the first sentence of its docstring, and what it imports."""

    name: str
    purpose: str
    imports: frozenset[str]


def room_name(path: Path, package: Path) -> str:
    """``engine.base`` of ``engine/base.py``."""
    parts = path.relative_to(package).with_suffix("").parts
    return parts[0] if parts[0] in WHOLE else ".".join(parts)


def imports_of(path: Path, package: Path) -> set[str]:
    """The modules of the package, and names of it, that a module imports when it runs."""
    inside = path.relative_to(package.parent).parent.parts
    found = set()
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *filter(None, (node.module or "").split("."))))
            if (package.parent / module.replace(".", "/")).is_dir():
                found.update(f"{module}.{alias.name}" for alias in node.names)
            else:
                found.add(module)
    own = f"{package.name}."
    return {name.removeprefix(own) for name in found if name.startswith(own)}


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _running(child)


def rooms_of(package: Path) -> list[Room]:
    """The rooms of a package, by name."""
    paths: dict[str, list[Path]] = {}
    for path in sorted(package.rglob("*.py")):
        if path.name != "__init__.py" or path.parent == package:
            paths.setdefault(room_name(path, package), []).append(path)
    rooms = []
    for name, files in paths.items():
        imported = set().union(*(imports_of(path, package) for path in files))
        imported = {room_name(package / each.replace(".", "/"), package) for each in imported}
        # What is no module is a name of the package itself.
        imported = {each if each in paths else "__init__" for each in imported} - {name}
        text = _docstring(files[0])
        if name in WHOLE:
            text = _docstring(package / name / "__init__.py")
        purpose = " ".join(text.split("\n\n")[0].split())
        rooms.append(Room(name, purpose, frozenset(imported)))
    return rooms


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def layers_of(rooms: list[Room]) -> list[list[Room]]:
    """From the top down.

    :raises ValueError: when rooms import each other in a circle.
    """
    left, layers, below = list(rooms), [], set[str]()
    while left:
        layer = [room for room in left if room.imports <= below]
        if not layer:
            raise ValueError(f"a circle of imports: {sorted(room.name for room in left)}")
        layers.insert(0, layer)
        below.update(room.name for room in layer)
        left = [room for room in left if room.name not in below]
    return layers


def direct_imports(rooms: list[Room]) -> set[tuple[str, str]]:
    """The pairs of importer and imported that do not follow from other ones."""
    reached: dict[str, set[str]] = {}
    pairs = set()
    for layer in reversed(layers_of(rooms)):
        for room in layer:
            indirect = set().union(*(reached[each] for each in room.imports))
            reached[room.name] = indirect | room.imports
            pairs.update((room.name, each) for each in room.imports - indirect)
    return pairs


def drawing(rooms: list[Room]) -> str:
    """An SVG: a row for each layer, lines from the rooms to those that they need."""
    layers = layers_of(rooms)
    widths = {room.name: len(room.name) * _LETTER + 2 * _MARGIN for room in rooms}
    rows = [sum(widths[room.name] + _GAP for room in layer) - _GAP for layer in layers]
    width, height = max(rows) + 2 * _MARGIN, len(layers) * _ROW
    middles, boxes = {}, []
    for number, layer in enumerate(layers):
        x, y = (width - rows[number]) / 2, number * _ROW + (_ROW - _BOX) / 2
        for room in layer:
            size = widths[room.name]
            middles[room.name] = (x + size / 2, y)
            boxes.append(
                f'<g><title>{escape(room.purpose)}</title><rect x="{x:.0f}" y="{y:.0f}" '
                f'width="{size:.0f}" height="{_BOX}" rx="4"/><text x="{x + size / 2:.0f}" '
                f'y="{y + 17:.0f}">{escape(room.name)}</text></g>'
            )
            x += size + _GAP
    lines = [
        f'<path d="M{middles[upper][0]:.0f} {middles[upper][1] + _BOX:.0f} '
        f'L{middles[lower][0]:.0f} {middles[lower][1]:.0f}"/>'
        for upper, lower in sorted(direct_imports(rooms))
    ]
    style = (
        "text{font:12px monospace;text-anchor:middle;fill:currentColor}"
        "path{stroke:currentColor;stroke-opacity:.3;fill:none}"
        "rect{stroke:currentColor;fill:var(--color-background-secondary,#f8f8f8)}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rooms" role="img" '
        f'aria-label="modules by layer" viewBox="0 0 {width:.0f} {height}" '
        f'style="max-width:100%"><style>{style}</style>\n'
        + "\n".join([*lines, *boxes])
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    print(drawing(rooms_of(Path(sys.argv[1]))), end="")
