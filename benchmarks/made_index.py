"""Made-up indexes of any size, for the benchmarks of queries: what is generated, and how.

Vectors are of unit norm, in clusters, and spread over the axes of the shared space as the captions of a real index are,
so that real words as queries come near some of them. A caption is its image's vector and noise of the same spread, at a
cosine of 0.43, which is what a run has on Flickr8k's test split. Pictures are a few bytes.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pairjepa.search import Index
from pairjepa.search.approximate import Choice, approximate, wanted
from pairjepa.search.meta import CAPTIONS, IMAGES, META, MODEL
from pairjepa.search.place import Place
from pairjepa.search.tables import Tables
from pairjepa.search.vectors import lance_module, vectors_of

MATCHED = 0.43
A_CLUSTER = 50  # images
BATCH = 20_000
A_FILE = 100_000  # rows, as in an index that is done
THUMBNAIL = 200  # bytes


class Made:
    """Vectors of one seed: `images` in batches, and captions of them."""

    def __init__(self, images: int, like: np.ndarray, seed: int = 0) -> None:
        self.images = images
        self._random = np.random.default_rng(seed)
        energy, axes = np.linalg.eigh(like.T @ like / len(like))
        self._spread = (np.sqrt(np.maximum(energy, 0)) * axes).T.astype(np.float32)
        self._centres = self._noise(max(8, images // A_CLUSTER))

    def batches(self) -> Iterator[np.ndarray]:
        """(rows, dim) float32 of unit norm."""
        for start in range(0, self.images, BATCH):
            rows = min(BATCH, self.images - start)
            centres = self._centres[self._random.integers(0, len(self._centres), rows)]
            yield unit(centres + self._noise(rows))

    def captions(self, images: np.ndarray) -> np.ndarray:
        """One of each image."""
        noise = self._noise(len(images))
        noise = unit(noise - np.vecdot(noise, images)[:, None] * images)
        return np.float32(MATCHED) * images + np.float32((1 - MATCHED**2) ** 0.5) * noise

    def _noise(self, rows: int) -> np.ndarray:
        return self._random.standard_normal((rows, len(self._spread)), dtype=np.float32) @ self._spread


def real_captions(index: Path, most: int = 5_000) -> tuple[list[str], np.ndarray]:
    """Captions of an index and their vectors, from everywhere in it."""
    table = lance_module().dataset(str(index / CAPTIONS))
    rows = np.random.default_rng(0).permutation(table.count_rows())[:most]
    found = table.take(np.sort(rows).tolist(), columns=["caption", "vector"])
    return found["caption"].to_pylist(), vectors_of(found["vector"], found["vector"].type.list_size)


def unit(rows: np.ndarray) -> np.ndarray:
    """Of unit norm."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def made_index(
    folder: Path,
    images: int,
    like: Path,
    choice: Choice,
    captions: bool = True,
    thumbnail: int = THUMBNAIL,
) -> Path:
    """An index of made-up images; one that is there is taken.

    Args:
        folder: where.
        images: how many.
        like: a real index, which gives the model and the spread of the vectors.
        choice: whether it is searched approximately.
        captions: whether each image has one.
        thumbnail: bytes of each picture.
    """
    if (folder / META).is_file() and len(Index.open(folder)) == images:
        return folder
    real, start = Index.open(like).meta, 0
    dim, made = real.dim, Made(images, real_captions(like)[1])
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder)
    Tables(place, dim, pa.schema([]))
    schemas = {name: lance_module().dataset(str(folder / name)).schema for name in (IMAGES, CAPTIONS)}
    for vectors in made.batches():
        columns = _columns(range(start, start + len(vectors)), thumbnail)
        _append(folder / IMAGES, columns, vectors, schemas[IMAGES])
        if captions:
            columns["caption"] = [words[0] for words in columns["captions"]]
            _append(folder / CAPTIONS, columns, made.captions(vectors), schemas[CAPTIONS])
        start += len(vectors)
    Tables(place, dim, pa.schema([])).finish()
    ways = {}
    for name, asked in ((IMAGES, CAPTIONS if captions else IMAGES), (CAPTIONS, IMAGES)):
        if wanted(images if name == IMAGES or captions else 0, choice):
            ways[name] = approximate(str(folder / name), str(folder / asked), dim)
    (folder / MODEL).symlink_to((like / MODEL).absolute())
    os.sync()  # or the disk is still busy with the writing
    replace(real, complete=True, approximate=ways).write(place)
    return folder


def _columns(numbers: range, thumbnail: int) -> dict[str, list[object]]:
    ids = [hashlib.md5(str(n).encode()).hexdigest() for n in numbers]
    return {
        "id": ids,
        "name": [f"{n // 1000}/{n}.jpg" for n in numbers],
        "path": [f"/photos/{n // 1000}/{n}.jpg" for n in numbers],
        "source": ["/photos"] * len(ids),
        "split": ["test" if n % 10 == 0 else "train" for n in numbers],
        "width": [500] * len(ids),
        "height": [375] * len(ids),
        "captions": [[f"a dog number {n} runs through the snow beside a man in red"] for n in numbers],
        "digest": ids,
        "stamp": ids,
        "thumbnail": [os.urandom(thumbnail)] * len(ids),
    }


def _append(table: Path, columns: dict[str, list[object]], vectors: np.ndarray, schema: pa.Schema) -> None:
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    rows = pa.Table.from_arrays(
        [flat if field.name == "vector" else pa.array(columns[field.name], field.type) for field in schema],
        schema=schema,
    )
    lance_module().write_dataset(rows, str(table), mode="append", max_rows_per_file=A_FILE)
