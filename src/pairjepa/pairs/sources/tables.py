"""Tables with a column for image and one for caption: CSV, TSV, JSON, JSONL, Parquet; alone or in folders."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import splits as splitting
from pairjepa.pairs.folders import (
    TABLE_FOLDERS,
    count_unread,
    entries,
    folders_below,
    image_folders,
    is_image,
    tables_in,
    walk,
)
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, place_of
from pairjepa.pairs.sources import columns, vectors
from pairjepa.pairs.sources.reading import read_table
from pairjepa.util.errors import PairJEPAError

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def read_rows(path: Path, config: DataConfig, problems: Problems) -> pa.Table:
    """The rows of one table, as `RawPairs.rows` documents them."""
    table = read_table(path, problems, header=not config.no_header)
    if config.no_header and config.image_column is None:
        first = next((name for name in table.column_names if is_image(str(table[name][0].as_py()))), "1")
        captions = config.caption_column or ("1" if first == "2" else "2",)
        config = replace(config, image_column=first, caption_column=captions)
    if vectors.there(table.column_names):
        return vectors.rows_of(table, config, str(path), problems)
    return columns.rows_of(table, config, str(path), problems)


def _joined(
    files: Sequence[Path],
    root: Path,
    config: DataConfig,
    problems: Problems,
    splits: Sequence[str] | None = None,
) -> pa.Table:
    """The rows of several tables, whose images are named as from `root`."""
    parts = []
    for path in files:
        rows = read_rows(path, config, problems)
        if path.parent != root:
            folder = path.parent.relative_to(root).as_posix()
            names = pc.binary_join_element_wise(folder, rows["image"], "/")
            rows = rows.set_column(rows.column_names.index("image"), "image", names)
        parts.append(rows)
    return columns.together(parts, splits)


def read_tables(files: list[Path], config: DataConfig, problems: Problems) -> RawPairs:
    """Read the tables; image cells are paths seen from their folder, or bytes.

    Raises:
        PairJEPAError: tables that do not belong together stand in the folder, or a column is missing.
    """
    splits = splitting.from_words([file.name for file in files]) if len(files) > 1 else None
    if len(files) > 1 and not _belong_together(files, splits):
        raise PairJEPAError(
            f"The folder {config.source} must hold one table, or one for each split, got "
            f"{', '.join(file.name for file in files[:8])}. Give the table itself."
        )
    folder = files[0].parent
    rows = _joined(files, folder, config, problems, splits)
    beside = folder.parent if folder.name in TABLE_FOLDERS else folder
    root = beside if place_of(config).is_dir() else folder
    title = files[0].name if len(files) == 1 else f"{len(files)} tables of {root.absolute().name}"
    words = "split as given" if splits is None else "split as the tables are named"
    folders = tuple(dict.fromkeys([*image_folders(folder), *image_folders(beside)]))
    return RawPairs(rows, title, words, folders, root=root)


def _belong_together(files: list[Path], splits: list[str] | None) -> bool:
    shapes = {re.sub(r"\d+", "#", file.name) for file in files}
    return len(shapes) == 1 or (splits is not None and len({file.suffix for file in files}) == 1)


def split_folders(source: str) -> list[Path]:
    """The tables in folders that are named as splits."""
    root = Path(source).expanduser()
    splits = [root / name for name, is_dir in entries(root) if is_dir and splitting.known(name)]
    return [file for split in splits for file in tables_in(split)]


def read_split_folders(files: list[Path], config: DataConfig, problems: Problems) -> RawPairs:
    """Read all of them; paths of images are seen from the folder of their table."""
    root = files[0].parent.parent
    splits = [splitting.normalise(file.parent.name, str(root)) for file in files]
    rows = _joined(files, root, config, problems, splits)
    return RawPairs(rows, root.absolute().name, "split as the folders are named", (root,), root=root)


def imagefolder(source: str) -> list[Path]:
    """The metadata of each folder that has some: the root, folders of splits, or any up to two below; links once."""
    folders = sorted(
        folders_below(Path(source).expanduser(), 2),
        key=lambda folder: (len(folder.parts), not splitting.known(folder.name)),
    )
    found: dict[Path, Path] = {}
    for folder in folders:
        if name := next((name for name in _METADATA if (folder / name).is_file()), None):
            found.setdefault(folder.resolve(), folder / name)
    return sorted(found.values())


def read_imagefolder(metadata: list[Path], config: DataConfig, problems: Problems) -> RawPairs:
    """Read all metadata files; a split column counts, else the folders of the splits."""
    root = place_of(config)
    rows = _joined(metadata, root, config, problems)
    if "split" not in rows.column_names:
        encoded = rows["image"].combine_chunks().dictionary_encode()
        if splits := splitting.from_folders(encoded.dictionary.to_pylist()):
            rows = rows.append_column("split", pa.array(splits, pa.string()).take(encoded.indices))
    files = list(walk(root))
    count_unread(files, problems)
    taken = {path.parent.resolve(): path.parent for path in metadata}
    real = {folder: (root / folder).resolve() for folder in map(os.path.dirname, files)}
    once = {folder for folder, there in real.items() if taken.get(there, root / folder) == root / folder}
    images = [name for name in files if is_image(name) and os.path.dirname(name) in once]
    return RawPairs(rows, f"ImageFolder {root.absolute().name}", folders=(root,), files=images, root=root)
