"""A folder of images, each with a `.txt` of the same name beside it, one caption a line."""

from pathlib import Path

import pyarrow as pa

from pairjepa.pairs import splits as splitting
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.folders import count_unread, is_image, walk
from pairjepa.pairs.sources.reading import read_text

WHAT = "a folder of images with a .txt of the same name beside each"
COLUMNS = False


def matches(source: str) -> bool:
    """A folder with an image somewhere below it that has its text beside it."""
    root = Path(source).expanduser()
    return root.is_dir() and any(is_image(name) and _text(root, name).is_file() for name in walk(root))


def read(request: Request, problems: Problems) -> RawPairs:
    """Read every text; the top folders are the splits if all of them are named so."""
    root = Path(request.source).expanduser()
    files = list(walk(root))
    images = [name for name in files if is_image(name)]
    count_unread(files, problems)
    stems = {_stem(name) for name in images}
    alone = [name for name in files if name.lower().endswith(".txt") and _stem(name) not in stems]
    problems.add("caption files that name no image (not used)", alone)
    texts = set(files)
    captioned = [name for name in images if f"{_stem(name)}.txt" in texts]
    captions = [read_text(_text(root, name), problems).decode().strip().split("\n") for name in captioned]
    columns = {
        "image": pa.array(captioned, pa.string()),
        "caption": pa.array(captions, pa.list_(pa.string())),
    }
    if splits := splitting.from_folders(captioned):
        columns["split"] = pa.array(splits, pa.string())
    return RawPairs(
        pa.table(columns), f"folder {root.absolute().name}", folders=(root,), files=images, root=root
    )


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _text(root: Path, name: str) -> Path:
    return root / f"{_stem(name)}.txt"
