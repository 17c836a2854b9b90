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


def walk(root: Path) -> Iterator[str]:
    """Files below `root`, relative to it, with `/`, sorted within each folder; hidden ones are left out."""
    for folder, inner, files in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        prefix = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in sorted(files):
            if not name.startswith("."):
                yield name if prefix == "." else f"{prefix}/{name}"
