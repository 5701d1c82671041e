"""``.. rooms::`` is the drawing of the package's modules, and what each of them is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rooms
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

PACKAGE = Path(__file__).parents[2] / "requests_h2"


class Rooms(Directive):
    """Made of the code at each build."""

    def run(self) -> list[nodes.Node]:
        """The drawing, and a list from the top down."""
        found = rooms.rooms_of(PACKAGE)
        items = nodes.definition_list()
        for layer in rooms.layers_of(found):
            for room in layer:
                purpose, _ = self.state.inline_text(room.purpose, self.lineno)
                items += nodes.definition_list_item(
                    "",
                    nodes.term("", "", nodes.literal("", room.name)),
                    nodes.definition("", nodes.paragraph("", "", *purpose)),
                )
        return [nodes.raw("", rooms.drawing(found), format="html"), items]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("rooms", Rooms)
    return {"parallel_read_safe": True}
