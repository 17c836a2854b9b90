"""What `evaluate` leaves for people: thumbnails, partial queries word by word, and saliency maps.

A folder of `thumbnails.parquet` and `pictures.parquet` (`row` int32: the image's row in the embedding set; `jpeg`
binary), `partial.json`, `saliency.json`, `twins.json`, and `meta.json` (format, digest of the weights, images, notes).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from pairjepa.metrics.partial import Queries
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import ranks
from pairjepa.util.checksums import check, misfit, read_record, seal, write_record
from pairjepa.util.errors import PairJEPAError, unreadable
from pairjepa.util.files import atomic_folder, read_json

FORMAT = 1
TOP = 3
SCHEMA = pa.schema([("row", pa.int32()), ("jpeg", pa.binary())])


@dataclass(frozen=True, eq=False)
class Illustrations:
    """Pictures and examples of one split; rows are those of its embedding set."""

    thumbnails: list[bytes | None]
    """For each image a JPEG; None if it could not be read or was not drawn."""
    partial: list[dict[str, Any]]
    """Queries of image and partly hidden caption: `caption`, `image`, `shuffled_image`, `ratio`, `tokens` (`text`,
    `hidden`), and under `with_image`, `shuffled` and `text_only` what was `found`, or None."""
    saliency: list[dict[str, Any]]
    """Saliency maps: `image`, `picture` (JPEG), `grid` (rows, columns), `maps` (`text`, `values` row by
    row, `cosine` of the whole image with the text)."""
    run: str
    """Digest of the weights that they are of."""
    notes: list[str] = field(default_factory=list)
    """What there is none of, and why, in sentences."""
    twins: list[dict[str, Any]] = field(default_factory=list)
    """Hard negatives: `caption` (row of the right one), `kind`, `text`, `margin` (the right one's lead in cosine)."""

    @classmethod
    def load(cls, folder: Path, images: int) -> "Illustrations":
        """Read a folder that `save` wrote; where there is none, everything is empty and every thumbnail None.

        Args:
            folder: the artefact.
            images: how many images the split has.

        Raises:
            PairJEPAError: a file is missing or damaged, or the folder is of other images or another version.
        """
        if not folder.is_dir():
            return cls([None] * images, [], [], "")
        mend = _mend(folder)
        meta = read_record(folder / "meta.json", {"run": str, "images": int, "notes": [str]}, mend, FORMAT)
        sealed = check(folder, mend)
        if meta["images"] != images:
            raise _damaged(folder, f"be of {images} images, got {meta['images']}")
        pictures = _read_pictures(folder / "pictures.parquet", images)
        thumbnails = _read_pictures(folder / "thumbnails.parquet", images)
        file = "looks" if (folder / "looks.json").is_file() else "saliency"  # as 0.1 called it
        shapes = {"partial": _PARTIAL, file: _SALIENCY, "twins": _TWINS}
        if not (folder / "twins.json").is_file():
            del shapes["twins"]  # 0.1 wrote none
        records = {name: read_json(folder / f"{name}.json", "The record", mend) for name in shapes}
        for name, shape in shapes.items():
            if not sealed and (wrong := misfit(records[name], shape)) is not None:
                raise PairJEPAError(f"{folder / name}.json must {wrong}. {mend}")
        saliency, twins = records[file], records.get("twins", [])
        if any(one["image"] not in pictures for one in saliency):
            raise _damaged(folder, "have a picture for every saliency map")
        saliency = [one | {"picture": pictures[one["image"]]} for one in saliency]
        drawn = [thumbnails.get(row) for row in range(images)]
        return cls(drawn, records["partial"], saliency, meta["run"], meta["notes"], twins)

    def save(self, folder: Path) -> None:
        """Write the folder, in the place of an earlier one."""
        with atomic_folder(folder, replace=True) as new:
            drawn = ((row, jpeg) for row, jpeg in enumerate(self.thumbnails) if jpeg is not None)
            _write_pictures(new / "thumbnails.parquet", drawn)
            _write_pictures(
                new / "pictures.parquet", ((one["image"], one["picture"]) for one in self.saliency)
            )
            bare = [{key: value for key, value in one.items() if key != "picture"} for one in self.saliency]
            for name, value in (("partial", self.partial), ("saliency", bare), ("twins", self.twins)):
                # in ASCII, as a caption may hold a lone surrogate; on one line, as a map is long
                (new / f"{name}.json").write_text(json.dumps(value, allow_nan=False) + "\n", encoding="ascii")
            meta = {"format": FORMAT, "run": self.run, "images": len(self.thumbnails), "notes": self.notes}
            write_record(new / "meta.json", meta)
            seal(new)


def found(queries: Queries, chosen: Int[np.ndarray, " chosen"]) -> list[dict[str, Any]]:
    """What some of the queries of `evaluate_partial` find: query `i` is to find caption `i`.

    Args:
        queries: all of them.
        chosen: rows of those to look at.

    Returns:
        For each `rank` of its own caption, and `top`: the rows of the three captions that it comes nearest to.
    """
    predictions, targets = queries[0][chosen], queries[1]
    own = Relevance.from_pairs(np.arange(len(chosen)), chosen, len(chosen), len(targets))
    nearest = np.argsort(-(predictions @ targets.T), axis=1, kind="stable")[:, :TOP]
    return [
        {"rank": int(rank), "top": top.tolist()}
        for rank, top in zip(ranks(predictions, targets, own), nearest, strict=True)
    ]


def _write_pictures(path: Path, pictures: Iterable[tuple[int, bytes]]) -> None:
    table = pa.Table.from_pylist([{"row": row, "jpeg": jpeg} for row, jpeg in pictures], SCHEMA)
    pq.write_table(table, path, compression="none")  # JPEG is compressed


def _read_pictures(path: Path, images: int) -> dict[int, bytes]:
    try:
        table = pq.read_table(path, columns=["row", "jpeg"])
    except (OSError, MemoryError, pa.ArrowException) as error:
        raise unreadable(path, error, _mend(path.parent)) from None
    pictures = dict(zip(table["row"].to_pylist(), table["jpeg"].to_pylist(), strict=True))
    if any(not 0 <= row < images for row in pictures):
        raise _damaged(path.parent, f"name rows of {images} images in {path.name}")
    return pictures


def _damaged(folder: Path, rule: str) -> PairJEPAError:
    return PairJEPAError(f"{folder} must {rule}. {_mend(folder)}")


def _mend(folder: Path) -> str:
    return f"Evaluate the run again (pairjepa evaluate RUN --split {folder.name}), which makes it anew."


_SALIENCY = [{"image": int, "grid": [int], "maps": [{"text": str, "values": [float], "cosine": float}]}]
_TWINS = [{"caption": int, "kind": str, "text": str, "margin": float}]
_FOUND = (type(None), {"rank": int, "top": [int]})
_PARTIAL = [
    {
        "caption": int,
        "image": int,
        "shuffled_image": (type(None), int),
        "ratio": float,
        "tokens": [{"text": str, "hidden": bool}],
        "with_image": _FOUND,
        "shuffled": _FOUND,
        "text_only": _FOUND,
    }
]
