"""How the two sides lie in the shared space."""

import textwrap
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import FuncFormatter, NullFormatter

from pairjepa.apps.report.figures.style import (
    COLUMN,
    GREY,
    INK,
    PREDICTION,
    SERIES,
    TARGET,
    YELLOW,
    drawing,
    percent,
    say_on,
    series,
)
from pairjepa.util.errors import unknown

MATCHED, RANDOM = SERIES[0], SERIES[1]
TINTS = [*(look.color for look in SERIES), YELLOW, INK]  # of clusters; then they begin again
MANY = 1_000  # points, from which on they are drawn smaller


def cosine_distribution(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """Cosines of matched and of random pairs, with their means, AUC and overlap.

    Args:
        run: one of the report's.
        ax: where to draw; None makes a figure.
    """
    cosine, shown = run["evaluation"]["cosine"], run["cosine"]
    with drawing(ax) as ax:
        for kind, look in (("matched", MATCHED), ("random", RANDOM)):
            if not shown[kind] or not cosine[kind]:
                continue
            mean, sd = cosine[kind]["mean"], cosine[kind]["sd"]
            ax.stairs(shown[kind], shown["edges"], fill=True, color=look.color, alpha=0.25)
            ax.stairs(
                shown[kind],
                shown["edges"],
                color=look.color,
                linestyle=look.line,
                linewidth=1.2,
                label=f"{kind}: {_plain(mean)} ± {_plain(sd)}",
            )
            ax.vlines(mean, 0, max(shown[kind]), color=look.color, linestyle=look.line, linewidth=0.8)
        if cosine["random"] is None:
            note = "no random pairs:\nevery caption is right"
        else:
            note = f"AUC {cosine['auc']:.3f}\noverlap {percent(cosine['overlap'])}"
        ax.set_ylim(0, 1.3 * ax.get_ylim()[1])  # room for the legend
        ax.text(0.98, 0.97, note, transform=ax.transAxes, ha="right", va="top", fontsize=7)
        ax.set_xlabel("cosine of image and caption (mean ± sd)")
        ax.set_ylabel("density")
        ax.set_yticks([])
        ax.legend(loc="upper left")
    return ax


def prediction_margin(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """Each image's prediction: cosine with its best own target against that with the best target of another image.

    Above the diagonal the image finds a caption of its own first.

    Args:
        run: one of the report's.
        ax: where to draw; None makes a figure.
    """
    margin = run["margin"]
    with drawing(ax, COLUMN, COLUMN) as ax:
        if not margin or not margin["own"]:
            say_on(ax, "No margins: the split has no other image.")
            return ax
        own, other = np.array(margin["own"]), np.array(margin["other"])
        right = own > other
        for chosen, look, name in (
            (right, SERIES[0], "own caption first"),
            (~right, SERIES[1], "another image's first"),
        ):
            ax.scatter(
                other[chosen],
                own[chosen],
                s=_size(len(own)),
                marker=look.marker,
                color=look.color,
                alpha=0.5,
                linewidths=0,
                rasterized=len(own) > MANY,
                label=f"{name}: {percent(chosen.mean())}",
            )
        low, high = min(own.min(), other.min()), max(own.max(), other.max())
        room = 0.05 * max(high - low, 0.1)
        ends = (low - room, high + room)
        ax.plot(ends, ends, color=INK, linewidth=0.8)
        ax.set(xlim=ends, ylim=ends, aspect="equal")
        ax.set_xlabel("cosine with the best caption of another image")
        ax.set_ylabel("cosine with its best own caption")
        legend = ax.legend(loc="upper left", markerscale=2, handletextpad=0.2)
        for handle in legend.legend_handles:
            handle.set_alpha(1)  # type: ignore[union-attr]
    return ax


def projection(
    run: dict[str, Any], color: Literal["modality", "cluster"] = "modality", ax: Axes | None = None
) -> Axes:
    """The map of predictions and targets together, with a line from each prediction to its targets.

    Args:
        run: one of the report's.
        color: by `modality` (prediction or target), or by `cluster`, each with the words that name it.
        ax: where to draw; None makes a figure.

    Raises:
        UsageError: `color` is neither.
    """
    if color not in ("modality", "cluster"):
        raise unknown("color", color, ("modality", "cluster"))
    shown = run["projection"]
    with drawing(ax, COLUMN, COLUMN + 0.6) as ax:
        if shown is None:
            say_on(ax, "No map of the space: there are too few points, or they are one.")
            return ax
        points = np.column_stack([shown["x"], shown["y"]])
        kind, link = np.array(shown["kind"]), np.array(shown["link"])
        linked = np.flatnonzero(link >= 0)
        lines = np.stack([points[linked], points[link[linked]]], axis=1)
        raster = len(points) > MANY
        ax.add_collection(
            LineCollection(list(lines), colors=GREY, linewidths=0.3, alpha=0.15, zorder=0, rasterized=raster)
        )
        markers = ((0, "prediction", "o", PREDICTION, 1.6), (1, "target", "^", TARGET, 1.0))
        clusters = np.array(shown["cluster"])
        for side, name, marker, tint, scale in reversed(markers):  # the fewer predictions on top
            here = kind == side
            ax.scatter(
                points[here, 0],
                points[here, 1],
                s=scale * _size(len(points)),
                marker=marker,
                c=tint if color == "modality" else [_tint(n) for n in clusters[here]],
                alpha=0.6,
                linewidths=0,
                rasterized=raster,
                label=f"{name}s ({here.sum():,})",
            )
        if color == "cluster":
            there = [n for n in range(len(shown["clusters"])) if (clusters == n).any()]
            places = [np.median(points[clusters == n], axis=0) for n in there]
            for n, (x, y) in zip(there, _apart(np.array(places), np.ptp(points, axis=0)), strict=True):
                cluster = shown["clusters"][n]
                ax.text(
                        x,
                        y,
                        "\n".join(cluster["words"]),
                        ha="center",
                        va="center",
                        fontsize=6,
                        linespacing=0.95,
                        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": _tint(n),
                              "alpha": 0.85, "linewidth": 0.8},
                    )  # fmt: skip
        legend = ax.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, markerscale=2.5, handletextpad=0.1
        )
        for handle in legend.legend_handles:
            handle.set_alpha(1)  # type: ignore[union-attr]
            if color == "cluster":
                handle.set_color(INK)  # type: ignore[union-attr]
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_aspect("equal", adjustable="datalim")
        ax.spines[["left", "bottom"]].set_visible(False)  # the axes of a map have no meaning
        ax.set_xlabel(_quality(shown), fontsize=6)
    return ax


def spectrum(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """Singular values of both sides' centred rows, as shares of the greatest, and their effective ranks.

    A space that uses its directions falls slowly; one that has collapsed falls at once.

    Args:
        run: one of the report's.
        ax: where to draw; None makes a figure.
    """
    spectra, rank = run["geometry"]["spectrum"], run["evaluation"]["geometry"]["effective_rank"]
    with drawing(ax) as ax:
        drawn = False
        for side, key, look, tint in (
            ("prediction", "image", SERIES[0], PREDICTION),
            ("target", "text", SERIES[1], TARGET),
        ):
            values = np.array(spectra[side]) if spectra else np.zeros(0)
            if not len(values) or values[0] < 1e-6:
                continue
            drawn = True
            ax.plot(
                np.arange(1, len(values) + 1),
                values / values[0],
                color=tint,
                linestyle=look.line,
                marker=look.marker if len(values) < 10 else "",
                label=f"{side}s: effective rank {rank[key]:.0f}",
            )
            at = min(max(rank[key], 1), len(values))
            height = float(np.interp(at, np.arange(1, len(values) + 1), values / values[0]))
            ax.plot(at, height, look.marker, color=tint, markersize=6)
        if not drawn:
            say_on(ax, "No spectrum: all rows of each side are one point. The space has collapsed.")
            return ax
        ax.set_yscale("log")
        # what float32 leaves of a direction that is not used says nothing
        ax.set_ylim(max(ax.get_ylim()[0], 1e-4), 1.3)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_xlim(left=0)
        ax.set_xlabel("direction (mark: the effective rank)")
        ax.set_ylabel("singular value / the greatest")
        ax.legend(loc="upper right")
    return ax


def hubness(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """How often the items of each gallery stand in a top 10: a long tail are hubs (Radovanović et al. 2010).

    Args:
        run: one of the report's.
        ax: where to draw; None makes a figure.
    """
    found = run["geometry"]["hubness"] or {}
    with drawing(ax) as ax:
        for number, (way, gallery) in enumerate((("image_to_text", "captions"), ("text_to_image", "images"))):
            hubs = found.get(way)
            if not hubs:
                continue
            look, counts = series(number), np.array(hubs["counts"])
            # the share of the items that stand in at least so many: a tail that can be read without bins
            least = counts[::-1].cumsum()[::-1] / counts.sum()
            ax.plot(
                np.arange(len(least)),
                100 * least,
                color=look.color,
                linestyle=look.line,
                drawstyle="steps-mid",
                label=f"{gallery}: {percent(hubs['share_for_half'])} fill half, {percent(hubs['never'])} never",
            )
        if not ax.lines:
            say_on(ax, "Hubness was not measured.")
            return ax
        k = next(iter(found.values()))["k"]
        ax.set_xscale("symlog", linthresh=10)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set_xlim(left=0)
        ax.set_ylim(0, 130)
        ax.set_yticks([0, 25, 50, 75, 100])
        ax.set_xlabel(f"times in a top {k}, at least")
        ax.set_ylabel("share of the gallery, %")
        ax.legend(loc="upper right")
    return ax


def _apart(places: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """Centres of labels, moved up and down until no two lie on each other."""
    width, height = 0.25 * extent[0], 0.13 * extent[1]
    places = places.copy()
    for _ in range(50):
        for a in range(len(places)):
            for b in range(a):
                across, up = places[a] - places[b]
                if abs(across) < width and abs(up) < height:
                    push = (height - abs(up)) / 2 * (1 if up >= 0 else -1)
                    places[a, 1] += push
                    places[b, 1] -= push
    return places


def _size(points: int) -> float:
    """Area of a marker, in square points."""
    return 4.0 if points > MANY else 14.0


def _tint(cluster: int) -> str:
    return TINTS[cluster % len(TINTS)]


def _plain(value: float) -> str:
    """Two places, and no minus before a zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def _quality(shown: dict[str, Any]) -> str:
    """How the map was made, and what is to be known before anyone reads it."""
    settings, trust = shown["settings"], shown["trustworthiness"]
    made = [settings["method"]]
    made += [f"{key} {settings[key]}" for key in ("perplexity", "neighbours", "seed") if key in settings]
    made += [f"trustworthiness {trust:.2f}" if trust is not None else "trustworthiness not known"]
    return "\n".join(textwrap.wrap("; ".join(made), 76) + textwrap.wrap(shown["note"] or "", 76))
