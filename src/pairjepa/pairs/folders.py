"""Image files in folders."""

import fnmatch
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pairjepa.pairs.problems import Problems

HEIF = find_spec("pillow_heif") is not None
"""Whether pictures of iPhones can be read."""
HEIC_EXTRA = "pip install 'pairjepa[heic]'"
_HEIC = frozenset((".heic", ".heif", ".hif"))
SUFFIXES = frozenset(
    (
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
        ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", *(_HEIC if HEIF else ()),
    )
)  # fmt: skip
UNREAD = frozenset(
    (".jxl", ".dcm", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".psd", ".tga", ".ico", *_HEIC)
) - SUFFIXES  # fmt: skip
"""Pictures that are not read here."""

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


def count_unread(files: Iterable[str], problems: Problems) -> None:
    """Name the pictures among `files` that are not read."""
    unread = [name for name in files if os.path.splitext(name)[1].lower() in UNREAD]
    heic = [name for name in unread if os.path.splitext(name)[1].lower() in _HEIC]
    problems.add(f"HEIC pictures that are not read (to read them: {HEIC_EXTRA})", heic)
    others = sorted(set(unread) - set(heic))
    problems.add("pictures of a kind that is not read (save them as JPEG)", others)


TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
TEXT_TABLES = (".txt", ".token")
"""Suffixes of tables that are read where the file itself is given."""
TABLE_FOLDERS = ("data", "annotations")
"""Folders of tables beside that of the images."""


def kind_of(path: Path) -> str:
    """The suffix of a file that says what it holds: `.csv` of `pairs.csv.gz`."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def tables_of(source: str) -> list[Path]:
    """The table that a source is, or the tables in it, or else in its `data` or `annotations`."""
    path = Path(source).expanduser()
    if not path.is_dir():
        return [path] if kind_of(path) in (*TABLES, *TEXT_TABLES) and path.is_file() else []
    return next((files for name in ("", *TABLE_FOLDERS) if (files := tables_in(path / name))), [])


def tables_in(folder: Path) -> list[Path]:
    """The tables in a folder, JSON only where there is no other.

    Those beside a folder or shard of the same name are img2dataset's about its pairs; a JSON that is named like an
    image is about that.
    """
    names = [name for name, is_dir in entries(folder) if not is_dir]
    files = [
        file
        for file in map(folder.joinpath, names)
        if (kind_of(file) in TABLES or file.suffix == ".token" or file.name == "captions.txt")
        and file.is_file()
        and not file.with_suffix("").is_dir()
        and not file.with_suffix(".tar").is_file()
    ]
    others = [file for file in files if kind_of(file) != ".json"]
    if others or not files:
        return others
    images = {Path(name).stem for name in names if is_image(name)}
    return [file for file in files if file.stem not in images and not file.stem.endswith("_stats")]


_LISTINGS: ContextVar[dict[str, list[tuple[str, bool]]] | None] = ContextVar("listings", default=None)


@contextmanager
def looked_once() -> Iterator[None]:
    """Look into each folder once, until `forget`."""
    seen = _LISTINGS.get()
    before = _LISTINGS.set({} if seen is None else seen)
    try:
        yield
    finally:
        _LISTINGS.reset(before)


def forget() -> None:
    """Look into folders anew from now on: the pairs are read, and a long list need not stay in memory."""
    (_LISTINGS.get() or {}).clear()


def entries(folder: str | Path) -> list[tuple[str, bool]]:
    """Names in a folder and whether each is a folder's, sorted; hidden ones and what cannot be looked at left out."""
    seen = _LISTINGS.get()
    seen = {} if seen is None else seen
    key = os.path.abspath(folder)
    if key not in seen:
        try:
            with os.scandir(folder) as found:
                seen[key] = sorted((one.name, one.is_dir()) for one in found if not one.name.startswith("."))
        except OSError:  # not there, or not ours to read
            seen[key] = []
    return seen[key]


def matching(folder: Path, pattern: str) -> list[Path]:
    """The files in a folder whose names match."""
    return [
        folder / name for name, is_dir in entries(folder) if not is_dir and fnmatch.fnmatchcase(name, pattern)
    ]


def folders_below(root: Path, depth: int) -> Iterator[Path]:
    """`root`, then the folders in it, then those in them, and so on."""
    yield root
    level = [root]
    for _ in range(depth):
        level = [folder / name for folder in level for name, is_dir in entries(folder) if is_dir]
        yield from level


def walk(root: str | Path, *, _inside: tuple[str, ...] = ()) -> Iterator[str]:
    """Files below `root`, relative to it, with `/`, sorted within each folder; hidden ones are left out.

    Links to folders are followed, but not into a folder that they stand in.
    """
    real = os.path.realpath(root)
    if real in _inside:
        return
    listing = entries(root)
    yield from (name for name, is_dir in listing if not is_dir)
    for below in (name for name, is_dir in listing if is_dir):
        yield from (f"{below}/{name}" for name in walk(os.path.join(root, below), _inside=(*_inside, real)))


class Files:
    """Files by the names that data sets call them.

    Also without suffix, numbers without leading zeros, as Windows writes paths, in any case and normal form.
    """

    def __init__(self, folders: Sequence[Path], images: Path | None = None) -> None:
        """Look at nothing yet.

        Args:
            folders: where names are seen from, in this order.
            images: looked at before them, there also for the end of a path alone, and in all folders below.
        """
        self._folders = [str(folder.absolute()) for folder in folders]
        self._images = None if images is None else str(images.absolute())
        self._listing = cache(_listing)
        self._folder = cache(lambda path: self._listed(path, "/") or path)
        self._below: dict[str, str] | None = None
        """Images in and below that folder by their names, with and without suffix, where only one has that."""

    def find(self, name: str) -> str | None:
        """The absolute path of the file that `name` names."""
        folders = self._folders if self._images is None else [self._images, *self._folders]
        for folder in folders:
            if os.path.isfile(path := os.path.join(folder, name)):
                return path
        posix = name.replace("\\", "/")
        for folder in folders:
            if found := self._listed(os.path.join(folder, posix)):
                return found
        if self._images is None:
            return None
        steps = posix.split("/")
        for start in range(1, len(steps)):
            if found := self._listed(os.path.join(self._images, *steps[start:])):
                return found
        if self._below is None:
            images = [name for name in walk(self._images) if is_image(name)]
            bases = [(unicodedata.normalize("NFC", os.path.basename(name)), name) for name in images]
            self._below = _unique([*bases, *((os.path.splitext(base)[0], name) for base, name in bases)])
        found = self._below.get(unicodedata.normalize("NFC", steps[-1]))
        return None if found is None else os.path.join(self._images, found)

    def _listed(self, path: str, mark: str = "") -> str | None:
        """The file at a path, or with `/` for mark the folder, as it is there, in whatever form the path is written."""
        folder, name = os.path.split(path)
        if mark and (os.path.isdir(path) or folder == path):
            return path
        folder, name = self._folder(folder), unicodedata.normalize("NFC", name) + mark
        listing = self._listing(folder)
        found = listing.get(name) or listing.get(_loosely(name))
        return None if found is None else os.path.join(folder, found)


def _listing(folder: str) -> dict[str, str]:
    """What is in a folder by name in one normal form, folders with a `/` behind; images also without suffix.

    Behind a `:` stand names in lower case and numbers without leading zeros, where only one has that.
    """
    try:
        found = sorted((entry.name, entry.is_dir()) for entry in os.scandir(folder))
    except OSError:
        return {}
    stems = {
        os.path.splitext(name)[0]: name for name, is_dir in reversed(found) if not is_dir and is_image(name)
    }
    names = stems | {f"{name}/" if is_dir else name: name for name, is_dir in found}
    exact = {unicodedata.normalize("NFC", key): name for key, name in names.items()}
    return _unique((_loosely(key), name) for key, name in exact.items()) | exact


def _loosely(name: str) -> str:
    return ":" + (name.lstrip("0") if name.isdigit() else name.casefold())


def _unique(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What is known by each name, where that is one thing."""
    found: dict[str, str | None] = {}
    for key, name in names:
        found[key] = name if found.get(key, name) == name else None
    return {key: name for key, name in found.items() if name is not None}
