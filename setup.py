"""setup.cfg has what can be declared; the README's links need a function."""

import re
from pathlib import Path

from setuptools import setup

# .. image:: docs/picture.png, with its options.
_IMAGE = re.compile(r"^\.\. image:: (?!https?:).*\n(?:   .*\n)*\n", re.M)
# `text <docs/page.rst>`_, its text in one line or two.
_LINK = re.compile(r"`([^`<]+?)\s+<(?!https?:)([^`>]+)>`_")


def long_description():
    """The README as PyPI can show it, where links to files of the checkout would lead nowhere."""
    readme = Path(__file__).with_name("README.rst").read_text(encoding="utf-8")

    def named(link):
        text, path = link.groups()
        return f"``{path}``" if text == path else f"{text} (``{path}``)"

    return _LINK.sub(named, _IMAGE.sub("", readme))


setup(long_description=long_description(), long_description_content_type="text/x-rst")
