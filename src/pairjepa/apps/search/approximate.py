"""Search without comparing all vectors, once there are so many that exact search is slow; and what that loses."""

from bisect import bisect_left
from functools import cache
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from pairjepa.apps.search.meta import Approximation
from pairjepa.apps.search.stored import as_query, checked_vectors, dim_of, vector_columns, width_of
from pairjepa.apps.search.vectors import approximately, lance_module
from pairjepa.util.progress import say

Choice = Literal["auto", "on", "off"]
LIMIT = 300_000
"""Rows up to which `auto` compares them all."""
KIND = "IVF_RQ"
"""RaBitQ codes (Gao and Long 2024) by partition: built in a fraction of the time of a graph, and added to."""
OTHER_KIND = "IVF_HNSW_SQ"
"""Where the width is no multiple of 8, which RaBitQ demands."""
QUERIES, NEAREST = 200, 10
ROUNDING = np.float32(1e-5)
"""More than two ways of computing the product of unit vectors are apart."""
WANTED = 0.98
"""Share of the ten nearest for which as many partitions are looked at as it takes."""
LEFT = 10_000
"""Rows that may wait outside of the index: they are all compared, in a few milliseconds."""
GROWN = 2
"""Times as many partitions as it was made with are wanted: then it is made anew, at four times as many rows."""
CHANGED = 1.1
"""Times as many rows as when it was measured, after which it is measured again."""


def wanted(rows: int, choice: Choice) -> bool:
    """Whether a table of so many rows is to be searched approximately."""
    return rows > (LIMIT if choice == "auto" else 0) and choice != "off"


def approximate(
    table: str, queries: str, before: Approximation | None = None, column: str = "vector"
) -> Approximation:
    """Give a column of vectors Lance's index, or bring it up to date, and measure it.

    Args:
        table: what is searched.
        queries: the table whose vectors are sampled as queries: captions for images and images for captions, as they
            will be asked; the same table where there is no other.
        before: what it is searched with, if it is approximately.
        column: of the vectors.
    """
    lance = lance_module()
    searched = lance.dataset(table)
    rows = searched.count_rows()
    kind = KIND if width_of(searched, column) % 8 == 0 else OTHER_KIND
    name = f"{column}_idx"
    indexed = {index.name: index.num_rows_indexed for index in searched.describe_indices()}
    fits = before is not None and before.kind == kind and before.partitions * GROWN >= partitions(rows)
    if before is None or not fits or name not in indexed:
        count = partitions(rows)
        searched.create_index(column, kind, name=name, metric="dot", num_partitions=count, replace=True)
    else:
        count = before.partitions
        if rows - indexed[name] > LEFT:
            searched.optimize.optimize_indices(index_names=[name])
        if before.rows / CHANGED <= rows <= before.rows * CHANGED:
            return before
    asked = lance.dataset(queries)
    chosen = np.random.default_rng(0).permutation(asked.count_rows())[:QUERIES]
    rows_asked = asked.take(np.sort(chosen).tolist(), columns=vector_columns(asked))
    vectors = checked_vectors(rows_asked, queries)[:, : dim_of(asked)]
    vectors = np.stack([as_query(one, width_of(searched, column), corrected=True) for one in vectors])
    probes, recall = _measured(searched, column, vectors, count)
    what = table.rsplit("/", 1)[-1] + ("" if column == "vector" else f" ({column})")
    say(
        f"{what}: {rows:,} vectors, searched with {kind}, which finds {recall:.1%} of the ten nearest "
        f"(of {len(vectors)} queries)"
    )
    return Approximation(kind, recall, rows, count, probes)


def partitions(rows: int) -> int:
    """So many that to find the nearest partitions costs little beside searching them."""
    return max(1, round(rows**0.5 / 4))


def _measured(
    table: Any, column: str, queries: Float32[np.ndarray, "queries dim"], count: int
) -> tuple[int, float]:
    """How many of `count` partitions to look at, and the share of the ten nearest that are found so.

    It is measured by scores: a row that scores as high as the tenth nearest is one of them, for of equal captions any
    ten are.
    """
    worst = _tenth(table, column, queries)
    nearest = min(NEAREST, table.count_rows())

    @cache
    def recall(probes: int) -> float:
        found = [approximately(table, column, query, NEAREST, probes)[1] for query in queries]
        near = [(scores >= least).sum() for scores, least in zip(found, worst, strict=True)]
        return float(np.mean(near) / nearest)

    # it grows with the partitions that are looked at: the fewest that are enough, and all where none are
    probes = 1 + bisect_left(range(1, count), WANTED, key=recall)
    return probes, recall(probes)


def _tenth(table: Any, column: str, queries: np.ndarray) -> Float32[np.ndarray, " queries"]:
    """A hair below the score of each query's tenth nearest, by comparing all, a batch of rows after the other."""
    best = np.full((len(queries), NEAREST), -np.inf, np.float32)
    for batch in table.to_batches(columns=vector_columns(table, column), batch_size=8192):
        scores = np.concatenate([best, queries @ checked_vectors(batch, table.uri, column).T], axis=1)
        best = np.partition(scores, -NEAREST, axis=1)[:, -NEAREST:]
    return best.min(axis=1, initial=np.inf, where=best > -np.inf) - ROUNDING
