"""A Matplotlib figure as a part of the page: its colours are the theme's, its text is text."""

import io
import re
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from pairjepa.apps.report.figures import style

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)
COLOURS = {
    colour.lower(): f"var(--series-{n})"
    for n, colour in enumerate([*(s.color for s in style.SERIES), style.YELLOW])
} | {style.INK.lower(): "currentColor", style.GREY.lower(): "var(--muted)", "#ffffff": "var(--surface)"}
"""Of Matplotlib → of base.css."""


def inline(figure: Figure, alt: str, key: str) -> Markup:
    """The figure as an SVG element.

    Matplotlib's `style` attributes become attributes, as the page's policy wants it; what is not referred to loses its
    id, and what is has one of this figure alone.

    Args:
        figure: what `Drawing.draw` gives.
        alt: what it shows, for who cannot see it.
        key: unique on the page; what ids are made from.
    """
    file = io.StringIO()
    settings = style.STYLE | {"svg.fonttype": "none", "svg.hashsalt": key}
    with rc_context(settings), style.missing_letters():  # the browser has a font for them
        figure.savefig(file, format="svg", transparent=True, dpi=150, metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": alt}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
        parent.attrib |= _declarations(parent.attrib.pop("style", ""))
        parent.attrib |= {name: COLOURS.get(value.lower(), value) for name, value in parent.items()}
    text = ElementTree.tostring(root, encoding="unicode")
    for element in root.iter():
        if f"#{element.get('id')}" not in text:
            element.attrib.pop("id", None)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _declarations(css: str) -> dict[str, str]:
    """Of a `style` attribute, without the font's family, which is the page's."""
    found = dict(re.findall(r"([\w-]+): *([^;]+)", css))
    if font := found.pop("font", None):
        found["font-size"] = next(word for word in font.split() if word.endswith("px"))
    found.pop("font-family", None)
    return found
