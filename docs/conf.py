"""The documents as a site: `make docs` writes docs/_build/index.html."""

import pairjepa

project = "PairJEPA"
author = "The PairJEPA authors"
version = release = pairjepa.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"PairJEPA {release}"
html_show_sphinx = False
html_show_copyright = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

myst_heading_anchors = 3
myst_links_external_new_tab = True
suppress_warnings = [
    "myst.xref_missing"
]  # links to files outside docs/, which the repository's own view follows
