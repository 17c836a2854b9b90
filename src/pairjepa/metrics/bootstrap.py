"""Intervals by the percentile bootstrap (Efron and Tibshirani 1993, ch. 13) with the image as the unit.

Captions of one image are not independent, so images are resampled with all their captions. The gallery stays
whole: only the queries are resampled. Axes: draws, images, queries.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64
from scipy.sparse import coo_array

from pairjepa.metrics.retrieval import CHUNK_BYTES, RECALLS, RetrievalRanks, chunks, metrics
from pairjepa.util.errors import UsageError

CONFIDENCE = 0.95
DRAWS = 2000
COLUMNS = 64
"""Resamples that a mean over pairs of images is summed over at once."""
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


class Measure(Protocol):
    """What is measured on resamples."""

    @property
    def items(self) -> int:
        """How many things are counted: a draw takes memory in proportion."""

    def samples(self, counts: Int[np.ndarray, "draws images"]) -> dict[str, Float64[np.ndarray, " draws"]]:
        """Its numbers on given resamples: how often each image stands in each."""


def draw(
    measures: Mapping[str, Measure],
    images: int,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
) -> dict[str, Any]:
    """Each measure's samples, all on the same resamples."""
    # A draw costs at most 32 bytes an item while medians are found.
    most = max(images, *(measure.items for measure in measures.values()), 1)
    parts = [
        {name: measure.samples(counts) for name, measure in measures.items()}
        for counts in resamples(images, draws, seed, chunk_bytes=chunk_bytes * images // (2 * most))
    ]
    return {
        name: {key: np.concatenate([part[name][key] for part in parts]) for key in parts[0][name]}
        for name in measures
    }


def bootstrap(
    ranks: RetrievalRanks, *, draws: int = DRAWS, seed: int = 0, chunk_bytes: int = CHUNK_BYTES
) -> dict[str, Any]:
    """Every metric on every resample: the shape of `metrics`, with an array of draws at each leaf."""
    images = len(ranks.image_to_text)
    return with_rsum(draw(directions(ranks), images, draws=draws, seed=seed, chunk_bytes=chunk_bytes))


def directions(ranks: RetrievalRanks) -> dict[str, Measure]:
    """Both directions, by their names."""
    images = len(ranks.image_to_text)
    return {
        "image_to_text": Direction(ranks.image_to_text, np.arange(images), images),
        "text_to_image": Direction(ranks.text_to_image, ranks.owner, images),
    }


def with_rsum(samples: dict[str, Any]) -> dict[str, Any]:
    """Samples of both directions, and the sum of their recalls."""
    return samples | {"rsum": sum(ways[f"R@{k}"] for ways in samples.values() for k in RECALLS)}


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
        self.items = len(ranks)
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


class Mean:
    """A mean of items that each belong to one image, or to two: then one counts as often as their product."""

    def __init__(
        self,
        values: Float[np.ndarray, " items"],
        unit: Int[np.ndarray, " items"],
        other: Int[np.ndarray, " items"] | None = None,
    ) -> None:
        """Make ready.

        Args:
            values: Of the items.
            unit: For each item the row of its image.
            other: For each item the row of its other image.
        """
        self.items, self.values, self._unit, self._other = len(values), values, unit, other
        self._sides = np.ones(len(values)), values

    def samples(self, counts: Int[np.ndarray, "draws images"]) -> dict[str, Float64[np.ndarray, " draws"]]:
        """The mean on each resample; NaN where it holds no item."""
        total, weighted = self._of_one(counts) if self._other is None else self._of_two(counts, self._other)
        return {"mean": np.divide(weighted, total, out=np.full(len(counts), np.nan), where=total > 0)}

    def _of_one(self, counts: np.ndarray) -> np.ndarray:
        images = counts.shape[1]
        sums = [np.bincount(self._unit, side, minlength=images) for side in self._sides]
        return np.asarray(np.stack(sums) @ counts.T.astype(np.float64))

    def _of_two(self, counts: np.ndarray, other: np.ndarray) -> np.ndarray:
        """cᵀ S c for the counts c of a draw, S the items summed up by pair of images."""
        images, sums = counts.shape[1], np.empty((2, len(counts)))
        matrices = [coo_array((side, (self._unit, other)), (images, images)).tocsr() for side in self._sides]
        for part in chunks(len(counts), COLUMNS):
            # few draws, for the processor's cache, and an image's counts side by side
            drawn = np.ascontiguousarray(counts[part].T, np.float64)
            for side, matrix in enumerate(matrices):
                sums[side, part] = np.einsum("id,id->d", drawn, matrix @ drawn)
        return sums

    def interval(self, samples: dict[str, Float64[np.ndarray, " draws"]]) -> list[float]:
        """`interval` of the resamples that hold an item; if none does, the mean itself twice."""
        found = samples["mean"][~np.isnan(samples["mean"])]
        return interval(found if found.size else self.values.mean(keepdims=True))


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


def with_intervals(measured: dict[str, Any], samples: dict[str, Any]) -> dict[str, Any]:
    """Every number with `[low, high]` beside it under its name and `_ci`."""
    result: dict[str, Any] = {}
    for name, value in measured.items():
        if isinstance(value, dict):
            result[name] = with_intervals(value, samples[name])
        else:
            result |= {name: value, f"{name}_ci": interval(samples[name])}
    return result
