"""A folder of images, each with a `.txt` or `.caption` of the same name beside it, one caption a line."""

from pathlib import Path

import pyarrow as pa

from pairjepa.pairs import splits as splitting
from pairjepa.pairs.folders import count_unread, is_image, walk
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.sources.reading import read_text

WHAT = "a folder of images with a .txt or .caption of the same name beside each (a.txt or a.jpg.txt of a.jpg)"
COLUMNS = False


def matches(source: str) -> bool:
    """A folder with an image somewhere below it that has its text beside it."""
    root = Path(source).expanduser()
    if not root.is_dir():
        return False
    files = list(walk(root))
    texts = _texts(files)
    return any(is_image(name) and _stem(name) in texts for name in files)


def read(request: Request, problems: Problems) -> RawPairs:
    """Read every text; the top folders are the splits if all of them are named so."""
    root = Path(request.source).expanduser()
    files = list(walk(root))
    images = [name for name in files if is_image(name)]
    count_unread(files, problems)
    texts = _texts(files)
    alone = texts.keys() - {_stem(name) for name in images}
    problems.add("caption files that name no image (not used)", sorted(texts[stem] for stem in alone))
    captioned = [name for name in images if _stem(name) in texts]
    captions = [
        read_text(root / texts[_stem(name)], problems).decode().strip().split("\n") for name in captioned
    ]
    columns = {
        "image": pa.array(captioned, pa.string()),
        "caption": pa.array(captions, pa.list_(pa.string())),
    }
    if splits := splitting.from_folders(captioned):
        columns["split"] = pa.array(splits, pa.string())
    return RawPairs(
        pa.table(columns), f"folder {root.absolute().name}", folders=(root,), files=images, root=root
    )


def _texts(files: list[str]) -> dict[str, str]:
    """Caption files by the name, without suffix, of the image that they are about."""
    found: dict[str, str] = {}
    for name in files:
        if name.lower().endswith((".txt", ".caption")):
            stem = _stem(name)
            found.setdefault(_stem(stem) if is_image(stem) else stem, name)
    return found


def _stem(name: str) -> str:
    return name.rpartition(".")[0]
