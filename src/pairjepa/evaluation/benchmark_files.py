"""Hard negatives as their benchmarks publish them: an image, its caption and a wrong one; and a run measured on them.

SugarCrepe (Hsieh et al. 2023), a JSON object of records: filename, caption, negative_caption
ARO (Yuksekgonul et al. 2023), a JSON list: image_path, bbox_x, bbox_y, bbox_w, bbox_h, true_caption, false_caption
Winoground (Thrush et al. 2022), a record a line: image_0, image_1, caption_0, caption_1, collapsed_tag
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from pairjepa.embedder.embedder import BATCH, Embedder
from pairjepa.metrics.hard_negatives import evaluate_hard_negatives
from pairjepa.pairs.pictures import opened
from pairjepa.run.folder import RunFolder
from pairjepa.util.checksums import write_record
from pairjepa.util.errors import PairJEPAError, unreadable
from pairjepa.util.files import parse_json, writing
from pairjepa.util.progress import progress

FOLDER = "hard-negatives"
"""In the run folder, of the results."""
_MEND = "Give a file of SugarCrepe, ARO or Winoground as it is published."


class Picture(NamedTuple):
    """An image, or the part of it in a box of left, upper, right and lower."""

    path: Path
    box: tuple[float, float, float, float] | None = None

    def opened(self) -> Image.Image:
        """Decoded, whole if there is no box."""
        return opened(self.path) if self.box is None else opened(self.path).crop(self.box)


class Item(NamedTuple):
    """One question: which caption is right?"""

    picture: Picture
    caption: str
    wrong: str
    kind: str


def evaluate_file(
    run: RunFolder | str, file: Path, images: Path | None = None, revision: str | None = None
) -> dict[str, Any]:
    """A run on a benchmark's hard negatives, kept in `RUN/hard-negatives/FILE`; JSON-ready.

    Args:
        run: a run folder; or the name of a pretrained pair, of which nothing is kept.
        file: of the benchmark.
        images: the folder of its images; without it the file's own, and `images` and `val2017` in that.
        revision: of the pair, if its name is a hub id.

    Raises:
        PairJEPAError: the file is none of these, or an image is not there.
    """
    items = read_items(file, images)
    embedder = Embedder.from_pair(run, revision) if isinstance(run, str) else Embedder.load(run)
    pictures = list(dict.fromkeys(item.picture for item in items))
    rows = {picture: row for row, picture in enumerate(pictures)}
    parts = []
    with progress(file.name, len(pictures), "images") as bar:
        for some in (pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)):
            parts.append(embedder.encode_image([picture.opened() for picture in some]))
            bar.advance(len(some))
    texts = embedder.encode_text([item.caption for item in items] + [item.wrong for item in items])
    result: dict[str, Any] = {
        "file": file.name,
        "images": len(pictures),
        "run": run if isinstance(run, str) else str(run.path),
        "weights": embedder.weights,
        "hard_negatives": evaluate_hard_negatives(
            [item.kind for item in items],
            np.arange(len(items)),
            np.array([rows[item.picture] for item in items]),
            (np.concatenate(parts), texts[: len(items)], texts[len(items) :]),
            None,
        ),
    }
    if isinstance(run, str):
        return result
    result |= {"recipe": run.config.recipe, "seed": run.config.training.seed}
    with writing(run.path):
        write_record(run.path / FOLDER / f"{file.stem}.json", result)
    return result


def read_items(file: Path, images: Path | None = None) -> list[Item]:
    """The questions of a benchmark's file, see `evaluate_file`."""
    try:
        data = file.read_bytes()
        lines = data.splitlines() if file.suffix == ".jsonl" else [data]
        records: Any = [parse_json(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise unreadable(file, error, _MEND) from None
    if file.suffix != ".jsonl":
        (whole,) = records
        records = whole.values() if isinstance(whole, dict) else whole if isinstance(whole, list) else [whole]
    folders = [images] if images else [file.parent, file.parent / "images", file.parent / "val2017"]
    items = [item for record in records for item in _items(record, file, folders)]
    if not items:
        raise _no_items(file, "none")
    return items


def _no_items(file: Path, got: str) -> PairJEPAError:
    return PairJEPAError(f"{file} must hold images with a right and a wrong caption, got {got}. {_MEND}")


def _items(record: Any, file: Path, folders: list[Path]) -> Iterator[Item]:
    match record:
        case {"filename": str(name), "caption": str(right), "negative_caption": str(wrong)}:
            yield Item(Picture(_image(name, file, folders)), right, wrong, file.stem)
        case {"image_path": str(name), "true_caption": str(right), "false_caption": str(wrong)}:
            box = None
            if "bbox_x" in record:
                x, y, width, height = (record[f"bbox_{side}"] for side in "xywh")
                box = (x, y, x + width, y + height)
            kind = str(record.get("relation_name", file.stem))
            yield Item(Picture(_image(name, file, folders), box), right, wrong, kind)
        case {"image_0": str(), "image_1": str(), "caption_0": str(), "caption_1": str()}:
            for own, other in ((0, 1), (1, 0)):
                path = _image(record[f"image_{own}"], file, folders)
                captions = record[f"caption_{own}"], record[f"caption_{other}"]
                yield Item(Picture(path), *captions, str(record.get("collapsed_tag", file.stem)))
        case _:
            raise _no_items(file, str(record)[:80])


def _image(name: str, file: Path, folders: list[Path]) -> Path:
    for folder in folders:
        for path in (folder / name, folder / f"{name}.png", folder / f"{name}.jpg"):
            if path.is_file():
                return path
    raise PairJEPAError(
        f"The images of {file} must lie in {' or '.join(map(str, folders))}, got no {name}. "
        "Say where they are: --images FOLDER."
    )
