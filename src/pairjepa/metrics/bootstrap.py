"""Intervals by the percentile bootstrap (Efron and Tibshirani 1993, ch. 13) with the image as the unit.

Captions of one image are not independent, so images are resampled with all their captions. The gallery stays
whole: only the queries are resampled. Axes: draws, images, queries.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int, Int64
from scipy.sparse import coo_array

from pairjepa.metrics.over_seeds import map_leaves
from pairjepa.metrics.retrieval import RECALLS, RetrievalRanks, chunks
from pairjepa.util.errors import UsageError

CONFIDENCE = 0.95
DRAWS = 2000


def resamples(
    images: int, draws: int, seed: int, *, rows: int = 0
) -> Iterator[Int64[np.ndarray, "draws images"]]:
    """How often each image stands in each resample, in chunks of draws.

    The same `images`, `draws` and `seed` give the same resamples, whatever the chunks: that pairs two runs.

    Args:
        images: Number of images.
        draws: Number of resamples.
        seed: Of the resamples.
        rows: Numbers that the caller holds for each draw, beside the counts.

    Raises:
        UsageError: there is no image, or less than one draw.
    """
    check_drawable(images, draws)
    generator = np.random.default_rng(seed)
    for part in chunks(draws, 16 * (images + rows)):
        count = part.stop - part.start
        drawn = generator.integers(images, size=(count, images))
        drawn += np.arange(count)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)


def check_drawable(images: int, draws: int) -> None:
    """Raise `UsageError` if there is no image, or less than one draw."""
    if images < 1 or draws < 1:
        raise UsageError(f"bootstrap must have at least one image and one draw, got {images} and {draws}.")


def interval(samples: Float[np.ndarray, " draws"]) -> list[float]:
    """The middle 95 % of bootstrap samples: `[low, high]`."""
    tail = (1 - CONFIDENCE) / 2
    return [float(bound) for bound in np.quantile(samples, [tail, 1 - tail])]


def bootstrap(ranks: RetrievalRanks, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Every metric on every resample: the shape of `metrics`, with an array of draws at each leaf."""
    images = len(ranks.image_to_text)
    owners = {"image_to_text": np.arange(images), "text_to_image": ranks.owner}
    samples: dict[str, Any] = {
        way: rank_samples(getattr(ranks, way), owner, images, draws=draws, seed=seed)
        for way, owner in owners.items()
    }
    return samples | {"rsum": sum(samples[way][f"R@{k}"] for way in owners for k in RECALLS)}


def rank_samples(
    ranks: Int[np.ndarray, " queries"],
    owner: Int[np.ndarray, " queries"],
    images: int,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    recalls: Sequence[int] = RECALLS,
) -> dict[str, Float64[np.ndarray, " draws"]]:
    """Recalls (percent), median rank and MRR of one direction on every resample.

    Args:
        ranks: Rank of the best relevant item of each query.
        owner: For each query, the row of the image that it belongs to.
        images: Number of images.
        draws: Number of resamples.
        seed: Of the resamples.
        recalls: The K of Recall@K.
    """
    values, value = np.unique(ranks, return_inverse=True)
    queries = coo_array((np.ones(len(ranks)), (value, owner)), (len(values), images)).tocsr()
    # A mean over the resampled queries is a ratio of sums, since images own differing numbers of queries.
    weights = np.stack([np.ones(len(values)), *(values <= k for k in recalls), 1.0 / values])
    parts = []
    for counts in resamples(images, draws, seed, rows=2 * len(values)):
        found = queries @ counts.T  # for each rank and draw, the number of queries
        total, *hits, reciprocal = weights @ found
        below = found.cumsum(axis=0)
        middle = [values[(below <= place).sum(axis=0)] for place in ((total - 1) // 2, total // 2)]
        shares = {f"R@{k}": 100 * hit / total for k, hit in zip(recalls, hits, strict=True)}
        parts.append(shares | {"median_rank": sum(middle) / 2, "mrr": reciprocal / total})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def mean_interval(
    values: Float[np.ndarray, " items"],
    unit: Int[np.ndarray, " items"],
    other: Int[np.ndarray, " items"] | None = None,
    *,
    images: int,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[float]:
    """`interval` of a mean of items that belong to one image each, or to two: then one counts as often as both.

    Of the resamples that hold an item; if none does, it is the mean itself twice.

    Args:
        values: Of the items.
        unit: For each item the row of its image.
        other: For each item the row of its other image.
        images: Number of images.
        draws: Number of resamples.
        seed: Of the resamples.
    """
    shape = (images, images) if other is not None else (images, 1)
    place = (unit, other if other is not None else np.zeros_like(unit))
    number, weighted = (coo_array((side, place), shape).tocsr() for side in (np.ones(len(values)), values))
    means = []
    for counts in resamples(images, draws, seed, rows=2 * images):
        drawn = counts.T.astype(np.float64)
        right = drawn if other is not None else np.ones((1, len(counts)))
        total, sums = (np.einsum("id,id->d", drawn, items @ right) for items in (number, weighted))
        means.append(sums[total > 0] / total[total > 0])
    found = np.concatenate(means)
    return interval(found if found.size else values.mean(keepdims=True))


def check_same_images(first: RetrievalRanks, second: RetrievalRanks) -> None:
    """Raise `UsageError` if the two were not measured on the same images and captions."""
    if len(first.image_to_text) != len(second.image_to_text) or not np.array_equal(first.owner, second.owner):
        raise UsageError(
            "The two runs must be measured on the same images and captions, "
            f"got {len(first.image_to_text)} images with {len(first.owner)} captions "
            f"and {len(second.image_to_text)} with {len(second.owner)}. Evaluate both on the same split."
        )


def difference(
    first: dict[str, Any],
    second: dict[str, Any],
    first_samples: dict[str, Any],
    second_samples: dict[str, Any],
) -> dict[str, Any]:
    """`first` - `second` on the same images: the shape of `metrics`, `{"difference", "ci"}` at each leaf.

    Both are measured on the same resamples, so what is hard for both cancels. An interval without 0 means
    that one is better on images like these; it says nothing about another seed of the training.
    """
    return map_leaves(
        lambda one, other, samples, others: {"difference": one - other, "ci": interval(samples - others)},
        *(first, second, first_samples, second_samples),
    )


def with_intervals(measured: dict[str, Any], samples: dict[str, Any]) -> dict[str, Any]:
    """Every number with `[low, high]` beside it under its name and `_ci`."""
    result: dict[str, Any] = {}
    for name, value in measured.items():
        if isinstance(value, dict):
            result[name] = with_intervals(value, samples[name])
        else:
            result |= {name: value, f"{name}_ci": interval(samples[name])}
    return result
