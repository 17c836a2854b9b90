"""How long `pairjepa search INDEX WORDS` takes, from the shell's side: program start, model, search and print.

    python benchmarks/search_start.py INDEX [--generated 100000] [--out FILE]

Each query is a process of its own, and the files lie in the system's cache from the one before (a warm disk). With
--generated, as many made-up images (made_index.py), with thumbnails of a usual size, are searched with INDEX's model
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

from made_index import made_index

from pairjepa.search import Index

WORDS = "a dog in the snow"
TIMES = 7
THUMBNAIL = 10_000  # bytes


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
            path = Path(folder) / "made"
            made_index(path, given.generated, given.index, "off", captions=False, thumbnail=THUMBNAIL)
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


if __name__ == "__main__":
    main()
