"""Recall@K for every K with bands, and the distributions of the cosines behind them.

Axes: images, captions, queries, draws; k = 1 … 100.
"""

from typing import Any

import numpy as np

from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.metrics import geometry
from pairjepa.metrics.baselines import missed_by_chance
from pairjepa.metrics.bootstrap import interval, rank_samples
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import RetrievalRanks, recall_at

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
    images, ks = len(ranks.image_to_text), range(1, MOST_K + 1)
    curves: dict[str, Any] = {"k": list(ks)}
    for way, found, owner, relevant in (
        ("image_to_text", ranks.image_to_text, np.arange(images), relevance),
        ("text_to_image", ranks.text_to_image, ranks.owner, relevance.transposed()),
    ):
        samples = rank_samples(found, owner, images, draws=draws, seed=seed, recalls=ks)
        bands = [interval(samples[f"R@{k}"]) for k in ks]
        missed = missed_by_chance(relevant)
        curves[way] = {
            "recall": [recall_at(found, k) for k in ks],
            "low": [low for low, _ in bands],
            "high": [high for _, high in bands],
            "chance": [100 * float(1 - missed[min(k, relevant.gallery)]) for k in ks],
        }
    return curves


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
