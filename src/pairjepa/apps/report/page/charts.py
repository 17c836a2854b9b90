"""Small charts as SVG text: readable without JavaScript, in both themes, on paper.

A chart of lines carries its values in `data-chart`, where `charts.js` finds what to show under the pointer.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from pairjepa.apps.report.page.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Kind,
    Place,
    axes,
    chart,
    nothing,
    scale,
    ticks_around,
)

LOG_TICKS = (1, 2, 5, 10, 20, 50, 100)

Values = Sequence[float | None]


@dataclass(frozen=True)
class Line:
    """One line: its points, and how it is drawn. A None in `y` is not measured."""

    name: str
    x: Sequence[float]
    y: Values
    style: str
    """CSS class of the colour: `s0` … `s4`, or `quiet`."""
    kind: Kind = "solid"
    low: Values = ()
    """With `high`, the edges of a band."""
    high: Values = ()
    filled: bool = False
    """Whether the area down to zero is filled."""


@dataclass(frozen=True)
class Interval:
    """One mark of `interval_chart`: a value with its interval, or a reference point."""

    name: str
    value: float
    style: str
    low: float | None = None
    high: float | None = None
    kind: Literal["interval", "diamond", "tick"] = "interval"


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str = "",
    *,
    log: bool = False,
    zero: bool = False,
    marks: Sequence[tuple[str, float, str]] = (),
) -> Markup:
    """Lines over a common axis.

    Args:
        title: says what is drawn; the accessible name.
        lines: what is drawn; where none has a value, the chart says so.
        x_label: what the x axis is, with its unit.
        y_label: what the y axis is, with its unit.
        log: whether x is logarithmic.
        zero: whether the y axis begins at zero.
        marks: vertical lines, as (name, x, style).
    """
    drawn = [line for line in lines if any(value is not None for value in line.y)]
    if not drawn:
        return nothing(title)
    xs = [x for line in drawn for x in line.x]
    ys = [v for line in drawn for part in (line.y, line.low, line.high) for v in part if v is not None]
    x_low, x_high = min(xs), max(xs)
    y_ticks = ticks_around(min(0.0, *ys) if zero else min(ys), max(ys))
    x_ticks = [tick for tick in LOG_TICKS if x_low <= tick <= x_high] if log else ticks_around(x_low, x_high)
    x_ticks = [tick for tick in x_ticks if x_low <= tick <= x_high]
    to_x = scale(x_low, x_high, LEFT, WIDTH - RIGHT, log)
    to_y = scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)

    parts = [axes(x_ticks, y_ticks, to_x, to_y, x_label, y_label)]
    for line in drawn:
        if line.filled:
            base = [0.0] * len(line.x)
            parts.append(
                Markup('<path class="area {}" d="{}"/>').format(
                    line.style, _band(line.x, base, line.y, to_x, to_y)
                )
            )
        if line.low:
            parts.append(
                Markup('<path class="band {}" d="{}"/>').format(
                    line.style, _band(line.x, line.low, line.high, to_x, to_y)
                )
            )
    for name, x, style in marks:
        at = to_x(x)
        parts.append(
            Markup(
                '<line class="mark {}" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"><title>{}</title></line>'
            ).format(style, at, at, TOP, HEIGHT - BOTTOM, name)
        )
    for line in drawn:
        parts.append(
            Markup('<path class="line {} {}" d="{}"/>').format(
                line.style, line.kind, _path(line.x, line.y, to_x, to_y)
            )
        )
    data = {
        "x": [x_low, x_high],
        "log": log,
        "plot": [LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM],
        "label": x_label,
        "lines": [
            {"name": line.name, "x": list(line.x), "y": [_short(value) for value in line.y]} for line in drawn
        ],
    }
    keys: list[tuple[str, str, str]] = [(line.name, line.style, line.kind) for line in drawn]
    keys += [(name, "quiet", "mark") for name in dict.fromkeys(name for name, _, _ in marks)]
    return chart(title, parts, keys, HEIGHT, json.dumps(data))


def interval_chart(title: str, rows: Sequence[tuple[str, Sequence[Interval]]], x_label: str) -> Markup:
    """For each row its marks, from 0 to 100; intervals below each other, each reference beside that of its style.

    Args:
        title: the accessible name.
        rows: (name of the row, marks); marks of one style share a line.
        x_label: what the axis is, with its unit.
    """
    left, step, gap = 142, 17, 12
    to_x = scale(0, 100, left, WIDTH - 40)
    styles = list(dict.fromkeys(mark.style for _, marks in rows for mark in marks if mark.kind == "interval"))
    height = 10 + len(rows) * (len(styles) * step + gap) + 44
    bottom = height - 44
    parts = []
    for tick in range(0, 101, 20):
        x = to_x(tick)
        parts.append(
            Markup(
                '<line class="grid-line" x1="{0:.1f}" x2="{0:.1f}" y1="6" y2="{1}"/>'
                '<text class="tick" x="{0:.1f}" y="{2}" text-anchor="middle">{3}</text>'
            ).format(x, bottom, bottom + 17, tick)
        )
    parts.append(
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            to_x(50), bottom + 36, x_label
        )
    )
    top = 10.0
    for name, marks in rows:
        middle = top + len(styles) * step / 2
        parts.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end" dominant-baseline="central">{}</text>').format(
                left - 10, middle, name
            )
        )
        for mark in marks:
            at = top + (styles.index(mark.style) + 0.5) * step if mark.style in styles else middle
            parts.append(_interval(mark, to_x, at, len(styles) * step))
        top += len(styles) * step + gap
    names: dict[tuple[str, str], tuple[str, str, str]] = {}
    for _, marks in rows:
        for mark in marks:
            names.setdefault((mark.name, mark.style), (mark.name, mark.style, mark.kind))
    return chart(title, parts, list(names.values()), height)


def scatter_chart(
    title: str, x: Sequence[float], y: Sequence[float], style: str, labels: tuple[str, str]
) -> Markup:
    """Points (x, y) on equal axes with the diagonal; thousands of them in one path.

    Args:
        title: the accessible name.
        x: one value a point.
        y: one value a point.
        style: the colour class.
        labels: what the x axis is and what the y axis is.
    """
    if not x:
        return nothing(title)
    ticks = ticks_around(min(*x, *y), max(*x, *y))
    to_x = scale(ticks[0], ticks[-1], LEFT, WIDTH - RIGHT)
    to_y = scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    points = "".join(f"M{to_x(a):.1f} {to_y(b):.1f}h0" for a, b in zip(x, y, strict=True))
    parts = [
        axes(ticks, ticks, to_x, to_y, *labels),
        Markup('<line class="mark quiet" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
            to_x(ticks[0]), to_y(ticks[0]), to_x(ticks[-1]), to_y(ticks[-1])
        ),
        Markup('<path class="points {}" d="{}"/>').format(style, points),
    ]
    return chart(title, parts, [("equal", "quiet", "mark")], HEIGHT)


def _interval(mark: Interval, to_x: Place, y: float, height: float) -> Markup:
    x = to_x(mark.value)
    said = f"{mark.name}: {mark.value:.1f}"
    if mark.kind == "diamond":
        shape = Markup('<path class="diamond" d="M{:.1f} {:.1f}l5 5-5 5-5-5z"/>').format(x, y - 5)
    elif mark.kind == "tick":
        shape = Markup('<line class="tick" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>').format(
            x, y - height / 2, y + height / 2
        )
    else:
        shape = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(x, y)
        end = x
        if mark.low is not None and mark.high is not None:
            end = to_x(mark.high)
            said += f" ({mark.low:.1f} to {mark.high:.1f})"
            shape += Markup('<line class="whisker" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
                to_x(mark.low), end, y, y
            )
        shape += Markup(
            '<text class="tick" x="{:.1f}" y="{:.1f}" dominant-baseline="central">{:.1f}</text>'
        ).format(end + 7, y, mark.value)
    return Markup('<g class="interval {}"><title>{}</title>{}</g>').format(mark.style, said, shape)


def _path(x: Sequence[float], y: Values, to_x: Place, to_y: Place) -> str:
    """A line through what is measured; a lone point is a dot (round caps draw it)."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if b is not None]
    return "".join(f"{'L' if i else 'M'}{to_x(a):.1f} {to_y(b):.1f}" for i, (a, b) in enumerate(points)) + (
        "h0" if len(points) == 1 else ""
    )


def _band(
    x: Sequence[float],
    low: Values,
    high: Values,
    to_x: Place,
    to_y: Place,
) -> str:
    edges = [(a, b, c) for a, b, c in zip(x, low, high, strict=True) if b is not None and c is not None]
    there = [f"{to_x(a):.1f} {to_y(c):.1f}" for a, _, c in edges]
    back = [f"{to_x(a):.1f} {to_y(b):.1f}" for a, b, _ in reversed(edges)]
    return f"M{'L'.join(there + back)}Z" if edges else ""


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
