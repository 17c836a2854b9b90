"""What every export needs: its packages, and a folder that is new or empty before and whole or not there afterwards."""

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pairjepa.util.checksums import read_record, write_record
from pairjepa.util.errors import PairJEPAError, missing_extra
from pairjepa.util.files import atomic_folder, writing

PACKAGES = {
    "onnx": ("onnxruntime", "onnxscript"),
    "sentence-transformers": ("sentence_transformers",),
    "clip": (),
    "hub": (),
}
"""What each target needs; the extra of the same name brings it."""

RECORD = "pairjepa_export.json"
"""Says in the folder what it is made from, so that the same command again finds it done."""


def check_installed(to: str) -> None:
    """Raise `PairJEPAError` if a package that the target `to` needs is missing."""
    for package in PACKAGES[to]:
        if find_spec(package) is None:
            raise missing_extra(package, to)


def check_new(folder: Path) -> None:
    """Raise `PairJEPAError` if there is something at `folder` already."""
    if folder.exists() and not folder.is_dir():
        raise PairJEPAError(f"--out must be a folder, got the file {folder}. Give another name.")
    if folder.is_dir() and (there := sorted(entry.name for entry in folder.iterdir())):
        listed = ", ".join(there[:5]) + (", …" if len(there) > 5 else "")
        raise PairJEPAError(
            f"--out must be a new or empty folder, got {folder}, which holds {listed}. Give another folder."
        )


@contextlib.contextmanager
def new_folder(folder: Path, to: str, weights: str) -> Iterator[Path]:
    """A folder to write to that becomes `folder`, the export of a run to a target, when the block ends well.

    Raises:
        PairJEPAError: there is something at `folder` already, or it cannot be written.
    """
    check_new(folder)
    with writing(folder), atomic_folder(folder) as temporary:
        write_record(temporary / RECORD, {"to": to, "weights": weights})
        yield temporary


def note_files(folder: Path) -> None:
    """List in the record the JSON files that `verify` misses; not their checksums, as `evaluate` writes some anew."""
    record = read_record(folder / RECORD, {}, "Export the run again.")
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.json"))
    write_record(folder / RECORD, record | {"files": files})
