"""Saliency maps: where a picture resembles a text."""

import textwrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from pairjepa.apps.report.figures.registry import figure
from pairjepa.apps.report.figures.style import COLUMN, STYLE, new_figure
from pairjepa.pairs.images import decode

COLUMNS = 2
LINE = 26  # characters


def _alt(saliency: dict[str, Any]) -> str:
    (rows, columns), maps = saliency["grid"], saliency["maps"]
    return (
        f"What each of {rows} x {columns} positions of a picture adds to its cosine with {len(maps)} "
        f"text{'s' * (len(maps) > 1)}; {maps[0]['cosine']:.2f} with the first, {maps[0]['text']!r}."
    )


@figure("saliency-map", section="saliency", alt=_alt, of="saliency", needs=lambda one: one["picture"])
def saliency_map(saliency: dict[str, Any]) -> list[Axes]:
    """What each position of a picture adds to its cosine with a text.

    The number after a text is its cosine with the whole picture: 1 is the same direction, 0 unrelated. A colour is what
    one position adds, and the mean over all positions is that number. All texts of a picture have the same scale, so
    that what is not there stays dark. An indication, not an explanation: a position also sees its surroundings, and the
    model mixes all of them.

    Args:
        saliency: one of a run's `saliency`; without its picture the maps stand alone.

    Returns:
        The axes, one a text.
    """
    maps, picture = saliency["maps"], None
    if saliency["picture"]:
        picture = np.asarray(decode(saliency["picture"]).convert("L"))
    high, wide = saliency["grid"] if picture is None else picture.shape
    every = [value for one in maps for value in one["values"]]
    titles = ["\n".join(textwrap.wrap(f"{one['text']} ({one['cosine']:.2f})", LINE)) for one in maps]
    lines = [
        1 + max(title.count("\n") for title in titles[n : n + COLUMNS])
        for n in range(0, len(titles), COLUMNS)
    ]
    panel = COLUMN / COLUMNS * min(high / wide, 2)
    with rc_context(STYLE):
        drawn = new_figure(COLUMN, len(lines) * panel + 0.13 * sum(lines) + 0.45)
        axes = drawn.subplots(len(lines), COLUMNS, squeeze=False).ravel().tolist()
        for ax, one, title in zip(axes, maps, titles, strict=False):
            box: Any = {"extent": (0, wide, high, 0)}
            if picture is not None:  # in grey, so that colour is the map's alone
                ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="none", **box)
            values = np.array(one["values"]).reshape(saliency["grid"])
            opacity = 1.0 if picture is None else 0.6
            heat = ax.imshow(values, cmap="viridis", alpha=opacity, interpolation="none", **box)
            heat.set_clim(min(every), max(every))
            ax.set_title(title, fontsize=7)
        for ax in axes:
            ax.set_axis_off()
        scale = drawn.colorbar(
            heat, ax=axes, orientation="horizontal", aspect=40, label="added to the cosine"
        )
        scale.solids.set_alpha(1)  # type: ignore[union-attr]
    return axes[: len(maps)]
