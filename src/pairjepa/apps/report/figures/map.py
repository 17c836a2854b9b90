"""Maps of the space, on paper: the page has one that can be searched."""

import textwrap
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from pairjepa.apps.report.figures import style
from pairjepa.apps.report.figures.registry import figure

METHODS = {"tsne": "t-SNE", "pca": "PCA", "umap": "UMAP"}
TINTS = [*(look.color for look in style.SERIES), style.YELLOW, style.INK]
"""Of clusters; then they begin again."""
MANY = 1_000  # points, from which on they are drawn as pixels


def map_alt(run: dict[str, Any]) -> str:
    """What a map of the space shows."""
    shown = run["projection"]
    targets, trust = sum(shown["kind"]), shown["trustworthiness"]
    named = [", ".join(c["words"]) for c in sorted(shown["clusters"], key=lambda c: -c["size"])[:3]]
    words = f" The largest of its {len(shown['clusters'])} clusters: {'; '.join(named)}." if named else ""
    settings = "; ".join(f"{key}: {value}" for key, value in shown["settings"].items())
    quality = f", trustworthiness {trust:.2f} of 1" if trust is not None else ""
    return (
        f"Map by {METHODS[shown['method']]} of {len(shown['kind']) - targets:,} predictions and "
        f"{targets:,} targets{quality} ({settings}).{words}"
    )


@figure("map-by-modality", section=None, alt=map_alt, needs=lambda run: run["projection"])
def map_by_modality(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """The map of predictions and targets together, with a line from each prediction to its targets.

    Args:
        run: one of the report's.
        ax: where to draw; None makes a figure.
    """
    return _map(run, "modality", ax)


@figure(
    "map-by-cluster",
    section=None,
    alt=map_alt,
    needs=lambda run: run["projection"] and run["projection"]["clusters"],
)
def map_by_cluster(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """The same by cluster, each with the words that name it.

    Args:
        run: one of the report's.
        ax: where to draw; None makes a figure.
    """
    return _map(run, "cluster", ax)


def _map(run: dict[str, Any], color: Literal["modality", "cluster"], ax: Axes | None) -> Axes:
    shown = run["projection"]
    with style.drawing(ax, style.COLUMN + 0.6) as ax:
        if shown is None:
            style.say_on(ax, "No map of the space: there are too few points, or they are one.")
            return ax
        points = np.column_stack([shown["x"], shown["y"]])
        kind, link = np.array(shown["kind"]), np.array(shown["link"])
        linked = np.flatnonzero(link >= 0)
        lines = np.stack([points[linked], points[link[linked]]], axis=1)
        raster = len(points) > MANY
        ax.add_collection(
            LineCollection(
                list(lines), colors=style.GREY, linewidths=0.3, alpha=0.15, zorder=0, rasterized=raster
            )
        )
        markers = ((0, "prediction", "o", style.PREDICTION, 1.6), (1, "target", "^", style.TARGET, 1.0))
        clusters = np.array(shown["cluster"])
        for side, name, marker, tint, scale in reversed(markers):  # the fewer predictions on top
            here = kind == side
            ax.scatter(
                points[here, 0],
                points[here, 1],
                s=scale * style.point_size(len(points)),
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
                handle.set_color(style.INK)  # type: ignore[union-attr]
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_aspect("equal", adjustable="datalim")
        ax.spines[["left", "bottom"]].set_visible(False)  # the axes of a map have no meaning
        ax.set_xlabel(_quality(shown), fontsize=6)
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


def _tint(cluster: int) -> str:
    return TINTS[cluster % len(TINTS)]


def _quality(shown: dict[str, Any]) -> str:
    """How the map was made, and what is to be known before anyone reads it."""
    settings, trust = shown["settings"], shown["trustworthiness"]
    made = [settings["method"]]
    made += [f"{key} {settings[key]}" for key in ("perplexity", "neighbours", "seed") if key in settings]
    made += [f"trustworthiness {trust:.2f}" if trust is not None else "trustworthiness not known"]
    return "\n".join(textwrap.wrap("; ".join(made), 76) + textwrap.wrap(shown["note"] or "", 76))
