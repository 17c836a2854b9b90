"""A data set of the Hugging Face hub, or a folder that `datasets` saved: the images are inside the rows."""

import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.pairs import splits as splitting
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.sources import columns
from pairjepa.util.errors import PairJEPAError, needs

WHAT = "a data set of the Hugging Face hub (user/name), or a folder of datasets.save_to_disk"
COLUMNS = True


def matches(source: str) -> bool:
    """A folder that `datasets` saved, or `user/name` where no folder `user` stands here."""
    return _saved(Path(source).expanduser()) or is_id(source)


def is_id(source: str) -> bool:
    """`user/name` where no folder `user` stands here."""
    path = Path(source)
    return (
        bool(re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source)) and not path.exists() and not path.parent.is_dir()
    )


def read(request: Request, problems: Problems) -> RawPairs:
    """Read all splits, images undecoded.

    Raises:
        PairJEPAError: `datasets` is not installed, the hub cannot be reached, or the data set is not there.
    """
    with needs("datasets", "hub"):
        import datasets
    local = _saved(path := Path(request.source).expanduser())
    loaded = _load(datasets, path) if local else download(datasets, request.source)
    parts = loaded if isinstance(loaded, dict) else {None: loaded}
    tables = [_rows(datasets, part, name, request) for name, part in parts.items()]
    rows = columns.together(tables)
    rows, folder = _relative(rows, path if local else Path())
    title = path.absolute().name if local else request.source
    return RawPairs(rows, title, folders=(folder,), root=path if local else None)


def download(datasets: Any, name: str, **options: Any) -> Any:
    """`datasets.load_dataset`, and whatever can go wrong with it in a sentence."""
    try:
        return datasets.load_dataset(name, **options)
    except (
        Exception
    ) as error:  # no network, no such data set, no right to it: the library has many words for it
        raise PairJEPAError(
            f"{name!r} must be a data set that can be had: there is no such folder or file here "
            f"({Path.cwd()}), and the Hugging Face hub gave: {_line(error)}. Give a local folder or table, or check "
            "the name and the connection."
        ) from None


def _rows(datasets: Any, part: Any, split: str | None, request: Request) -> pa.Table:
    for name, feature in part.features.items():
        if isinstance(feature, datasets.Image):
            part = part.cast_column(name, datasets.Image(decode=False))
    found = columns.find(part.column_names, request, request.source)
    rows = columns.long_form(part.with_format("arrow")[:], found, request.source)
    if found.split is None and split is not None:
        word = splitting.normalise(split, request.source)
        rows = rows.append_column("split", pa.repeat(word, len(rows)))
    return rows


def _relative(rows: pa.Table, folder: Path) -> tuple[pa.Table, Path]:
    """Paths of images outside the rows as seen from the folder that they share, and that folder.

    The hub's cache stands elsewhere on every machine, but the names of images, which splits hang on, must not.
    """
    paths = rows["image"].unique().drop_null().to_pylist()
    if not paths or not all(os.path.isabs(path) for path in paths):
        return rows, folder
    shared = os.path.dirname(paths[0]) if len(paths) == 1 else os.path.commonpath(paths)
    names = pc.utf8_slice_codeunits(rows["image"], start=len(shared.rstrip(os.sep)) + 1)
    return rows.set_column(rows.column_names.index("image"), "image", names), Path(shared)


def _saved(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (
        (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    )


def _load(datasets: Any, path: Path) -> Any:
    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:  # whatever a damaged folder makes the library raise
        raise PairJEPAError(
            f"{path} must be a whole folder of datasets.save_to_disk, got: {_line(error)}."
        ) from None


def _line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
