"""What is known of generated images is joined, and near-duplicates between splits are found: time and its growth.

    python benchmarks/duplicates.py [--largest 300000] [--repeats 3]

Seconds are of the processor, as one thread is used; `again` is what the second command takes, which finds the result in
the cache.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sides import Measured, exponent, main, peak_rss_mb

GROWTH = (30_000, 100_000, 300_000, 1_000_000, 3_000_000)
TWINS = 100
"""One image of so many is nearly one of another split."""


def measure(images: int) -> Measured:
    """Join the facts and find the near-duplicates of so many images."""
    import numpy as np
    import pyarrow as pa

    from pairjepa.pairs import scan as scanning
    from pairjepa.pairs.leaks import leaks
    from pairjepa.pairs.table import Pairs

    random = np.random.default_rng(0)
    hashes = random.integers(1, 2**63, images, dtype=np.uint64)
    thumbnails = random.integers(0, 256, (images, 192), dtype=np.uint8)
    copies = random.permutation(images)[: 2 * (images // TWINS)].reshape(2, -1)
    hashes[copies[1]] = hashes[copies[0]] ^ np.uint64(1 << 40 | 1 << 7)
    thumbnails[copies[1]] = thumbnails[copies[0]]
    names = [f"{number}.jpg" for number in range(images)]
    columns = {
        "name": names,
        "path": [f"/made/{name}" for name in names],
        "split": np.array(["train", "dev", "test"])[random.choice(3, images, p=[0.8, 0.1, 0.1])],
        "captions": [["a picture"]] * images,
    }
    pairs = Pairs(pa.table(columns), "generated")
    facts = {
        "key": scanning.image_keys(pairs),
        "digest": [f"{number:032x}" for number in range(images)],
        "phash": hashes,
        "width": np.full(images, 640, np.int32),
        "height": np.full(images, 480, np.int32),
        "thumbnail": list(map(bytes, thumbnails)),
    }
    facts |= {name: [None] * images for name in scanning._SCHEMA.names if name not in facts}
    table = pa.Table.from_pydict(facts, scanning._SCHEMA)
    with tempfile.TemporaryDirectory() as cache:
        for start in range(0, images, size := max(2000, images // 256)):
            scanning._write(table.slice(start, size), Path(cache) / "images")
        del facts, table, columns, hashes, thumbnails, names
        measured: Measured = {"items": images}
        for command in ("", "again_"):
            start = time.process_time()
            joined = scanning.scan(pairs, Path(cache))
            middle = time.process_time()
            found = leaks(pairs, joined, Path(cache))
            measured[f"{command}facts_seconds"] = middle - start
            measured[f"{command}duplicates_seconds"] = time.process_time() - middle
            measured[f"{command}seconds"] = time.process_time() - start
    measured["near"] = sum(count["near"] for count in found["counts"])
    return measured | {"peak_rss_mb": peak_rss_mb()}


def sides(given: argparse.Namespace) -> dict[str, Any]:
    """By size."""
    return {f"{n:,} images": lambda given, n=n: measure(n) for n in GROWTH if n <= given.largest}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is measured."""
    parser.add_argument("--largest", type=int, default=GROWTH[-1], help="images")


def summary(sides: dict[str, Measured], given: argparse.Namespace) -> Measured:
    """The growth."""
    return {"exponent": exponent([*sides.values()])}


if __name__ == "__main__":
    sys.exit(main(__doc__, sides, arguments, summary))
