"""Tables in a folder for each split: `train/captions.csv`, `val/captions.csv`, or the hub's `train/0000.parquet`."""

from pathlib import Path

import pyarrow as pa

from pairjepa.pairs import splits as splitting
from pairjepa.pairs.folders import entries
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.sources import columns
from pairjepa.pairs.sources.tables import read_rows, seen_from_above, tables_in

WHAT = "tables in a folder for each split (train/captions.csv, val/captions.csv; train/0000.parquet)"
COLUMNS = True


def matches(source: str) -> bool:
    """A folder with folders that are named as splits and hold tables."""
    return bool(_files(Path(source).expanduser()))


def read(request: Request, problems: Problems) -> RawPairs:
    """Read all of them; paths of images are seen from the folder of their table."""
    root = Path(request.source).expanduser()
    parts = []
    for path in _files(root):
        rows = seen_from_above(read_rows(path, request, problems), path.parent.name)
        if "split" not in rows.column_names:
            split = splitting.normalise(path.parent.name, str(root))
            rows = rows.append_column("split", pa.repeat(split, len(rows)))
        parts.append(rows)
    words = "split as the folders are named"
    return RawPairs(columns.together(parts), root.absolute().name, words, (root,), root=root)


def _files(root: Path) -> list[Path]:
    splits = [root / name for name, is_dir in entries(root) if is_dir and splitting.known(name)]
    return [file for split in splits for file in tables_in(split)]
