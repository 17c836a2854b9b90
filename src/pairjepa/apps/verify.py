"""The verb verify: whether the files of an artefact are what was written."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairjepa.evaluation.stored import EVALUATION
from pairjepa.features import cache
from pairjepa.run.folder import RunFolder
from pairjepa.util import checksums
from pairjepa.util.errors import PairJEPAError, unreadable
from pairjepa.util.files import read_json
from pairjepa.util.tables import read_table

_WHOLE = ("meta.json", "pairjepa_export.json", "pairjepa_image.json", "pairjepa_text.json")
"""Records of folders that are made as a whole."""


def verify(folder: str | Path) -> dict[str, Any]:
    """Read all files of a run, index, export, embedding set or cache, or of a folder of them, and check them.

    Args:
        folder: the artefact.

    Returns:
        `folder`; `sound`, how many files are what was written; `damaged`, what is wrong in sentences, by file; and
        `unchecked`, the files that have no checksum (those of others, and of PairJEPA 0.1). JSON-ready.

    Raises:
        PairJEPAError: there is no such folder, or nothing in it has a checksum.
    """
    root = Path(folder)
    if not root.is_dir():
        raise PairJEPAError(f"{root} must be a folder, got none. Give that of a run, an index or an export.")
    found = _Found()
    for name, folders, files in os.walk(root):
        folders.sort()
        found.look(Path(name), sorted(files))
    if not found.sound and not found.damaged:
        raise PairJEPAError(
            f"{root} must hold files with checksums, got none. PairJEPA 0.1 wrote none: make it again to have them."
        )
    unchecked = sorted(path for path in found.unchecked if path not in found.listed)
    return {
        "folder": str(root),
        "sound": len(found.sound - set(found.damaged)),
        "damaged": {str(path.relative_to(root)): wrong for path, wrong in sorted(found.damaged.items())},
        "unchecked": [str(path.relative_to(root)) for path in unchecked],
    }


class _Found:
    """What is known of files so far."""

    def __init__(self) -> None:
        self.sound: set[Path] = set()
        self.damaged: dict[Path, str] = {}
        self.unchecked: set[Path] = set()
        self.listed: set[Path] = set()

    def look(self, folder: Path, names: list[str]) -> None:
        """At the files of one folder."""
        if checksums.FILE in names:
            self._listed(folder)
        if "run.json" in names:
            self._run(folder)
        if folder.parent.name == "features" and any(Path(name).suffix in (".json", ".npy") for name in names):
            stored, wrong = cache.verify(folder)
            self.listed.update(stored)
            self.sound.update(stored)
            self.damaged.update(wrong)
        for path in (folder / name for name in names if not name.startswith(".")):
            if path not in self.listed:
                self._alone(path, sealed=checksums.FILE in names)

    def _listed(self, folder: Path) -> None:
        try:
            listed, wrong = checksums.verify(folder)
        except PairJEPAError as error:
            self.damaged[folder / checksums.FILE] = str(error)
            return
        paths = {folder / name for name in listed} | {folder / checksums.FILE}
        self.listed |= paths
        self.sound |= paths
        self.damaged.update({folder / name: sentence for name, sentence in wrong.items()})

    def _run(self, folder: Path) -> None:
        """What a run must hold."""
        try:
            run = RunFolder(folder)
        except PairJEPAError as error:
            self.damaged[folder / "run.json"] = str(error)
            return
        complete = run.summary_file.is_file()
        checks: dict[Path, Callable[[], Any]] = {
            run.summary_file: lambda: run.summary,
            run.metrics_file: run.metrics,
            run.model_file: run.check_trained,
        }
        for path in sorted(folder.glob("evaluation/*.json")):
            checks[path] = partial(checksums.read_record, path, EVALUATION, "Evaluate the run again.")
        for file, check in checks.items():
            try:
                check()
            except PairJEPAError as error:
                self.damaged[file] = str(error)
                continue
            if complete and not file.is_file():
                self.damaged[file] = f"{file} is not there. Put it back."
        if run.metrics_file.is_file():
            self.sound.add(run.metrics_file)
            self.listed.add(run.metrics_file)

    def _alone(self, path: Path, sealed: bool) -> None:
        """A file that carries its checksum itself, or has none."""
        try:
            if path.suffix == ".json":
                checked = _record(path, sealed)
            elif path.suffix == ".safetensors":
                from pairjepa.model.weights import read_tensors

                checked = checksums.KEY in read_tensors(path)[1]
            elif path.suffix == ".parquet":
                checked = path.parent.name in ("images", "shards") or path.name == "pairs.parquet"
                (read_table if checked else pq.read_table)(path)
            else:
                checked = False
        except PairJEPAError as error:
            self.damaged[path] = str(error)
        except (OSError, MemoryError, pa.ArrowException) as error:
            self.damaged[path] = str(unreadable(path, error, "Remove it: it is made again."))
        else:
            (self.sound if checked else self.unchecked).add(path)


def _record(path: Path, sealed: bool) -> bool:
    """Check a JSON file; whether it has a checksum."""
    value = read_json(path, "The record", "")
    if not isinstance(value, dict) or checksums.KEY not in value:
        return False
    checksums.checked_record(value, path, {}, "")
    if path.name in _WHOLE and not sealed and value.get("sealed", value.get("to") != "hub"):
        raise PairJEPAError(f"{path.parent} must have {checksums.FILE}, got none. Put it back.")
    if missing := [name for name in value.get("files", ()) if not (path.parent / name).is_file()]:
        raise PairJEPAError(f"{path.parent} must have {missing[0]}, got none. Put it back.")
    return True
