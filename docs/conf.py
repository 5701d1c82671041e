"""Sphinx: ``sphinx-build -W docs build/docs``, with the extra ``docs``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
sys.path.insert(0, str(Path(__file__).parents[1]))

import requests_h2

project = "requests_h2"
author = "the requests_h2 authors"
version = release = requests_h2.__version__

extensions = ["sphinx.ext.autodoc", "links", "rooms_directive"]
exclude_patterns = ["_ext"]
html_theme = "furo"
html_title = f"requests_h2 {version}"
html_copy_source = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["page.css"]
# Names in single backquotes are typing mistakes here.
default_role = "any"
# What stands after :: is output, or for the shell. Python has code-block.
highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# Signatures say FlowControlManager, not requests_h2.flow_control.FlowControlManager.
python_use_unqualified_type_names = True
# Longer ones have a line for each argument.
maximum_signature_line_length = 88
