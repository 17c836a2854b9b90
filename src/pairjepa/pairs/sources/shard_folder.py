"""A folder of WebDataset shards."""

from pathlib import Path

from pairjepa.pairs.folders import folders_below, is_image, matching, walk
from pairjepa.pairs.sources import shards

WHAT = "a folder of WebDataset shards (.tar), in it or in a folder for each split"
COLUMNS = True


def matches(source: str) -> bool:
    """A folder with `.tar` files in it or one below, and no image: beside images, a tar is somebody's copy of them."""
    root = Path(source).expanduser()
    shards = any(matching(folder, "*.tar") for folder in folders_below(root, 1))
    return shards and not any(is_image(name) for name in walk(root))


read = shards.read
