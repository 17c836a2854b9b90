"""Ranks of retrieval, and what is read off them: Recall@K, median rank, mean reciprocal rank, rsum.

Axes: queries, gallery, images, captions (rows of embeddings); pairs (relevant query-gallery pairs); dim.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int64, UInt8
from threadpoolctl import threadpool_limits

from pairjepa.metrics.relevance import Relevance as Relevance
from pairjepa.metrics.relevance import checked_owner
from pairjepa.util.errors import UsageError

CHUNK_BYTES = 64 * 2**20
"""Default size of the largest temporary array, in bytes."""

CACHED_BYTES = 2**20
"""Size of temporary arrays that are walked over more than once: they stay in a core's own cache."""

MOST_BYTE = 255

ROWS_A_THREAD = 64
"""Queries below which another thread is not worth its start."""

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
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> Int64[np.ndarray, " queries"]:
    """Rank of the best relevant item of each query by dot product, ties counted against the model.

    That is 1 + the number of gallery rows that are *not* relevant and score no less than the best relevant
    one. Scores are float32 whatever comes in; scores within `TIE_TOLERANCE` of each other are ties.

    Raises:
        UsageError: shapes disagree, a value is not finite, or a query has no relevant item.
    """
    query_norm, gallery_norm = _norms("queries", queries), _norms("gallery", gallery)
    _check_shapes(queries, gallery, relevance)
    best, _ = _best(queries, gallery, relevance, chunk_bytes)
    floor = _floor(best, query_norm, gallery_norm)
    outranked = np.zeros(len(queries), np.int64)
    for row, _, scores in _blocks(queries, gallery, relevance, chunk_bytes):
        for part, hits in _reached(scores, floor[row, None]):
            outranked[row][part] += _count_by_row(hits)
    return outranked + 1


def retrieve(
    image: Float[np.ndarray, "images dim"],
    text: Float[np.ndarray, "captions dim"],
    owner: Int[np.ndarray, " captions"],
    relevance: Relevance | None = None,
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> RetrievalRanks:
    """`ranks` both ways from one pass over the score matrix.

    Args:
        image: Image side (the predictions of a trained model).
        text: Text side (the targets).
        owner: For each caption, the row of its image.
        relevance: Image → text; by owner if not given. Text → image is its transpose.
        chunk_bytes: Size of the largest temporary array.

    Raises:
        UsageError: shapes disagree, a value is not finite, or an image has no caption.
    """
    owner = checked_owner(owner, len(image))
    if relevance is None:
        relevance = Relevance.by_owner(owner, len(image))
    image_norm, text_norm = _norms("image", image), _norms("text", text)
    _check_shapes(image, text, relevance)
    if len(owner) != len(text):
        raise UsageError(f"owner must have a row a caption, got {len(owner)} for {len(text)} captions.")
    best_text, best_image = _best(image, text, relevance, chunk_bytes)
    image_floor = _floor(best_text, image_norm, text_norm)
    text_floor = _floor(best_image, text_norm, image_norm)
    by_image, by_text = np.zeros(len(image), np.int64), np.zeros(len(text), np.int64)
    threads = max(1, min(8, os.cpu_count() or 1, len(image) // ROWS_A_THREAD))

    def count(rows: slice) -> Int64[np.ndarray, " captions"]:
        own = np.zeros(len(text), np.int64)
        for row, column, scores in _blocks(image, text, relevance, chunk_bytes // threads, rows):
            for part, hits in _reached(scores, image_floor[row, None]):
                by_image[row][part] += _count_by_row(hits)
            for _, hits in _reached(scores, text_floor[None, column]):
                own[column] += _count_by_column(hits)
        return own

    # Threads of our own, which count as well as multiply: BLAS's would still spin when the counting begins.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for counted in pool.map(count, chunks(len(image), -(-len(image) // threads))):
            by_text += counted
    return RetrievalRanks(by_image + 1, by_text + 1, owner)


@dataclass(frozen=True, eq=False)
class BestScores:
    """For every query of both directions the best score of a relevant item, and of one that is not."""

    image_own: Float32[np.ndarray, " images"]
    image_other: Float32[np.ndarray, " images"]
    """-inf where every caption is relevant."""
    text_own: Float32[np.ndarray, " captions"]
    text_other: Float32[np.ndarray, " captions"]


def best_scores(
    image: Float[np.ndarray, "images dim"],
    text: Float[np.ndarray, "captions dim"],
    relevance: Relevance,
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> BestScores:
    """How near each query comes to its own, and to the nearest other, from one pass over the score matrix.

    Args:
        image: Image side.
        text: Text side.
        relevance: Image → text.
        chunk_bytes: Size of the largest temporary array.

    Raises:
        UsageError: shapes disagree.
    """
    _check_shapes(image, text, relevance)
    own_text, own_image = _best(image, text, relevance, chunk_bytes)
    other_text, other_image = np.full_like(own_text, -np.inf), np.full_like(own_image, -np.inf)
    for row, column, scores in _blocks(image, text, relevance, chunk_bytes):
        other_text[row] = np.maximum(other_text[row], scores.max(axis=1))
        other_image[column] = np.maximum(other_image[column], scores.max(axis=0))
    return BestScores(own_text, other_text, own_image, other_image)


def top_k(
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    k: int,
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> Int64[np.ndarray, "queries k"]:
    """The gallery rows of the `k` best scores of each query, best first; all of them if there are no more.

    Equal scores stand in any order, the same each time: relevance plays no part here, unlike in `ranks`.
    """
    k = min(k, len(gallery))
    found = np.empty((len(queries), k), np.int64)
    for part in chunks(len(queries), chunk_bytes // (12 * max(len(gallery), 1))):
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


def median_rank(ranks: Int[np.ndarray, " queries"]) -> float:
    """Median rank of the best relevant item."""
    return float(np.median(ranks))


def mrr(ranks: Int[np.ndarray, " queries"]) -> float:
    """Mean reciprocal rank of the best relevant item, in (0, 1]."""
    return float(np.mean(1.0 / ranks))


def rsum(ranks: RetrievalRanks) -> float:
    """Sum of the six recalls at 1, 5 and 10, both ways; at most 600."""
    return sum(recall_at(r, k) for r in (ranks.image_to_text, ranks.text_to_image) for k in RECALLS)


def metrics(ranks: RetrievalRanks) -> dict[str, Any]:
    """`{"image_to_text": {"R@1", "R@5", "R@10", "median_rank", "mrr"}, "text_to_image": {…}, "rsum"}`."""
    directions = {"image_to_text": ranks.image_to_text, "text_to_image": ranks.text_to_image}
    return {
        name: {f"R@{k}": recall_at(r, k) for k in RECALLS} | {"median_rank": median_rank(r), "mrr": mrr(r)}
        for name, r in directions.items()
    } | {"rsum": rsum(ranks)}


def chunks(total: int, size: int, first: int = 0) -> Iterator[slice]:
    """Slices of at most `size` (but at least one) rows that cover `first` to `total`."""
    size = max(1, size)
    return (slice(start, min(start + size, total)) for start in range(first, total, size))


def _norms(name: str, rows: Float[np.ndarray, "rows dim"]) -> Float32[np.ndarray, " rows"]:
    """Norm of every row, in float32.

    Raises:
        UsageError: a row is NaN or infinite, or its norm is.
    """
    if rows.ndim != 2:
        raise UsageError(f"{name} must have the shape (rows, dim), got {rows.shape}.")
    norms = np.empty(len(rows), np.float32)
    with np.errstate(over="ignore"):
        for part in chunks(len(rows), CHUNK_BYTES // (4 * max(rows.shape[1], 1))):
            block = rows[part].astype(np.float32, copy=False)
            norms[part] = np.sqrt(np.einsum("rd,rd->r", block, block))
    if not np.isfinite(norms).all():
        first = int(np.flatnonzero(~np.isfinite(norms))[0])
        raise UsageError(
            f"{name} must be finite, got NaN or infinity in row {first} "
            f"({np.count_nonzero(~np.isfinite(norms))} of {len(rows)} rows). The model that made it diverged."
        )
    return norms


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


def _best(
    queries: np.ndarray, gallery: np.ndarray, relevance: Relevance, chunk_bytes: int
) -> tuple[Float32[np.ndarray, " queries"], Float32[np.ndarray, " gallery"]]:
    """Best relevant score of each query, and of each gallery row (-inf where nothing is relevant)."""
    best_query = np.full(len(queries), -np.inf, np.float32)
    best_item = np.full(len(gallery), -np.inf, np.float32)
    query = relevance.query
    for part in chunks(len(query), min(chunk_bytes, CACHED_BYTES) // (8 * max(queries.shape[1], 1))):
        rows, items = query[part], relevance.indices[part]
        scores = np.einsum(
            "pd,pd->p",
            queries[rows].astype(np.float32, copy=False),
            gallery[items].astype(np.float32, copy=False),
        )
        np.maximum.at(best_query, rows, scores)
        np.maximum.at(best_item, items, scores)
    return best_query, best_item


def _floor(
    best: Float32[np.ndarray, " rows"], norms: Float32[np.ndarray, " rows"], others: np.ndarray
) -> Float32[np.ndarray, " rows"]:
    """What an item that is not relevant must reach to count against the query."""
    if np.isneginf(best).any():
        first = int(np.flatnonzero(np.isneginf(best))[0])
        raise UsageError(
            f"relevance must give every query a relevant item, got none for row {first} "
            f"({np.count_nonzero(np.isneginf(best))} of {len(best)}). Leave out images without a caption."
        )
    return best - np.float32(TIE_TOLERANCE) * norms * others.max(initial=0)


def _blocks(
    queries: np.ndarray,
    gallery: np.ndarray,
    relevance: Relevance,
    chunk_bytes: int,
    within: slice | None = None,
) -> Iterator[tuple[slice, slice, Float32[np.ndarray, "rows columns"]]]:
    """Blocks of the score matrix, relevant pairs set to -inf, none above `chunk_bytes`; each is gone with the next.

    `within`: of these queries alone.
    """
    first, last = (0, len(queries)) if within is None else (within.start, within.stop)
    dim = max(queries.shape[1], 1)
    columns = min(len(gallery), max(1, chunk_bytes // (4 * max(dim, 256))))
    rows = max(1, chunk_bytes // (4 * max(columns, dim)))
    memory = np.empty(min(rows, last - first) * columns, np.float32)
    for column in chunks(len(gallery), columns):
        right = gallery[column].astype(np.float32, copy=False)
        for row in chunks(last, rows, first):
            left = queries[row].astype(np.float32, copy=False)
            scores = memory[: len(left) * len(right)].reshape(len(left), len(right))
            np.matmul(left, right.T, out=scores)
            pairs = slice(relevance.indptr[row.start], relevance.indptr[row.stop])
            item = relevance.indices[pairs] - column.start
            query = np.repeat(np.arange(row.stop - row.start), relevance.sizes[row])
            here = (item >= 0) & (item < scores.shape[1])
            scores[query[here], item[here]] = -np.inf
            yield row, column, scores


def _reached(
    scores: Float32[np.ndarray, "rows columns"], floor: Float32[np.ndarray, "#rows #columns"]
) -> Iterator[tuple[slice, Bool[np.ndarray, "part columns"]]]:
    """Which scores are not below their floor, a few rows at a time; each part is gone with the next.

    A few, because what is still in the processor's cache is counted several times as fast.
    """
    columns = scores.shape[1]
    rows = max(1, min(MOST_BYTE, CACHED_BYTES // max(columns, 1)))
    floor = np.broadcast_to(floor, scores.shape)
    memory = np.empty((min(rows, len(scores)), columns), bool)
    for part in chunks(len(scores), rows):
        yield part, np.greater_equal(scores[part], floor[part], out=memory[: len(scores[part])])


def _count_by_row(hits: Bool[np.ndarray, "rows columns"]) -> Int64[np.ndarray, " rows"]:
    """Eight at once, as the bits of a byte: `count_nonzero` of an axis widens each to an integer first."""
    return np.bitwise_count(np.packbits(hits, axis=1)).sum(axis=1, dtype=np.int64)


def _count_by_column(hits: Bool[np.ndarray, "rows columns"]) -> UInt8[np.ndarray, " columns"]:
    """In bytes, which hold the count of `MOST_BYTE` rows and no more."""
    return np.add.reduce(hits.view(np.uint8), axis=0, dtype=np.uint8)
