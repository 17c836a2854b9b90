"""What was measured while a run was trained."""

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from pairjepa.apps.report.figures import style
from pairjepa.apps.report.figures.registry import figure
from pairjepa.config.settings import RunConfig, starts_as_pair
from pairjepa.metrics import verdicts

PANELS: list[tuple[str, list[tuple[str, str]]]] = [
    ("dev recall, %", [("image_to_text_R@1", "image → text R@1"), ("text_to_image_R@1", "text → image R@1")]),
    ("rsum", [("rsum", "dev")]),
    ("cosine", [("matched", "matched"), ("random", "random")]),
    ("alignment", [("alignment", "E‖x − y‖²")]),
    ("uniformity", [("uniformity_prediction", "prediction"), ("uniformity_target", "target")]),
    ("effective rank", [("effective_rank_prediction", "prediction"), ("effective_rank_target", "target")]),
    ("modality gap", [("modality_gap", "distance of the means")]),
]
"""Title, and what of `dev` is drawn under which name; the loss is the last panel."""
SIDES = {"prediction": style.PREDICTION, "target": style.TARGET}


def _alt(run: dict[str, Any]) -> str:
    training = run["training"]
    epochs, dev, best = training["epoch"], training["dev"], training["best_epoch"]
    at = epochs.index(best) if best in epochs else len(epochs) - 1
    chosen = f"epoch {best}"
    if not best:
        config = RunConfig.from_dict(run["config"])
        pair = "pretrained pair as it is" if config.training.start is None else "weights it started from"
        chosen += f", the {pair if starts_as_pair(config.model) else 'closed formula'},"
    changes = [
        f"{name} from {verdicts.number(dev[key][0], places)} to {verdicts.number(dev[key][at], places)}"
        for key, name, places in (
            ("rsum", "dev rsum", 1),
            ("matched", "matched cosine", 2),
            ("random", "random cosine", 2),
            ("effective_rank_prediction", "effective rank of the predictions", 0),
            ("modality_gap", "modality gap", 2),
        )
        if key in dev and dev[key][0] is not None and dev[key][at] is not None
    ]
    count = f"{len(epochs)} epoch" + ("s" if len(epochs) > 1 else "")
    return f"Training over {count}; {chosen} was chosen. From epoch {epochs[0]} to {epochs[at]}: {'; '.join(changes)}."


@figure(
    "training",
    section="training",
    alt=_alt,
    needs=lambda run: run["training"] and len(run["training"]["epoch"]) > 1,
)
def training(run: dict[str, Any], figure: Figure | SubFigure | None = None) -> list[Axes]:
    """What was measured after each epoch.

    All on dev but the loss, which is that of the training batches; rsum also of the train probe, where it was measured.
    The upright line is the epoch that was chosen, the best by dev recall, never by loss. Watch for three things: the
    train probe's rsum running away from dev (overfitting), the random cosine rising with the matched one, and an
    effective rank that falls to a few dimensions (collapse).

    Args:
        run: one of the report's.
        figure: where to draw, with its layout; None makes one. It is `axes[0].figure`.

    Returns:
        The axes in the order of `PANELS`, and that of the loss.
    """
    measured = run["training"]
    with rc_context(style.STYLE):
        figure = figure if figure is not None else style.new_figure(style.COLUMN, 5.4)
        if not measured or not measured["epoch"]:
            ax = figure.add_subplot()
            style.say_on(ax, "No epoch of the training was measured.")
            return [ax]
        grid = figure.subplots(4, 2, sharex=True)
        axes = [ax for row in grid for ax in row]
        epochs = measured["epoch"]
        for ax, (title, lines) in zip(axes, PANELS, strict=False):
            ax.set_title(title)
            for number, (key, name) in enumerate(lines):
                _draw(ax, epochs, measured["dev"].get(key), number, name, SIDES.get(name))
        _draw(axes[1], epochs, measured["train"].get("rsum"), 1, "train probe")
        ranks, possible = axes[5], measured["possible_rank"]
        if ranks.lines and possible < 2 * ranks.get_ylim()[1]:  # near enough to be shown
            ranks.axhline(possible, color=style.GREY, linewidth=0.8, linestyle="--", label="possible")
        _draw_loss(axes[7], measured)
        for ax in axes:
            if ax.lines:
                ax.axvline(measured["best_epoch"], color=style.INK, linewidth=0.7, linestyle=":")
                if len(ax.get_legend_handles_labels()[0]) > 1:
                    legend = ax.legend(fontsize=6, handlelength=1.6, frameon=True, edgecolor="none")
                    legend.set_zorder(3)  # over the line of the chosen epoch
            else:
                style.say_on(ax, "not measured")
        for ax in axes[:2]:
            ax.set_ylim(bottom=0)
        for ax in grid[-1]:
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        axes[0].set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    return axes


def _draw(
    ax: Axes,
    epochs: list[int],
    values: list[float | None] | None,
    number: int,
    name: str,
    color: str | None = None,
) -> None:
    """One line; epochs without a number are passed over."""
    at = [(epoch, value) for epoch, value in zip(epochs, values or [], strict=False) if value is not None]
    if at:
        look = style.series(number)
        ax.plot(
            *np.array(at).T,
            color=color or look.color,
            linestyle=look.line,
            marker=look.marker if len(at) < 16 else "",
            label=name,
        )


def _draw_loss(ax: Axes, measured: dict[str, Any]) -> None:
    """The loss, and its terms where it is more than one of them; terms are not weighted."""
    ax.set_title("loss")
    _draw(ax, measured["epoch"], measured["loss"], 0, "loss")
    if len(measured["terms"]) > 1:
        for number, (name, values) in enumerate(measured["terms"].items(), start=1):
            _draw(ax, measured["epoch"], values, number % len(style.SERIES), name)
