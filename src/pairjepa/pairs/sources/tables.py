"""Tables, one or one for each split: CSV, TSV, JSON, JSONL, Parquet, with a column for image and one for caption."""

import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.pairs.folders import entries, image_folders, is_image
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.sources import columns, vector_columns
from pairjepa.pairs.sources.reading import SUFFIXES, TEXTS, kind_of, read_table
from pairjepa.pairs.sources.shards import splits_of
from pairjepa.util.errors import PairJEPAError

WHAT = (
    "tables (.csv, .tsv, .txt, .json, .jsonl, .parquet, also .gz): one, or one for each split (train.csv, val.csv, "
    "test.csv; train-00000-of-00002.parquet), in a folder, its data/ or annotations/"
)
COLUMNS = True
_INNER = ("data", "annotations")
"""Folders of tables beside that of the images."""


def matches(source: str) -> bool:
    """A file with a table's suffix, or a folder with one in it or in its `data` or `annotations`."""
    return bool(files_of(source))


def read(request: Request, problems: Problems) -> RawPairs:
    """Read the tables; image cells are paths seen from their folder, or bytes.

    Raises:
        PairJEPAError: tables that do not belong together stand in the folder, or a column is missing.
    """
    files = files_of(request.source)
    splits = splits_of([file.name for file in files]) if len(files) > 1 else None
    if len(files) > 1 and not _belong_together(files, splits):
        raise PairJEPAError(
            f"The folder {request.source} must hold one table, or one for each split, got "
            f"{', '.join(file.name for file in files[:8])}. Give the table itself."
        )
    parts = []
    for number, path in enumerate(files):
        rows = read_rows(path, request, problems)
        if splits is not None and "split" not in rows.column_names:
            rows = rows.append_column("split", pa.repeat(splits[number], len(rows)))
        parts.append(rows)
    folder = files[0].parent
    inside = Path(request.source).expanduser().is_dir() and folder.name in _INNER
    root = folder.parent if inside else folder
    title = files[0].name if len(files) == 1 else f"{len(files)} tables of {root.absolute().name}"
    words = "split as given" if splits is None else "split as the tables are named"
    beside = folder.parent if folder.name in _INNER else folder
    folders = tuple(dict.fromkeys([*image_folders(folder), *image_folders(beside)]))
    return RawPairs(columns.together(parts), title, words, folders, root=root)


def read_rows(path: Path, request: Request, problems: Problems) -> pa.Table:
    """The rows of one table, as `RawPairs.rows` documents them."""
    table = read_table(path, problems, header=not request.no_header)
    if request.no_header and request.image_column is None:
        first = next((name for name in table.column_names if is_image(str(table[name][0].as_py()))), "1")
        captions = request.caption_column or ("1" if first == "2" else "2",)
        request = replace(request, image_column=first, caption_column=captions)
    if vector_columns.there(table.column_names):
        return vector_columns.rows_of(table, request, str(path), problems)
    found = columns.find(table.column_names, request, str(path))
    columns.note(found, table.column_names, request, problems)
    return columns.long_form(table, found, str(path))


def seen_from_above(rows: pa.Table, folder: str) -> pa.Table:
    """Rows whose images are named as from the folder above theirs."""
    at = rows.column_names.index("image")
    return rows.set_column(at, "image", pc.binary_join_element_wise(folder, rows["image"], "/"))


def _belong_together(files: list[Path], splits: list[str] | None) -> bool:
    shapes = {re.sub(r"\d+", "#", file.name) for file in files}
    return len(shapes) == 1 or (splits is not None and len({file.suffix for file in files}) == 1)


def files_of(source: str) -> list[Path]:
    """The tables that a source is."""
    path = Path(source).expanduser()
    if not path.is_dir():
        return [path] if kind_of(path) in (*SUFFIXES, *TEXTS) and path.is_file() else []
    found = [tables_in(path), *(tables_in(path / name) for name in _INNER)]
    return next((files for files in found if files), [])


def tables_in(folder: Path) -> list[Path]:
    """The tables in a folder, JSON only where there is no other.

    Those beside a folder or shard of the same name are img2dataset's about its pairs; a JSON that is named like an
    image is about that.
    """
    names = [name for name, is_dir in entries(folder) if not is_dir]
    files = [
        file
        for file in map(folder.joinpath, names)
        if (kind_of(file) in SUFFIXES or file.suffix == ".token" or file.name == "captions.txt")
        and file.is_file()
        and not file.with_suffix("").is_dir()
        and not file.with_suffix(".tar").is_file()
    ]
    others = [file for file in files if kind_of(file) != ".json"]
    if others or not files:
        return others
    images = {Path(name).stem for name in names if is_image(name)}
    return [file for file in files if file.stem not in images and not file.stem.endswith("_stats")]
