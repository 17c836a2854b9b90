"""A text query in a process that is up, words to hits, beside the text encoder's own forward of the same words.

    python benchmarks/queries.py INDEX --scratch FOLDER [--rows 8000 100000 1000000] [--out FILE]

INDEX is a real one with captions and an ONNX model: it gives the model, the words that are asked, and the vectors that
made-up ones lie between (made_index.py). Up to 300,000 rows there is a side that compares them all, and one that does
not; beyond, the latter alone, as `pairjepa index` decides. The indexes stay in FOLDER for the next time.
Within a side each words are encoded alone and asked as a query in turn, so that a ratio is of neighbours in time.
"""

import argparse
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from made_index import made_index, real_captions
from sides import Measured, main

from pairjepa.apps.search import Index
from pairjepa.apps.search.approximate import LIMIT, NEAREST
from pairjepa.apps.search.meta import IMAGES
from pairjepa.util.files import read_json, write_json

ROWS = (8_000, 100_000, 1_000_000)
QUERIES = 200
WARM_UP = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of this benchmark."""
    parser.add_argument("index", type=Path)
    parser.add_argument("--scratch", type=Path, required=True, help="where the made-up indexes are kept")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)


def sides(given: argparse.Namespace) -> dict[str, Any]:
    """By name."""
    ways = [
        (n, way) for n in given.rows for way in ("exact", "approximate") if way == "approximate" or n <= LIMIT
    ]
    return {f"{n} {way}": partial(ask, n, way) for n, way in ways}


def ask(rows: int, way: str, given: argparse.Namespace) -> Measured:
    """Encode, and encode and search, in turn."""
    path, note = given.scratch / f"{rows}-{way}", given.scratch / f"{rows}-{way}.json"
    if not note.is_file():  # in a process of its own, for its memory is not that of a query
        maker = get_context("spawn").Process(target=make, args=(given.index, path, note, rows, way))
        maker.start()
        maker.join()
    index = Index.open(path)
    start = time.perf_counter()
    index.warm()
    warm, encoder = time.perf_counter() - start, index.encoder()
    words = real_captions(given.index, QUERIES)[0]
    encoding, whole = [], []
    for caption in [*words[:WARM_UP], *words]:
        start = time.perf_counter()
        encoder.encode_text(caption)
        middle = time.perf_counter()
        hits = index.search(encoder.encode_text(caption)[0], NEAREST)
        encoding.append(middle - start)
        whole.append(time.perf_counter() - middle)
        assert len(hits) == min(NEAREST, rows)
    encoding, whole = encoding[WARM_UP:], whole[WARM_UP:]
    return read_json(note, "Record") | {
        "seconds": float(np.median(whole)),
        "p95_seconds": float(np.percentile(whole, 95)),
        "encode_seconds": float(np.median(encoding)),
        "times_encode": float(np.median(np.array(whole) / np.array(encoding))),
        "warm_seconds": warm,
    }


def make(real: Path, path: Path, note: Path, rows: int, way: str) -> None:
    """Make an index, and note what it took; the share of the nearest that real words find is measured too."""
    start = time.perf_counter()
    made_index(path, rows, real, "on" if way == "approximate" else "off")
    measured: Measured = {
        "rows": rows,
        "build_seconds": round(time.perf_counter() - start, 1),
        "disk_mb": round(sum(f.stat().st_size for f in path.glob("*.lance/**/*") if f.is_file()) / 1e6),
    }
    index = Index.open(path)
    if IMAGES in index.meta.approximate:
        exact = Index(index.place, replace(index.meta, approximate={}))
        vectors = real_captions(real, QUERIES)[1]
        # by scores: of equal rows, any are the nearest
        both = [[[h.score for h in one.search(v, NEAREST)] for v in vectors] for one in (exact, index)]
        shares = [np.mean(np.array(found) >= right[-1]) for right, found in zip(*both, strict=True)]
        measured |= {
            name: value
            for name, value in asdict(index.meta.approximate[IMAGES]).items()
            if name in ("kind", "partitions", "probes", "recall_at_10")
        } | {"recall_at_10_of_real_words": round(float(np.mean(shares)), 4)}
    write_json(note, measured)


def summary(medians: dict[str, Measured], given: argparse.Namespace) -> dict[str, Any]:
    """How many times the encoder's own time a query takes."""
    return {
        "what": "words to hits in a process that is up; times_encode is a query's time over that of encoding "
        "its words alone, the median over queries",
        "queries": QUERIES,
        "ratios": {
            side: round(one["times_encode"], 2) for side, one in medians.items() if "times_encode" in one
        },
    }


if __name__ == "__main__":
    sys.exit(main(__doc__, sides, arguments, summary))
