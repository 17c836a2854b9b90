"""Exact search: the product of all vectors with a query, and the rows of its highest scores.

Axes: `rows` in the order of the table, `dim`.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from pairjepa.apps.search.stored import checked_vectors, vector_columns, width_of
from pairjepa.util.threads import cores

BLOCK = 16_384
"""Rows that one thread multiplies at a time."""


def read_vectors(table: Any, column: str = "vector") -> Float32[np.ndarray, "rows dim"]:
    """All vectors of a table of Lance, checked, and read batch by batch, so that they are in memory once."""
    vectors, start = np.empty((table.count_rows(), width_of(table, column)), np.float32), 0
    for batch in table.to_batches(columns=vector_columns(table, column)):
        vectors[start : start + batch.num_rows] = checked_vectors(batch, table.uri, column)
        start += batch.num_rows
    return vectors


def scores_of(
    vectors: Float32[np.ndarray, "rows dim"], query: Float32[np.ndarray, " dim"]
) -> Float32[np.ndarray, " rows"]:
    """`vectors @ query`, in which equal rows have equal scores, to the bit.

    It takes as long as the vectors take from memory, and one thread does not read that as fast as it can be read. A
    product by BLAS is as quick, but rounds a row by where it stands, and leaves its threads spinning, which takes the
    processor from whoever encodes the next query.
    """
    scores = np.empty(len(vectors), np.float32)

    def multiply(start: int) -> None:
        rows = slice(start, start + BLOCK)
        np.vecdot(vectors[rows], query, out=scores[rows])

    list(_threads().map(multiply, range(0, len(vectors), BLOCK)))
    return scores


def top(scores: Float32[np.ndarray, " rows"], k: int) -> Int64[np.ndarray, " top"]:
    """Rows of the `k` highest scores, best first, equal ones in their order."""
    k = min(k, len(scores))
    if not k:
        return np.empty(0, np.int64)
    floor = np.partition(scores, len(scores) - k)[len(scores) - k]
    candidates = np.flatnonzero(scores >= floor)
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(4, cores()), "search")
