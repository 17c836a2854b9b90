"""A table of vectors, and the nearest of them."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from pairjepa.apps.search.meta import Approximation
from pairjepa.apps.search.rows import Rows, top
from pairjepa.apps.search.shown import Shown
from pairjepa.apps.search.stored import check_weights, checked_vectors, vector_columns
from pairjepa.util.errors import PairJEPAError, UsageError, hindrance, needs, unknown

if TYPE_CHECKING:
    import pyarrow as pa

HIDDEN = frozenset(("digest", "stamp", "thumbnail", "vector", "checksum", "captions", "caption"))
"""Columns that are no property of an image to filter by."""

_ID = re.compile("[0-9a-f]{32}")
# Candidates that an approximate search compares exactly: so many for each hit that is wanted, and at least.
_MORE, _LEAST = 2, 5


class Vectors:
    """One version of a table of vectors."""

    def __init__(
        self,
        uri: str,
        dim: int,
        weights: str,
        approximate: Approximation | None,
        before: "Vectors | None" = None,
    ) -> None:
        """Open it.

        Args:
            uri: a path, or what Lance takes for object storage.
            dim: width of the vectors.
            weights: digest of those that they are of.
            approximate: how it is searched without comparing all.
            before: an earlier version, of which what is in memory is taken over.

        Raises:
            PairJEPAError: it is missing, damaged, or of other weights.
        """
        self._uri, self._dim, self._approximate = uri, dim, approximate
        with reading(uri):
            # A session is the caches of Lance: what it has read of an index stays there.
            session = None if before is None else before._table.session()
            self._table: Any = lance_module().dataset(uri, session=session)
            self._rows = self._table.count_rows()
        check_weights(self._table, uri, weights)
        self.names: list[str] = self._table.schema.names
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

    def vector(self, id: str) -> Float32[np.ndarray, " dim"] | None:
        """That of the first row of that id."""
        if not _ID.fullmatch(id):
            return None
        with reading(self._uri):
            found = self._table.to_table(columns=vector_columns(self._table), filter=f"id = '{id}'", limit=1)
        return checked_vectors(found, self._dim, self._uri)[0] if found.num_rows else None

    def nearest(
        self, vector: np.ndarray, k: int, where: str | None, exclude: str | None, columns: list[str]
    ) -> tuple[list[dict[str, Any]], list[float]]:
        """The best rows and their scores."""
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
        with self._asking(where):
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
        with self._asking(where):
            found = self._table.to_table(columns=[], filter=where, with_row_id=True)
        return found["_rowid"].to_numpy().astype(np.int64)

    @contextlib.contextmanager
    def _asking(self, where: str | None) -> Iterator[None]:
        """`reading`, and what is wrong with a condition is said of it."""
        with reading(self._uri):
            try:
                yield
            except (
                ValueError,
                RuntimeError,
            ) as error:  # the second: Lance gives up on a placeholder, such as ?
                if where is None:
                    raise
                raise self._wrong(where, first_line(error)) from None

    def _wrong(self, where: str, said: str) -> UsageError:
        columns = [name for name in self.names if name not in HIDDEN]
        if named := re.search(r"No field named \"?([^\s\"]+?)\"?\.(\s|$)", said):
            error = unknown("column in where", named[1], columns)
            return UsageError(f"{error} Words go into quotes: split = 'test'.")
        return UsageError(
            f"where must be a condition in SQL on the columns {', '.join(columns)}, got {where!r} ({said}). "
            "Write it like split = 'test' AND width > 500."
        )


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
        columns: what is read beside `_rowid`.
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
        with_row_id=True,
    )
    scores = np.vecdot(checked_vectors(found, dim, table.uri), vector)
    best = top(scores, k)
    return found.select([*columns, "_rowid"]).take(best), scores[best]
