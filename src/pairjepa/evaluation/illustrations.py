"""What `evaluate` leaves for looking at: thumbnails, partial queries word by word, and where the model looked.

A folder of `thumbnails.parquet` and `pictures.parquet` (`row` int32: the image's row in the embedding set; `jpeg`
binary), `partial.json`, `looks.json`, and `meta.json` (format, digest of the weights, images, notes).
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
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import atomic_folder, read_json, write_json

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
    looks: list[dict[str, Any]]
    """Where the model looked: `image`, `picture` (JPEG), `grid` (rows, columns), `maps` (`text`, `values` row by
    row, `cosine` of the whole image with the text)."""
    run: str
    """Digest of the weights that they are of."""
    notes: list[str] = field(default_factory=list)
    """What there is none of, and why, in sentences."""

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
        meta = read_json(folder / "meta.json", "The illustrations' description")
        wanted = {"format": FORMAT, "images": images}
        found = {key: meta.get(key) if isinstance(meta, dict) else None for key in wanted}
        if found != wanted:
            raise _damaged(folder, f"be of {wanted}, got {found}")
        pictures = _read_pictures(folder / "pictures.parquet", images)
        thumbnails = _read_pictures(folder / "thumbnails.parquet", images)
        try:
            looks = [
                look | {"picture": pictures[look["image"]]}
                for look in read_json(folder / "looks.json", "What the model looked at")
            ]
            run, notes = str(meta["run"]), [str(note) for note in meta["notes"]]
        except (KeyError, TypeError):
            raise _damaged(folder, "have a picture for every look, and a run") from None
        partial = read_json(folder / "partial.json", "The partial queries")
        return cls([thumbnails.get(row) for row in range(images)], partial, looks, run, notes)

    def save(self, folder: Path) -> None:
        """Write the folder, in the place of an earlier one."""
        with atomic_folder(folder, replace=True) as new:
            drawn = ((row, jpeg) for row, jpeg in enumerate(self.thumbnails) if jpeg is not None)
            _write_pictures(new / "thumbnails.parquet", drawn)
            _write_pictures(
                new / "pictures.parquet", ((look["image"], look["picture"]) for look in self.looks)
            )
            bare = [{key: value for key, value in look.items() if key != "picture"} for look in self.looks]
            for name, value in (("partial", self.partial), ("looks", bare)):
                # in ASCII, as a caption may hold a lone surrogate; on one line, as a map is long
                (new / f"{name}.json").write_text(json.dumps(value, allow_nan=False) + "\n", encoding="ascii")
            meta = {"format": FORMAT, "run": self.run, "images": len(self.thumbnails), "notes": self.notes}
            write_json(new / "meta.json", meta)


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
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path.parent, f"hold a whole {path.name}, got: {error}") from None
    pictures = dict(zip(table["row"].to_pylist(), table["jpeg"].to_pylist(), strict=True))
    if any(not 0 <= row < images for row in pictures):
        raise _damaged(path.parent, f"name rows of {images} images in {path.name}")
    return pictures


def _damaged(folder: Path, rule: str) -> PairJEPAError:
    return PairJEPAError(f"{folder} must {rule}. Remove it and run pairjepa evaluate again.")
