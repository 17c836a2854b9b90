"""Intervals by the percentile bootstrap (Efron and Tibshirani 1993, ch. 13) with the image as the unit.

Captions of one image are not independent, so images are resampled with all their captions. The gallery stays
whole: only the queries are resampled. Axes: draws, images, queries.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from pairjepa.errors import UsageError
from pairjepa.evaluation.retrieval import CHUNK_BYTES, RECALLS, RetrievalRanks, metrics

CONFIDENCE = 0.95
DRAWS = 2000


def resamples(
    images: int, draws: int, seed: int, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Int64[np.ndarray, "draws images"]]:
    """How often each image stands in each resample, in chunks of draws.

    The same `images`, `draws` and `seed` give the same resamples, whatever the chunks: that pairs two runs.

    Raises:
        UsageError: there is no image, or less than one draw.
    """
    if images < 1 or draws < 1:
        raise UsageError(f"bootstrap must have at least one image and one draw, got {images} and {draws}.")
    generator = np.random.default_rng(seed)
    size = max(1, chunk_bytes // (16 * images))
    for start in range(0, draws, size):
        count = min(size, draws - start)
        drawn = generator.integers(images, size=(count, images))
        drawn += np.arange(count)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)


def interval(samples: Float[np.ndarray, " draws"]) -> list[float]:
    """The middle 95 % of bootstrap samples: `[low, high]`."""
    tail = (1 - CONFIDENCE) / 2
    return [float(bound) for bound in np.quantile(samples, [tail, 1 - tail])]


def bootstrap(
    ranks: RetrievalRanks, *, draws: int = DRAWS, seed: int = 0, chunk_bytes: int = CHUNK_BYTES
) -> dict[str, Any]:
    """Every metric on every resample: the shape of `metrics`, with an array of draws at each leaf."""
    images = len(ranks.image_to_text)
    # A draw costs 32 bytes a query while its medians are found.
    share = chunk_bytes * images // (2 * max(images, len(ranks.owner), 1))
    parts = [
        {
            "image_to_text": direction_samples(ranks.image_to_text, np.arange(images), counts),
            "text_to_image": direction_samples(ranks.text_to_image, ranks.owner, counts),
        }
        for counts in resamples(images, draws, seed, chunk_bytes=share)
    ]
    samples: dict[str, Any] = {
        way: {name: np.concatenate([part[way][name] for part in parts]) for name in parts[0][way]}
        for way in parts[0]
    }
    samples["rsum"] = sum(
        samples[way][f"R@{k}"] for way in ("image_to_text", "text_to_image") for k in RECALLS
    )
    return samples


def direction_samples(
    ranks: Int[np.ndarray, " queries"],
    owner: Int[np.ndarray, " queries"],
    counts: Int[np.ndarray, "draws images"],
) -> dict[str, Float64[np.ndarray, " draws"]]:
    """Recalls (percent), median rank and MRR of one direction on given resamples.

    Args:
        ranks: Rank of the best relevant item of each query.
        owner: For each query, the row of the image that it belongs to.
        counts: How often each image stands in each resample.
    """
    # A mean over the resampled queries is a ratio of sums, since images own differing numbers of queries.
    columns = [np.ones(len(ranks))] + [ranks <= k for k in RECALLS] + [1.0 / ranks]
    sums = np.stack([np.bincount(owner, column, minlength=counts.shape[1]) for column in columns], axis=1)
    total, *hits, reciprocal = (counts.astype(np.float64) @ sums).T
    samples = {f"R@{k}": 100 * hit / total for k, hit in zip(RECALLS, hits, strict=True)}
    return samples | {"median_rank": _medians(ranks, counts[:, owner]), "mrr": reciprocal / total}


def bootstrap_mean(
    values: Float[np.ndarray, " items"],
    *units: Int[np.ndarray, " items"],
    images: int,
    draws: int = DRAWS,
    seed: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
) -> list[float]:
    """Interval of a mean whose items each belong to one image, or to two (a pair of them).

    An item of two images counts as often as the product of their counts. Resamples that hold no item are left
    out; if none holds any, the interval is the mean itself.
    """
    means = []
    share = chunk_bytes * images // (2 * max(images, len(values), 1))
    for counts in resamples(images, draws, seed, chunk_bytes=share):
        weights = np.ones((len(counts), len(values)))
        for unit in units:
            weights *= counts[:, unit]
        total = weights.sum(axis=1)
        means.append((weights @ values)[total > 0] / total[total > 0])
    samples = np.concatenate(means)
    return interval(samples if samples.size else values.mean(keepdims=True))


def paired_bootstrap(
    first: RetrievalRanks,
    second: RetrievalRanks,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
) -> dict[str, Any]:
    """`first` - `second` on the same images: the shape of `metrics`, `{"difference", "ci"}` at each leaf.

    Both are measured on the same resamples, so what is hard for both cancels. An interval without 0 means
    that one is better on images like these; it says nothing about another seed of the training.

    Raises:
        UsageError: the two were not measured on the same images and captions.
    """
    check_same_images(first, second)
    options = {"draws": draws, "seed": seed, "chunk_bytes": chunk_bytes}
    return difference(
        metrics(first), metrics(second), bootstrap(first, **options), bootstrap(second, **options)
    )


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
    """`paired_bootstrap` from metrics and samples that are there already."""
    return {
        name: difference(value, second[name], first_samples[name], second_samples[name])
        if isinstance(value, dict)
        else {"difference": value - second[name], "ci": interval(first_samples[name] - second_samples[name])}
        for name, value in first.items()
    }


def _medians(
    values: Int[np.ndarray, " queries"], counts: Int[np.ndarray, "draws queries"]
) -> Float64[np.ndarray, " draws"]:
    """Median of `values` repeated `counts` times, for each draw."""
    order = np.argsort(values)
    ends = np.cumsum(counts[:, order], axis=1)
    total = ends[:, -1:]
    middle = [values[order][np.argmax(ends > place, axis=1)] for place in ((total - 1) // 2, total // 2)]
    return np.asarray((middle[0] + middle[1]) / 2, np.float64)
