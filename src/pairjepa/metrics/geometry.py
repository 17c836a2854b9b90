"""How the two sides lie in the shared space, and whether one of them has collapsed.

All functions take unit-norm rows and sum in float64. Axes: images, captions, rows, pairs, dim.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int, Int64
from scipy.spatial import distance

from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import chunks
from pairjepa.util.threads import one_blas_thread

RANDOM_PAIRS = 10_000
UNIFORMITY_ROWS = 2_000
COVARIANCE_BYTES = 2**21
MOST_BINS = 50
FLOAT32_NOISE = 1e-6
"""Spread of a row (RMS distance from the mean) below which unit-norm float32 rows are one point."""


def pair_cosine(
    image: Float[np.ndarray, "images dim"],
    text: Float[np.ndarray, "captions dim"],
    image_row: Int[np.ndarray, " pairs"],
    text_row: Int[np.ndarray, " pairs"],
) -> Float64[np.ndarray, " pairs"]:
    """Cosine of the given pairs. Matched pairs are `image_row=owner, text_row=arange(captions)`."""
    cosines = np.empty(len(image_row))
    for part in chunks(len(image_row), 16 * image.shape[1]):
        left, right = image[image_row[part]].astype(np.float64), text[text_row[part]].astype(np.float64)
        cosines[part] = np.einsum("pd,pd->p", left, right)
    return cosines


def random_pairs(
    relevance: Relevance, *, pairs: int = RANDOM_PAIRS, seed: int = 0
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """(query, gallery row) pairs drawn evenly, with replacement, from those that are *not* relevant.

    Where there are no more than `pairs` of them, each is taken once; there may be none at all. With
    `Relevance.by_text` no pair is of an image and one of its own captions, or one that reads the same.
    """
    free = np.cumsum(relevance.gallery - relevance.sizes)
    total = int(free[-1]) if len(free) else 0
    drawn = np.arange(total) if total <= pairs else np.random.default_rng(seed).integers(total, size=pairs)
    query = np.searchsorted(free, drawn, side="right")
    nth = drawn - (free[query] - (relevance.gallery - relevance.sizes[query]))
    # The nth other row of a query lies behind every relevant row that has at most nth others before it.
    owners, stride = relevance.query, relevance.gallery + 1
    others_before = relevance.indices - (np.arange(len(owners)) - relevance.indptr[owners])
    behind = np.searchsorted(owners * stride + others_before, query * stride + nth, side="right")
    return query, nth + behind - relevance.indptr[query]


def auc(matched: Float[np.ndarray, " matched"], random: Float[np.ndarray, " random"]) -> float:
    """Chance that the matched pair has the higher cosine; ties count half (Mann and Whitney 1947)."""
    ordered = np.sort(random)
    below = np.searchsorted(ordered, matched, side="left") + np.searchsorted(ordered, matched, side="right")
    return float(below.mean() / (2 * len(ordered)))


def bins(pairs: int) -> int:
    """How many bins the histogram of so many cosines has: 2·n^(1/3) (the Rice rule), at least 5 and at most 50."""
    return int(np.clip(np.ceil(2 * pairs ** (1 / 3)), 5, MOST_BINS))


def overlap(matched: Float[np.ndarray, " matched"], random: Float[np.ndarray, " random"]) -> float:
    """Overlap coefficient of the two distributions, Σ min(p, q) (Inman and Bradley 1989); 0 apart, 1 alike.

    From histograms of `bins` equal bins between the least and the greatest cosine.
    """
    low, high = min(matched.min(), random.min()), max(matched.max(), random.max())
    if high - low < FLOAT32_NOISE:
        return 1.0
    p, q = (np.histogram(side, bins(len(matched)), (low, high))[0] / len(side) for side in (matched, random))
    return float(np.minimum(p, q).sum())


def alignment(matched: Float[np.ndarray, " pairs"]) -> float:
    """Mean squared distance E‖x - y‖² = 2 - 2·E cos of matched pairs, from cosines (Wang and Isola 2020)."""
    return float(2 - 2 * matched.mean())


def uniformity(
    embeddings: Float[np.ndarray, "rows dim"], *, rows: int = UNIFORMITY_ROWS, seed: int = 0
) -> float | None:
    """Spread over the sphere, log E exp(-2‖x - y‖²) over pairs of different rows; lower is more uniform.

    0 is a single point, about -4 a uniform sphere of many dimensions (Wang and Isola 2020, t = 2). Of more than
    `rows` rows a sample is taken. `None` for a single row.
    """
    if len(embeddings) < 2:
        return None
    if len(embeddings) > rows:
        embeddings = embeddings[np.sort(np.random.default_rng(seed).permutation(len(embeddings))[:rows])]
    # twice as fast as float64, and no term is wrong by more than 1e-6 of it
    points = embeddings.astype(np.float32, copy=False)
    kernel = np.exp(4 * (points @ points.T) - 4)  # -2‖x - y‖² = 4 cos - 4
    different = kernel.sum(dtype=np.float64) - kernel.trace(dtype=np.float64)
    return float(np.log(different / (len(points) * (len(points) - 1))))


def spectrum(embeddings: Float[np.ndarray, "rows dim"]) -> Float64[np.ndarray, " dim"]:
    """Singular values of the centred rows over √rows, descending: the standard deviation along each direction."""
    return _spectrum(_covariance(embeddings))


def _spectrum(covariance: Float64[np.ndarray, "dim dim"]) -> Float64[np.ndarray, " dim"]:
    with one_blas_thread():  # several threads mostly wait for each other, up to seconds
        variances = np.linalg.eigvalsh(covariance)
    return np.asarray(np.sqrt(variances.clip(0))[::-1])


class Spread(NamedTuple):
    """Along how many directions the centred rows spread, and how far."""

    effective_rank: float
    """At most min(dim, rows - 1); 0 if they are one point."""
    std_per_dim: Float64[np.ndarray, " dim"]
    """Standard deviation of each dimension; healthy unit-norm rows have about 1/√dim (Chen and He 2021)."""


def spread(embeddings: Float[np.ndarray, "rows dim"]) -> Spread:
    """Of one side; the effective rank is exp of the entropy of the normalised singular values (Roy, Vetterli 2007)."""
    covariance = _covariance(embeddings)
    singular, rank = _spectrum(covariance), 0.0
    if (singular**2).sum() >= FLOAT32_NOISE**2:
        share = singular[singular > 0] / singular.sum()
        rank = float(np.exp(-(share * np.log(share)).sum()))
    return Spread(rank, np.sqrt(np.diag(covariance)))


def modality_gap(image: Float[np.ndarray, "images dim"], text: Float[np.ndarray, "captions dim"]) -> float:
    """Distance between the mean of the images and the mean of the captions (Liang et al. 2022), in [0, 2]."""
    return float(np.linalg.norm(image.mean(axis=0, dtype=np.float64) - text.mean(axis=0, dtype=np.float64)))


def trustworthiness(
    rows: Float[np.ndarray, "rows dim"],
    place: Float[np.ndarray, "rows width"],
    *,
    neighbours: int,
) -> float:
    """Whether neighbours on a map are neighbours in the space by cosine, 0 to 1 (Venna and Kaski 2001).

    Unlike scikit-learn's, it does not hang on the order of equal rows: rows that are as near in the space share the
    better rank, and of places that are as near on the map each is a neighbour in part (the mean over all orders).

    Args:
        rows: Of unit norm.
        place: Of each row on the map.
        neighbours: Of each row that are looked at; fewer than half of the rows.
    """
    count, lost = len(rows), 0.0
    for part in chunks(count, 8 * count):
        itself = np.arange(part.stop - part.start), np.arange(part.start, part.stop)
        apart = (1 - rows[part] @ rows.T).round(6)  # what differs by less is rounding
        away = distance.cdist(place[part], place)
        apart[itself] = away[itself] = np.inf
        edges = np.partition(away, neighbours - 1, axis=1)[:, neighbours - 1]
        for one, ordered, on_map, edge in zip(apart, np.sort(apart, axis=1), away, edges, strict=True):
            near = on_map <= edge
            rank = 1 + np.searchsorted(ordered, one[near])
            tied = on_map[near] == edge
            share = np.where(tied, (neighbours - (~tied).sum()) / tied.sum(), 1)
            lost += float(share @ np.maximum(rank - neighbours, 0))
    return float(1 - lost * 2 / (count * neighbours * (2 * count - 3 * neighbours - 1)))


def _covariance(embeddings: Float[np.ndarray, "rows dim"]) -> Float64[np.ndarray, "dim dim"]:
    """Covariance (divided by the number of rows), chunk by chunk."""
    rows, dim = embeddings.shape
    mean = embeddings.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((dim, dim))
    step = max(1, COVARIANCE_BYTES // (8 * max(dim, 1)))
    for start in range(0, rows, step):
        centred = embeddings[start : start + step] - mean
        covariance += centred.T @ centred
    return covariance / rows
