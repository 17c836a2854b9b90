"""Hugging Face's ImageFolder: images, and a `metadata.csv` (or .jsonl, .parquet) with `file_name` in their folder."""

import os
from pathlib import Path

import pyarrow as pa

from pairjepa.pairs import splits as splitting
from pairjepa.pairs.folders import count_unread, folders_below, is_image, walk
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.sources import columns
from pairjepa.pairs.sources.tables import read_rows, seen_from_above

WHAT = "a Hugging Face ImageFolder (metadata.csv, .jsonl or .parquet beside the images, or in folders below)"
COLUMNS = True

_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def matches(source: str) -> bool:
    """A folder with a metadata file in it or below."""
    return bool(_metadata(Path(source).expanduser()))


def read(request: Request, problems: Problems) -> RawPairs:
    """Read all metadata files; a split column counts, else the folders of the splits."""
    root = Path(request.source).expanduser()
    parts = []
    for path in _metadata(root):
        rows = read_rows(path, request, problems)
        if path.parent != root:
            below = path.parent.relative_to(root).as_posix()
            rows = seen_from_above(rows, below)
        parts.append(rows)
    rows = columns.together(parts)
    if "split" not in rows.column_names:
        encoded = rows["image"].combine_chunks().dictionary_encode()
        if splits := splitting.from_folders(encoded.dictionary.to_pylist()):
            rows = rows.append_column("split", pa.array(splits, pa.string()).take(encoded.indices))
    files = list(walk(root))
    count_unread(files, problems)
    taken = {folder.resolve(): folder for folder in (path.parent for path in _metadata(root))}
    real = {folder: (root / folder).resolve() for folder in map(os.path.dirname, files)}
    once = {folder for folder, there in real.items() if taken.get(there, root / folder) == root / folder}
    images = [name for name in files if is_image(name) and os.path.dirname(name) in once]
    return RawPairs(rows, f"ImageFolder {root.absolute().name}", folders=(root,), files=images, root=root)


def _metadata(root: Path) -> list[Path]:
    """The metadata of each folder that has some: the root, folders of splits, or any up to two below; links once."""
    folders = sorted(
        folders_below(root, 2), key=lambda folder: (len(folder.parts), not splitting.known(folder.name))
    )
    found: dict[Path, Path] = {}
    for folder in folders:
        if name := next((name for name in _NAMES if (folder / name).is_file()), None):
            found.setdefault(folder.resolve(), folder / name)
    return sorted(found.values())
