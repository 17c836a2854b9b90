"""Where a picture resembles a text."""

import io
import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from pairjepa.apps.report.figures.style import COLUMN, drawing
from pairjepa.util.errors import unknown


def look(look: dict[str, Any], text: str | None = None, ax: Axes | None = None) -> Axes:
    """What each position adds to a picture's cosine with a text, over the picture: an indication, not an explanation.

    Their mean is that cosine (see `evaluation.illustrate.look`). All texts of a picture have the same scale, so that
    what is not there stays dark.

    Args:
        look: one of a run's `looks`; without its picture the map stands alone.
        text: which of its texts; None takes the first.
        ax: where to draw; None makes a figure.

    Raises:
        UsageError: the look has no such text.
    """
    maps = {one["text"]: one for one in look["maps"]}
    if text is not None and text not in maps:
        raise unknown("text", text, maps)
    shown = maps[text] if text is not None else look["maps"][0]
    values = np.array(shown["values"]).reshape(look["grid"])
    picture = None
    if look["picture"]:
        with Image.open(io.BytesIO(look["picture"])) as opened:
            picture = np.asarray(opened.convert("L"))
    rows, columns = (values if picture is None else picture).shape
    where = (0, columns, rows, 0)
    with drawing(ax, COLUMN, 0.9 + COLUMN * min(rows / columns, 2)) as ax:
        if picture is not None:  # in grey, so that colour is the map's alone
            ax.imshow(picture, cmap="gray", extent=where)
        heat = ax.imshow(values, cmap="viridis", alpha=1.0 if picture is None else 0.6, extent=where)
        every = [value for one in look["maps"] for value in one["values"]]
        heat.set_clim(min(every), max(every))
        label = "added to the cosine"
        scale = ax.figure.colorbar(heat, ax=ax, orientation="horizontal", aspect=30, label=label)
        scale.solids.set_alpha(1)  # type: ignore[union-attr]
        ax.set_axis_off()
        inches = ax.get_window_extent().width / ax.figure.dpi
        title = textwrap.wrap(f"{shown['text']} (whole:\xa0{shown['cosine']:.2f})", int(17 * inches))
        ax.set_title("\n".join(title), parse_math=False)
    return ax
