"""What each figure shows, in one or two sentences with its numbers: for who cannot see it, and for captions."""

from collections.abc import Callable
from typing import Any

from pairjepa.util.errors import unknown

METHODS = {"tsne": "t-SNE", "pca": "PCA", "umap": "UMAP"}
ARROWS = {"image_to_text": "image to text", "text_to_image": "text to image"}


def describe(figure: str, report: dict[str, Any], run: dict[str, Any] | None = None) -> str:
    """What a figure shows.

    Args:
        figure: one of `FIGURES`, the name of its function in `pairjepa.apps.report.figures`.
        report: of `pairjepa.apps.report.collect`.
        run: the one of `report["runs"]` that the figure is of; `recall_bars` and `recall_curves` are of all of them.

    Raises:
        UsageError: there is no such figure.
    """
    if figure not in FIGURES:
        raise unknown("figure", figure, FIGURES)
    return FIGURES[figure](report, run if run is not None else report["runs"][0])


def _recall_bars(report: dict[str, Any], _: dict[str, Any]) -> str:
    sentences = [
        f"Recall on the {report['split']} split ({report['images']:,} images, {report['captions']:,} captions)."
    ]
    for run in report["runs"]:
        found = run["evaluation"]
        both = "; ".join(
            f"{arrow} R@1 {_percent(found[way]['R@1'])}{_interval(found[way].get('R@1_ci'))}, "
            f"R@10 {_percent(found[way]['R@10'])}"
            for way, arrow in ARROWS.items()
        )
        sentences.append(f"{run['name']}: {both}.")
    baselines = report["runs"][0]["evaluation"]["baselines"]
    beside = " and ".join(
        f"{_percent(baselines[key]['image_to_text']['R@1'])} {name}"
        for key, name in (("cca", "for CCA on the same features"), ("chance", "by chance"))
        if baselines.get(key)
    )
    return " ".join(sentences) + (f" R@1 image to text is {beside}." if beside else "")


def _recall_curves(report: dict[str, Any], _: dict[str, Any]) -> str:
    ks = report["runs"][0]["recall_curve"]["k"]
    shown = [n for n, k in enumerate(ks) if k in (1, 10, 100)]
    sentences = [f"Recall@K for K from {ks[0]} to {ks[-1]}, beside chance."]
    for run in report["runs"]:
        both = "; ".join(
            f"{arrow} "
            + ", ".join(f"{_percent(run['recall_curve'][way]['recall'][n])} at K = {ks[n]}" for n in shown)
            for way, arrow in ARROWS.items()
        )
        sentences.append(f"{run['name']}: {both}.")
    return " ".join(sentences)


def _cosine_distribution(_: dict[str, Any], run: dict[str, Any]) -> str:
    cosine = run["evaluation"]["cosine"]
    matched, random = cosine["matched"], cosine["random"]
    text = f"Cosines of matched pairs: mean {_rounded(matched['mean'])} ± {matched['sd']:.2f}"
    if random is None:
        return f"{text}. There are no random pairs: every caption is right for every image."
    return (
        f"{text}; of random pairs: {_rounded(random['mean'])} ± {random['sd']:.2f}. A matched pair has the higher "
        f"cosine with chance {cosine['auc']:.3f} (AUC); the distributions overlap by {_share(cosine['overlap'])}."
    )


def _prediction_margin(_: dict[str, Any], run: dict[str, Any]) -> str:
    margin = run["margin"]
    if not margin or not margin["own"]:
        return "There are no margins: the split has no other image."
    wins = sum(own > other for own, other in zip(margin["own"], margin["other"], strict=True))
    return (
        f"Cosine of each of {len(margin['own']):,} images' predictions with its best own caption and with the best "
        f"caption of another image: its own is nearer for {_share(wins / len(margin['own']))}."
    )


def _projection(_: dict[str, Any], run: dict[str, Any]) -> str:
    shown = run["projection"]
    if shown is None:
        return "There is no map of the space."
    targets = sum(shown["kind"])
    named = [", ".join(c["words"]) for c in sorted(shown["clusters"], key=lambda c: -c["size"])[:3]]
    words = f" The largest of its {len(shown['clusters'])} clusters: {'; '.join(named)}." if named else ""
    trust = shown["trustworthiness"]
    settings = "; ".join(f"{key}: {value}" for key, value in shown["settings"].items())
    quality = f", trustworthiness {trust:.2f} of 1" if trust is not None else ""
    return (
        f"Map by {METHODS[shown['method']]} of {len(shown['kind']) - targets:,} predictions and "
        f"{targets:,} targets{quality} ({settings}).{words}"
    )


def _training(_: dict[str, Any], run: dict[str, Any]) -> str:
    training = run["training"]
    if not training or not training["epoch"]:
        return "No epoch of the training was measured."
    epochs, dev = training["epoch"], training["dev"]
    best = training["best_epoch"]
    at = epochs.index(best) if best in epochs else len(epochs) - 1
    changes = [
        f"{name} from {_rounded(dev[key][0], places)} to {_rounded(dev[key][at], places)}"
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
    return f"Training over {count}; epoch {epochs[at]} was chosen. From the first epoch to it: {'; '.join(changes)}."


def _spectrum(_: dict[str, Any], run: dict[str, Any]) -> str:
    rank = run["evaluation"]["geometry"]["effective_rank"]
    dim = run["evaluation"]["geometry"]["dim"]
    return (
        f"Singular values of the centred predictions and targets, falling. The effective rank is "
        f"{rank['image']:.0f} for predictions and {rank['text']:.0f} for targets, in {dim} dimensions."
    )


def _hubness(_: dict[str, Any], run: dict[str, Any]) -> str:
    sentences = []
    for way, gallery in (("image_to_text", "captions"), ("text_to_image", "images")):
        hubs = (run["geometry"]["hubness"] or {}).get(way)
        if hubs:
            even = hubs.get("even")
            drawn = f" ({_share(even['share_for_half'])} if they were drawn at random)" if even else ""
            sentences.append(
                f"{ARROWS[way].capitalize()}: {_share(hubs['share_for_half'])} of the {gallery} fill half of the "
                f"places in the top {hubs['k']}{drawn}, {_share(hubs['never'])} stand in none "
                f"(skewness {_number(hubs['skewness'])})."
            )
    return " ".join(sentences) or "How often each item is found was not measured."


def _partial_recall(_: dict[str, Any], run: dict[str, Any]) -> str:
    partial = run["evaluation"].get("partial")
    if not partial:
        return "The run sees no part of a caption."
    ratio = "0.6" if "0.6" in partial else next(iter(partial))
    found = partial[ratio]
    parts = [f"{_percent(found['R@1'])} with the image"]
    for key, name in (("shuffled", "with another image"), ("text_only", "of a model without images")):
        if found.get(key):
            parts.append(f"{_percent(found[key]['R@1'])} {name}")
    return (
        f"R@1 of finding a caption from its image and a part of its words, by the share that is hidden. "
        f"At {100 * float(ratio):.0f} % hidden: {', '.join(parts)}."
    )


def _look(_: dict[str, Any], run: dict[str, Any]) -> str:
    if not run["looks"]:
        return "There are no pictures to look at."
    look = run["looks"][0]
    count = f"{len(look['maps'])} text" + ("s" if len(look["maps"]) > 1 else "")
    rows, columns = look["grid"]
    return (
        f"What each of {rows} x {columns} positions of a picture adds to its cosine with {count}. "
        "It is an indication, not an explanation."
    )


FIGURES: dict[str, Callable[[dict[str, Any], dict[str, Any]], str]] = {
    "recall_bars": _recall_bars,
    "recall_curves": _recall_curves,
    "cosine_distribution": _cosine_distribution,
    "prediction_margin": _prediction_margin,
    "projection": _projection,
    "training": _training,
    "spectrum": _spectrum,
    "hubness": _hubness,
    "partial_recall": _partial_recall,
    "look": _look,
}
"""Every figure by the name of its function in `pairjepa.apps.report.figures`."""


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} %"


def _interval(ci: list[float] | None) -> str:
    return f" (95 % interval {ci[0]:.1f} to {ci[1]:.1f})" if ci else ""


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{100 * value:.1f} %"


def _rounded(value: float, places: int = 2) -> str:
    """So many places, and no minus before a zero."""
    return f"{round(value, places) + 0.0:.{places}f}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"
