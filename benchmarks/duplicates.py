"""What is known of generated images is joined, and near-duplicates between splits are found: time and its growth.

    python benchmarks/duplicates.py --before CHECKOUT

CHECKOUT is a checkout of an older version, whose code is measured on the same images. Seconds are of the processor, as
both use one thread; `again` is what the second command takes, which finds the result in the cache.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from inspect import signature
from pathlib import Path

from sides import Measured, main, peak_rss_mb, ratio

HERE = Path(__file__).parents[1]
GROWTH = (30_000, 100_000, 300_000, 1_000_000, 3_000_000)
TWINS = 100
"""One image of so many is nearly one of another split."""


def _apart(images: int, checkout: Path) -> Measured:
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, __file__, "--measure", str(images)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    measured: Measured = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure(images: int) -> Measured:
    """Join the facts and find the twins of so many images, by the version that is imported."""
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
        "error": [None] * images,
    }
    table = pa.Table.from_pydict(facts, scanning._SCHEMA)
    with tempfile.TemporaryDirectory() as cache:
        for start in range(0, images, size := max(2000, images // 256)):
            scanning._write(table.slice(start, size), Path(cache) / "images")
        del facts, table, columns, hashes, thumbnails, names
        measured: Measured = {"images": images}
        for command in ("", "again_"):
            start = time.process_time()
            joined = scanning.scan(pairs, Path(cache))
            middle = time.process_time()
            found = leaks(*(pairs, joined, Path(cache))[: len(signature(leaks).parameters)])
            measured[f"{command}facts_seconds"] = middle - start
            measured[f"{command}duplicates_seconds"] = time.process_time() - middle
            measured[f"{command}seconds"] = time.process_time() - start
            if "cache" not in signature(leaks).parameters:
                break  # nothing is kept
    measured["near"] = sum(count["near"] for count in found["counts"])
    return measured | {"peak_rss_mb": peak_rss_mb()}


def summary(sides: dict[str, Measured], given: argparse.Namespace) -> Measured:
    """How much quicker it is, and the growth."""
    result: Measured = {"images": given.images}
    if "before" in sides:
        result["before_over_now"] = ratio(sides["before"], sides["now"])
        result["same_result"] = sides["before"]["near"] == sides["now"]["near"]
    grown = [_apart(images, HERE) for images in GROWTH if images <= given.largest]
    first, last = grown[0], grown[-1]
    times, sizes = last["seconds"] / first["seconds"], last["images"] / first["images"]
    return result | {"growth": grown, "exponent": round(math.log(times) / math.log(sizes), 2)}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is measured."""
    parser.add_argument("--before", type=Path, help="a checkout of an older version")
    parser.add_argument("--images", type=int, default=300_000)
    parser.add_argument("--largest", type=int, default=GROWTH[-1], help="of the growth")


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        print(json.dumps(measure(int(sys.argv[2]))))
        sys.exit()
    compared = {"now": lambda given: _apart(given.images, HERE)}
    if "--before" in sys.argv:
        compared["before"] = lambda given: _apart(given.images, given.before)
    sys.exit(main(__doc__, compared, arguments, summary))
