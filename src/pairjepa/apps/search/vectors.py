"""A table of vectors, and the nearest of them."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int64

from pairjepa.apps.search.exact import read_vectors, scores_of, top
from pairjepa.apps.search.meta import Approximation
from pairjepa.apps.search.stored import check_weights, checked_vectors, vector_columns
from pairjepa.util.errors import PairJEPAError, UsageError, hindrance, needs

if TYPE_CHECKING:
    import pyarrow as pa

_ID = re.compile("[0-9a-f]{32}")
# Candidates that an approximate search compares exactly: so many for each hit that is wanted, and at least.
_MORE, _LEAST = 2, 5


class Vectors:
    """One version of a table of vectors."""

    def __init__(
        self,
        uri: str,
        dim: int,
        display: Sequence[str],
        weights: str,
        approximate: Approximation | None,
        session: Any = None,
    ) -> None:
        """Open it.

        Args:
            uri: a path, or what Lance takes for object storage.
            dim: width of the vectors.
            display: the columns of a hit.
            weights: digest of those that the vectors are of.
            approximate: how it is searched without comparing all.
            session: Lance's caches, shared with an earlier version.

        Raises:
            PairJEPAError: it is missing, damaged, or of other weights.
        """
        self._uri, self._dim, self._display, self._approximate = uri, dim, list(display), approximate
        with reading(uri):
            self._table: Any = lance_module().dataset(uri, session=session)
            self._rows = self._table.count_rows()
        check_weights(self._table, uri, weights)
        self._weights = weights
        self.schema: pa.Schema = self._table.schema
        self._warm = False

    def __len__(self) -> int:
        return int(self._rows)

    def refreshed(self, approximate: Approximation | None) -> "Vectors":
        """This version, or the newest one, if the table was written since; warm if this one is."""
        with reading(self._uri):
            if self._table.latest_version == self._table.version and approximate == self._approximate:
                return self
            session = self._table.session()
        newest = Vectors(self._uri, self._dim, self._display, self._weights, approximate, session)
        if self._warm:
            newest.warm()
        return newest

    def warm(self) -> None:
        """Read now what makes many queries quick."""
        self._warm = True
        if self._approximate is None:
            _ = self._vectors, self._columns
            return
        with reading(self._uri):
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

    def vector(self, id: str) -> Float32[np.ndarray, " dim"] | None:
        """That of the first row of that id."""
        if not _ID.fullmatch(id):
            return None
        with reading(self._uri):
            found = self._table.to_table(columns=vector_columns(self._table), filter=f"id = '{id}'", limit=1)
        return checked_vectors(found, self._dim, self._uri)[0] if found.num_rows else None

    @property
    def ids(self) -> list[str]:
        """Of all rows, in the order of `matrix`."""
        with reading(self._uri):
            found: list[str] = self._table.to_table(columns=["id"])["id"].to_pylist()
        return found

    def matrix(self) -> Float32[np.ndarray, "rows dim"]:
        """The vectors of all rows, as a copy."""
        with reading(self._uri):
            return read_vectors(self._table, self._dim)

    def nearest(
        self, vector: np.ndarray, k: int, where: str | None, exclude: str | None
    ) -> tuple[list[dict[str, Any]], list[float]]:
        """The best rows, as their display columns, and their scores; `where` is a filter in Lance's SQL."""
        conditions = [f"({where})"] if where is not None else []
        conditions += [f"id != '{exclude}'"] if exclude is not None and _ID.fullmatch(exclude) else []
        condition = " AND ".join(conditions) or None
        if self._approximate is not None:
            with reading(self._uri):
                found, scores = approximately(
                    self._table,
                    self._dim,
                    vector,
                    k,
                    self._approximate.probes,
                    columns=self._display,
                    filter=condition,
                )
            return found.to_pylist(), scores.tolist()
        scores = scores_of(self._vectors, vector)
        if condition is not None:
            matching = self._matching(condition)
            scores, every = np.full_like(scores, -np.inf), scores
            scores[matching] = every[matching]
        best = top(scores, k)
        return self._columns.take(best).to_pylist(), scores[best].tolist()

    @cached_property
    def _vectors(self) -> Float32[np.ndarray, "rows dim"]:
        return self.matrix()

    @cached_property
    def _columns(self) -> "pa.Table":
        """The display columns, in memory: Lance takes longer to read ten rows of them than to compare 100,000."""
        with reading(self._uri):
            return self._table.to_table(columns=self._display).combine_chunks()

    def _matching(self, condition: str) -> Int64[np.ndarray, " some"]:
        """Numbers of the rows that a condition holds for."""
        with reading(self._uri):
            found = self._table.to_table(columns=["_rowoffset"], filter=condition)
        return found["_rowoffset"].to_numpy().astype(np.int64)


@contextlib.contextmanager
def reading(table: str) -> Iterator[None]:
    """Say in a sentence what Lance says at length.

    Raises:
        PairJEPAError: instead of what Lance raises in the block.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        reason = first_line(error)[:200]
        if (advice := hindrance(error)) is not None:
            raise PairJEPAError(f"The table {table} cannot be read ({reason}). {advice}") from None
        raise PairJEPAError(
            f"The table {table} is damaged or not all there ({reason}). "
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
    with needs("lance", "search", "pylance"):
        import lance
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
        columns: what is read of them.
        filter: a condition in SQL.
    """
    found = table.to_table(
        columns=[*columns, *vector_columns(table), "_distance"],
        nearest={
            "column": "vector",
            "q": vector,
            "k": max(_MORE * k, _LEAST),
            "metric": "dot",
            "nprobes": probes,
        },
        filter=filter,
        prefilter=True,
    )
    scores = np.vecdot(checked_vectors(found, dim, table.uri), vector)
    best = top(scores, k)
    return found.select(list(columns)).take(best), scores[best]
