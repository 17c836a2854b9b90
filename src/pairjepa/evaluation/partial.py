"""Queries of an image and a partly masked caption: is the whole caption found among all captions of the split?

Axes: `captions` = queries and gallery alike; query `i` is to find caption `i`, and that one alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pairjepa.evaluation.bootstrap import DRAWS, Direction, difference, interval, resamples
from pairjepa.evaluation.relevance import Relevance
from pairjepa.evaluation.retrieval import RECALLS, median_rank, mrr, ranks, recall_at
from pairjepa.evaluation.tables import aligned

Queries = tuple[Float[np.ndarray, "captions dim"], Float[np.ndarray, "captions dim"]]
"""Predictions, and the targets that they are to find."""


def evaluate_partial(
    seen: Queries,
    shuffled: Queries | None,
    text_only: Queries | None,
    owner: Int[np.ndarray, " captions"],
    images: int,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Recalls with the right image and without it, and what the image adds, with intervals by image; JSON-ready.

    Args:
        seen: of the model, each query with its own image.
        shuffled: the same with the images exchanged among the queries; None where there is one image only.
        text_only: of a model that was trained without images; None if there is none.
        owner: row of each caption's image.
        images: number of images.
        draws: bootstrap resamples.
        seed: of the resamples.

    Returns:
        `R@1`, `R@1_ci` …, `median_rank`, `mrr` with their intervals; the same under `shuffled` and `text_only`;
        and under `over_shuffled` and `over_text_only` the differences, `{"R@1": {"difference", "ci"}, …}`.
    """
    own, own_samples = _measured(seen, owner, images, draws, seed)
    result = _shown(own, own_samples)
    for name, queries in (("shuffled", shuffled), ("text_only", text_only)):
        result[name] = result[f"over_{name}"] = None
        if queries is not None:
            other, other_samples = _measured(queries, owner, images, draws, seed)
            result[name] = _shown(other, other_samples)
            result[f"over_{name}"] = difference(own, other, own_samples, other_samples)
    return result


def shuffled_images(images: int, seed: int = 0) -> Int[np.ndarray, " images"]:
    """For each image another one: one random cycle through all of them (Sattolo 1986)."""
    order = np.random.default_rng(seed).permutation(images)
    other = np.empty(images, np.int64)
    other[order] = np.roll(order, 1)
    return other


def _measured(
    queries: Queries, owner: np.ndarray, images: int, draws: int, seed: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    rows = np.arange(len(owner))
    found = ranks(*queries, Relevance.from_pairs(rows, rows, len(rows), len(rows)))
    values = {f"R@{k}": recall_at(found, k) for k in RECALLS}
    direction = Direction(found, owner, images)
    parts = [direction.samples(counts) for counts in resamples(images, draws, seed)]
    samples = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return values | {"median_rank": median_rank(found), "mrr": mrr(found)}, samples


def _shown(values: dict[str, float], samples: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        key: item
        for name, value in values.items()
        for key, item in ((name, value), (f"{name}_ci", interval(samples[name])))
    }


def partial_table(partials: Sequence[dict[str, Any]]) -> str:
    """What `evaluate_partial` says for each ratio, in plain text; of several seeds, the mean.

    Args:
        partials: for each seed `{ratio: result}`.
    """
    rows = [
        ["caption hidden", "image + caption", "shuffled image", "text only", "image adds", "over text only"]
    ]
    for ratio in partials[0]:
        seeds = [partial[ratio] for partial in partials]
        recalls = [_mean([_at_1(seed) for seed in seeds])]
        recalls += [_mean([_at_1(seed[name]) for seed in seeds]) for name in ("shuffled", "text_only")]
        gains = []
        for name in ("over_shuffled", "over_text_only"):
            gain = _mean([seed[name]["R@1"]["difference"] if seed[name] else None for seed in seeds])
            only = seeds[0][name]["R@1"]["ci"] if len(seeds) == 1 and seeds[0][name] else None
            gains.append(
                "-"
                if gain is None
                else f"{gain:+.1f}" + (f" ({only[0]:+.1f} to {only[1]:+.1f})" if only else "")
            )
        rows.append([f"{float(ratio):.0%}", *("-" if r is None else f"{r:.1f}" for r in recalls), *gains])
    legend = (
        "R@1 in percent: image and partly hidden caption → that caption among all of the split; at 0 % it is seen "
        "whole. Image adds: over the same with the images shuffled. Text only: a model trained without images."
    )
    return "\n".join([*aligned(rows), "", legend])


def _at_1(result: dict[str, Any] | None) -> float | None:
    return None if result is None else result["R@1"]


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
