"""Do saliency maps point at what the text names? On `shapes` the place of a thing is known.

    pairjepa train contrastive --data shapes:1500 --model.image FOLDER --model.text FOLDER --run runs/pretrained
    pairjepa train tiny --data shapes:2000 --model.image-size 128 --run runs/tiny
    python studies/where_it_looks.py runs/pretrained runs/tiny

Asks for each named thing of the test images that show several, "a red circle", in three ways, and writes
docs/where-it-looks.json:

- hit: the highest position lies in the thing's box (the pointing game of Zhang et al. 2018, without tolerance);
  its chance is the share of positions that do;
- told apart: at the place of the thing that is named the map is higher than at the others; chance is 1 of them.

Axes: `row`, `column` = positions of the map, `dim` = shared space.
"""

import io
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pairjepa.embedder.embedder import Embedder
from pairjepa.evaluation.illustrate import saliency
from pairjepa.pairs.sources.shapes import COLOURS, SHAPES
from pairjepa.pairs.table import Pairs, open_pairs
from pairjepa.util.files import write_json

ROOT = Path(__file__).parent.parent
NAMED = re.compile(rf"({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})")
app = App(help_format="plaintext")

Box = tuple[int, int, int, int]
"""First and last row, first and last column of a thing's pixels."""


@app.default
def where_it_looks(*runs: Path, most: int = 150) -> None:
    """Measure runs that were trained on shapes.

    Args:
        runs: run folders.
        most: images of each.
    """
    write_json(ROOT / "docs" / "where-it-looks.json", {run.name: measured(run, most) for run in runs})


def measured(run: Path, most: int) -> dict[str, Any]:
    """Percent of hits and of things told apart, for each way, and by chance."""
    embedder = Embedder.load(run)
    pairs = open_pairs(embedder.config.data).split("test")
    hits: defaultdict[str, list[float]] = defaultdict(list)
    apart: defaultdict[str, list[float]] = defaultdict(list)
    for row in range(min(most, pairs.n_images)):
        picture, things = drawn(pairs, row)
        if len(things) < 2:
            continue
        texts = list(things)
        for way, ask in WAYS.items():
            maps = ask(embedder, picture.convert("RGB"), texts)
            for text, values in zip(texts, maps, strict=True):
                inside = {name: covered(things[name], picture.height, values.shape) for name in things}
                hits[way].append(inside[text].flat[values.argmax()])
                at = {name: values[nearest(things[name], picture.height, values.shape)] for name in things}
                apart[way].append(max(at, key=at.__getitem__) == text)
                if way == "look":
                    hits["chance"].append(inside[text].mean())
                    apart["chance"].append(1 / len(things))
                    shape = list(values.shape)
    return {
        "image backbone": embedder.run.record["config"]["model"]["image"].rpartition("/")[2],
        "map": shape,
        "things": len(hits["look"]),
        "hit": {way: round(100 * float(np.mean(found)), 1) for way, found in hits.items()},
        "told apart": {way: round(100 * float(np.mean(found)), 1) for way, found in apart.items()},
    }


def drawn(pairs: Pairs, row: int) -> tuple[Image.Image, dict[str, Box]]:
    """A picture and the box of each thing that its captions name: the palette's first colour is the ground."""
    picture = Image.open(io.BytesIO(pairs.read_bytes(row)))
    captions = pairs.captions.take(np.flatnonzero(pairs.owner == row)).to_pylist()
    shapes = dict(match for caption in captions for match in NAMED.findall(caption))
    index, palette = np.asarray(picture), np.array(picture.getpalette()).reshape(-1, 3)
    things = {}
    for number in range(1, index.max() + 1):
        colour = min(COLOURS, key=lambda name: float(((palette[number] - COLOURS[name]) ** 2).sum()))
        if colour in shapes:
            rows, columns = np.nonzero(index == number)
            things[f"a {colour} {shapes[colour]}"] = (rows.min(), rows.max(), columns.min(), columns.max())
    return picture, things


def covered(box: Box, side: int, shape: tuple[int, ...]) -> np.ndarray:
    """Positions whose centre lies in a box."""
    rows, columns = ((np.arange(count) + 0.5) * side / count for count in shape)
    top, bottom, left, right = box
    inside = (top <= rows) & (rows <= bottom + 1), (left <= columns) & (columns <= right + 1)
    return inside[0][:, None] & inside[1][None, :]


def nearest(box: Box, side: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """The position that holds the middle of a box."""
    return int((box[0] + box[1] + 1) / 2 / side * shape[0]), int((box[2] + box[3] + 1) / 2 / side * shape[1])


def _positions(embedder: Embedder, picture: Image.Image) -> Tensor:
    """Features of the positions, whole view."""
    pixels = torch.from_numpy(embedder.image.prepare(picture, "whole")[None].copy())
    return embedder.image.positions(embedder.image.normalise(pixels))[0]


def _cosines(embedder: Embedder, features: Tensor, texts: list[str]) -> np.ndarray:
    """Cosines of predictions from `(row, column, width)` with texts: `(text, row, column)`."""
    predictions = F.normalize(embedder.joint.predict(features.flatten(0, 1)), dim=1)
    cosines = predictions @ torch.from_numpy(embedder.encode_text(texts)).T
    return cosines.T.unflatten(1, features.shape[:2]).numpy()


def cosine(embedder: Embedder, picture: Image.Image, texts: list[str]) -> np.ndarray:
    """The cosine of each position alone, whatever its length."""
    with torch.inference_mode():
        return _cosines(embedder, _positions(embedder, picture), texts)


def left_out(embedder: Embedder, picture: Image.Image, texts: list[str]) -> np.ndarray:
    """How much the cosine falls where the position is left out of the mean."""
    with torch.inference_mode():
        features = _positions(embedder, picture)
        count = features.shape[0] * features.shape[1]
        others = (features.sum((0, 1)) - features) / (count - 1)
        return -_cosines(embedder, others, texts)


WAYS: dict[str, Callable[[Embedder, Image.Image, list[str]], np.ndarray]] = {
    "look": saliency,
    "cosine of the position": cosine,
    "position left out": left_out,
}


if __name__ == "__main__":
    app()
