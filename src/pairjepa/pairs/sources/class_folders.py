"""A folder for each class with its images: the names of the classes are the captions."""

from pathlib import Path

import pyarrow as pa

from pairjepa.pairs import splits as splitting
from pairjepa.pairs.folders import count_unread, is_image, walk
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request

WHAT = "a folder of images for each class (cat/1.jpg, dog/2.jpg; also below train/, val/, test/)"
COLUMNS = False


def matches(source: str) -> bool:
    """A folder whose images all stand in folders of two or more classes."""
    root = Path(source).expanduser()
    classes = {_class(name) for name in walk(root) if is_image(name)} if root.is_dir() else set()
    return len(classes) > 1 and not any(splitting.known(name) for name in classes)


def read(request: Request, problems: Problems) -> RawPairs:
    """Take the folder's name of each image for its caption, and say so."""
    root = Path(request.source).expanduser()
    files = list(walk(root))
    count_unread(files, problems)
    images = [name for name in files if is_image(name)]
    classes = [_class(name).replace("_", " ") for name in images]
    named = ", ".join(repr(name) for name in sorted(set(classes))[:3])
    problems.note(
        f"No captions stand beside the images: the names of their {len(set(classes)):,} folders ({named}, …) are taken "
        "for captions."
    )
    rows = {"image": pa.array(images, pa.string()), "caption": pa.array(classes, pa.string())}
    if splits := splitting.from_folders(images):
        rows["split"] = pa.array(splits, pa.string())
    return RawPairs(pa.table(rows), f"classes of {root.absolute().name}", folders=(root,), root=root)


def _class(name: str) -> str:
    """The name of the folder that an image stands in; a split's for one that stands in none of a class."""
    return (["", *name.split("/")])[-2] or splitting.REST
