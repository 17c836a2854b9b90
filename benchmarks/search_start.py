"""How long `pairjepa search INDEX WORDS` takes, from the shell's side: program start, model, search and print.

    python benchmarks/search_start.py INDEX [--generated 100000] [--out FILE]

Each query is a process of its own, and the files lie in the system's cache from the one before (a warm disk). With
--generated, as many made-up vectors of the same width, with thumbnails of a usual size, are searched with INDEX's model
too. Prints JSON: seconds on the clock, and of processor time, which other work on the machine changes less.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pairjepa.search import Index
from pairjepa.search.meta import MODEL
from pairjepa.search.sources import Entry
from pairjepa.search.tables import Embedded, Row, Tables

WORDS = "a dog in the snow"
TIMES = 7
THUMBNAIL = 10_000  # bytes
BATCH = 2_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    parser.add_argument("--generated", type=int, help="measure this many generated vectors too")
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    given = parser.parse_args()
    indexes = [measured(given.index)]
    if given.generated:
        with tempfile.TemporaryDirectory() as folder:
            path = generated(given.index, Path(folder), given.generated)
            indexes.append(measured(path))
    result = {"words": WORDS, "times": TIMES, "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    text = json.dumps(result | {"indexes": indexes}, indent=2)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n")


def measured(path: Path) -> dict[str, Any]:
    """Medians over `TIMES` processes, after one that warms the disk."""
    command = [sys.executable, "-m", "pairjepa", "search", str(path), WORDS, "--json"]
    clock, processor = [], []
    for _ in range(TIMES + 1):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        clock.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    index = Index.open(path)
    return {
        "images": len(index),
        "dim": index.dim,
        "seconds": round(statistics.median(clock[1:]), 3),
        "seconds_fastest": round(min(clock[1:]), 3),
        "processor_seconds": round(statistics.median(processor[1:]), 3),
    }


def generated(like: Path, folder: Path, images: int) -> Path:
    """An index of random vectors with the model of another."""
    meta = Index.open(like).meta
    generator = np.random.default_rng(0)
    tables = Tables(folder, meta.dim, pa.schema([]))
    for start in range(0, images, BATCH):
        rows = []
        for number in range(start, min(start + BATCH, images)):
            vector = generator.standard_normal(meta.dim).astype(np.float32)
            vector /= np.linalg.norm(vector)
            entry = Entry("generated", f"{number}.jpg", None, lambda: b"")
            image = Embedded(str(number), vector, generator.bytes(THUMBNAIL), 500, 375)
            rows.append(Row(entry, image, np.empty((0, meta.dim), np.float32)))
        tables.put(rows)
    tables.finish()
    (folder / MODEL).symlink_to((like / MODEL).absolute())
    meta.write(folder)
    os.sync()  # or the disk is still busy with the writing
    return folder


if __name__ == "__main__":
    main()
