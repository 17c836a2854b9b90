"""A table of vectors, and the nearest of them."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from pairjepa.apps.search.meta import Approximation
from pairjepa.apps.search.rows import Rows, array_of, top
from pairjepa.apps.search.shown import Shown
from pairjepa.util.errors import PairJEPAError, UsageError, missing_extra

if TYPE_CHECKING:
    import pyarrow as pa

_ID = re.compile("[0-9a-f]{32}")
# Candidates that an approximate search compares exactly: so many for each hit that is wanted, and at least.
_MORE, _LEAST = 2, 5


class Vectors:
    """One version of a table of vectors."""

    def __init__(
        self, uri: str, dim: int, approximate: Approximation | None, before: "Vectors | None" = None
    ) -> None:
        """Open it.

        Args:
            uri: a path, or what Lance takes for object storage.
            dim: width of the vectors.
            approximate: how it is searched without comparing all.
            before: an earlier version, of which what is in memory is taken over.

        Raises:
            PairJEPAError: it is missing or damaged.
        """
        self._uri, self._dim, self._approximate = uri, dim, approximate
        with reading(uri):
            # A session is the caches of Lance: what it has read of an index stays there.
            session = None if before is None else before._table.session()
            self._table: Any = lance_module().dataset(uri, session=session)
            self._rows = self._table.count_rows()
        self.schema: pa.Schema = self._table.schema
        self._warm: tuple[str, ...] = ()
        self._shown: Shown | None = None
        if before is not None and before._warm:
            self.warm(before._warm, before)

    def __len__(self) -> int:
        return int(self._rows)

    def changed(self) -> bool:
        """Whether there is a newer version than this one."""
        with reading(self._uri):
            return bool(self._table.latest_version != self._table.version)

    def warm(self, shown: Sequence[str], before: "Vectors | None" = None) -> None:
        """Read now what makes many queries quick.

        Args:
            shown: the columns that they will ask for.
            before: an earlier version that was warm.
        """
        self._warm = tuple(shown)
        with reading(self._uri):
            if self._approximate is None:
                rows = None if before is None else before.__dict__.get("_memory")
                self._memory = Rows(self._table, self._dim, shown, rows)
                return
            self._shown = Shown(self._table, shown, None if before is None else before._shown)
            for index in self._table.describe_indices():
                self._table.prewarm_index(index.name)

    def row(self, id: str, columns: list[str]) -> dict[str, Any] | None:
        """The first row of that id."""
        if not _ID.fullmatch(id):
            return None
        with reading(self._uri):
            found = self._table.to_table(columns=columns, filter=f"id = '{id}'", limit=1).to_pylist()
        return found[0] if found else None

    def check_filter(self, sql: str) -> None:
        """Raise `UsageError` if Lance does not take a filter."""
        try:
            self._table.to_table(columns=[], filter=sql, limit=1, with_row_id=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"raw_where must be a filter that Lance takes, got {sql!r} ({first_line(error)})."
            ) from None

    def nearest(
        self, vector: np.ndarray, k: int, where: str | None, exclude: str | None, columns: list[str]
    ) -> tuple[list[dict[str, Any]], list[float]]:
        """The best rows and their scores; `where` is a filter in Lance's SQL."""
        if self._approximate is not None:
            return self._approximately(self._approximate, vector, k, where, exclude, columns)
        rows = self._memory
        mask = None if where is None else rows.of_row_ids(self._matching(where))
        if exclude is not None:
            other = rows.not_of(exclude)
            mask = other if mask is None else mask & other
        best, scores = rows.nearest(vector, k, mask)
        if self._warm:
            return rows.take(best), scores.tolist()
        with reading(self._uri):
            found = self._table.take(best.tolist(), columns=columns).to_pylist() if len(best) else []
        return found, scores.tolist()

    def _approximately(
        self,
        way: Approximation,
        vector: np.ndarray,
        k: int,
        where: str | None,
        exclude: str | None,
        columns: list[str],
    ) -> tuple[list[dict[str, Any]], list[float]]:
        parts = [f"({where})"] if where is not None else []
        parts += [f"id != '{exclude}'"] if exclude is not None and _ID.fullmatch(exclude) else []
        with reading(self._uri):
            found, scores = approximately(
                self._table,
                self._dim,
                vector,
                k,
                way.probes,
                columns=() if self._shown is not None else columns,
                filter=" AND ".join(parts) or None,
            )
        if self._shown is not None:
            return self._shown.of(found["_rowid"].to_numpy().astype(np.int64)), scores.tolist()
        return found.select(columns).to_pylist(), scores.tolist()

    @cached_property
    def _memory(self) -> Rows:
        with reading(self._uri):
            return Rows(self._table, self._dim)

    def _matching(self, where: str) -> np.ndarray:
        with reading(self._uri):
            found = self._table.to_table(columns=[], filter=where, with_row_id=True)
        return found["_rowid"].to_numpy().astype(np.int64)


@contextlib.contextmanager
def reading(table: str) -> Iterator[None]:
    """Say in a sentence what Lance says at length.

    Raises:
        PairJEPAError: instead of what Lance raises in the block.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise PairJEPAError(
            f"The table {table} is damaged or not all there ({first_line(error)[:200]}). "
            "If it was written while it was open here, open it again; else put it back, or make the index again in "
            "another folder."
        ) from None


def first_line(error: Exception) -> str:
    """Without the place in Lance's source."""
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return re.sub(r", \S+\.rs:\d+:\d+$", "", re.sub(r"^(Invalid user input|LanceError\(\w+\)): ", "", line))


def lance_module() -> Any:
    """Lance, imported late: it takes a part of the time of a query.

    Raises:
        PairJEPAError: it is not installed.
    """
    try:
        import lance
    except ImportError:
        raise missing_extra("pylance", "search") from None
    return lance


def approximately(
    table: Any,
    dim: int,
    vector: Float32[np.ndarray, " dim"],
    k: int,
    probes: int,
    *,
    columns: Sequence[str] = (),
    filter: str | None = None,
) -> "tuple[pa.Table, Float32[np.ndarray, ' nearest']]":
    """The nearest `k` rows that Lance's index finds, best first, and their exact scores.

    Args:
        table: Lance's.
        dim: width of the vectors.
        vector: what is asked.
        k: how many.
        probes: partitions that are looked at.
        columns: what is read beside `_rowid`.
        filter: a condition in SQL.
    """
    found = table.to_table(
        columns=[*columns, "vector", "_distance"],
        nearest={
            "column": "vector",
            "q": vector,
            "k": max(_MORE * k, _LEAST),
            "metric": "dot",
            "nprobes": probes,
        },
        filter=filter,
        prefilter=True,
        with_row_id=True,
    )
    scores = np.vecdot(vectors_of(found["vector"], dim), vector)
    best = top(scores, k)
    return found.select([*columns, "_rowid"]).take(best), scores[best]


def vectors_of(column: "pa.ChunkedArray", dim: int) -> Float32[np.ndarray, "rows dim"]:
    """A column of vectors as one array."""
    return np.concatenate(
        [np.empty((0, dim), np.float32), *(array_of(chunk, dim) for chunk in column.chunks)]
    )
