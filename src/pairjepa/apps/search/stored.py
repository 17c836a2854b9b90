"""Vectors as the tables of an index hold them, each with a checksum that is compared wherever one is read.

And exact search: the product of all vectors with a query, and the rows of its highest scores.

Axes: `rows` in the order of the table, `dim`.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int64, UInt64

from pairjepa.util.errors import PairJEPAError
from pairjepa.util.threads import cores
from pairjepa.util.unit import not_unit

if TYPE_CHECKING:
    import pyarrow as pa

WEIGHTS, DIM = b"weights", b"dim"
"""Keys, in a table's metadata, of the digest of the weights that its vectors are of, and of their width."""
MORE = 8
"""Numbers beside a vector where scores are corrected: what is taken from them, and zeros, for RaBitQ takes eights."""
COLUMNS = {"image": "vector", "caption": "caption_vector", "both": "both_vector"}
"""What a search of images may compare with: the predicted caption, the mean of the captions, and both, mixed."""
BLOCK = 16_384
"""Rows that one thread multiplies at a time."""
MEND = "Put the table back, or make the index again in another folder."


def checksum_of(column: str) -> str:
    """The column of the checksums of a column of vectors."""
    return column.replace("vector", "checksum")


ALL_COLUMNS = (*COLUMNS.values(), *map(checksum_of, COLUMNS.values()))
"""Columns of vectors and of their checksums."""
INNER = (*ALL_COLUMNS, "thumbnail", "digest", "stamp")
"""Columns that say nothing of an image to who searches."""


def row_checksums(vectors: Float32[np.ndarray, "rows dim"]) -> UInt64[np.ndarray, " rows"]:
    """A number for each vector that any changed byte changes."""
    words = np.ascontiguousarray(vectors).view(np.uint32 if vectors.shape[1] % 2 else np.uint64)
    return np.bitwise_xor.reduce(words, axis=1).astype(np.uint64)


def vector_columns(table: Any, column: str = "vector") -> list[str]:
    """What is read of vectors; tables of 0.1 have no checksums."""
    return [name for name in (column, checksum_of(column)) if name in table.schema.names]


def width_of(table: Any, column: str = "vector") -> int:
    """Of a column of vectors, with what the hubness correction adds to them."""
    return int(table.schema.field(column).type.list_size)


def dim_of(table: Any) -> int:
    """Width of the vectors themselves; earlier versions wrote nothing beside them."""
    return int((table.schema.metadata or {}).get(DIM, width_of(table)))


def with_penalty(
    vectors: Float32[np.ndarray, "rows dim"], penalty: Float32[np.ndarray, " rows"]
) -> Float32[np.ndarray, "rows width"]:
    """Vectors whose product with `as_query` is their cosine minus what the hubness correction takes from it."""
    more = np.zeros((len(vectors), MORE), np.float32)
    more[:, 0] = -penalty
    return np.concatenate([vectors, more], axis=1)


def as_query(
    vector: Float32[np.ndarray, " dim"], width: int, *, corrected: bool
) -> Float32[np.ndarray, " width"]:
    """A vector as wide as those that it is compared with; corrected for hubs, if they hold what it takes."""
    query = np.zeros(width, np.float32)
    query[: len(vector)] = vector
    query[len(vector) : len(vector) + 1] = corrected
    return query


def vectors_of(column: "pa.ChunkedArray | pa.FixedSizeListArray") -> Float32[np.ndarray, "rows dim"]:
    """A column of vectors as one array; without a copy, where it lies in one piece."""
    width = column.type.list_size
    chunks = [np.asarray(one.flatten()).reshape(-1, width) for one in getattr(column, "chunks", [column])]
    return chunks[0] if len(chunks) == 1 else np.concatenate([np.empty((0, width), np.float32), *chunks])


def checked_vectors(
    found: "pa.Table | pa.RecordBatch", table: str, column: str = "vector"
) -> Float32[np.ndarray, "rows dim"]:
    """The vectors of rows that were read with `vector_columns`.

    Raises:
        PairJEPAError: one is not what was written, or is not of unit norm.
    """
    vectors, checksum = vectors_of(found[column]), checksum_of(column)
    if checksum in found.schema.names and not found[checksum].null_count:
        changed = np.flatnonzero(row_checksums(vectors) != found[checksum].to_numpy())
        if changed.size:
            raise PairJEPAError(
                f"{table} must hold the vectors that were written, got {changed.size:,} others (checksum). {MEND}"
            )
    elif (wrong := not_unit(vectors)) is not None:
        raise PairJEPAError(f"{table} must hold vectors of norm 1, got norm {wrong[1]:.4g}. {MEND}")
    return vectors


def check_weights(table: Any, name: str, weights: str) -> None:
    """Raise `PairJEPAError` if the vectors of a table are of other weights than its index says; 0.1 does not tell."""
    of = (table.schema.metadata or {}).get(WEIGHTS, weights.encode()).decode()
    if of != weights:
        raise PairJEPAError(
            f"{name} must hold vectors of the weights {weights[:8]}, as the index says, got those of {of[:8]}. {MEND}"
        )


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
