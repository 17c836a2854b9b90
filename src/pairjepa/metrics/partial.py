"""Queries of an image and a partly masked caption: is the whole caption found among all captions of the split?

Axes: `captions` = queries and gallery alike; query `i` is to find caption `i`, and that one alone.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pairjepa.metrics.bootstrap import difference, rank_samples, with_intervals
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import rank_metrics, ranks

Queries = tuple[Float[np.ndarray, "captions dim"], Float[np.ndarray, "captions dim"]]
"""Predictions, and the targets that they are to find."""


def evaluate_partial(
    seen: Queries,
    shuffled: Queries | None,
    text_only: Queries | None,
    owner: Int[np.ndarray, " captions"],
    images: int,
) -> dict[str, Any]:
    """Recalls with the right image and without it, and what the image adds, with intervals by image; JSON-ready.

    Args:
        seen: of the model, each query with its own image.
        shuffled: the same with the images exchanged among the queries; None where there is one image only.
        text_only: of a model that was trained without images; None if there is none.
        owner: row of each caption's image.
        images: number of images.

    Returns:
        `R@1`, `R@1_ci` …, `median_rank`, `mrr` with their intervals; the same under `shuffled` and `text_only`;
        and under `over_shuffled` and `over_text_only` the differences, `{"R@1": {"difference", "ci"}, …}`.
    """
    own, own_samples = _measured(seen, owner, images)
    result = with_intervals(own, own_samples)
    for name, queries in (("shuffled", shuffled), ("text_only", text_only)):
        result[name] = result[f"over_{name}"] = None
        if queries is not None:
            other, other_samples = _measured(queries, owner, images)
            result[name] = with_intervals(other, other_samples)
            result[f"over_{name}"] = difference(own, other, own_samples, other_samples)
    return result


def shuffled_images(images: int, seed: int = 0) -> Int[np.ndarray, " images"]:
    """For each image another one: one random cycle through all of them (Sattolo 1986)."""
    order = np.random.default_rng(seed).permutation(images)
    other = np.empty(images, np.int64)
    other[order] = np.roll(order, 1)
    return other


def _measured(
    queries: Queries, owner: np.ndarray, images: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    rows = np.arange(len(owner))
    found = ranks(*queries, Relevance.from_pairs(rows, rows, len(rows), len(rows)))
    return rank_metrics(found), rank_samples(found, owner, images)
