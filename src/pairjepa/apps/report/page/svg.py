"""A Matplotlib figure as a part of the page: its colours are the theme's, its text is text."""

import io
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from pairjepa.apps.report.figures import style

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)
SETTINGS = style.STYLE | {"svg.fonttype": "none", "svg.hashsalt": "pairjepa"}
COLOURS = {
    colour.lower(): f"var(--series-{n})"
    for n, colour in enumerate([*(s.color for s in style.SERIES), style.YELLOW])
} | {style.INK.lower(): "currentColor", style.GREY.lower(): "var(--muted)", "#ffffff": "var(--surface)"}
"""Of Matplotlib → of base.css."""


def inline(figure: Figure, alt: str, key: str) -> Markup:
    """The figure as an SVG element.

    Matplotlib's `style` attributes become attributes, as the page's policy wants it; what is not referred to loses its
    id, and what is gets one of this figure alone.

    Args:
        figure: what `Drawing.draw` gives.
        alt: what it shows, for who cannot see it.
        key: unique on the page; a part of ids.
    """
    file = io.StringIO()
    with rc_context(SETTINGS), style.missing_letters():  # the browser has a font for them
        figure.savefig(file, format="svg", transparent=True, dpi=150, metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": alt}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
        for name, value in _declarations(parent.attrib.pop("style", "")):
            parent.set(name, value)
        for name, value in list(parent.attrib.items()):
            parent.set(name, COLOURS.get(value.lower(), value).replace("url(#", f"url(#{key}-"))
        if reference := parent.get(f"{{{XLINK}}}href", ""):
            parent.set(
                f"{{{XLINK}}}href",
                reference.replace("#", f"#{key}-", 1) if reference[0] == "#" else reference,
            )
        if "id" in parent.attrib:
            parent.set("id", f"{key}-{parent.attrib['id']}")
    text = ElementTree.tostring(root, encoding="unicode")
    for element in root.iter():
        if "id" in element.attrib and f"#{element.attrib['id']}" not in text:
            del element.attrib["id"]
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _declarations(css: str) -> list[tuple[str, str]]:
    """Of a `style` attribute, without the font's family, which is the page's."""
    found = []
    for declaration in filter(str.strip, css.split(";")):
        name, value = (part.strip() for part in declaration.split(":", 1))
        if name == "font":
            name, value = "font-size", next(word for word in value.split() if word.endswith("px"))
        if name != "font-family":
            found.append((name, value))
    return found
