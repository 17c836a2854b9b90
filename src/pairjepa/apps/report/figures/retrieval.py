"""What is found: recalls of runs beside each other, over K, and with a part of the caption shown."""

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from pairjepa.apps.report.figures.style import (
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    INK,
    PAGE,
    VERMILION,
    drawing,
    legend_above,
    legend_name,
    say_on,
    series,
)
from pairjepa.util.errors import unknown

Direction = Literal["image_to_text", "text_to_image"]
ARROWS = {"image_to_text": "image → text", "text_to_image": "text → image"}
RECALLS = ("R@1", "R@5", "R@10")
K_TICKS = [1, 2, 5, 10, 20, 50, 100]
WIDE = 0.8  # of the distance between two groups of bars


def recall_bars(report: dict[str, Any], ax: Axes | None = None) -> Axes:
    """The six recalls of every run with 95 % intervals by image, beside chance and CCA on the same features.

    Args:
        report: of `pairjepa.apps.report.collect`.
        ax: where to draw; None makes a figure, a page wide from four runs on.
    """
    runs = report["runs"]
    groups = [(way, name) for way in ARROWS for name in RECALLS]
    # a gap between the two directions
    middle = np.arange(len(groups)) + 0.5 * (np.arange(len(groups)) >= len(RECALLS))
    width = WIDE / len(runs)
    names = [legend_name(run["name"]) for run in runs]
    handles: list[Any] = []
    with drawing(ax, COLUMN if len(runs) <= 3 else PAGE, height(runs)) as ax:
        for number, run in enumerate(runs):
            look, found = series(number), run["evaluation"]
            places = middle + (number - (len(runs) - 1) / 2) * width
            values = [found[way][name] for way, name in groups]
            ends = [found[way].get(f"{name}_ci") or 2 * [found[way][name]] for way, name in groups]
            handles.append(
                ax.bar(
                    places, values, 0.92 * width, color=look.color, hatch=look.hatch, edgecolor="white", lw=0
                )
            )
            ax.vlines(places, *np.transpose(ends), color=INK, linewidth=0.9)
            if cca := found["baselines"].get("cca"):
                level = [cca[way][name] for way, name in groups]
                for color, thick in (("white", 2.4), (INK, 1.2)):
                    ax.hlines(level, places - width / 2, places + width / 2, color=color, linewidth=thick)
        if any(run["evaluation"]["baselines"].get("cca") for run in runs):
            names.append("CCA, same features")
            handles.append(Line2D([], [], color=INK, linewidth=1.2))
        if chance := runs[0]["evaluation"]["baselines"].get("chance"):
            names.append("chance")
            level = [chance[way][name] for way, name in groups]
            handles.append(
                ax.hlines(level, middle - WIDE / 2, middle + WIDE / 2, color=GREY, linewidth=1.2, zorder=4)
            )
        _label_groups(ax, middle, [name for _, name in groups])
        ax.set_ylim(0, 100)
        ax.set_ylabel("recall, % (line: 95 % by image)")
        legend_above(ax, handles, names)
    return ax


def _label_groups(ax: Axes, middle: np.ndarray, names: list[str]) -> None:
    """The recalls under their bars, and under them the two directions."""
    ax.set_xticks(middle, names)
    ax.tick_params(axis="x", length=0)
    for n, arrow in enumerate(ARROWS.values()):
        ax.annotate(
            arrow,
            (middle[n * len(RECALLS) + 1], 0),
            (0, -17),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="top",
        )


def recall_curves(report: dict[str, Any], direction: Direction, ax: Axes | None = None) -> Axes:
    """Recall@K for K from 1 to 100, with a 95 % band by image for each K, and chance as a line.

    Args:
        report: of `pairjepa.apps.report.collect`.
        direction: `image_to_text` or `text_to_image`.
        ax: where to draw; None makes a figure.

    Raises:
        UsageError: the direction is unknown.
    """
    if direction not in ARROWS:
        raise unknown("direction", direction, ARROWS)
    with drawing(ax, height=height(report["runs"])) as ax:
        lines = []
        for number, run in enumerate(report["runs"]):
            look, ks, curve = series(number), run["recall_curve"]["k"], run["recall_curve"][direction]
            ax.fill_between(ks, curve["low"], curve["high"], color=look.color, alpha=0.2, linewidth=0)
            lines += ax.plot(ks, curve["recall"], color=look.color, linestyle=look.line)
        lines += ax.plot(ks, curve["chance"], color=GREY, linestyle=":")
        legend_above(ax, lines, [*(legend_name(run["name"]) for run in report["runs"]), "chance"])
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(K_TICKS))
        ax.xaxis.set_major_formatter(FixedFormatter([str(k) for k in K_TICKS]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlim(1, ks[-1])
        ax.set_ylim(0, 101)
        ax.set_xlabel("K")
        ax.set_ylabel(f"{ARROWS[direction]} recall@K, %")
    return ax


def height(runs: list[dict[str, Any]]) -> float:
    """Inches that a figure of these runs takes, with a line of the legend for each."""
    return 2.3 + 0.15 * len(runs)


def partial_recall(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """R@1 of a caption's own target from image and partly hidden caption, over the share that is hidden.

    Beside it the same query with another image, and a model that was trained without images: what lies between is
    what the image adds. Bars are 95 % intervals by image.

    Args:
        run: one of the report's, of a masked approach; of another one the axes say that there is nothing to show.
        ax: where to draw; None makes a figure.
    """
    partial = run["evaluation"].get("partial")
    with drawing(ax) as ax:
        if not partial:
            say_on(ax, "No partial queries: this run sees no part of a caption.")
            return ax
        for key, name, color, line, marker in (
            (None, "with the image", BLUE, "-", "o"),
            ("text_only", "trained without images", GREEN, "-.", "^"),
            ("shuffled", "with another image", VERMILION, "--", "s"),
        ):
            shown = {
                float(ratio): found if key is None else found.get(key) for ratio, found in partial.items()
            }
            points = sorted((100 * ratio, found) for ratio, found in shown.items() if found)
            if not points:
                continue
            recalls = np.array([found["R@1"] for _, found in points])
            ends = np.array([found["R@1_ci"] for _, found in points]).T
            ax.errorbar(
                [ratio for ratio, _ in points],
                recalls,
                # a percentile interval need not hold its value
                np.maximum([recalls - ends[0], ends[1] - recalls], 0),
                color=color,
                linestyle=line,
                marker=marker,
                capsize=2,
                label=name,
            )
        ax.set_xticks([100 * float(ratio) for ratio in partial])
        ax.set_ylim(0, 103)
        ax.set_xlabel("share of the caption that is hidden, %")
        ax.set_ylabel("R@1 of its own caption, %")
        ax.legend(loc="lower left")
    return ax
