"""The ground that charts are drawn on: axes, legend, and the chart around them, as SVG text.

Colours are CSS classes (`s0` … `s4`, `quiet`), so that the theme decides them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

from markupsafe import Markup

SERIES = 5  # colours in base.css; then they begin again
WIDTH, HEIGHT = 460, 290
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 46

Kind = Literal["solid", "dash", "dot"]
Place = Callable[[float], float]
"""From a value to its place in the drawing."""


def series(index: int) -> str:
    """The colour class of the run at this place."""
    return f"s{index % SERIES}"


def chart(
    title: str, parts: Sequence[Markup], keys: Sequence[tuple[str, str, str]], height: int, data: str = ""
) -> Markup:
    """A chart of its parts, with its title and its legend.

    Args:
        title: also the accessible name.
        parts: of the drawing.
        keys: of the legend, as (name, style, kind of line or mark).
        height: of the drawing, which is `WIDTH` wide.
        data: JSON for the script.
    """
    legend = Markup("").join(
        Markup('<li><svg class="key {} {}" viewBox="0 0 26 12" aria-hidden="true">{}</svg>{}</li>').format(
            style, kind, _key(kind), name
        )
        for name, style, kind in keys
    )
    return Markup(
        '<div class="chart"><p class="title">{}</p><ul class="legend">{}</ul>'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" data-chart="{}">{}</svg></div>'
    ).format(title, legend, WIDTH, height, title, data, Markup("").join(parts))


def nothing(title: str) -> Markup:
    """What stands in the place of a chart that has nothing to draw."""
    return Markup(
        '<div class="chart"><p class="title">{}</p><p class="muted">Not measured.</p></div>'
    ).format(title)


def _key(kind: str) -> Markup:
    if kind in ("solid", "dash", "dot"):
        return Markup('<line class="line" x1="1" x2="25" y1="6" y2="6"/>')
    if kind == "interval":
        return Markup(
            '<g class="interval"><line class="whisker" x1="2" x2="24" y1="6" y2="6"/>'
            '<circle cx="13" cy="6" r="4.5"/></g>'
        )
    if kind == "diamond":
        return Markup('<path class="diamond" d="M13 1l5 5-5 5-5-5z"/>')
    return Markup('<line class="{}" x1="13" x2="13" y1="0" y2="12"/>').format(kind)


def axes(
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    to_x: Place,
    to_y: Place,
    x_label: str,
    y_label: str,
) -> Markup:
    """Both axes with ticks, grid lines and labels."""
    bottom = HEIGHT - BOTTOM
    parts = []
    for tick in y_ticks:
        parts.append(
            Markup(
                '<line class="grid-line" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text class="tick" x="{}" y="{:.1f}" text-anchor="end" dominant-baseline="central">{}</text>'
            ).format(LEFT, WIDTH - RIGHT, to_y(tick), to_y(tick), LEFT - 7, to_y(tick), _said(tick))
        )
    for tick in x_ticks:
        parts.append(
            Markup(
                '<line class="axis" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
                '<text class="tick" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>'
            ).format(to_x(tick), bottom, bottom + 4, bottom + 17, _said(tick))
        )
    parts.append(
        Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            LEFT, WIDTH - RIGHT, bottom, bottom
        )
    )
    parts.append(
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label
        )
    )
    if y_label:
        middle = (TOP + bottom) / 2
        parts.append(
            Markup(
                '<text transform="translate(11 {}) rotate(-90)" text-anchor="middle" dominant-baseline="central">'
                "{}</text>"
            ).format(middle, y_label)
        )
    return Markup("").join(parts)


def scale(low: float, high: float, start: float, end: float, log: bool = False) -> Place:
    """The map from values to places; one value alone lies in the middle."""
    bend = math.log if log else float
    if high <= low:
        return lambda value: (start + end) / 2
    return lambda value: start + (end - start) * (bend(value) - bend(low)) / (bend(high) - bend(low))


def ticks_around(low: float, high: float) -> list[float]:
    """Round values that enclose the two; never fewer than two."""
    from matplotlib.ticker import MaxNLocator

    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    return [float(tick) for tick in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]


def _said(value: float) -> str:
    return f"{value:,.10g}".replace("-", "−")
