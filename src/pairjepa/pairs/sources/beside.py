"""Folders of images without a table: each with a text of the same name, or in a folder for each class."""

from pathlib import Path

import pyarrow as pa

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import splits as splitting
from pairjepa.pairs.folders import count_unread, is_image, walk
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, place_of
from pairjepa.pairs.sources.columns import one_each, strings_of, usual_captions
from pairjepa.pairs.sources.reading import json_object, read_text
from pairjepa.util.words import counted

_SUFFIXES = (".txt", ".caption", ".json")


def texts(source: str) -> dict[str, str]:
    """The text of each image below a folder that has one."""
    return _pairs(list(walk(Path(source).expanduser())))[0]


def read_texts(text_of: dict[str, str], config: DataConfig, problems: Problems) -> RawPairs:
    """Read every text; the top folders, or those below one, are the splits if all are named so."""
    root = place_of(config)
    files = list(walk(root))
    count_unread(files, problems)
    problems.add("caption files that name no image (not used)", _pairs(files)[1])
    captions = [_captions(root / name, problems) for name in text_of.values()]
    rows = {"image": pa.array([*text_of], pa.string()), "caption": pa.array(captions, pa.list_(pa.string()))}
    below = [name.partition("/")[2] for name in text_of]  # images/train/a.jpg
    if splits := splitting.from_folders([*text_of]) or splitting.from_folders(below):
        rows["split"] = pa.array(splits, pa.string())
    images = [name for name in files if is_image(name)]
    return RawPairs(
        pa.table(rows), f"folder {root.absolute().name}", folders=(root,), files=images, root=root
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


def classes(source: str) -> list[str]:
    """The images of a folder, if all of them stand in folders of two or more classes."""
    images = [name for name in walk(Path(source).expanduser()) if is_image(name)]
    classes = set(map(_class, images))
    return images if len(classes) > 1 and not any(map(splitting.known, classes)) else []


def read_classes(images: list[str], config: DataConfig, problems: Problems) -> RawPairs:
    """Take the folder's name of each image for its caption, and say so."""
    root = place_of(config)
    count_unread(walk(root), problems)
    classes = [_class(name).replace("_", " ") for name in images]
    named = ", ".join(repr(name) for name in sorted(set(classes))[:3])
    problems.note(
        f"No captions stand beside the images: the names of their {counted(len(set(classes)), 'folder')} ({named}, …) "
        "are taken for captions."
    )
    rows = {"image": pa.array(images, pa.string()), "caption": one_each(pa.array(classes, pa.string()))}
    if splits := splitting.from_folders(images):
        rows["split"] = pa.array(splits, pa.string())
    return RawPairs(pa.table(rows), f"classes of {root.absolute().name}", folders=(root,), root=root)


def _class(name: str) -> str:
    """The name of the folder that an image stands in; a split's for one that stands in none of a class."""
    return (["", *name.split("/")])[-2] or splitting.REST
