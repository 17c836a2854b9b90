"""Search without comparing all vectors, once there are so many that exact search is slow; and what that loses."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int64

from pairjepa.progress import say
from pairjepa.search.meta import Approximation
from pairjepa.search.vectors import array_of, lance_module, nearest_options, top, vectors_of

Choice = Literal["auto", "on", "off"]
LIMIT = 300_000
"""Rows up to which `auto` compares them all."""
KIND = "IVF_HNSW_SQ"
QUERIES, NEAREST = 200, 10


def wanted(rows: int, choice: Choice) -> bool:
    """Whether a table of so many rows is to be searched approximately."""
    return rows > (LIMIT if choice == "auto" else 0) and choice != "off"


def approximate(table: Path, queries: Path, dim: int) -> Approximation:
    """Give a table Lance's index and measure it.

    Args:
        table: what is searched.
        queries: the table whose vectors are sampled as queries: captions for images and images for captions, as they
            will be asked; the same table where there is no other.
        dim: width of the vectors.
    """
    lance = lance_module()
    searched, asked = lance.dataset(str(table)), lance.dataset(str(queries))
    rows = searched.count_rows()
    searched.create_index("vector", KIND, metric="dot", num_partitions=partitions(rows), replace=True)
    chosen = np.random.default_rng(0).permutation(asked.count_rows())[:QUERIES]
    vectors = vectors_of(asked.take(np.sort(chosen).tolist(), columns=["vector"])["vector"], dim)
    recall = _recall(searched, vectors, dim)
    say(
        f"{table.name}: {rows:,} vectors, searched with {KIND}, which finds {recall:.1%} of the ten nearest "
        f"(of {len(vectors)} queries)"
    )
    return Approximation(KIND, recall, rows)


def partitions(rows: int) -> int:
    """About the square root of the rows, so that finding a partition costs no more than searching it."""
    return max(1, round(rows**0.5 / 2))


def _recall(table: Any, queries: Float32[np.ndarray, "queries dim"], dim: int) -> float:
    exact = _exact(table, queries, dim)
    found = [
        table.to_table(columns=["_distance"], nearest=nearest_options(query, NEAREST), with_row_id=True)[
            "_rowid"
        ].to_numpy()
        for query in queries
    ]
    return float(np.mean([np.isin(e, f).mean() for e, f in zip(exact, found, strict=True)]))


def _exact(table: Any, queries: np.ndarray, dim: int) -> Int64[np.ndarray, "queries nearest"]:
    """Row ids of the nearest by comparing all, a batch of rows after the other."""
    ids = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    for batch in table.to_batches(columns=["vector"], with_row_id=True, batch_size=8192):
        vectors = array_of(batch["vector"], dim)
        rows = np.asarray(batch["_rowid"]).astype(np.int64)
        scores = np.concatenate([scores, queries @ vectors.T], axis=1)
        ids = np.concatenate([ids, np.tile(rows, (len(queries), 1))], axis=1)
        best = np.stack([top(row, NEAREST) for row in scores])
        scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
    return ids
