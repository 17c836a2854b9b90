"""Ranks of retrieval, and what is read off them: Recall@K, median rank, mean reciprocal rank, rsum.

Axes: queries, gallery, images, captions (rows of embeddings); pairs (relevant query-gallery pairs); dim.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Int64

from pairjepa.metrics.relevance import Relevance as Relevance
from pairjepa.metrics.relevance import checked_owner
from pairjepa.util.errors import UsageError

CHUNK_BYTES = 64 * 2**20
"""Size of the largest temporary array."""

RECALLS = (1, 5, 10)
"""The K of Recall@K that this field reports; rsum is their sum in both directions."""

TIE_TOLERANCE = 1e-6
"""Scores closer than this times both norms are ties: BLAS kernels round equal dot products differently,
by some 1e-7 at unit norm in float32, and no rank may hang on that."""


@dataclass(frozen=True, eq=False)
class RetrievalRanks:
    """Rank of the best relevant item for every query, both ways; 1 is best."""

    image_to_text: Int64[np.ndarray, " images"]
    text_to_image: Int64[np.ndarray, " captions"]
    owner: Int64[np.ndarray, " captions"]
    """For each caption, the row of its image: what the bootstrap resamples by."""


def ranks(
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    relevance: Relevance,
) -> Int64[np.ndarray, " queries"]:
    """Rank of the best relevant item of each query by dot product, ties counted against the model.

    That is 1 + the number of gallery rows that are *not* relevant and score no less than the best relevant
    one. Scores are float32 whatever comes in; scores within `TIE_TOLERANCE` of each other are ties.

    Raises:
        UsageError: shapes disagree, a value is not finite, or a query has no relevant item.
    """
    queries, gallery = _single("queries", queries), _single("gallery", gallery)
    _check_shapes(queries, gallery, relevance)
    floor = _floor(_best_relevant(queries, gallery, relevance), queries, gallery)
    found = np.empty(len(queries), np.int64)
    for rows, others in _other_scores(queries, gallery, relevance):
        found[rows] = 1 + (others >= floor[rows, None]).sum(axis=1)
    return found


def retrieve(
    image: Float[np.ndarray, "images dim"],
    text: Float[np.ndarray, "captions dim"],
    owner: Int[np.ndarray, " captions"],
    relevance: Relevance | None = None,
) -> RetrievalRanks:
    """`ranks` both ways.

    Args:
        image: Image side (the predictions of a trained model).
        text: Text side (the targets).
        owner: For each caption, the row of its image.
        relevance: Image → text; by owner if not given. Text → image is its transpose.

    Raises:
        UsageError: shapes disagree, a value is not finite, or an image has no caption.
    """
    owner = checked_owner(owner, len(image))
    if relevance is None:
        relevance = Relevance.by_owner(owner, len(image))
    image, text = _single("image", image), _single("text", text)
    _check_shapes(image, text, relevance)
    if len(owner) != len(text):
        raise UsageError(f"owner must have a row a caption, got {len(owner)} for {len(text)} captions.")
    return RetrievalRanks(
        ranks(image, text, relevance),
        ranks(text, image, relevance.transposed()),
        owner,
    )


def best_scores(
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    relevance: Relevance,
) -> tuple[Float32[np.ndarray, " queries"], Float32[np.ndarray, " queries"]]:
    """For every query the best score of a relevant item, and of one that is not (-inf where all are relevant).

    Raises:
        UsageError: as `ranks`.
    """
    queries, gallery = _single("queries", queries), _single("gallery", gallery)
    _check_shapes(queries, gallery, relevance)
    other = np.empty(len(queries), np.float32)
    for rows, others in _other_scores(queries, gallery, relevance):
        other[rows] = others.max(axis=1)
    return _best_relevant(queries, gallery, relevance), other


def top_k(
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    k: int,
) -> Int64[np.ndarray, "queries k"]:
    """The gallery rows of the `k` best scores of each query, best first; all of them if there are no more.

    Equal scores stand in any order, the same each time: relevance plays no part here, unlike in `ranks`.
    """
    k = min(k, len(gallery))
    found = np.empty((len(queries), k), np.int64)
    for part in chunks(len(queries), 12 * len(gallery)):
        scores = queries[part].astype(np.float32, copy=False) @ gallery.astype(np.float32, copy=False).T
        best = np.argpartition(scores, len(gallery) - k, axis=1)[:, len(gallery) - k :]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        found[part] = np.take_along_axis(best, order, axis=1)
    return found


def recall_at(ranks: Int[np.ndarray, " queries"], k: int) -> float:
    """Recall@K in percent, as this field uses the word: queries with at least one relevant item in the top K.

    Elsewhere that is called hit rate, success@K or accuracy@K.
    """
    return float(np.mean(100 * (ranks <= k)))


def rank_metrics(ranks: Int[np.ndarray, " queries"]) -> dict[str, float]:
    """`{"R@1", "R@5", "R@10", "median_rank", "mrr"}` of one direction; MRR is the mean reciprocal rank, in (0, 1]."""
    recalls = {f"R@{k}": recall_at(ranks, k) for k in RECALLS}
    return recalls | {"median_rank": float(np.median(ranks)), "mrr": float(np.mean(1.0 / ranks))}


def rsum(ranks: RetrievalRanks) -> float:
    """Sum of the six recalls at 1, 5 and 10, both ways; at most 600."""
    return sum(recall_at(r, k) for r in (ranks.image_to_text, ranks.text_to_image) for k in RECALLS)


def metrics(ranks: RetrievalRanks) -> dict[str, Any]:
    """`{"image_to_text": rank_metrics, "text_to_image": rank_metrics, "rsum"}`."""
    ways = {"image_to_text": ranks.image_to_text, "text_to_image": ranks.text_to_image}
    return {name: rank_metrics(way) for name, way in ways.items()} | {"rsum": rsum(ranks)}


def chunks(total: int, row_bytes: float) -> Iterator[slice]:
    """Slices that cover `total` rows, each of as many (but at least one) as `CHUNK_BYTES` have room for."""
    size = max(1, int(CHUNK_BYTES // max(row_bytes, 1)))
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def _single(name: str, rows: Float[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "rows dim"]:
    """The rows in float32.

    Raises:
        UsageError: they are no rows, or one is NaN or infinite, or its norm is.
    """
    if rows.ndim != 2:
        raise UsageError(f"{name} must have the shape (rows, dim), got {rows.shape}.")
    with np.errstate(over="ignore"):
        single = rows.astype(np.float32, copy=False)
        bad = np.flatnonzero(~np.isfinite(_norms(single)))
    if len(bad):
        raise UsageError(
            f"{name} must be finite, got NaN or infinity in row {bad[0]} "
            f"({len(bad)} of {len(rows)} rows). The model that made it diverged."
        )
    return single


def _norms(rows: Float32[np.ndarray, "rows dim"]) -> Float32[np.ndarray, " rows"]:
    return np.sqrt(np.einsum("rd,rd->r", rows, rows))


def _check_shapes(queries: np.ndarray, gallery: np.ndarray, relevance: Relevance) -> None:
    if queries.shape[1] != gallery.shape[1]:
        raise UsageError(
            f"queries and gallery must have the same width, got {queries.shape[1]} and {gallery.shape[1]}."
        )
    if (len(relevance), relevance.gallery) != (len(queries), len(gallery)):
        raise UsageError(
            f"relevance must fit {len(queries)} queries and a gallery of {len(gallery)}, "
            f"got {len(relevance)} and {relevance.gallery}."
        )


def _best_relevant(
    queries: Float32[np.ndarray, "queries dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    relevance: Relevance,
) -> Float32[np.ndarray, " queries"]:
    """Best relevant score of each query (-inf where nothing is relevant)."""
    best = np.full(len(queries), -np.inf, np.float32)
    query = relevance.query
    for pairs in chunks(len(query), 8 * queries.shape[1]):
        rows = query[pairs]
        scores = np.einsum("pd,pd->p", queries[rows], gallery[relevance.indices[pairs]])
        np.maximum.at(best, rows, scores)
    return best


def _floor(
    best: Float32[np.ndarray, " queries"],
    queries: Float32[np.ndarray, "queries dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
) -> Float32[np.ndarray, " queries"]:
    """What an item that is not relevant must reach to count against the query."""
    none = np.flatnonzero(np.isneginf(best))
    if len(none):
        raise UsageError(
            f"relevance must give every query a relevant item, got none for row {none[0]} "
            f"({len(none)} of {len(best)}). Leave out images without a caption."
        )
    return best - np.float32(TIE_TOLERANCE) * _norms(queries) * _norms(gallery).max(initial=0)


def _other_scores(
    queries: Float32[np.ndarray, "queries dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    relevance: Relevance,
) -> Iterator[tuple[slice, Float32[np.ndarray, "rows gallery"]]]:
    """Some rows of the score matrix at a time, with -inf for the relevant pairs."""
    query = relevance.query
    for rows in chunks(len(queries), 4 * len(gallery)):
        scores = queries[rows] @ gallery.T
        pairs = slice(relevance.indptr[rows.start], relevance.indptr[rows.stop])
        scores[query[pairs] - rows.start, relevance.indices[pairs]] = -np.inf
        yield rows, scores
