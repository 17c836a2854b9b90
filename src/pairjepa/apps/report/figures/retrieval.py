"""What is found: recalls of runs beside each other, over K, and with a part of the caption shown."""

from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from pairjepa.apps.report.figures import style
from pairjepa.apps.report.figures.registry import figure
from pairjepa.util.words import counted

ARROWS = {"image_to_text": "image → text", "text_to_image": "text → image"}
RECALLS = ("R@1", "R@5", "R@10")
K_TICKS = [1, 2, 5, 10, 20, 50, 100]
LEVELS: tuple[tuple[str, str, Literal["-", ":"]], ...] = (
    ("cca", "CCA, same features", "-"),
    ("pretrained", "the pretrained pair", ":"),
)
"""Baselines of each run that are drawn over its bars: key, words, dashes."""
WIDE = 0.8  # of the distance between two groups of bars


def _bars_alt(report: dict[str, Any]) -> str:
    size = f"{counted(report['images'], 'image')}, {counted(report['captions'], 'caption')}"
    sentences = [f"Recall on the {report['split']} split ({size})."]
    for run in report["runs"]:
        both = []
        for way, arrow in ARROWS.items():
            found = run["evaluation"][way]
            ci = found.get("R@1_ci")
            span = f" (95 % interval {ci[0]:.1f} to {ci[1]:.1f})" if ci else ""
            both.append(f"{arrow} R@1 {found['R@1']:.1f} %{span}, R@10 {found['R@10']:.1f} %")
        sentences.append(f"{run['name']}: {'; '.join(both)}.")
    baselines = report["runs"][0]["evaluation"]["baselines"]
    beside = " and ".join(
        f"{baselines[key]['image_to_text']['R@1']:.1f} % {name}"
        for key, name in (
            ("pretrained", "for the pretrained pair"),
            ("cca", "for CCA on the same features"),
            ("chance", "by chance"),
        )
        if baselines.get(key)
    )
    return " ".join([*sentences, *([f"R@1 image → text is {beside}."] if beside else [])])


@figure("recall-bars", section="headline", alt=_bars_alt, of="report")
def recall_bars(report: dict[str, Any], ax: Axes | None = None) -> Axes:
    """The six recalls of every run, beside the baselines.

    Recall@K is the share of queries that find at least one right answer among the first K. The upright lines are 95 %
    intervals over images. CCA, where it was measured, is a closed formula on the same features; the pretrained pair is
    what a run started from.

    Args:
        report: of `pairjepa.apps.report.collect`.
        ax: where to draw; None makes a figure.
    """
    runs = report["runs"]
    groups = [(way, name) for way in ARROWS for name in RECALLS]
    # a gap between the two directions
    middle = np.arange(len(groups)) + 0.5 * (np.arange(len(groups)) >= len(RECALLS))
    width = WIDE / len(runs)
    names = [style.legend_name(run["name"]) for run in runs]
    handles: list[Any] = []
    with style.drawing(ax, 2.3 + 0.15 * len(runs)) as ax:
        for number, run in enumerate(runs):
            look, found = style.series(number), run["evaluation"]
            places = middle + (number - (len(runs) - 1) / 2) * width
            values = [found[way][name] for way, name in groups]
            ends = [found[way].get(f"{name}_ci") or 2 * [found[way][name]] for way, name in groups]
            handles.append(
                ax.bar(
                    places, values, 0.92 * width, color=look.color, hatch=look.hatch, edgecolor="white", lw=0
                )
            )
            ax.vlines(places, *np.transpose(ends), color=style.INK, linewidth=0.9)
            for key, _, dashes in LEVELS:
                if there := found["baselines"].get(key):
                    level = [there[way][name] for way, name in groups]
                    for color, thick, line in (("white", 2.4, "-"), (style.INK, 1.2, dashes)):
                        ax.hlines(
                            level,
                            places - width / 2,
                            places + width / 2,
                            color=color,
                            lw=thick,
                            linestyle=line,
                        )
        for key, words, dashes in LEVELS:
            if any(run["evaluation"]["baselines"].get(key) for run in runs):
                names.append(words)
                handles.append(Line2D([], [], color=style.INK, linewidth=1.2, linestyle=dashes))
        if chance := runs[0]["evaluation"]["baselines"].get("chance"):
            names.append("chance")
            level = [chance[way][name] for way, name in groups]
            handles.append(
                ax.hlines(
                    level, middle - WIDE / 2, middle + WIDE / 2, color=style.GREY, linewidth=1.2, zorder=4
                )
            )
        _label_groups(ax, middle, [name for _, name in groups])
        ax.set_ylim(0, 100)
        ax.set_ylabel("recall, % (line: 95 % by image)")
        style.legend_above(ax, handles, names)
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


def _curves_alt(report: dict[str, Any]) -> str:
    ks = report["runs"][0]["recall_curve"]["k"]
    shown = [n for n, k in enumerate(ks) if k in (1, 10, 100)]
    sentences = [f"Recall@K for K from {ks[0]} to {ks[-1]}, beside chance."]
    for run in report["runs"]:
        curves = {arrow: run["recall_curve"][way]["recall"] for way, arrow in ARROWS.items()}
        both = (
            f"{arrow} {', '.join(f'{recall[n]:.1f} % at K = {ks[n]}' for n in shown)}"
            for arrow, recall in curves.items()
        )
        sentences.append(f"{run['name']}: {'; '.join(both)}.")
    return " ".join(sentences)


@figure("recall-curves", section="curves", alt=_curves_alt, of="report")
def recall_curves(report: dict[str, Any], figure: Figure | SubFigure | None = None) -> list[Axes]:
    """Recall@K for K from 1 to 100, both ways.

    Go right to look further down the list of answers: the line is the share of queries that have met a right one by
    then. The band is the 95 % interval over images for each K. K is logarithmic, so that the first places, which
    matter most, have room.

    Args:
        report: of `pairjepa.apps.report.collect`.
        figure: where to draw, with its layout; None makes one.
    """
    runs = report["runs"]
    with rc_context(style.STYLE):
        figure = figure if figure is not None else style.new_figure(style.COLUMN, 3.9 + 0.15 * len(runs))
        axes = figure.subplots(2, 1, sharex=True).tolist()
        for ax, (way, arrow) in zip(axes, ARROWS.items(), strict=True):
            lines = []
            for number, run in enumerate(runs):
                look, ks, curve = style.series(number), run["recall_curve"]["k"], run["recall_curve"][way]
                ax.fill_between(ks, curve["low"], curve["high"], color=look.color, alpha=0.2, linewidth=0)
                lines += ax.plot(ks, curve["recall"], color=look.color, linestyle=look.line)
            lines += ax.plot(ks, curve["chance"], color=style.GREY, linestyle=":")
            ax.set_ylim(0, 101)
            ax.set_ylabel(f"{arrow} recall@K, %")
        style.legend_above(axes[0], lines, [*(style.legend_name(run["name"]) for run in runs), "chance"])
        axes[1].set_xscale("log")
        axes[1].xaxis.set_major_locator(FixedLocator(K_TICKS))
        axes[1].xaxis.set_major_formatter(FixedFormatter([str(k) for k in K_TICKS]))
        axes[1].xaxis.set_minor_locator(NullLocator())
        axes[1].set_xlim(1, ks[-1])
        axes[1].set_xlabel("K")
    return axes


def _partial_alt(run: dict[str, Any]) -> str:
    partial = run["evaluation"]["partial"]
    ratio = "0.6" if "0.6" in partial else next(iter(partial))
    found = partial[ratio]
    parts = [f"{found['R@1']:.1f} % with the image"]
    for key, name in (("shuffled", "with another image"), ("text_only", "of a model without images")):
        if found.get(key):
            parts.append(f"{found[key]['R@1']:.1f} % {name}")
    return (
        f"R@1 of finding a caption from its image and a part of its words, by the share that is hidden. "
        f"At {100 * float(ratio):.0f} % hidden: {', '.join(parts)}."
    )


@figure(
    "partial-recall", section="partial", alt=_partial_alt, needs=lambda run: run["evaluation"].get("partial")
)
def partial_recall(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """R@1 of a caption's own target from image and partly hidden caption.

    The query is an image and its caption with a part of the words hidden; the answer is the whole caption. What lies
    between the solid line and the dashed one is what the right image adds over a wrong one. Where a model that was
    trained without images is as good, the words that are left say it all. Bars are 95 % intervals over images.

    Args:
        run: one of the report's, of a masked approach; of another one the axes say that there is nothing to show.
        ax: where to draw; None makes a figure.
    """
    partial = run["evaluation"].get("partial")
    with style.drawing(ax) as ax:
        if not partial:
            style.say_on(ax, "No partial queries: this run sees no part of a caption.")
            return ax
        for key, name, color, line, marker in (
            (None, "with the image", style.BLUE, "-", "o"),
            ("text_only", "trained without images", style.GREEN, "-.", "^"),
            ("shuffled", "with another image", style.VERMILION, "--", "s"),
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
