"""A folder of images, each with a `.txt`, `.caption` or `.json` of the same name, one caption a line of the texts."""

from pathlib import Path

import pyarrow as pa

from pairjepa.pairs import splits as splitting
from pairjepa.pairs.folders import count_unread, is_image, walk
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.sources.columns import strings_of, usual_captions
from pairjepa.pairs.sources.reading import json_object, read_text

WHAT = (
    "a folder of images with a .txt, .caption or .json of the same name for each (a.txt or a.jpg.txt of a.jpg), "
    "beside it or in a folder of their own (images/a.jpg, captions/a.txt)"
)
COLUMNS = False

_SUFFIXES = (".txt", ".caption", ".json")


def matches(source: str) -> bool:
    """A folder with an image somewhere below it that has its text."""
    root = Path(source).expanduser()
    return root.is_dir() and bool(_pairs(list(walk(root)))[0])


def read(request: Request, problems: Problems) -> RawPairs:
    """Read every text; the top folders, or those below one, are the splits if all are named so."""
    root = Path(request.source).expanduser()
    files = list(walk(root))
    count_unread(files, problems)
    text_of, alone = _pairs(files)
    problems.add("caption files that name no image (not used)", alone)
    captioned = list(text_of)
    captions = [_captions(root / name, problems) for name in text_of.values()]
    columns = {
        "image": pa.array(captioned, pa.string()),
        "caption": pa.array(captions, pa.list_(pa.string())),
    }
    below = [name.partition("/")[2] for name in captioned]  # images/train/a.jpg
    if splits := splitting.from_folders(captioned) or splitting.from_folders(below):
        columns["split"] = pa.array(splits, pa.string())
    images = [name for name in files if is_image(name)]
    return RawPairs(
        pa.table(columns), f"folder {root.absolute().name}", folders=(root,), files=images, root=root
    )


def _pairs(files: list[str]) -> tuple[dict[str, str], list[str]]:
    """The text of each image that has one, and the texts of none; a text counts before a JSON."""
    images = [name for name in files if is_image(name)]
    texts: dict[str, str] = {}
    for name in sorted(files, key=lambda name: name.lower().endswith(".json")):
        if name.lower().endswith(_SUFFIXES):
            stem = _stem(name)
            texts.setdefault(_stem(stem) if is_image(stem) else stem, name)
    found = {name: texts[_stem(name)] for name in images if _stem(name) in texts}
    if not found:  # images/a.jpg, captions/a.txt
        inner = {stem.partition("/")[2]: name for stem, name in texts.items() if "/" in stem}
        found = {
            name: inner[below]
            for name in images
            if "/" in name and (below := _stem(name).partition("/")[2]) in inner
        }
    used = set(found.values())
    return found, sorted(name for name in texts.values() if name not in used and not _is_json(name))


def _captions(path: Path, problems: Problems) -> list[str]:
    data = read_text(path, problems).decode()
    if not _is_json(path.name):
        return data.strip().split("\n")
    record = json_object(data)
    if record is None:
        problems.add("caption files that are no JSON object (not used)", [path.name])
        return []
    return strings_of(record, usual_captions(list(record)))


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def _stem(name: str) -> str:
    return name.rpartition(".")[0]
