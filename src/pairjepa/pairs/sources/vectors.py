"""Vectors in two NumPy files: `images.npy` and `texts.npy` in a folder, a vector a row, with or without a table."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.sources import columns, tables
from pairjepa.pairs.sources.reading import kind_of, read_table
from pairjepa.pairs.sources.vector_columns import IMAGE, TEXT, checked, listed, rows_of, there
from pairjepa.util.errors import PairJEPAError

WHAT = (
    "vectors: a folder with images.npy and texts.npy, and a table of image, caption, split if there is one; or a "
    f"Parquet table with the columns {IMAGE} and {TEXT}"
)
COLUMNS = True
FILES = ("images.npy", "texts.npy")
ROW = "image_row"
"""Column of the table that says which row of images.npy a text belongs to, from 0."""


def matches(source: str) -> bool:
    """A folder with both files."""
    return all((Path(source).expanduser() / name).is_file() for name in FILES)


def widths(source: str) -> tuple[int, int] | None:
    """Numbers in an image's and in a text's vector; None if the source does not hold vectors. Little is read.

    Raises:
        PairJEPAError: a file is damaged.
    """
    if matches(source):
        images, texts = _arrays(source)
        return images.shape[1], texts.shape[1]
    for path in tables.files_of(source)[:1]:
        if kind_of(path) == ".parquet" and path.suffix == ".parquet":
            try:
                file = pq.ParquetFile(path)
                if there(file.schema_arrow.names):
                    row = next(file.iter_batches(1, columns=[IMAGE, TEXT]))
                    return len(row[IMAGE][0].as_py()), len(row[TEXT][0].as_py())
            except (OSError, pa.ArrowException, StopIteration, TypeError):
                continue  # what is wrong is said where it is read
    return None


def read(request: Request, problems: Problems) -> RawPairs:
    """Read both files, and the table beside them.

    Raises:
        PairJEPAError: the files and the table do not belong together, or as `rows_of`.
    """
    folder = Path(request.source).expanduser()
    images, texts = (
        checked(a, str(folder / name)) for a, name in zip(_arrays(request.source), FILES, strict=True)
    )
    about = tables.files_of(request.source)
    if len(about) > 1:
        raise PairJEPAError(
            f"The folder {folder} must hold one table, got {', '.join(f.name for f in about[:8])}."
        )
    table = read_table(about[0], problems, header=not request.no_header) if about else pa.table({})
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
    if columns.image_column(table.column_names, request, where) is None:
        names = pa.array([f"image {row}" for row in rows.tolist()])
        table = table.append_column("image", names) if table.num_columns else pa.table({"image": names})
    for name, vectors in ((IMAGE, images[rows]), (TEXT, texts)):
        table = table.append_column(name, listed(vectors))
    return RawPairs(
        rows_of(table, request, where, problems), f"vectors of {folder.absolute().name}", root=folder
    )


def _arrays(source: str) -> list[np.ndarray]:
    arrays = []
    for name in FILES:
        path = Path(source).expanduser() / name
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise PairJEPAError(f"{path} must be a NumPy file, but cannot be read ({error}).") from None
        if array.ndim != 2 or array.dtype.kind != "f":
            raise PairJEPAError(f"{path} must hold floats, a vector a row, got {array.dtype} {array.shape}.")
        arrays.append(array)
    return arrays
