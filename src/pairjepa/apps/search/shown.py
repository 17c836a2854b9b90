"""What is shown of a table's rows, in memory: Lance takes as long to read ten of them as to find them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from pairjepa.apps.search.rows import FRAGMENT_BITS, mark_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class _Fragment:
    row_ids: Int64[np.ndarray, " rows"]
    columns: "dict[str, pa.Array]"


class Shown:
    """The named columns of one version of a table.

    Args:
        table: Lance's.
        columns: their names.
        before: of an earlier version: fragments that are as they were are taken from there.
    """

    def __init__(self, table: Any, columns: Sequence[str], before: "Shown | None" = None) -> None:
        self._columns = tuple(columns)
        old = before._by_mark if before is not None and before._columns == self._columns else {}
        fragments = {mark_of(fragment): fragment for fragment in table.get_fragments()}
        self._by_mark: dict[str, _Fragment] = {
            mark: old[mark] if mark in old else self._read(one) for mark, one in fragments.items()
        }
        self._by_number = {one.fragment_id: self._by_mark[mark] for mark, one in fragments.items()}

    def of(self, row_ids: Int64[np.ndarray, " some"]) -> list[dict[str, Any]]:
        """What is shown of the rows of these ids."""
        found = []
        for row_id in row_ids.tolist():
            fragment = self._by_number[row_id >> FRAGMENT_BITS]
            row = int(np.searchsorted(fragment.row_ids, row_id))
            found.append({name: column[row].as_py() for name, column in fragment.columns.items()})
        return found

    def _read(self, fragment: Any) -> _Fragment:
        read = fragment.to_table(columns=list(self._columns), with_row_id=True).combine_chunks()
        columns = {name: read[name].chunk(0) for name in self._columns if read.num_rows}
        return _Fragment(read["_rowid"].to_numpy().astype(np.int64), columns)
