"""What every export needs: its packages, a new folder, and that what is written computes what the run does."""

import contextlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pairjepa.util.checksums import read_record, write_record
from pairjepa.util.errors import PairJEPAError, missing_extra
from pairjepa.util.files import atomic_folder, writing
from pairjepa.util.progress import say

if TYPE_CHECKING:
    from pairjepa.embedder.embedder import Embedder

PACKAGES = {
    "onnx": ("onnxruntime", "onnxscript"),
    "sentence-transformers": ("sentence_transformers",),
    "clip": (),
    "hub": (),
}
"""What each target needs; the extra of the same name brings it."""

TOLERANCE = 1e-5  # on unit vectors; measured differences are below 1e-6
RECORD = "pairjepa_export.json"
"""Says in the folder what it is made from, so that the same command again finds it done."""


def check_installed(to: str) -> None:
    """Raise `PairJEPAError` if a package that the target `to` needs is missing."""
    for package in PACKAGES[to]:
        if find_spec(package) is None:
            raise missing_extra(package, to)


def check_new(folder: Path) -> None:
    """Raise `PairJEPAError` if there is something at `folder` already."""
    if folder.exists() and not folder.is_dir():
        raise PairJEPAError(f"--out must be a folder, got the file {folder}. Give another name.")
    if folder.is_dir() and (there := sorted(entry.name for entry in folder.iterdir())):
        listed = ", ".join(there[:5]) + (", …" if len(there) > 5 else "")
        raise PairJEPAError(
            f"--out must be a new or empty folder, got {folder}, which holds {listed}. Give another folder."
        )


@contextlib.contextmanager
def new_folder(folder: Path, to: str, weights: str) -> Iterator[Path]:
    """A folder to write to that becomes `folder`, the export of a run to a target, when the block ends well.

    Raises:
        PairJEPAError: there is something at `folder` already, or it cannot be written.
    """
    check_new(folder)
    with writing(folder), atomic_folder(folder) as temporary:
        write_record(temporary / RECORD, {"to": to, "weights": weights})
        yield temporary


def note_files(folder: Path) -> None:
    """List in the record the JSON files that `verify` misses; not their checksums, as `evaluate` writes some anew."""
    record = read_record(folder / RECORD, {}, "Export the run again.")
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.json"))
    write_record(folder / RECORD, record | {"files": files})


def check_equal(
    embedder: "Embedder",
    encode_image: Callable[[list[Any]], np.ndarray],
    encode_text: Callable[[list[str]], np.ndarray],
    predict: Callable[[list[Any], list[str]], np.ndarray] | None = None,
) -> None:
    """Raise `PairJEPAError` if an export gives other vectors than the run for a few pictures of noise and captions."""
    say("comparing what is exported with the run")
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    pictures, captions = [Image.fromarray(pixels) for pixels in noise], ["a", "a dog in the snow", "two"]
    differences = [
        embedder.encode_text(captions) - encode_text(captions),
        embedder.encode_image(pictures) - encode_image(pictures),
    ]
    if predict is not None:
        differences.append(embedder.predict(pictures, captions) - predict(pictures, captions))
    worst = np.max([np.abs(difference).max() for difference in differences])
    if not worst <= TOLERANCE:  # also where it is no number
        raise PairJEPAError(
            f"The exported model must give the run's vectors to {TOLERANCE:g}, got a difference of {worst:.1e}. "
            "A backbone does something that this export cannot follow: share the run with --to hub."
        )


def processor(embedder: "Embedder") -> Any:
    """The preprocessing of the view as a processor of Transformers, in its form without torchvision."""
    from transformers import CLIPImageProcessorPil

    how = embedder.image.preprocessing
    centre = embedder.config.model.image_views[0] == "centre"
    side = how.resize if centre else how.size
    return CLIPImageProcessorPil(
        size={"shortest_edge": side} if centre and how.keep_aspect else {"height": side, "width": side},
        do_center_crop=centre,
        crop_size={"height": how.size, "width": how.size},
        resample=how.resample,
        rescale_factor=1 / 255,
        image_mean=[mean / 255 for mean in how.mean],
        image_std=[std / 255 for std in how.std],
    )
