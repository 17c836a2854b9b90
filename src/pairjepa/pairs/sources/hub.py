"""A data set of the Hugging Face hub, or a folder that `datasets` saved: the images are inside the rows."""

import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import splits as splitting
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs
from pairjepa.pairs.sources import columns
from pairjepa.util.errors import PairJEPAError, first_line, needs


def is_id(source: str) -> bool:
    """`user/name` where no folder `user` stands here."""
    path = Path(source)
    return (
        bool(re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source)) and not path.exists() and not path.parent.is_dir()
    )


def saved_or_id(source: str) -> Path | str:
    """A folder that `datasets` saved, or an id."""
    path = Path(source).expanduser()
    files = ("dataset_dict.json",), ("state.json", "dataset_info.json")
    saved = any(all((path / name).is_file() for name in names) for names in files)
    return path if saved else source if is_id(source) else ""


def read(found: Path | str, config: DataConfig, problems: Problems) -> RawPairs:
    """Read all splits, images undecoded.

    Raises:
        PairJEPAError: `datasets` is not installed, the hub cannot be reached, or the data set is not there.
    """
    with needs("datasets", "hub"):
        import datasets
    local = isinstance(found, Path)
    loaded = _load(datasets, found) if local else download(datasets, str(found))
    parts = loaded if isinstance(loaded, dict) else {None: loaded}
    source = str(found)
    tables = []
    for split, part in parts.items():
        part = undecoded(datasets, part)
        names = columns.find(part.column_names, config, source)
        rows = columns.long_form(part.with_format("arrow")[:], names, source)
        if names.split is None and split is not None:
            word = splitting.normalise(split, source)
            rows = rows.append_column("split", pa.repeat(word, len(rows)))
        tables.append(rows)
    rows, folder = _relative(columns.together(tables), Path(found) if local else Path())
    title = Path(found).absolute().name if local else source
    return RawPairs(rows, title, folders=(folder,), root=Path(found) if local else None)


def undecoded(datasets: Any, part: Any) -> Any:
    """A data set whose images stay the bytes that they are."""
    for name, feature in part.features.items():
        if isinstance(feature, datasets.Image):
            part = part.cast_column(name, datasets.Image(decode=False))
    return part


def download(datasets: Any, name: str, **options: Any) -> Any:
    """`datasets.load_dataset`, and whatever can go wrong with it in a sentence."""
    try:
        return datasets.load_dataset(name, **options)
    except Exception as error:  # no network, no such data set, no right: the library has many words for it
        raise PairJEPAError(
            f"{name!r} must be a data set that can be had: there is no such folder or file here "
            f"({Path.cwd()}), and the Hugging Face hub gave: {first_line(error)}. Give a local folder or table, or "
            "check the name and the connection."
        ) from None


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


def _load(datasets: Any, path: Path | str) -> Any:
    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:  # whatever a damaged folder makes the library raise
        raise PairJEPAError(
            f"{path} must be a whole folder of datasets.save_to_disk, got: {first_line(error)}."
        ) from None
