"""How often labels are right: accuracy and recall with intervals, and what was taken for what.

Axes: `images`; `labels` twice in a confusion matrix, the right ones by row and the given ones by column.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from pairjepa.evaluation.tables import aligned
from pairjepa.util.words import counted


def wilson(hits: int, trials: int) -> list[float]:
    """The 95 % score interval of a share, in percent (Wilson, Probable Inference, 1927).

    Each image is one independent trial, so no resampling is needed; and unlike the percentile bootstrap it does not
    shrink to a point where all images are right or all are wrong, as in classes of few images they often are.

    Args:
        hits: how many trials are right.
        trials: how many there are, at least one.
    """
    from scipy.stats import binomtest

    return [100 * float(bound) for bound in binomtest(hits, trials).proportion_ci(method="wilson")]


def confusion(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> Int64[np.ndarray, "labels labels"]:
    """How many images of each right label (row) were given each label (column), from a pair of the two an image."""
    place = {label: at for at, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for right, given in pairs:
        counts[place[right], place[given]] += 1
    return counts


def measure(counts: Int64[np.ndarray, "labels labels"], labels: Sequence[str]) -> dict[str, Any]:
    """What a confusion matrix says, JSON-ready; shares are percent.

    Args:
        counts: see `confusion`.
        labels: of its rows and columns.

    Returns:
        `images`, `accuracy` with `accuracy_ci`; `largest`, the accuracy of always giving the commonest label;
        `mean_recall` over the labels that have images; `recall`, for each label `images`, `recall` and `recall_ci`
        (None where it has no image); and `confusion`.
    """
    of_label, hits = counts.sum(axis=1), np.diag(counts)
    total = int(of_label.sum())
    there = of_label > 0
    recall = {
        label: {
            "images": int(count),
            "recall": 100 * int(hit) / int(count) if count else None,
            "recall_ci": wilson(int(hit), int(count)) if count else None,
        }
        for label, count, hit in zip(labels, of_label, hits, strict=True)
    }
    return {
        "images": total,
        "accuracy": 100 * int(hits.sum()) / total,
        "accuracy_ci": wilson(int(hits.sum()), total),
        "largest": 100 * int(of_label.max()) / total,
        "mean_recall": float(100 * (hits[there] / of_label[there]).mean()),
        "recall": recall,
        "confusion": counts.tolist(),
    }


def table(measured: dict[str, Any]) -> str:
    """The result of `measure` for people."""
    labels = list(measured["recall"])
    rows = [["right label (down), given label (across)", *labels, "images", "recall", "95 % interval"]]
    for label, counts in zip(labels, measured["confusion"], strict=True):
        one = measured["recall"][label]
        share = [f"{one['recall']:.1f}", _interval(one["recall_ci"])] if one["images"] else ["-", "-"]
        rows.append([label, *(f"{count:,}" for count in counts), f"{one['images']:,}", *share])
    said = (
        f"accuracy {measured['accuracy']:.1f} % (95 % interval {_interval(measured['accuracy_ci'])}) of "
        f"{counted(measured['images'], 'image')}; mean recall of the labels {measured['mean_recall']:.1f} %; "
        f"always the commonest label: {measured['largest']:.1f} %"
    )
    return "\n".join([*aligned(rows), "", said])


def matrix_rows(measured: dict[str, Any]) -> list[list[Any]]:
    """The confusion matrix as rows of a CSV file, its recalls in the last column."""
    labels = list(measured["recall"])
    rows: list[list[Any]] = [["truth", *labels, "recall"]]
    for label, counts in zip(labels, measured["confusion"], strict=True):
        recall = measured["recall"][label]["recall"]
        rows.append([label, *counts, "" if recall is None else f"{recall:.2f}"])
    return rows


def _interval(bounds: list[float]) -> str:
    return f"{bounds[0]:.1f}–{bounds[1]:.1f}"
