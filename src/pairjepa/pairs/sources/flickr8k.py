"""Flickr8k and Flickr30k as they are published: a folder of images, a file of captions; Flickr8k's files of names."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from pairjepa.pairs import splits as splitting
from pairjepa.pairs.folders import entries, is_image, matching
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.sources.reading import read_text
from pairjepa.pairs.sources.tables import read_rows

WHAT = (
    "a folder of Flickr8k or Flickr30k (Images/, Flicker8k_Dataset/, flickr30k-images/, … with captions.txt, "
    "Flickr8k.token.txt, results.csv or results_20130124.token)"
)
COLUMNS = False

_IMAGES = (
    "Images", "Flicker8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "Flickr8k_Dataset",
    "flickr30k-images", "flickr30k_images/flickr30k_images", "flickr30k_images",
)  # fmt: skip
_CAPTIONS = (
    "captions.txt", "Flickr8k.token.txt", "Flickr8k_text/Flickr8k.token.txt",
    "results.csv", "results_20130124.token", "flickr30k_images/results.csv",
)  # fmt: skip
_SPLITS = {splitting.TRAIN: "trainImages", splitting.DEV: "devImages", splitting.TEST: "testImages"}


def matches(source: str) -> bool:
    """A folder with images and captions; Karpathy's file goes first where the official split is not there."""
    root = Path(source).expanduser()
    if _images(root) is None or _captions(root) is None:
        return False
    return bool(_split_files(root)) or not matching(root, "dataset_*.json")


def read(request: Request, problems: Problems) -> RawPairs:
    """Read captions and the official split; images that it does not name are in the split `rest`."""
    root = Path(request.source).expanduser()
    images, captions = _images(root), _captions(root)
    assert images is not None
    assert captions is not None
    rows = read_rows(captions, replace(request, no_header=False), problems)
    title = f"folder {root.absolute().name}"
    if files := _split_files(root):
        title = "Flickr8k"
        rows = rows.append_column("split", _official(rows["image"], files, problems))
    present = [name for name, _ in entries(images) if is_image(name)]
    return RawPairs(rows, title, "official split", (images,), present, root)


def _images(root: Path) -> Path | None:
    return next((folder for name in _IMAGES if (folder := root / name).is_dir()), None)


def _captions(root: Path) -> Path | None:
    return next((root / name for name in _CAPTIONS if (root / name).is_file()), None)


def _split_files(root: Path) -> dict[str, Path]:
    places = (
        (split, root / folder / f"Flickr_8k.{name}.txt")
        for split, name in _SPLITS.items()
        for folder in ("", "Flickr8k_text")
    )
    return {split: path for split, path in places if path.is_file()}


def _official(images: pa.ChunkedArray, files: dict[str, Path], problems: Problems) -> pa.Array:
    split_of: dict[str, str] = {}
    for split, path in files.items():
        names = [line.strip() for line in read_text(path, problems).decode().split("\n") if line.strip()]
        problems.add(
            "names in two of the split files (the first counts)", [n for n in names if n in split_of]
        )
        split_of = dict.fromkeys(names, split) | split_of
    captioned = set(images.unique().to_pylist())
    problems.add(
        "names in the split files without a caption", [name for name in split_of if name not in captioned]
    )
    # A test file alone says nothing about the others: then they are for training.
    others = splitting.REST if splitting.TRAIN in files else splitting.TRAIN
    encoded = images.combine_chunks().dictionary_encode()
    words = [split_of.get(name, others) for name in encoded.dictionary.to_pylist()]
    return pa.array(words, pa.string()).take(encoded.indices)
