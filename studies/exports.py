"""Whether exported models compute what their runs do, and what they cost.

    python studies/exports.py RUN [RUN ...] [--images 200]

Exports each run to ONNX, encodes images of its test split with all their captions, and compares each number with that
of `Embedder`. Writes docs/exports.json and the table in docs/sharing.md. Times are of the clock, which other
work on the machine changes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from results import fill

from pairjepa.apps.export import export
from pairjepa.embedder.embedder import Embedder
from pairjepa.embedder.encoder import Encoder
from pairjepa.embedder.onnx_embedder import OnnxEmbedder
from pairjepa.evaluation.tables import markdown
from pairjepa.pairs import open_pairs

DOCS = Path(__file__).parent.parent / "docs"
TARGETS = ("onnx", "sentence-transformers")
START = "import sys; from pairjepa import OnnxEmbedder as E; E.load(sys.argv[1]).encode_text('a dog')"


def main() -> None:
    """Measure, write, fill."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=200, help="images of the test split")
    given = parser.parse_args()
    rows = [compared(run, given.images) for run in given.runs]
    about = {"images": given.images, "cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    (DOCS / "exports.json").write_text(json.dumps(about | {"rows": rows}, indent=2) + "\n")
    titles = [
        "recipe, target",
        "images",
        "captions",
        "image and words",
        "time an image",
        "time a caption",
        "MB",
    ]
    cells = [
        [
            f"{row['recipe']}, {row['to']}",
            *(f"{row[kind]:.1e}" if kind in row else "" for kind in ("image", "text", "both")),
            *(f"{row[kind]:.1f} x" for kind in ("image_time", "text_time")),
            f"{row['megabytes']:.0f}",
        ]
        for row in rows
    ]
    start = statistics.median(row["start_seconds"] for row in rows)
    words = (
        f"Largest difference of any number of a vector from that of `Embedder`, on {given.images} test images with all "
        f"their captions, and time beside that of `Embedder` ({about['cpus']} cores). "
        f"A process that loads `OnnxEmbedder` and encodes one caption takes {start:.1f} s from start to end."
    )
    fill(DOCS / "sharing.md", "exports", f"{markdown([titles, *cells])}\n\n{words}")


def compared(run: Path, images: int) -> dict[str, Any]:
    """What was exported beside the run."""
    embedder = Embedder.load(run)
    test = open_pairs(embedder.config.data).split("test")
    pictures = [test.image(row) for row in range(images)]
    kept = test.owner < images
    captions, owner = test.captions.filter(kept).to_pylist(), test.owner[kept]
    both = [pictures[row] for row in owner[:images]], captions[:images]
    ours, our_times = encoded(embedder, pictures, captions, both)
    with tempfile.TemporaryDirectory() as scratch:
        folder = export(run, "onnx", Path(scratch) / "onnx")
        theirs, times = encoded(OnnxEmbedder.load(folder), pictures, captions, both)
        row: dict[str, Any] = {"recipe": embedder.config.recipe, "to": "onnx"}
        row |= {kind: float(np.abs(ours[kind] - theirs[kind]).max()) for kind in theirs}
        row |= {f"{kind}_time": times[kind] / our_times[kind] for kind in ("image", "text")}
        row["megabytes"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
        return row | {"start_seconds": start_seconds(folder)}


def encoded(
    encoder: Encoder, pictures: list[Any], captions: list[str], both: tuple[list[Any], list[str]]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Vectors and seconds of each kind."""
    encoder.encode_image(pictures[:1])
    encoder.encode_text(captions[:1])
    begun = time.perf_counter()
    vectors = {"image": encoder.encode_image(pictures)}
    between = time.perf_counter()
    vectors["text"] = encoder.encode_text(captions)
    seconds = {"image": between - begun, "text": time.perf_counter() - between}
    if encoder.sees_captions:
        vectors["both"] = encoder.predict(*both)
    return vectors, seconds


def start_seconds(folder: Path) -> float:
    """Median of five processes, after one that warms the disk."""
    taken = []
    for _ in range(6):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", START, str(folder)], check=True, capture_output=True)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
