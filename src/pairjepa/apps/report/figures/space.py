"""How the two sides lie in the shared space."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from pairjepa.apps.report.figures import style
from pairjepa.apps.report.figures.registry import figure
from pairjepa.metrics.verdicts import number, percent

MATCHED, RANDOM = style.SERIES[0], style.SERIES[1]


def _cosine_alt(run: dict[str, Any]) -> str:
    cosine = run["evaluation"]["cosine"]
    matched, random = cosine["matched"], cosine["random"]
    text = f"Cosines of matched pairs: mean {number(matched['mean'])} ± {matched['sd']:.2f}"
    if random is None:
        return f"{text}. There are no random pairs: every caption is right for every image."
    return (
        f"{text}; of random pairs: {number(random['mean'])} ± {random['sd']:.2f}. A matched pair has the higher "
        f"cosine with chance {cosine['auc']:.3f} (AUC); the distributions overlap by {percent(cosine['overlap'])}."
    )


@figure("cosine-distribution", section="cosines", alt=_cosine_alt, needs=lambda run: run["cosine"])
def cosine_distribution(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """Cosines of matched and of random pairs.

    A cosine is 1 for the same direction and 0 for unrelated ones. The further the matched pairs lie right of the random
    ones, the easier a search; a high matched cosine means nothing while random pairs are just as high.

    Args:
        run: one of the report's.
        ax: where to draw; None makes a figure.
    """
    cosine, shown = run["evaluation"]["cosine"], run["cosine"]
    with style.drawing(ax) as ax:
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
                label=f"{kind}: {number(mean)} ± {number(sd)}",
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


def _margin_alt(run: dict[str, Any]) -> str:
    margin = run["margin"]
    wins = sum(own > other for own, other in zip(margin["own"], margin["other"], strict=True))
    return (
        f"Cosine of each of {len(margin['own']):,} images' predictions with its best own caption and with the best "
        f"caption of another image: its own is nearer for {percent(wins / len(margin['own']))}."
    )


@figure("prediction-margin", section="cosines", alt=_margin_alt, needs=lambda run: run["margin"])
def prediction_margin(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """Cosine of each image with its best own caption, against the best of another image.

    Each dot is an image: above the diagonal its own caption lies closer than every caption of another image, so that it
    is found first; just below it are near misses.

    Args:
        run: one of the report's.
        ax: where to draw; None makes a figure.
    """
    margin = run["margin"]
    with style.drawing(ax, style.COLUMN) as ax:
        if not margin or not margin["own"]:
            style.say_on(ax, "No margins: the split has no other image.")
            return ax
        own, other = np.array(margin["own"]), np.array(margin["other"])
        right = own > other
        for chosen, look, name in (
            (right, style.SERIES[0], "own caption first"),
            (~right, style.SERIES[1], "another image's first"),
        ):
            ax.scatter(
                other[chosen],
                own[chosen],
                s=style.point_size(len(own)),
                marker=look.marker,
                color=look.color,
                alpha=0.5,
                linewidths=0,
                label=f"{name}: {percent(chosen.mean())}",
            )
        low, high = min(own.min(), other.min()), max(own.max(), other.max())
        room = 0.05 * max(high - low, 0.1)
        ends = (low - room, high + room)
        ax.plot(ends, ends, color=style.INK, linewidth=0.8)
        ax.set(xlim=ends, ylim=ends, aspect="equal")
        ax.set_xlabel("cosine with the best caption of another image")
        ax.set_ylabel("cosine with its best own caption")
        legend = ax.legend(loc="upper left", markerscale=2, handletextpad=0.2)
        for handle in legend.legend_handles:
            handle.set_alpha(1)  # type: ignore[union-attr]
    return ax


def _spectrum_alt(run: dict[str, Any]) -> str:
    geometry = run["evaluation"]["geometry"]
    rank = geometry["effective_rank"]
    return (
        f"Singular values of the centred predictions and targets, falling. The effective rank is "
        f"{rank['image']:.0f} for predictions and {rank['text']:.0f} for targets, in {geometry['dim']} dimensions."
    )


@figure("spectrum", section="geometry", alt=_spectrum_alt, needs=lambda run: run["geometry"]["spectrum"])
def spectrum(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """Singular values of both sides' centred rows, as shares of the greatest.

    A healthy spectrum falls slowly and reaches far to the right: many directions are in use. One that falls at once is
    collapsing. The mark is the effective rank.

    Args:
        run: one of the report's.
        ax: where to draw; None makes a figure.
    """
    spectra, rank = run["geometry"]["spectrum"], run["evaluation"]["geometry"]["effective_rank"]
    with style.drawing(ax) as ax:
        drawn = False
        for side, key, look, tint in (
            ("prediction", "image", style.SERIES[0], style.PREDICTION),
            ("target", "text", style.SERIES[1], style.TARGET),
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
            style.say_on(ax, "No spectrum: all rows of each side are one point. The space has collapsed.")
            return ax
        ax.set_yscale("log")
        # what float32 leaves of a direction that is not used says nothing
        ax.set_ylim(max(ax.get_ylim()[0], 1e-4), 1.3)
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_xlim(left=0)
        ax.set_xlabel("direction (mark: the effective rank)")
        ax.set_ylabel("singular value / the greatest")
        ax.legend(loc="upper right")
    return ax


def _hubness_alt(run: dict[str, Any]) -> str:
    sentences = []
    for way, hubs in run["geometry"]["hubness"].items():
        arrow, gallery = (
            ("Image to text", "captions") if way == "image_to_text" else ("Text to image", "images")
        )
        even, skewness = hubs.get("even"), hubs["skewness"]
        drawn = f" ({percent(even['share_for_half'])} if they were drawn at random)" if even else ""
        sentences.append(
            f"{arrow}: {percent(hubs['share_for_half'])} of the {gallery} fill half of the places in the top "
            f"{hubs['k']}{drawn}, {percent(hubs['never'])} stand in none "
            f"(skewness {'unknown' if skewness is None else number(skewness, 1)})."
        )
    return " ".join(sentences)


@figure("hubness", section="geometry", alt=_hubness_alt, needs=lambda run: run["geometry"]["hubness"])
def hubness(run: dict[str, Any], ax: Axes | None = None) -> Axes:
    """How often the items of each gallery stand in a top 10.

    A long tail to the right are hubs, items that come up for everything (Radovanović et al. 2010); what the lines lose
    at once at the left are items that no query ever finds.

    Args:
        run: one of the report's.
        ax: where to draw; None makes a figure.
    """
    found = run["geometry"]["hubness"] or {}
    with style.drawing(ax) as ax:
        for nth, (way, gallery) in enumerate((("image_to_text", "captions"), ("text_to_image", "images"))):
            hubs = found.get(way)
            if not hubs:
                continue
            look, counts = style.series(nth), np.array(hubs["counts"])
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
            style.say_on(ax, "Hubness was not measured.")
            return ax
        k = next(iter(found.values()))["k"]
        ax.set_xscale("symlog", linthresh=10)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlim(left=0)
        ax.set_ylim(0, 130)
        ax.set_yticks([0, 25, 50, 75, 100])
        ax.set_xlabel(f"times in a top {k}, at least")
        ax.set_ylabel("share of the gallery, %")
        ax.legend(loc="upper right")
    return ax
