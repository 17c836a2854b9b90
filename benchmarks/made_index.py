"""Made-up indexes of any size, for the benchmarks of queries: what is generated, and how.

A made-up image lies between a real one and one of its nearest, and off the line by noise that is spread over the axes
of the shared space as real images are; its caption lies as far between captions of the two, with less noise. So what is
near a query, how near, and how many partitions of an approximate index it takes to find it are about what they are in
a real index of as many images (compared with all of Flickr8k on 28 November 2026: a caption's nearest, tenth and
hundredth image had cosines of 0.60, 0.49 and 0.35 there, and of 0.54, 0.46 and 0.34 here). Pictures are a few bytes.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pairjepa.apps.search import Index
from pairjepa.apps.search.approximate import Choice, approximate, wanted
from pairjepa.apps.search.meta import CAPTIONS, IMAGES, META, MODEL
from pairjepa.apps.search.place import Place
from pairjepa.apps.search.stored import COLUMNS, checksum_of, dim_of, row_checksums, vectors_of
from pairjepa.apps.search.tables import Tables
from pairjepa.apps.search.vectors import lance_module
from pairjepa.util.unit import unit

NEIGHBOURS = 10
"""A made-up image lies between a real one and one of so many nearest."""
IMAGE_NOISE, CAPTION_NOISE = 0.6, 0.3
"""Beside vectors of about 1."""
BATCH = 20_000
A_FILE = 100_000  # rows, as in an index that is done
THUMBNAIL = 200  # bytes


class Made:
    """Vectors of one seed, like those of a real index: `images` of them and a caption of each, in batches."""

    def __init__(self, images: int, like: Path, seed: int = 0) -> None:
        self.images = images
        self._random = np.random.default_rng(seed)
        ids, self._real = _vectors(like / IMAGES)
        owners, captions = _vectors(like / CAPTIONS)
        row = {id: number for number, id in enumerate(ids)}
        owner = np.array([row[id] for id in owners])
        self._captions = captions[np.argsort(owner, kind="stable")]
        self._count = np.bincount(owner, minlength=len(ids))
        self._first = np.cumsum(self._count) - self._count
        self._captioned = np.flatnonzero(self._count)
        scores = self._real[self._captioned] @ self._real[self._captioned].T
        np.fill_diagonal(scores, -np.inf)
        self._near = self._captioned[np.argsort(-scores, axis=1)[:, :NEIGHBOURS]]
        self._image_spread, self._caption_spread = _spread(self._real), _spread(self._captions)

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Images and their captions, (rows, dim) float32 of unit norm."""
        for start in range(0, self.images, BATCH):
            rows = min(BATCH, self.images - start)
            number = self._random.integers(0, len(self._captioned), rows)
            one = self._captioned[number]
            other = self._near[number, self._random.integers(0, self._near.shape[1], rows)]
            share = self._random.random((rows, 1), np.float32)
            images = share * self._real[one] + (1 - share) * self._real[other]
            captions = share * self._caption_of(one) + (1 - share) * self._caption_of(other)
            yield (
                unit(images + IMAGE_NOISE * self._noise(rows, self._image_spread)),
                unit(captions + CAPTION_NOISE * self._noise(rows, self._caption_spread)),
            )

    def _caption_of(self, rows: np.ndarray) -> np.ndarray:
        return self._captions[self._first[rows] + self._random.integers(0, self._count[rows])]

    def _noise(self, rows: int, spread: np.ndarray) -> np.ndarray:
        return self._random.standard_normal((rows, len(spread)), dtype=np.float32) @ spread


def _spread(vectors: np.ndarray) -> np.ndarray:
    """What makes noise of independent numbers spread as these vectors do, of a length of about 1."""
    energy, axes = np.linalg.eigh(vectors.T @ vectors / len(vectors))
    return (np.sqrt(np.maximum(energy, 0)) * axes).T.astype(np.float32)


def _vectors(table: Path) -> tuple[list[str], np.ndarray]:
    """Ids of the images that rows are of, and the rows."""
    opened = lance_module().dataset(str(table))
    found = opened.to_table(columns=["id", "vector"])
    return found["id"].to_pylist(), vectors_of(found["vector"])[:, : dim_of(opened)]


def real_captions(index: Path, most: int = 5_000) -> tuple[list[str], np.ndarray]:
    """Captions of an index and their vectors, from everywhere in it."""
    table = lance_module().dataset(str(index / CAPTIONS))
    rows = np.random.default_rng(0).permutation(table.count_rows())[:most]
    found = table.take(np.sort(rows).tolist(), columns=["caption", "vector"])
    return found["caption"].to_pylist(), vectors_of(found["vector"])[:, : dim_of(table)]


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
        like: a real index with captions, which gives the model and what vectors are like.
        choice: whether it is searched approximately.
        captions: whether each image has one.
        thumbnail: bytes of each picture.
    """
    if (folder / META).is_file() and len(Index.open(folder)) == images:
        return folder
    real, start = Index.open(like).meta, 0
    dim, made = real.dim, Made(images, like)
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder)
    Tables(place, dim, pa.schema([]), real.digest)
    schemas = {name: lance_module().dataset(str(folder / name)).schema for name in (IMAGES, CAPTIONS)}
    for vectors, words in made.batches():
        columns = _columns(range(start, start + len(vectors)), thumbnail)
        _append(folder / IMAGES, columns, vectors, schemas[IMAGES])
        if captions:
            columns["caption"] = [said[0] for said in columns["captions"]]
            _append(folder / CAPTIONS, columns, words, schemas[CAPTIONS])
        start += len(vectors)
    Tables(place, dim, pa.schema([]), real.digest).finish()
    ways = {}
    for name, asked in ((IMAGES, CAPTIONS if captions else IMAGES), (CAPTIONS, IMAGES)):
        if wanted(images if name == IMAGES or captions else 0, choice):
            ways[name] = approximate(str(folder / name), str(folder / asked))
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
    columns = columns | {checksum_of(name): row_checksums(vectors).tolist() for name in COLUMNS.values()}
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    rows = pa.Table.from_arrays(
        [
            flat if field.name in COLUMNS.values() else pa.array(columns[field.name], field.type)
            for field in schema
        ],
        schema=schema,
    )
    lance_module().write_dataset(rows, str(table), mode="append", max_rows_per_file=A_FILE)
