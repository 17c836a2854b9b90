"""Tables of vectors: the columns of images and of texts, checked, as rows that a source hands over."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from pairjepa.pairs.problems import EXAMPLES, Problems
from pairjepa.pairs.raw import Request
from pairjepa.pairs.sources import columns
from pairjepa.pairs.vectors import as_bytes
from pairjepa.util.errors import PairJEPAError

IMAGE, TEXT = "image_embedding", "text_embedding"
"""Columns of a table of vectors."""


def there(names: list[str]) -> bool:
    """Whether a table of these columns is one of vectors."""
    return {IMAGE, TEXT} <= set(names)


def rows_of(table: pa.Table, request: Request, where: str, problems: Problems) -> pa.Table:
    """The rows of a table of vectors, as `RawPairs.rows` documents them.

    Rows of one image have its first vector. Without a column for the image, equal vectors are one image; without
    captions, these are numbered.

    Raises:
        PairJEPAError: the vectors are of several widths, not finite, or 0; or a row names no image.
        UsageError: a named column is not there.
    """
    images, texts = (_matrix(table[name], name, where) for name in (IMAGE, TEXT))
    table = table.drop_columns([IMAGE, TEXT])
    named = columns.image_column(table.column_names, request, where)
    ids = table[named].cast(pa.string()).to_pylist() if named else [None] * len(table)
    if named and None in ids:
        raise PairJEPAError(
            f"Column {named!r} of {where} must name the image of every row, got none in row {ids.index(None) + 1}."
        )
    if named:
        _, first, inverse = np.unique(np.array(ids), return_index=True, return_inverse=True)
        differs = np.flatnonzero((images != images[first[inverse]]).any(1))
        kind = "rows whose image vector is not that of the first row of their image (that one counts)"
        problems.add(kind, [str(ids[row]) for row in differs[:EXAMPLES]], len(differs))
        images = images[first[inverse]]
    cells = pa.StructArray.from_arrays(
        [pa.array(as_bytes(images), pa.large_binary()), pa.array(ids, pa.string())], ["bytes", "path"]
    )
    table = table.drop_columns([named] if named else []).append_column(named or "image", cells)
    if not request.caption_column and not columns.usual_captions(table.column_names):
        table = table.append_column(
            "caption", pa.array([f"{Path(where).stem} text {row}" for row in range(len(table))])
        )
        problems.note("The texts have no captions: they are numbered.")
    problems.note(
        f"Images and texts are vectors of {images.shape[1]:,} and {texts.shape[1]:,} numbers; an image is shown as "
        "squares of grey."
    )
    found = columns.find(table.column_names, request, where)
    columns.note(found, table.column_names, request, problems)
    one_each = pa.array(range(len(texts) + 1), pa.int32())
    vectors = pa.ListArray.from_arrays(one_each, listed(texts))
    return columns.long_form(table, found, where).append_column("vectors", vectors)


def listed(vectors: Float32[np.ndarray, "row width"]) -> pa.FixedSizeListArray:
    """Vectors as a column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


def _matrix(cells: pa.ChunkedArray, name: str, where: str) -> Float32[np.ndarray, "row width"]:
    """The rows of a column of vectors.

    Raises:
        PairJEPAError: it is none, or as `checked`.
    """
    rows = cells.combine_chunks()
    kind = rows.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not pa.types.is_floating(kind.value_type):
        raise PairJEPAError(f"Column {name!r} of {where} must hold lists of floats, got {kind}.")
    widths = rows.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    if len(set(widths.tolist())) > 1:
        row = int(np.flatnonzero(widths != widths[0])[0])
        raise PairJEPAError(
            f"Column {name!r} of {where} must hold vectors of one width, got {widths[0]} numbers in row 1 and "
            f"{widths[row]} in row {row + 1}."
        )
    flat = rows.flatten().to_numpy(zero_copy_only=False)
    return checked(flat.reshape(len(rows), -1), f"Column {name!r} of {where}")


def checked(vectors: np.ndarray, where: str) -> Float32[np.ndarray, "row width"]:
    """The vectors in float32.

    Raises:
        PairJEPAError: one is not finite, or all 0.
    """
    if not vectors.size:
        raise PairJEPAError(f"{where} must hold at least one vector, got none.")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors, np.float32)
    for good, what in (
        (np.isfinite(vectors).all(1), "NaN or infinity"),
        ((vectors != 0).any(1), "zeros alone"),
    ):
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            raise PairJEPAError(
                f"{where} must hold finite vectors that are not 0, got {what} in {(~good).sum():,} of {len(vectors):,} "
                f"rows, the first of them {row + 1}. Compute these vectors again, or leave the rows out."
            )
    return vectors
