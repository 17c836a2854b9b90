"""Recall@K for every K with bands, and the distributions of the cosines behind them.

Axes: images, captions, queries, draws; k = 1 … 100.
"""

from typing import Any

import numpy as np
from jaxtyping import Int

from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.metrics import geometry
from pairjepa.metrics.baselines import missed_by_chance
from pairjepa.metrics.bootstrap import interval, resamples
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import RetrievalRanks

MOST_K = 100
MARGIN_IMAGES = 2_000


def recall_curves(ranks: RetrievalRanks, relevance: Relevance, *, draws: int, seed: int) -> dict[str, Any]:
    """Recall@K in percent, K = 1 … 100, both ways, with 95 % bands by image and what chance gives.

    The resamples are those of `evaluation.bootstrap`, so at K = 1, 5 and 10 the bands are its intervals. Each K
    has its own interval: that the whole curve lies in the band is less sure than 95 %.

    Args:
        ranks: Of the best relevant item of each query.
        relevance: Image → text.
        draws: Bootstrap resamples.
        seed: Of the resamples.
    """
    images = len(ranks.image_to_text)
    ways = {
        "image_to_text": (ranks.image_to_text, np.arange(images), relevance),
        "text_to_image": (ranks.text_to_image, ranks.owner, relevance.transposed()),
    }
    samples: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    sums = {way: _sums(found, owner, images) for way, (found, owner, _) in ways.items()}
    for counts in resamples(images, draws, seed):
        for way, table in sums.items():
            total, hits = np.split(counts.astype(np.float64) @ table, [1], axis=1)
            samples[way].append(100 * hits / total)
    curves: dict[str, Any] = {"k": list(range(1, MOST_K + 1))}
    for way, (_, _, relevant) in ways.items():
        bands = [interval(column) for column in np.concatenate(samples[way]).T]
        missed = missed_by_chance(relevant)
        total, hits = np.split(sums[way].sum(axis=0), [1])
        curves[way] = {
            "recall": (100 * hits / total).tolist(),
            "low": [low for low, _ in bands],
            "high": [high for _, high in bands],
            "chance": [100 * float(1 - missed[min(k, relevant.gallery)]) for k in curves["k"]],
        }
    return curves


def _sums(ranks: Int[np.ndarray, " queries"], owner: Int[np.ndarray, " queries"], images: int) -> np.ndarray:
    """For each image the number of its queries, and of those with a rank of at most K, as (images, 1 + K)."""
    found = np.zeros((images, MOST_K + 1))
    inside = ranks <= MOST_K
    np.add.at(found, (owner[inside], ranks[inside]), 1)
    return np.column_stack([np.bincount(owner, minlength=images), found.cumsum(axis=1)[:, 1:]])


def cosines(embeddings: EmbeddingSet, *, seed: int) -> dict[str, Any]:
    """Densities of the cosine of matched and of random pairs over the same bins; `random` is `None` if there are none.

    Args:
        embeddings: Both sides of the split.
        seed: Of the random pairs; with that of the evaluation they are its own.
    """
    image, text, owner = embeddings.image, embeddings.text, embeddings.owner
    same_text = Relevance.by_text(owner, embeddings.captions, len(image))
    matched = geometry.pair_cosine(image, text, owner, np.arange(len(owner)))
    random = geometry.pair_cosine(image, text, *geometry.random_pairs(same_text, seed=seed))
    every = np.concatenate([matched, random])
    low, high = every.min(), every.max()
    if high - low < geometry.FLOAT32_NOISE:  # one point has no width of its own
        low, high = low - 0.01, high + 0.01
    edges = np.linspace(low, high, geometry.bins(len(matched)) + 1)
    return {
        "edges": edges.tolist(),
        "matched": np.histogram(matched, edges, density=True)[0].tolist(),
        "random": np.histogram(random, edges, density=True)[0].tolist() if len(random) else None,
    }


def margins(own: np.ndarray, other: np.ndarray, *, seed: int) -> dict[str, Any] | None:
    """Cosine of an image's prediction with its best own target, and with the best target of another image.

    Args:
        own: Of all images.
        other: Of all images.
        seed: Of the sample that stands for more than 2,000 images.

    Returns:
        `own` and `other`, an entry an image; `None` where there is no other image.
    """
    if np.isneginf(other).any():
        return None
    rows = np.sort(np.random.default_rng(seed).permutation(len(own))[:MARGIN_IMAGES])
    return {"own": _rounded(own[rows]), "other": _rounded(other[rows])}


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
