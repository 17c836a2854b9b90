"""The vectors of a table in memory, and the nearest of them: exact, and where many queries come, quick.

Axes: `rows` in the order of the table, `dim`.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from pairjepa.apps.search.pruning import SAMPLE, Basis, Level
from pairjepa.apps.search.stored import checked_vectors, vector_columns

if TYPE_CHECKING:
    import pyarrow as pa

FEW = 5_000
"""Rows that are compared as quickly without heads."""
MANY = 0.1
"""Share of the rows: more candidates are not read one by one. A query unlike all rows has them."""
LOOKED_AT = 4
"""Times as many rows as are asked for are read whole to find a floor: by their heads alone, the order is rough."""
ROUNDING = 1e-5
"""Of a product with a unit vector, and more than that: how far two ways of computing it are apart at most."""
FRAGMENT_BITS = 32
"""A row id is the number of its fragment and, below so many bits, its place there."""
_GROUP = 64  # rows of which one is looked at for a floor


@dataclass(frozen=True)
class Part:
    """Rows as they were read together, all of one fragment."""

    columns: "list[pa.Array]"
    """`id`, and what is shown of a hit if it was read."""
    row_ids: Int64[np.ndarray, " rows"]
    vectors: Float32[np.ndarray, "rows dim"]
    levels: list[Level] = field(default_factory=list)
    """Its heads, if they are used."""

    def __len__(self) -> int:
        return len(self.vectors)


class Rows:
    """All rows of one version of a table.

    Args:
        table: Lance's.
        dim: width of the vectors.
        columns: what is shown of a hit, to have it at hand; none if only one search is to come.
        before: rows of an earlier version: fragments that are as they were are taken from there.
    """

    def __init__(
        self, table: Any, dim: int, columns: Sequence[str] = (), before: "Rows | None" = None
    ) -> None:
        self.columns, self._dim = tuple(columns), dim
        self._names = tuple(dict.fromkeys(("id", *columns)))
        fragments = {mark_of(fragment): fragment for fragment in table.get_fragments()}
        old: dict[str, list[Part]] = (
            before._fragments if before is not None and before.columns == self.columns else {}
        )
        new = self._read(table, [f for mark, f in fragments.items() if mark not in old])
        fresh = {mark: new.get(f.fragment_id, []) for mark, f in fragments.items() if mark not in old}
        of_fragments = {mark: old[mark] if mark in old else fresh[mark] for mark in fragments}
        parts = list(_flat(of_fragments.values()))
        self._starts = np.cumsum([0, *map(len, parts)])
        self._basis: Basis | None = before._basis if before is not None and old else None
        if columns and self._basis is None and len(self) >= FEW:
            self._basis = Basis.of(_sample(parts))
        self._levels = self._joined_levels(parts)
        numbered = iter(self._starts.tolist())
        self._fragments: dict[str, list[Part]] = {
            mark: [self._with_levels(part, next(numbered)) for part in parts]
            for mark, parts in of_fragments.items()
        }
        self.parts = list(_flat(self._fragments.values()))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def nearest(
        self, vector: Float32[np.ndarray, " dim"], k: int, mask: "Bool[np.ndarray, ' rows'] | None" = None
    ) -> tuple[Int64[np.ndarray, " nearest"], Float32[np.ndarray, " nearest"]]:
        """The `k` rows of the highest scores among those of the mask, best first, equal ones in their order."""
        if not len(self):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        with _one_thread():
            rows = self._candidates(vector, k, mask)
            scores = self._scores(rows, vector)
        best = top(scores, k)
        return rows[best], scores[best]

    def of_row_ids(self, row_ids: Int64[np.ndarray, " some"]) -> Bool[np.ndarray, " rows"]:
        """Which rows have one of these ids."""
        return _joined([np.isin(part.row_ids, row_ids) for part in self.parts], bool)

    def not_of(self, id: str) -> Bool[np.ndarray, " rows"]:
        """Which rows are not of that image."""
        import pyarrow.compute as pc

        other = [pc.not_equal(part.columns[0], id).to_numpy(zero_copy_only=False) for part in self.parts]
        return _joined(other, bool)

    def take(self, rows: Int64[np.ndarray, " some"]) -> list[dict[str, Any]]:
        """What is shown of rows."""
        at = np.searchsorted(self._starts, rows, side="right") - 1
        found = []
        for part, row in zip(at.tolist(), (rows - self._starts[at]).tolist(), strict=True):
            columns = self.parts[part].columns
            found.append(
                {name: column[row].as_py() for name, column in zip(self._names, columns, strict=True)}
            )
        return found

    def _candidates(
        self, vector: np.ndarray, k: int, mask: "Bool[np.ndarray, ' rows'] | None"
    ) -> Int64[np.ndarray, " some"]:
        """All rows that may be among the best `k`: those that can pass the worst of k exact scores."""
        rows = None if mask is None else np.flatnonzero(mask)
        if self._basis is not None and (few := self._pruned(self._basis, rows, vector, k)) is not None:
            return few
        guess = self._products(vector)
        if rows is None:
            return np.flatnonzero(guess >= self._floor(None, guess, vector, k, k))
        guess = guess[rows]
        return rows[guess >= self._floor(rows, guess, vector, k, k)]

    def _pruned(
        self, basis: Basis, rows: Int64[np.ndarray, " some"] | None, vector: np.ndarray, k: int
    ) -> Int64[np.ndarray, " fewer"] | None:
        """`_candidates` of some or all rows by heads; None where these leave too many to be read one by one."""
        queries = [query for (query,) in basis.levels(vector[None])]
        most = _product(queries[0], self._levels[0].T)
        if rows is not None:
            most = most[rows]
        floor = self._floor(rows, most, vector, k, LOOKED_AT * k)
        for number, level in enumerate(self._levels):
            kept = np.flatnonzero(most >= floor)
            if len(kept) > len(self) * MANY:
                return None
            rows, most = kept if rows is None else rows[kept], most[kept]
            if number + 1 < len(queries):
                most -= level[rows, -1] * queries[number][-1]  # the bound on what the next level looks at
                most += self._levels[number + 1][rows] @ queries[number + 1]
        return rows

    def _floor(
        self, rows: np.ndarray | None, guess: np.ndarray, vector: np.ndarray, k: int, looked_at: int
    ) -> float:
        """A score below which no row is among the best `k`: that of the `k`th best of so many with high guesses."""
        first = np.sort(_high(guess, looked_at))
        scores = np.sort(self._scores(first if rows is None else rows[first], vector))
        worst = float(scores[-k:].min(initial=np.inf))
        return worst - ROUNDING * float(np.linalg.norm(vector))

    def _scores(self, rows: Int64[np.ndarray, " some"], vector: np.ndarray) -> Float32[np.ndarray, " some"]:
        """Row by row, in ascending order: what a row's score is does not depend on what is computed with it."""
        scores = np.empty(len(rows), np.float32)
        ends = np.searchsorted(rows, self._starts).tolist()
        for number, (start, end) in enumerate(pairwise(ends)):
            if start < end:
                vectors = self.parts[number].vectors[rows[start:end] - self._starts[number]]
                scores[start:end] = np.vecdot(vectors, vector)
        return scores

    def _products(self, vector: Float32[np.ndarray, " dim"]) -> Float32[np.ndarray, " rows"]:
        products = np.empty(len(self), np.float32)
        for part, start in zip(self.parts, self._starts, strict=False):
            np.matmul(part.vectors, vector, out=products[start : start + len(part)])
        return products

    def _joined_levels(self, parts: list[Part]) -> list[Level]:
        """The heads of all rows, each level in one array.

        The first one lies in memory column by column: all of it is read by every search, which is quickest so.
        """
        if self._basis is None or not parts:
            return []
        of_parts = [part.levels or self._basis.levels(part.vectors) for part in parts]
        first, *others = zip(*of_parts, strict=True)
        return [np.concatenate([level.T for level in first], axis=1).T, *map(np.concatenate, others)]

    def _with_levels(self, part: Part, start: int) -> Part:
        rows = slice(start, start + len(part))
        return replace(part, levels=[level[rows] for level in self._levels])

    def _read(self, table: Any, fragments: list[Any]) -> dict[int, list[Part]]:
        """Parts of fragments, by the fragment's number."""
        if not fragments:
            return {}
        batches = table.scanner(
            columns=[*self._names, *vector_columns(table)], fragments=fragments, with_row_id=True
        ).to_batches()
        parts = [
            Part(
                batch.select(self._names).columns,
                batch["_rowid"].to_numpy().astype(np.int64),
                checked_vectors(batch, self._dim, table.uri),
            )
            for batch in batches
            if batch.num_rows
        ]
        grouped = groupby(parts, lambda part: int(part.row_ids[0]) >> FRAGMENT_BITS)
        return {number: list(group) for number, group in grouped}


class _OneThread:
    """While any search runs, BLAS computes in the thread that asks.

    A product of this size gains little by a second one, and BLAS's threads spin for a while after it, which takes the
    processor from the text encoder's: the next query then takes twice as long.
    """

    def __init__(self) -> None:
        from threadpoolctl import ThreadpoolController

        self._blas = ThreadpoolController().select(user_api="blas")
        self._lock, self._searches, self._limit = threading.Lock(), 0, contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._searches:
                self._limit.enter_context(self._blas.limit(limits=1))
            self._searches += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._searches -= 1
            if not self._searches:
                self._limit.close()


_one_thread = cache(_OneThread)


@cache
def _other_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "search")


def _product(
    vector: Float32[np.ndarray, " bound"], columns: Float32[np.ndarray, "bound rows"]
) -> Float32[np.ndarray, " rows"]:
    """`vector @ columns`; of many in two threads, since one does not read memory as fast as it can be read."""
    rows = columns.shape[1]
    if rows < FEW:
        return vector @ columns
    half, products = rows // 2, np.empty(rows, np.float32)
    other = _other_thread().submit(np.matmul, vector, columns[:, :half], out=products[:half])
    np.matmul(vector, columns[:, half:], out=products[half:])
    other.result()
    return products


def _high(guess: Float32[np.ndarray, " rows"], k: int) -> Int64[np.ndarray, " some"]:
    """`k` rows whose guesses are among the highest: the best of each of many groups, which is quick to find."""
    groups = len(guess) // _GROUP
    if groups < 4 * k:
        return top(guess, k)
    table = guess[: groups * _GROUP].reshape(_GROUP, groups)
    best = top(table.max(axis=0), k)
    return best + groups * table[:, best].argmax(axis=0)


def mark_of(fragment: Any) -> str:
    """Another if the fragment's files, or which of its rows are deleted, have changed."""
    return str(fragment.metadata.to_json())


def _flat(parts: Any) -> Iterator[Part]:
    for group in parts:
        yield from group


def _joined(arrays: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.empty(0, kind), *arrays])


def _sample(parts: list[Part]) -> Float32[np.ndarray, "rows dim"]:
    """About `SAMPLE` rows, from everywhere."""
    step = max(1, sum(map(len, parts)) // SAMPLE)
    return np.concatenate([part.vectors[::step] for part in parts])


def top(scores: Float32[np.ndarray, " rows"], k: int) -> Int64[np.ndarray, " top"]:
    """Rows of the `k` highest scores, best first, equal ones in their order; -inf is none."""
    k = min(k, len(scores))
    if not k:
        return np.empty(0, np.int64)
    floor = np.partition(scores, len(scores) - k)[len(scores) - k]
    candidates = np.flatnonzero(scores >= floor)
    candidates = candidates[scores[candidates] > -np.inf]
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]
