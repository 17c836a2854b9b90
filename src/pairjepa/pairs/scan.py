"""One look at every image: its digest, its size, a perceptual hash, or what is wrong with it. Kept on disk."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int32, UInt8, UInt64
from PIL import Image

from pairjepa.pairs.images import BadImage, decode
from pairjepa.pairs.problems import EXAMPLES
from pairjepa.pairs.table import Pairs
from pairjepa.pairs.vectors import INFO
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import cache_folder, chunk_size, digest, digest_bytes, remove_leftovers
from pairjepa.util.lock import claimed
from pairjepa.util.progress import progress, say
from pairjepa.util.tables import cached_table, write_table
from pairjepa.util.threads import cores

NO_HASH = np.uint64(0)
"""The perceptual hash of an image that has none: unreadable, or too flat to tell from another."""

_SHARD = 2000
_VERSION = "v3"  # a part of the shards' names: another way to measure needs another version
_FLAT = 4.0  # grey levels of standard deviation
_THUMBNAIL = (8, 8, 3)
_SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "digest": pa.string(),
        "phash": pa.uint64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "thumbnail": pa.binary(int(np.prod(_THUMBNAIL))),
        "values": pa.string(),
        "error": pa.string(),
    }
)
_NOTHING = {"phash": int(NO_HASH), "width": 0, "height": 0, "thumbnail": bytes(int(np.prod(_THUMBNAIL)))}
"""The facts of an unreadable image."""


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """What a scan found, row by row of the pairs.

    Attributes:
        digest: 32 hex digits of the file's bytes; None where the image is unreadable.
        phash: perceptual hash; `NO_HASH` where there is none.
        width: pixels of the upright image; 0 where it is unreadable.
        height: as `width`.
        thumbnail: the picture at 8 x 8 RGB; black where it is unreadable.
        values: which of its values become 0 to 255, where it has more than 8 bits (`images.decode`); else None.
        error: why the image is unreadable, else None.
    """

    digest: np.ndarray
    phash: UInt64[np.ndarray, " images"]
    width: Int32[np.ndarray, " images"]
    height: Int32[np.ndarray, " images"]
    thumbnail: UInt8[np.ndarray, "images 8 8 3"]
    values: np.ndarray
    error: np.ndarray

    def __len__(self) -> int:
        return len(self.phash)

    @property
    def readable(self) -> Bool[np.ndarray, " images"]:
        """Which images can be used."""
        return np.array([reason is None for reason in self.error], dtype=bool)

    def take(self, rows: np.ndarray) -> "ImageFacts":
        """The facts of these rows, in this order."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def scan(pairs: Pairs, cache: Path | None = None) -> ImageFacts:
    """Look at every image once; what was seen before, by any scan with this cache, is not read again.

    A file is known by its absolute path, size and times of change, bytes in a row by their digest, an image in a shard
    by its place there and by what tells that the shard has changed. Files of at least 2,000 images are written as the
    scan goes, so that a killed one goes on where it was.

    Args:
        pairs: the pairs.
        cache: folder of the cache; `files.cache_folder()` if not given.
    """
    cache = cache_folder() if cache is None else cache
    remove_leftovers(cache, deep=True)
    folder = cache / "images"
    keys = pa.array(image_keys(pairs), pa.string())
    known = _known(folder, keys)
    if len(_missing(keys, known)):
        with claimed(folder / f".{digest(keys.to_pylist())}.lock", wait="image scan"):
            known = _known(folder, keys)
            known = pa.concat_tables([known, *_measured(pairs, keys, _missing(keys, known), folder)])
    facts = known.take(pc.index_in(keys, known["key"]))
    thumbnails = facts["thumbnail"].combine_chunks()
    pixels = np.frombuffer(thumbnails.buffers()[1], np.uint8).reshape(-1, *_THUMBNAIL)
    columns = {name: facts[name].to_numpy() for name in _SCHEMA.names if name not in ("key", "thumbnail")}
    return ImageFacts(**columns, thumbnail=pixels[thumbnails.offset :][: len(thumbnails)])


def readable(pairs: Pairs, facts: ImageFacts, max_bad: float) -> tuple[Pairs, ImageFacts]:
    """Leave out images that cannot be read, and say so.

    Args:
        pairs: the pairs.
        facts: their scan.
        max_bad: share of images that may be unreadable.

    Raises:
        PairJEPAError: more than that are, or all; the first ten are listed.
    """
    good = facts.readable
    bad = np.flatnonzero(~good)
    if not len(bad):
        return pairs, facts
    share = len(bad) / len(facts)
    listed = "".join(f"\n  {pairs.names[row]}: {facts.error[row]}" for row in bad[:EXAMPLES])
    if share > max_bad or not good.any():
        advice = f"Mend or remove them, or go on without them: --data.max-bad {min(1.0, share + 0.005):.2f}."
        raise PairJEPAError(
            f"At most {max_bad:.1%} of the images may be unreadable (data.max_bad), got {len(bad):,} of {len(facts):,} "
            f"({share:.1%}). {advice if good.any() else 'No image is left.'} The first:{listed}"
        )
    say(f"{len(bad):,} of {len(facts):,} images cannot be read, left out:{listed}")
    rows = np.flatnonzero(good)
    return pairs.take(rows), facts.take(rows)


def pairs_digest(pairs: Pairs, facts: ImageFacts) -> str:
    """32 hex digits of what the pairs are: images by content, captions and splits in their order; no names."""
    return digest(*chain.from_iterable(pairs_parts(pairs, facts).values()))


def pairs_parts(pairs: Pairs, facts: ImageFacts) -> dict[str, tuple[Any, ...]]:
    """What `pairs_digest` is of, by what people call it."""
    texts = pairs.text_vectors
    vectors = () if texts is None else (digest_bytes(texts.tobytes()),)
    return {
        "images": (facts.digest.tolist(),),
        "captions": (pairs.captions.to_pylist(), pairs.captions_per_image.tolist(), *vectors),
        "splits": (pairs.table["split"].to_pylist(),),
    }


def perceptual_hash(image: Image.Image) -> np.uint64:
    """64 bits that stay nearly the same when a picture is scaled, compressed again or a little retouched.

    pHash (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010): the 8 x 8 lowest
    frequencies of the DCT of the grey picture at 32 x 32, each larger than their median or not. A picture
    without contrast has `NO_HASH`.
    """
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    if grey.std() < _FLAT:
        return NO_HASH
    low = (_DCT @ grey @ _DCT.T).ravel()
    return np.uint64(int.from_bytes(np.packbits(low > np.median(low)).tobytes()))


_DCT = np.cos(np.pi / 32 * (np.arange(32) + 0.5) * np.arange(8)[:, None])
"""DCT-II of 32 values, the eight lowest frequencies."""


def image_keys(pairs: Pairs) -> list[str]:
    """What each image is known by without a look at it, where that is possible: another if the image is."""
    if "member" in pairs.table.column_names:
        places = pairs.table["member"].to_pylist()
        return [f"{p['shard']}|{p['stamp']}|{p['offset']}+{p['length']}" for p in places]
    return [
        f"bytes:{digest_bytes(pairs.read_bytes(row))}" if path is None else file_key(path)
        for row, path in enumerate(pairs.table["path"].to_pylist())
    ]


def file_key(path: str) -> str:
    """What a file is known by without a look into it; a copy with the old times has another time of status change."""
    absolute = os.path.abspath(path)
    try:
        status = os.stat(path)
    except OSError:
        return f"{absolute}|gone"
    return f"{absolute}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}"


def _known(folder: Path, keys: pa.Array) -> pa.Table:
    """The rows of all files that are wanted, and some others; a damaged file is as good as none.

    Rows are left out of as many as there are keys at once, since each join costs as much as the keys.
    """
    wanted, waiting = [_SCHEMA.empty_table()], list[pa.Table]()
    for path in sorted(folder.glob(f"{_VERSION}-*.parquet")):
        if (table := cached_table(path)) is not None and table.schema.equals(_SCHEMA):
            waiting.append(table)
        if sum(len(one) for one in waiting) > len(keys):
            rows = pa.concat_tables(waiting)
            wanted.append(rows.filter(pc.is_in(rows["key"], keys)))
            waiting = []
    return pa.concat_tables([*wanted, *waiting])


def _missing(keys: pa.Array, known: pa.Table) -> np.ndarray:
    """Rows of the keys that are not known."""
    return np.flatnonzero(~pc.is_in(keys, known["key"]).to_numpy(zero_copy_only=False))


def _measured(pairs: Pairs, keys: pa.Array, rows: np.ndarray, folder: Path) -> Iterator[pa.Table]:
    size = chunk_size(len(rows), _SHARD)
    with progress("image scan", len(rows), "images") as bar, ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            facts = []
            for row, fact in zip(some, pool.map(lambda row: _fact(pairs, int(row)), some), strict=True):
                facts.append({"key": keys[row].as_py()} | fact)
                bar.advance()
            shard = pa.Table.from_pylist(facts, schema=_SCHEMA)
            _write(shard, folder)
            yield shard


def _fact(pairs: Pairs, row: int) -> dict[str, Any]:
    try:
        data = pairs.read_bytes(row)
        image = decode(data, draft=(64, 64))
    except BadImage as error:
        return _NOTHING | {"error": error.reason}
    values, (width, height) = image.info.get("values"), image.info["whole"]
    return {
        "digest": digest_bytes(data),
        "phash": int(NO_HASH if INFO in image.info else perceptual_hash(image)),
        "width": width,
        "height": height,
        "thumbnail": image.resize(_THUMBNAIL[:2], Image.Resampling.BOX).tobytes(),
        "values": None if values is None else f"{values[0]:,.6g} to {values[1]:,.6g}",
    }


def _write(shard: pa.Table, folder: Path) -> None:
    # What could not be read (rights, a lost disk, no memory) may be readable the next time: only content is kept.
    transient = pc.match_substring_regex(shard["error"], "^cannot be read|memory").fill_null(False)
    kept = shard.filter(pc.invert(transient))
    if not kept.num_rows:
        return
    target = folder / f"{_VERSION}-{digest(kept['key'].to_pylist())}.parquet"
    try:
        write_table(kept, target)
    except OSError as error:
        raise PairJEPAError(
            f"The cache {folder} must be writable, got: {error.strerror or error}. "
            "Set PAIRJEPA_CACHE to a folder that is."
        ) from None
