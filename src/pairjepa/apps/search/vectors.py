"""A table of vectors, and the nearest of them."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int64

from pairjepa.apps.search import stored
from pairjepa.apps.search.meta import Approximation
from pairjepa.apps.search.stored import read_vectors, scores_of, top
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
        display: Sequence[str],
        weights: str,
        approximate: Mapping[str, Approximation],
        session: Any = None,
    ) -> None:
        """Open it.

        Args:
            uri: a path, or what Lance takes for object storage.
            display: the columns of a hit.
            weights: digest of those that the vectors are of.
            approximate: columns of vectors that are searched without comparing all, and how.
            session: Lance's caches, shared with an earlier version.

        Raises:
            PairJEPAError: it is missing, damaged, or of other weights.
        """
        self._uri, self._approximate = uri, dict(approximate)
        with reading(uri):
            self._table: Any = lance_module().dataset(uri, session=session)
            self._rows = self._table.count_rows()
            self.schema: pa.Schema = self._table.schema
        stored.check_weights(self._table, uri, weights)
        self._weights, self._dim = weights, stored.dim_of(self._table)
        self._display = list(display)
        self._read = [*display, *({"digest"} & set(self.schema.names))]
        self._warm: str | None = None
        self._matrices: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return int(self._rows)

    def refreshed(self, approximate: Mapping[str, Approximation]) -> "Vectors":
        """This version, or the newest one, if the table was written since; warm if this one is."""
        with reading(self._uri):
            if self._table.latest_version == self._table.version and approximate == self._approximate:
                return self
            session = self._table.session()
        newest = Vectors(self._uri, self._display, self._weights, approximate, session)
        if self._warm is not None:
            newest.warm(self._warm)
        return newest

    def warm(self, column: str = "vector") -> None:
        """Read now what makes many queries of a column of vectors quick."""
        self._warm = column
        if column not in self._approximate:
            _ = self._vectors(column), self._columns, self._all_once
            return
        with reading(self._uri):
            for index in self._table.describe_indices():
                self._table.prewarm_index(index.name)

    def row(self, id: str, columns: list[str]) -> dict[str, Any] | None:
        """The first row of that id."""
        found = self._of_id(id, columns)
        return None if found is None else found.to_pylist()[0]

    def spread(self, count: int, columns: list[str]) -> list[dict[str, Any]]:
        """Rows of about `count` pictures, evenly spread over the table."""
        at = np.unique(np.linspace(0, self._rows - 1, min(count, self._rows)).astype(np.int64))
        with reading(self._uri):
            found = self._table.take(at.tolist(), columns=[*columns, *({"digest"} & set(self.schema.names))])
        once = np.sort(np.unique(_pictures(found), return_index=True)[1])
        rows: list[dict[str, Any]] = found.select(columns).take(once).to_pylist()
        return rows

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
        found = self._of_id(id, stored.vector_columns(self._table))
        return None if found is None else stored.checked_vectors(found, self._uri)[0, : self._dim]

    def _of_id(self, id: str, columns: list[str]) -> "pa.Table | None":
        if not _ID.fullmatch(id):
            return None
        with reading(self._uri):
            found = self._table.to_table(columns=columns, filter=f"id = '{id}'", limit=1)
        return found if found.num_rows else None

    @property
    def ids(self) -> list[str]:
        """Of all pictures, in the order of `matrix`."""
        found: list[str] = self._columns["id"].take(self._all_once).to_pylist()
        return found

    def matrix(self) -> Float32[np.ndarray, "pictures dim"]:
        """The vectors of all pictures, as a copy."""
        return self._vectors("vector")[self._all_once, : self._dim]

    @cached_property
    def pictures(self) -> int:
        """How many, whatever each is called through."""
        import pyarrow.compute as pc

        with reading(self._uri):
            return int(pc.count_distinct(self._table.to_table(columns=["digest"])["digest"]).as_py())

    def nearest(
        self,
        vector: np.ndarray,
        k: int,
        where: str | None,
        exclude: str | None,
        digest: str | None = None,
        column: str = "vector",
        *,
        corrected: bool = False,
    ) -> tuple[list[dict[str, Any]], list[float], Float32[np.ndarray, " best"]]:
        """The best pictures, as the display columns of a row of each, their scores, and their cosines.

        Args:
            vector: what is asked.
            k: how many.
            where: a filter in Lance's SQL.
            exclude: id of a picture that is left out.
            digest: of its bytes, so that its other names are left out too.
            column: of the vectors that are compared.
            corrected: scores are corrected for hubs, where the vectors were written so.
        """
        width = stored.width_of(self._table, column)
        plain, vector = (stored.as_query(vector, width, corrected=some) for some in (False, corrected))
        conditions = [f"({where})"] if where is not None else []
        conditions += [f"id != '{exclude}'"] if exclude is not None and _ID.fullmatch(exclude) else []
        if digest is not None and "digest" in self.schema.names:
            conditions.append(f"(digest IS NULL OR digest != '{digest}')")
        condition = " AND ".join(conditions) or None
        if (way := self._approximate.get(column)) is not None:
            with reading(self._uri):
                found, scores, vectors = approximately(
                    self._table,
                    column,
                    vector,
                    _MORE * k,
                    way.probes,
                    columns=self._read,
                    filter=condition,
                )
            first = np.sort(np.unique(_pictures(found), return_index=True)[1])[:k]
            hits = found.select(self._display).take(first).to_pylist()
            return hits, scores[first].tolist(), np.vecdot(vectors[first], plain)
        vectors = self._vectors(column)
        rows = self._all_once if condition is None else self._once(self._matching(condition))
        scores = scores_of(vectors, vector)
        best = rows[top(scores[rows], k)]
        hits = self._columns.select(self._display).take(best).to_pylist()
        return hits, scores[best].tolist(), np.vecdot(vectors[best], plain)

    def _once(self, rows: Int64[np.ndarray, " some"]) -> Int64[np.ndarray, " pictures"]:
        """Of the rows of one picture (and caption) one: with captions, if any has, and the first by name."""
        if len(np.unique(self._numbers[rows])) == len(rows):
            return rows
        import pyarrow as pa
        import pyarrow.compute as pc

        some = self._columns.take(rows)
        bare = (
            pc.equal(pc.list_value_length(some["captions"]), 0) if "captions" in some.schema.names else None
        )
        keys = pa.table({"bare": pa.nulls(len(rows)) if bare is None else bare, "name": some["name"]})
        order = pc.sort_indices(keys, sort_keys=[("bare", "ascending"), ("name", "ascending")]).to_numpy()
        first = np.unique(self._numbers[rows][order], return_index=True)[1]
        return np.sort(rows[order[first]])

    @cached_property
    def _all_once(self) -> Int64[np.ndarray, " pictures"]:
        return self._once(np.arange(self._rows))

    @cached_property
    def _numbers(self) -> Int64[np.ndarray, " rows"]:
        return _pictures(self._columns)

    def _vectors(self, column: str) -> Float32[np.ndarray, "rows dim"]:
        if column not in self._matrices:
            with reading(self._uri):
                self._matrices[column] = read_vectors(self._table, column)
        return self._matrices[column]

    @cached_property
    def _columns(self) -> "pa.Table":
        """The display columns, in memory: Lance takes longer to read ten rows of them than to compare 100,000."""
        with reading(self._uri):
            return self._table.to_table(columns=self._read).combine_chunks()

    def _matching(self, condition: str) -> Int64[np.ndarray, " some"]:
        """Numbers of the rows that a condition holds for."""
        with reading(self._uri):
            found = self._table.to_table(columns=["_rowoffset"], filter=condition)
        return found["_rowoffset"].to_numpy().astype(np.int64)


def _pictures(rows: "pa.Table") -> Int64[np.ndarray, " rows"]:
    """A number for each row that is the same for the same picture, and caption if it is a row of one."""
    import pyarrow.compute as pc

    if "digest" not in rows.schema.names:  # of 0.1
        return np.arange(rows.num_rows)
    key = pc.coalesce(rows["digest"], rows["id"])
    if "caption" in rows.schema.names:
        key = pc.binary_join_element_wise(key, rows["caption"], " ")
    indices = key.combine_chunks().dictionary_encode().indices
    return indices.to_numpy(zero_copy_only=False).astype(np.int64)


@contextlib.contextmanager
def reading(table: str) -> Iterator[None]:
    """Say in a sentence what Lance says at length.

    Raises:
        PairJEPAError: instead of what Lance raises in the block.
    """
    try:
        yield
    except BaseException as error:
        panic = type(error).__name__ == "PanicException"  # of Rust, and no `Exception`
        if not panic and not isinstance(error, (OSError, ValueError, RuntimeError, MemoryError)):
            raise
        reason = first_line(error)[:200]
        if (advice := hindrance(error)) is not None:
            raise PairJEPAError(f"The table {table} cannot be read ({reason}). {advice}") from None
        raise PairJEPAError(
            f"The table {table} is damaged or not all there ({reason}). "
            "If it was written while it was open here, open it again; else put it back, or make the index again in "
            "another folder."
        ) from None


def first_line(error: BaseException) -> str:
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
    column: str,
    vector: Float32[np.ndarray, " dim"],
    k: int,
    probes: int,
    *,
    columns: Sequence[str] = (),
    filter: str | None = None,
) -> "tuple[pa.Table, Float32[np.ndarray, ' nearest'], Float32[np.ndarray, 'nearest width']]":
    """The nearest `k` rows that Lance's index finds, best first, their exact scores, and their vectors.

    Args:
        table: Lance's.
        column: of the vectors.
        vector: what is asked.
        k: how many.
        probes: partitions that are looked at.
        columns: what is read of them.
        filter: a condition in SQL.
    """
    found = table.to_table(
        columns=[*columns, *stored.vector_columns(table, column), "_distance"],
        nearest={
            "column": column,
            "q": vector,
            "k": max(_MORE * k, _LEAST),
            "metric": "dot",
            "nprobes": probes,
        },
        filter=filter,
        prefilter=True,
    )
    vectors = stored.checked_vectors(found, table.uri, column)
    scores = np.vecdot(vectors, vector)
    best = top(scores, k)
    return found.select(list(columns)).take(best), scores[best], vectors[best]
