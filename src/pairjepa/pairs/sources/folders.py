"""Image files in folders."""

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"))

_USUAL = (
    "", "Images", "images", "Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset",
    "flickr30k-images", "flickr30k_images",
)  # fmt: skip
"""Where the images of a data set stand, seen from its folder."""


def image_folders(root: Path) -> tuple[Path, ...]:
    """The usual image folders that are there, `root` first."""
    return tuple(folder for name in _USUAL if (folder := root / name).is_dir())


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def walk(root: str | Path, *, _inside: tuple[str, ...] = ()) -> Iterator[str]:
    """Files below `root`, relative to it, with `/`, sorted within each folder; hidden ones are left out.

    Links to folders are followed, but not into a folder that they stand in.
    """
    real = os.path.realpath(root)
    if real in _inside:
        return
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:  # not ours to read
        return
    entries = [entry for entry in entries if not entry.name.startswith(".")]
    yield from (entry.name for entry in entries if not entry.is_dir())
    for entry in entries:
        if entry.is_dir():
            yield from (f"{entry.name}/{name}" for name in walk(entry.path, _inside=(*_inside, real)))
