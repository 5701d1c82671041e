"""The pages' own links, which are those of a forge, in Sphinx.

The pages are read in a checkout too, so they refer to each other by file name, and ``index.rst`` is
a list of such links. Here a link to a page becomes a reference that ``-W`` checks, and each section
of the index a part of the table of contents.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_SECTION = re.compile(r"^(?P<title>.+)\n-+\n(?P<text>(?:(?!.+\n-+\n).*\n)*)", re.M)
_PAGE = re.compile(r"<(\w+)\.rst>`_")


class PageLinks(SphinxTransform):
    """``page.rst`` becomes a reference to that page."""

    default_priority = 400  # before those to sections are resolved

    def apply(self, **kwargs: Any) -> None:
        """Replace the references of one page."""
        for link in list(self.document.findall(nodes.reference)):
            page, suffix, rest = link.get("refuri", "").partition(".rst")
            if not suffix or rest or "://" in page:
                continue
            reference = addnodes.pending_xref(
                "",
                nodes.inline("", link.astext(), classes=["doc"]),
                refdoc=self.env.docname,
                refdomain="std",
                reftype="doc",
                reftarget=page,
                refexplicit=True,
                refwarn=True,
            )
            reference.source, reference.line = link.source, link.line
            link.replace_self(reference)


def contents(index: str) -> str:
    """The table of contents that an index stands for, as directives: a part for each section."""
    parts = []
    for section in _SECTION.finditer(index):
        pages = "".join(f"   {page}\n" for page in _PAGE.findall(section["text"]))
        parts.append(f".. toctree::\n   :hidden:\n   :caption: {section['title']}\n\n{pages}")
    return "\n".join(parts)


def _add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    if page == "index":
        source[0] += "\n" + contents(source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(PageLinks)
    app.connect("source-read", _add_contents)
    return {"parallel_read_safe": True}
