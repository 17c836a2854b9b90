"""Vectors that their user brings: columns of a table, or `images.npy` and `texts.npy`, with or without a table."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from pairjepa.config.settings import DataConfig
from pairjepa.pairs.folders import kind_of, tables_of
from pairjepa.pairs.problems import EXAMPLES, Problems
from pairjepa.pairs.raw import RawPairs
from pairjepa.pairs.sources import columns
from pairjepa.pairs.sources.reading import read_table
from pairjepa.pairs.vectors import as_bytes
from pairjepa.util.errors import PairJEPAError

IMAGE, TEXT = "image_embedding", "text_embedding"
"""Columns of a table of vectors."""
FILES = ("images.npy", "texts.npy")
ROW = "image_row"
"""Column of the table that says which row of images.npy a text belongs to, from 0."""


def arrays(source: str) -> Path | None:
    """A folder with both files."""
    folder = Path(source).expanduser()
    return folder if all((folder / name).is_file() for name in FILES) else None


def widths(source: str) -> tuple[int, int] | None:
    """Numbers in an image's and in a text's vector; None if the source does not hold vectors. Little is read.

    Raises:
        PairJEPAError: a file is damaged.
    """
    if (folder := arrays(source)) is not None:
        images, texts = _arrays(folder)
        return images.shape[1], texts.shape[1]
    for path in tables_of(source)[:1]:
        if kind_of(path) == ".parquet" and path.suffix == ".parquet":
            try:
                file = pq.ParquetFile(path)
                if there(file.schema_arrow.names):
                    row = next(file.iter_batches(1, columns=[IMAGE, TEXT]))
                    return len(row[IMAGE][0].as_py()), len(row[TEXT][0].as_py())
            except (OSError, pa.ArrowException, StopIteration, TypeError):
                continue  # what is wrong is said where it is read
    return None


def read_arrays(folder: Path, config: DataConfig, problems: Problems) -> RawPairs:
    """Read both files, and the table beside them.

    Raises:
        PairJEPAError: the files and the table do not belong together, or as `rows_of`.
    """
    images, texts = (_checked(a, str(folder / name)) for a, name in zip(_arrays(folder), FILES, strict=True))
    about = tables_of(str(folder))
    if len(about) > 1:
        raise PairJEPAError(
            f"The folder {folder} must hold one table, got {', '.join(f.name for f in about[:8])}."
        )
    table = read_table(about[0], problems, header=not config.no_header) if about else pa.table({})
    where = str(about[0] if about else folder)
    if about and len(table) != len(texts):
        raise PairJEPAError(
            f"{where} must have a row for each of the {len(texts):,} vectors of texts.npy, got {len(table):,}."
        )
    if ROW in table.column_names:
        try:
            rows = table[ROW].cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid:
            rows = np.array([-1])
        if rows.dtype.kind != "i" or not ((rows >= 0) & (rows < len(images))).all():
            raise PairJEPAError(
                f"Column {ROW!r} of {where} must hold rows of images.npy, from 0 to {len(images) - 1}, got others."
            )
        table = table.drop_columns([ROW])
    elif len(images) == len(texts):
        rows = np.arange(len(texts))
    else:
        raise PairJEPAError(
            f"images.npy and texts.npy of {folder} must have as many rows, got {len(images):,} and {len(texts):,}. "
            f"Put a table beside them whose column {ROW} says for each text the row of its image, from 0."
        )
    if columns.image_column(table.column_names, config, where) is None:
        names = pa.array([f"image {row}" for row in rows.tolist()])
        table = table.append_column("image", names) if table.num_columns else pa.table({"image": names})
    for name, vectors in ((IMAGE, images[rows]), (TEXT, texts)):
        table = table.append_column(name, _listed(vectors))
    return RawPairs(
        rows_of(table, config, where, problems), f"vectors of {folder.absolute().name}", root=folder
    )


def _arrays(folder: Path) -> list[np.ndarray]:
    arrays = []
    for name in FILES:
        path = folder / name
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise PairJEPAError(f"{path} must be a NumPy file, but cannot be read ({error}).") from None
        if array.ndim != 2 or array.dtype.kind != "f":
            raise PairJEPAError(f"{path} must hold floats, a vector a row, got {array.dtype} {array.shape}.")
        arrays.append(array)
    return arrays


def there(names: list[str]) -> bool:
    """Whether a table of these columns is one of vectors."""
    return {IMAGE, TEXT} <= set(names)


def rows_of(table: pa.Table, config: DataConfig, where: str, problems: Problems) -> pa.Table:
    """The rows of a table of vectors, as `RawPairs.rows` documents them.

    Rows of one image have its first vector. Without a column for the image, equal vectors are one image; without
    captions, these are numbered.

    Raises:
        PairJEPAError: the vectors are of several widths, not finite, or 0; or a row names no image.
        UsageError: a named column is not there.
    """
    images, texts = (_matrix(table[name], name, where) for name in (IMAGE, TEXT))
    table = table.drop_columns([IMAGE, TEXT])
    named = columns.image_column(table.column_names, config, where)
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
    if not config.caption_column and not columns.usual_captions(table.column_names):
        table = table.append_column(
            "caption", pa.array([f"{Path(where).stem} text {row}" for row in range(len(table))])
        )
        problems.note("The texts have no captions: they are numbered.")
    problems.note(
        f"Images and texts are vectors of {images.shape[1]:,} and {texts.shape[1]:,} numbers; an image is shown as "
        "squares of grey."
    )
    rows = columns.rows_of(table, config, where, problems)
    return rows.append_column("vectors", columns.one_each(_listed(texts)))


def _listed(vectors: Float32[np.ndarray, "row width"]) -> pa.FixedSizeListArray:
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
    return _checked(flat.reshape(len(rows), -1), f"Column {name!r} of {where}")


def _checked(vectors: np.ndarray, where: str) -> Float32[np.ndarray, "row width"]:
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
