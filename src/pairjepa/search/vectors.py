"""A table of vectors, and the nearest of them."""

import contextlib
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from pairjepa.errors import PairJEPAError, UsageError, missing_extra, unknown

if TYPE_CHECKING:
    import pyarrow as pa

HIDDEN = frozenset(("digest", "stamp", "thumbnail", "vector", "captions", "caption"))
"""Columns that are no property of an image to filter by."""

_ID = re.compile("[0-9a-f]{32}")
_MORE = 10  # candidates of an approximate search that are compared exactly, for each hit that is wanted


class Vectors:
    """A table of vectors."""

    def __init__(self, path: Path, dim: int, approximate: bool) -> None:
        """Open it.

        Raises:
            PairJEPAError: it is missing or damaged.
        """
        self._path, self._dim, self._approximate = path, dim, approximate
        with reading(self._path):
            self._table = lance_module().dataset(str(path))
            self._rows = self._table.count_rows()
        self.names: list[str] = self._table.schema.names

    def __len__(self) -> int:
        return int(self._rows)

    def row(self, id: str, columns: list[str]) -> dict[str, Any] | None:
        """The first row of that id."""
        if not _ID.fullmatch(id):
            return None
        with reading(self._path):
            found = self._table.to_table(columns=columns, filter=f"id = '{id}'", limit=1).to_pylist()
        return found[0] if found else None

    def nearest(
        self, vector: np.ndarray, k: int, where: str | None, exclude: str | None, columns: list[str]
    ) -> tuple[list[dict[str, Any]], list[float]]:
        """The best rows and their scores."""
        if self._approximate:
            return self._approximately(vector, k, where, exclude, columns)
        scores = (
            np.concatenate([part @ vector for part in self._parts]) if len(self) else np.empty(0, np.float32)
        )
        if where is not None:
            scores[~np.isin(self._row_ids, self._matching(where))] = -np.inf
        if exclude is not None:
            scores[self._ids == exclude] = -np.inf
        best = top(scores, k)
        with reading(self._path):
            rows = self._table.take(best.tolist(), columns=columns).to_pylist() if len(best) else []
        return rows, scores[best].tolist()

    def _approximately(
        self, vector: np.ndarray, k: int, where: str | None, exclude: str | None, columns: list[str]
    ) -> tuple[list[dict[str, Any]], list[float]]:
        parts = [f"({where})"] if where is not None else []
        parts += [f"id != '{exclude}'"] if exclude is not None and _ID.fullmatch(exclude) else []
        with self._asking(where):
            found = self._table.to_table(
                columns=[*columns, "vector", "_distance"],
                nearest=nearest_options(vector, k),
                filter=" AND ".join(parts) or None,
                prefilter=True,
            )
        scores = vectors_of(found["vector"], self._dim) @ vector
        best = top(scores, k)
        return found.select(columns).take(best).to_pylist(), scores[best].tolist()

    @cached_property
    def _loaded(self) -> "pa.Table":
        with reading(self._path):
            return self._table.to_table(columns=["id", "vector"], with_row_id=True)

    @cached_property
    def _parts(self) -> list[Float32[np.ndarray, "rows dim"]]:
        """The vectors as Lance read them: to put them together takes as long as to read them."""
        return [array_of(chunk, self._dim) for chunk in self._loaded["vector"].chunks]

    @cached_property
    def _row_ids(self) -> np.ndarray:
        return self._loaded["_rowid"].to_numpy()

    @cached_property
    def _ids(self) -> np.ndarray:
        return self._loaded["id"].to_numpy()

    def _matching(self, where: str) -> np.ndarray:
        with self._asking(where):
            return self._table.to_table(columns=[], filter=where, with_row_id=True)["_rowid"].to_numpy()

    @contextlib.contextmanager
    def _asking(self, where: str | None) -> Iterator[None]:
        """`reading`, and what is wrong with a condition is said of it."""
        with reading(self._path):
            try:
                yield
            except (
                ValueError,
                RuntimeError,
            ) as error:  # the second: Lance gives up on a placeholder, such as ?
                if where is None:
                    raise
                raise self._wrong(where, _first_line(error)) from None

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
def reading(table: Path) -> Iterator[None]:
    """Say in a sentence what Lance says at length.

    Raises:
        PairJEPAError: instead of what Lance raises in the block.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise PairJEPAError(
            f"The table {table} is damaged or not all there ({_first_line(error)[:200]}). "
            "If it was written while it was open here, open it again; else put it back, or make the index again in "
            "another folder."
        ) from None


def _first_line(error: Exception) -> str:
    """Without the place in Lance's source."""
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return re.sub(r", \S+\.rs:\d+:\d+$", "", line.removeprefix("Invalid user input: "))


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


def nearest_options(vector: np.ndarray, k: int) -> dict[str, Any]:
    """How Lance is asked for the nearest by an approximate index."""
    return {"column": "vector", "q": vector, "k": k, "metric": "dot", "refine_factor": _MORE, "nprobes": 32}


def array_of(chunk: "pa.FixedSizeListArray", dim: int) -> Float32[np.ndarray, "rows dim"]:
    """A chunk of a column of vectors as an array, without a copy."""
    return np.asarray(chunk.flatten()).reshape(-1, dim)


def vectors_of(column: "pa.ChunkedArray", dim: int) -> Float32[np.ndarray, "rows dim"]:
    """A column of vectors as one array."""
    return np.concatenate(
        [np.empty((0, dim), np.float32), *(array_of(chunk, dim) for chunk in column.chunks)]
    )


def top(scores: Float32[np.ndarray, " rows"], k: int) -> np.ndarray:
    """Rows of the `k` highest scores, best first, equal ones in their order; -inf is none."""
    k = min(k, len(scores))
    if not k:
        return np.empty(0, np.int64)
    floor = np.partition(scores, len(scores) - k)[len(scores) - k]
    candidates = np.flatnonzero((scores >= floor) & (scores > -np.inf))
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]
