"""The artefact between a trained model and everything that looks at it: both sides' embeddings of one split.

A folder of `image.npy` (images × dim) and `text.npy` (captions × dim), float32 with unit-norm rows;
`owner.npy` (captions, int64: the row of each caption's image); `images.jsonl` (`{"name"}` a line) and
`captions.jsonl` (`{"image": row, "caption"}` a line), both in the order of the rows; `meta.json` (format, split,
run, counts).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from pairjepa.util.checksums import FILE, check, read_record, seal, write_record
from pairjepa.util.errors import PairJEPAError, unreadable
from pairjepa.util.files import atomic_folder, parse_json, writing
from pairjepa.util.unit import not_unit

FORMAT = 1
FILES = ("image.npy", "text.npy", "owner.npy", "images.jsonl", "captions.jsonl", "meta.json")
_MEND = "Make it anew: pairjepa evaluate RUN, with --export FOLDER if it was exported."


@dataclass(frozen=True, eq=False)
class EmbeddingSet:
    """Embeddings of one split's images and captions; checked whenever one is made.

    Raises:
        PairJEPAError: the parts disagree in length or width, or a row is not finite or not of unit norm.
    """

    image: Float32[np.ndarray, "images dim"]
    """Of a trained model: the predictions."""
    text: Float32[np.ndarray, "captions dim"]
    """Of a trained model: the targets."""
    owner: Int64[np.ndarray, " captions"]
    """For each caption, the row of its image."""
    names: Sequence[str]
    captions: Sequence[str]
    split: str
    run: str
    """Digest of the run that made it."""
    origin: Path | None = None
    """The folder that it was loaded from."""

    def __post_init__(self) -> None:
        for field, axes in (("image", 2), ("text", 2), ("owner", 1)):
            array = getattr(self, field)
            wanted = np.float32 if axes == 2 else np.int64
            if array.dtype != wanted or array.ndim != axes:
                raise self._bad(
                    f"{field}.npy", f"hold {wanted.__name__} of {axes} axes", f"{array.dtype} {array.shape}"
                )
        images, captions = len(self.image), len(self.text)
        if self.text.shape[1] != self.image.shape[1]:
            raise self._bad("text.npy", f"be {self.image.shape[1]} wide like image.npy", self.text.shape[1])
        for file, rows, count in (
            ("owner.npy", len(self.owner), captions),
            ("captions.jsonl", len(self.captions), captions),
            ("images.jsonl", len(self.names), images),
        ):
            if rows != count:
                raise self._bad(file, f"have {count} rows", rows)
        outside = self.owner[(self.owner < 0) | (self.owner >= images)]
        if outside.size:
            raise self._bad("owner.npy", f"name rows of the {images} images (from 0)", outside[0])
        for field in ("image", "text"):
            if (wrong := not_unit(getattr(self, field))) is not None:
                what = "have rows of norm 1" if np.isfinite(wrong[1]) else "be finite"
                raise self._bad(f"{field}.npy", what, f"norm {wrong[1]:.4g} in row {wrong[0]}")

    def save(self, folder: Path) -> None:
        """Write the folder; it is whole or not there, and replaces an earlier export.

        Raises:
            PairJEPAError: the folder is there and holds something else, or cannot be written.
        """
        folder = Path(folder)
        check_target(folder)
        with writing(folder), atomic_folder(folder, replace=True) as new:
            for field in ("image", "text", "owner"):
                np.save(new / f"{field}.npy", getattr(self, field), allow_pickle=False)
            _write_lines(new / "images.jsonl", ({"name": name} for name in self.names))
            _write_lines(
                new / "captions.jsonl",
                (
                    {"image": int(row), "caption": caption}
                    for row, caption in zip(self.owner, self.captions, strict=True)
                ),
            )
            counts = {"images": len(self.image), "captions": len(self.text), "dim": self.image.shape[1]}
            write_record(new / "meta.json", {"format": FORMAT, "split": self.split, "run": self.run} | counts)
            seal(new)

    @classmethod
    def load(cls, folder: Path, *, mmap: bool = False) -> "EmbeddingSet":
        """Read a folder that `save` wrote; `mmap` leaves the embeddings on disk.

        Raises:
            PairJEPAError: a file is missing or damaged, or what `EmbeddingSet` checks is not so.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise PairJEPAError(
                f"Embeddings folder {folder} is not there. `pairjepa evaluate --export` writes one."
            )
        missing = [file for file in FILES if not (folder / file).exists()]
        if missing:
            raise PairJEPAError(
                f"Embeddings folder {folder} must hold {', '.join(FILES)}, got no {', '.join(missing)}. {_MEND}"
            )
        meta = read_record(folder / "meta.json", {"split": str, "run": str}, _MEND, FORMAT)
        check(folder, _MEND)
        records = _read_lines(folder / "captions.jsonl", {"image": int, "caption": str})
        loaded = cls(
            image=_load_array(folder / "image.npy", mmap),
            text=_load_array(folder / "text.npy", mmap),
            owner=_load_array(folder / "owner.npy", False),
            names=[record["name"] for record in _read_lines(folder / "images.jsonl", {"name": str})],
            captions=[record["caption"] for record in records],
            split=meta["split"],
            run=meta["run"],
            origin=folder,
        )
        differs = [row for row, record in enumerate(records) if record["image"] != loaded.owner[row]]
        if differs:
            row = differs[0]
            raise loaded._bad(
                "captions.jsonl",
                f"agree with owner.npy, which says image {loaded.owner[row]} in row {row}",
                records[row]["image"],
            )
        return loaded

    def _bad(self, file: str, rule: str, value: Any) -> PairJEPAError:
        if self.origin is None:
            return PairJEPAError(f"{file} must {rule}, got {value}.")
        return PairJEPAError(f"{self.origin / file} must {rule}, got {value}. {_MEND}")


def check_target(folder: Path) -> None:
    """Raise `PairJEPAError` if `EmbeddingSet.save` would not write `folder`."""
    if folder.exists() and not (
        folder.is_dir() and {path.name for path in folder.iterdir()} <= {*FILES, FILE}
    ):
        raise PairJEPAError(
            f"The export folder must be new, empty or an earlier export, got {folder}. Name another one."
        )


def _load_array(path: Path, mmap: bool) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise unreadable(path, error, _MEND) from None
    if not isinstance(array, np.ndarray):
        raise PairJEPAError(f"{path} must be one NumPy array, got an archive of them. {_MEND}")
    return array


def _write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            # In ASCII: names may hold bytes that are not UTF-8 (lone surrogates), captions line separators.
            file.write(json.dumps(record) + "\n")


def _read_lines(path: Path, types: dict[str, type]) -> list[dict[str, Any]]:
    """Records of a JSON Lines file, each with the named fields of the named types."""
    records = []
    with path.open("rb") as file:
        try:
            for line in file:
                record = parse_json(line)
                if not (isinstance(record, dict) and all(type(record.get(k)) is t for k, t in types.items())):
                    raise ValueError(f"a line without {' and '.join(types)}")
                records.append(record)
        except ValueError as error:  # JSON and UTF-8 errors are of this kind
            raise PairJEPAError(
                f"{path} must hold one JSON record a line, got {error} after {len(records)} good lines. {_MEND}"
            ) from None
    return records
