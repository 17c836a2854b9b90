"""Pairs in shards beside loose files, and what the rows of large data cost.

    python benchmarks/shards.py DATA --scratch FOLDER [--images 4000] [--only loose shards]

`loose` and `shards` read and decode the same images of DATA in the order of their rows, in two threads, after the
system was asked to forget the files: from files of their own, and from shards that `pairjepa shards` made of them.
The others open generated shards of so many thousand samples (bytes of no image, one caption each): once with nothing
known of them, and once again. SCRATCH keeps the shards for the next time (2 GB a million samples).
"""

import argparse
import io
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sides import Measured, main, peak_rss_mb, ratio

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import Pairs
from pairjepa.pairs.shards.convert import convert
from pairjepa.util.files import atomic_folder

THOUSANDS = (10, 100, 1000)
PER_SHARD = 10_000


def arguments(parser: argparse.ArgumentParser) -> None:
    """The pairs, and where shards go."""
    parser.add_argument("data", help="pairs in a folder, as for `pairjepa inspect`")
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--images", type=int, default=4000, help="how many are read")


def loose(given: argparse.Namespace) -> Measured:
    """Images in files of their own."""
    pairs = Pairs.open(given.data)
    in_order = [row for split in pairs.splits for row in _rows(pairs, split)]  # as the shards have them
    rows = in_order[: given.images]
    return _read(pairs, rows, [pairs.table["path"][row].as_py() for row in rows])


def shards(given: argparse.Namespace) -> Measured:
    """The same images in shards."""
    out = given.scratch.absolute() / "shards"
    order = list(Pairs.open(given.data).splits)
    convert(DataConfig(source=given.data), str(out))
    pairs = Pairs.open(f"{out}/{{{','.join(order)}}}-*.tar" if len(order) > 1 else str(out))
    return _read(pairs, range(min(given.images, pairs.n_images)), out.glob("*.tar"))


def opened(thousand: int) -> Any:
    """Generated shards, gone through for the first time and then opened again."""

    def measured(given: argparse.Namespace) -> Measured:
        folder = given.scratch.absolute() / f"{thousand}k"
        if not folder.exists():
            generate(folder, 1000 * thousand)
        cache = given.scratch.absolute() / "cache"
        os.environ["PAIRJEPA_CACHE"] = str(cache)
        shutil.rmtree(cache, ignore_errors=True)
        before, seconds = peak_rss_mb(), []
        for _ in range(2):
            start = time.perf_counter()
            pairs = Pairs.open(folder)
            seconds.append(time.perf_counter() - start)
        return {
            "seconds": seconds[0],
            "seconds_again": seconds[1],
            "items": pairs.n_images,
            "table_bytes_per_row": round(pairs.table.nbytes / pairs.n_images),
            "peak_bytes_per_row": round((peak_rss_mb() - before) * 2**20 / pairs.n_images),
        }

    return measured


def generate(folder: Path, samples: int) -> None:
    """Shards of samples with a caption of twelve words."""
    with atomic_folder(folder) as made:
        for first in range(0, samples, PER_SHARD):
            with tarfile.open(made / f"train-{first // PER_SHARD:05d}.tar", "w") as tar:
                for number in range(first, min(first + PER_SHARD, samples)):
                    words = f"A child in a pink dress climbs a set of stairs {number}".encode()
                    for suffix, data in ((".jpg", bytes(200)), (".txt", words)):
                        member = tarfile.TarInfo(f"{number:09d}{suffix}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))


def summary(sides: dict[str, Measured], given: argparse.Namespace) -> dict[str, Any]:
    """Images a second, and what a row costs."""
    largest = sides[f"{THOUSANDS[-1]}k"]
    return {
        "what": {
            "loose": "images read and decoded in order, a file each, two threads, cold",
            "shards": "the same images from shards",
            **{
                f"{n}k": f"generated shards of {n},000 samples: gone through, and opened again"
                for n in THOUSANDS
            },
        },
        "ratios": {
            "loose / shards": ratio(sides["loose"], sides["shards"]),
            "first opening / again": round(largest["seconds"] / largest["seconds_again"], 1),
        },
        "samples_per_second": round(largest["items"] / largest["seconds"]),
        "table_bytes_per_row": largest["table_bytes_per_row"],
        "peak_bytes_per_row": largest["peak_bytes_per_row"],
    }


def _rows(pairs: Pairs, split: str) -> list[int]:
    return [row for row, one in enumerate(pairs.table["split"].to_pylist()) if one == split]


def _read(pairs: Pairs, rows: Iterable[int], files: Iterable[str | Path]) -> Measured:
    for path in files:
        file = os.open(path, os.O_RDONLY)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        pixels = sum(width * height for width, height in pool.map(lambda row: pairs.image(row).size, rows))
    return {"seconds": time.perf_counter() - start, "items": len(list(rows)), "pixels": pixels}


SIDES = {"loose": loose, "shards": shards} | {f"{n}k": opened(n) for n in THOUSANDS}

if __name__ == "__main__":
    sys.exit(main(__doc__, SIDES, arguments, summary))
