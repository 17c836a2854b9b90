"""A table: CSV, TSV, JSONL or Parquet, with a column for the image and one for the caption."""

from pathlib import Path

from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.sources import columns
from pairjepa.pairs.sources.folders import image_folders
from pairjepa.pairs.sources.reading import SUFFIXES, read_table
from pairjepa.util.errors import PairJEPAError

WHAT = "a table (.csv, .tsv, .jsonl, .parquet), itself or alone in a folder"
COLUMNS = True


def matches(source: str) -> bool:
    """A file with a table's suffix, or a folder with one in it."""
    return bool(_files(source))


def read(request: Request, problems: Problems) -> RawPairs:
    """Read the table; image cells are paths seen from its folder, or bytes.

    Raises:
        PairJEPAError: several tables stand in the folder, or a column is missing.
    """
    files = _files(request.source)
    if len(files) > 1:
        raise PairJEPAError(
            f"The folder {request.source} must hold one table, got {', '.join(file.name for file in files[:8])}. "
            "Give the table itself."
        )
    path = files[0]
    table = read_table(path, problems)
    rows = columns.long_form(table, columns.find(table.column_names, request, str(path)), str(path))
    return RawPairs(rows, path.name, folders=image_folders(path.parent), root=path.parent)


def _files(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    return [path] if path.suffix.lower() in SUFFIXES and path.is_file() else []
