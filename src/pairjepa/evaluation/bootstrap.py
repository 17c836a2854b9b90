"""Intervals by the percentile bootstrap (Efron and Tibshirani 1993, ch. 13) with the image as the unit.

Captions of one image are not independent, so images are resampled with all their captions. The gallery stays
whole: only the queries are resampled. Axes: draws, images, queries.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from pairjepa.errors import UsageError
from pairjepa.evaluation.retrieval import CACHED_BYTES, CHUNK_BYTES, RECALLS, RetrievalRanks, chunks, metrics

CONFIDENCE = 0.95
DRAWS = 2000
NEAR = 4
"""How many standard deviations from the middle the median of a resample is looked for first."""


def resamples(
    images: int, draws: int, seed: int, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Int64[np.ndarray, "draws images"]]:
    """How often each image stands in each resample, in chunks of draws.

    The same `images`, `draws` and `seed` give the same resamples, whatever the chunks: that pairs two runs.

    Raises:
        UsageError: there is no image, or less than one draw.
    """
    check_drawable(images, draws)
    generator = np.random.default_rng(seed)
    size = max(1, chunk_bytes // (16 * images))
    for start in range(0, draws, size):
        count = min(size, draws - start)
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


def bootstrap(
    ranks: RetrievalRanks, *, draws: int = DRAWS, seed: int = 0, chunk_bytes: int = CHUNK_BYTES
) -> dict[str, Any]:
    """Every metric on every resample: the shape of `metrics`, with an array of draws at each leaf."""
    images = len(ranks.image_to_text)
    # A draw costs at most 32 bytes a query while its medians are found.
    share = chunk_bytes * images // (2 * max(images, len(ranks.owner), 1))
    ways = {
        "image_to_text": Direction(ranks.image_to_text, np.arange(images), images),
        "text_to_image": Direction(ranks.text_to_image, ranks.owner, images),
    }
    parts = [
        {way: direction.samples(counts) for way, direction in ways.items()}
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


class Direction:
    """One direction's queries, ready to be measured on resamples."""

    def __init__(
        self, ranks: Int[np.ndarray, " queries"], owner: Int[np.ndarray, " queries"], images: int
    ) -> None:
        """Sum up each image's queries, and sort them.

        Args:
            ranks: Rank of the best relevant item of each query.
            owner: For each query, the row of the image that it belongs to.
            images: Number of images.
        """
        # A mean over the resampled queries is a ratio of sums, since images own differing numbers of queries.
        columns = [np.ones(len(ranks))] + [ranks <= k for k in RECALLS] + [1.0 / ranks]
        self._sums = np.stack([np.bincount(owner, column, minlength=images) for column in columns], axis=1)
        order = np.argsort(ranks)
        self._ranks, self._owner, self._images = ranks[order], owner[order], images
        # How far the middle of a resample lies from that of the queries: `NEAR` standard deviations, at most.
        half = len(ranks) // 2
        below = np.bincount(self._owner[:half], minlength=images)
        spread = math.sqrt(((below - self._sums[:, 0] / 2) ** 2).sum())
        near = math.ceil(NEAR * spread) + 1
        self._near = slice(max(0, half - near), min(len(ranks), half + near))

    def samples(self, counts: Int[np.ndarray, "draws images"]) -> dict[str, Float64[np.ndarray, " draws"]]:
        """Recalls (percent), median rank and MRR on given resamples: how often each image stands in each."""
        total, *hits, reciprocal = (counts.astype(np.float64) @ self._sums).T
        samples = {f"R@{k}": 100 * hit / total for k, hit in zip(RECALLS, hits, strict=True)}
        medians = self._medians(counts, total.astype(np.int64))
        return samples | {"median_rank": medians, "mrr": reciprocal / total}

    def _medians(
        self, counts: Int[np.ndarray, "draws images"], total: Int64[np.ndarray, " draws"]
    ) -> Float64[np.ndarray, " draws"]:
        """Median of the ranks, each repeated as often as its image is drawn.

        Only the queries whose ranks are near the median of all are counted one by one; a draw whose median is not
        among them is looked for among all.
        """
        medians, found = self._medians_within(self._near, counts, total)
        if not found.all():
            everything = slice(0, len(self._ranks))
            medians[~found], _ = self._medians_within(everything, counts[~found], total[~found])
        return medians

    def _medians_within(
        self, window: slice, counts: Int[np.ndarray, "draws images"], total: Int64[np.ndarray, " draws"]
    ) -> tuple[Float64[np.ndarray, " draws"], Bool[np.ndarray, " draws"]]:
        """Medians of the draws, right where the second array says so: both middle queries lie in the window."""
        below = counts @ np.bincount(self._owner[: window.start], minlength=self._images)
        ends = np.cumsum(np.take(counts, self._owner[window], axis=1), axis=1)
        ends += below[:, None]
        places = [(total - 1) // 2, total // 2]
        middle = [self._ranks[window][np.argmax(ends > place[:, None], axis=1)] for place in places]
        found = (below <= places[0]) & (ends[:, -1] > places[1])
        return (middle[0] + middle[1]) / 2, found


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
    # A few draws at once, for the processor's cache; of 16, matrix kernels round each as they do among many.
    rows = 16 * max(1, CACHED_BYTES // (16 * 8 * max(len(values), 1)))
    memory = np.empty((2, rows, len(values)))
    for counts in resamples(images, draws, seed, chunk_bytes=share):
        for part in chunks(len(counts), rows):
            drawn = counts[part].astype(np.float64)
            # mode="clip" because NumPy takes a whole copy of `out` otherwise
            weights = np.take(drawn, units[0], axis=1, out=memory[0, : len(drawn)], mode="clip")
            for unit in units[1:]:
                weights *= np.take(drawn, unit, axis=1, out=memory[1, : len(drawn)], mode="clip")
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
