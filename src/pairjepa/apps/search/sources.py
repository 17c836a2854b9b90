"""What is to be indexed: folders of images, single images, and whatever `Pairs` opens, as one kind of entry."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.apps.search.stored import INNER
from pairjepa.config.settings import DataConfig
from pairjepa.pairs import Pairs
from pairjepa.pairs.folders import count_unread, is_image, walk
from pairjepa.pairs.images import bad_image
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RESERVED
from pairjepa.pairs.scan import file_key, image_keys
from pairjepa.pairs.sources import SOURCES, located
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest, digest_bytes
from pairjepa.util.progress import say
from pairjepa.util.words import counted


@dataclass(frozen=True, slots=True)
class Entry:
    """One image that is to be in the index."""

    source: str
    """What the user gave: an absolute path, or an id such as `shapes:60`."""
    name: str
    """Unique in its source, and no absolute path: others may see it."""
    path: str | None
    """The file; None for bytes in a table."""
    read: Callable[[], bytes]
    """The image file's bytes, or a `BadImage`."""
    captions: tuple[str, ...] = ()
    split: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    known: str | None = None
    """What the image is known by without a look at it, where it is in a shard."""

    @property
    def id(self) -> str:
        """The same each time the source is read."""
        return digest(self.source, self.name)

    @property
    def stamp(self) -> str:
        """Another if the file, its captions or its columns have changed; the file is not read for that."""
        if self.known is not None:
            file: list[Any] = [self.known]
        elif self.path is None:
            file = [digest_bytes(self.read())]
        else:
            file = [file_key(self.path)]
        metadata = json.dumps(self.metadata, sort_keys=True, default=str)
        return digest(file, self.captions, self.split, metadata)

    def sent(self) -> "Entry":
        """What another process needs to read it: the name of its file, or its bytes."""
        read = partial(read_file, self.path) if self.path is not None else partial(bytes, self.read())
        return Entry("", self.name, self.path, read)


@dataclass(frozen=True)
class Source:
    """All entries of one source, and the types of the columns that came with them."""

    key: str
    entries: list[Entry]
    columns: pa.Schema = field(default_factory=lambda: pa.schema([]))
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    """Caption → vector, where the pairs are vectors."""


def open_source(source: str, data: DataConfig) -> Source:
    """Open a folder, an image, a table, a data set id or `shapes:N`.

    A folder is indexed with all images in it: those that a table or a text beside them gives captions have them,
    the others have none.

    Args:
        source: what the user gave.
        data: names of columns, where usual ones do not find them.

    Raises:
        PairJEPAError: nothing is there, or it holds no image.
        UsageError: a setting does not fit the source.
    """
    path = Path(source).expanduser()
    if path.is_file() and is_image(path.name):
        key = os.path.abspath(path)
        return Source(key, [Entry(key, path.name, key, partial(read_file, key))])
    if not path.is_dir():
        pairs = _open_pairs(source, data)
        return _of_pairs(located(source), pairs)
    key = os.path.abspath(path)
    below = list(walk(path))
    files = _named_in_utf8([name for name in below if is_image(name)])
    named = any((data.image_column, data.caption_column, data.split_column, data.images, data.no_header))
    if named or any(form.find(source) for name, form in SOURCES.items() if name != "class folders"):
        try:
            pairs = _open_pairs(source, data)
        except PairJEPAError as error:
            if named or not files:
                raise
            say(f"{source} is taken as images without captions: {error}")
        else:
            return _with_others(_of_pairs(key, pairs), files)
    count_unread(below, problems := Problems())
    for line in problems.lines():
        say(f"{source}: {line}")
    if not files:
        raise PairJEPAError(
            f"{source} must hold images, got none in it or in folders below it. Give a folder of images, images, "
            "or pairs as `pairjepa inspect` takes them."
        )
    return _with_others(Source(key, []), files)


def _open_pairs(source: str, data: DataConfig) -> Pairs:
    columns = ("image_column", "caption_column", "split_column", "images", "no_header")
    return Pairs.open(source, **{name: getattr(data, name) for name in columns})


def _of_pairs(key: str, pairs: Pairs) -> Source:
    for line in pairs.problems.lines():
        if not line.startswith("images with no caption"):  # of a folder they are not left out here
            say(f"{key}: {line}")
    columns = _metadata(pairs.table)
    names = relative_names(pairs.names, os.path.dirname(key) if os.path.isfile(key) else key)
    metadata = columns.to_pylist() if columns.num_columns else [{}] * pairs.n_images
    known: list[str | None] = [None] * pairs.n_images
    if pairs.shards is not None:
        known = list(image_keys(pairs))
    entries = [
        Entry(key, name, path, partial(pairs.read_bytes, number), tuple(captions), split, values, stamp)
        for number, (name, path, captions, split, values, stamp) in enumerate(
            zip(
                names,
                *(pairs.table[column].to_pylist() for column in ("path", "captions", "split")),
                metadata,
                known,
                strict=True,
            )
        )
    ]
    return Source(key, entries, columns.schema, _vectors(pairs))


def _vectors(pairs: Pairs) -> dict[str, np.ndarray]:
    """Caption → vector, where the pairs are vectors; captions of the same words have one in an index."""
    if (texts := pairs.text_vectors) is None:
        return {}
    vectors: dict[str, np.ndarray] = {}
    kept = [
        vectors.setdefault(words, row) for words, row in zip(pairs.captions.to_pylist(), texts, strict=True)
    ]
    if others := sum(not np.array_equal(one, row) for one, row in zip(kept, texts, strict=True)):
        say(
            f"warning: captions with the words of another and a vector of their own: {others:,}. The index takes "
            "the first one's for all: give captions that differ."
        )
    return vectors


def _metadata(table: pa.Table) -> pa.Table:
    """The columns that came with the pairs and that a condition can speak of: text, numbers, times."""
    kept = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        simple = pa.types.is_primitive(column.type) or pa.types.is_string(column.type)
        if pa.types.is_large_string(column.type) or pa.types.is_null(column.type):
            column, simple = column.cast(pa.string()), True
        if not simple or name in RESERVED:
            continue
        if pa.types.is_string(column.type) and pc.any(pc.match_substring_regex(column, _ABSOLUTE)).as_py():
            say(f"The column {name!r} holds absolute paths, and is left out: others may search this index.")
            continue
        kept[column_name(name)] = column
    return pa.table(kept)


_ABSOLUTE = r"^(file:|/[^/]+/|[A-Za-z]:[\\/]|\\\\)"
"""What paths of a disk begin with; a word after a single stroke is none."""


def relative_names(names: Sequence[str], folder: str) -> list[str]:
    """Names of images without absolute paths.

    Those in the folder are as it sees them; others that are absolute, or lead out of it, as the folder sees them that
    they all share, or, where that is the root of a disk, by their last part.

    Args:
        names: as the pairs have them, all different.
        folder: where the source is.
    """
    paths = {row: path for row, name in enumerate(names) if (path := _path_of(name, folder)) is not None}
    elsewhere = [path.parent.parts for path in paths.values() if not path.is_relative_to(folder)]
    shared = len(os.path.commonprefix(elsewhere))  # noqa: RUF071 of tuples it is whole parts
    shown = list(names)
    for row, path in paths.items():
        if path.is_relative_to(folder):
            shown[row] = path.relative_to(folder).as_posix()
        else:
            shown[row] = "/".join(path.parts[shared:]) if shared > 1 else path.name
    counts = Counter(shown)
    return [
        f"{digest(n)[:8]}/{s}" if n != s and counts[s] > 1 else s for n, s in zip(names, shown, strict=True)
    ]


def _path_of(name: str, folder: str) -> PurePath | None:
    """The path that a name is, if it is absolute or leads out of the folder."""
    if name.startswith(("/", "\\", "file:")) or name[1:2] == ":":
        name = name.removeprefix("file:")
        return next(
            (kind(name) for kind in (PurePosixPath, PureWindowsPath) if kind(name).is_absolute()), None
        )
    if ".." in PurePosixPath(name).parts:
        return PurePosixPath(os.path.normpath(os.path.join(folder, name)))
    return None


OWN = ("id", "source", "width", "height", *INNER)
"""Columns of the index; metadata of such a name gets a `_` behind it."""


def column_name(name: str) -> str:
    """A name that Lance takes, and that is no column of the index."""
    plain = name.replace(".", "_")
    return f"{plain}_" if plain in OWN or plain.startswith("_") else plain


def _with_others(source: Source, files: Sequence[str]) -> Source:
    """And the images of the folder that no pair names."""
    known = {os.path.realpath(entry.path) for entry in source.entries if entry.path is not None}
    names = {entry.name for entry in source.entries}
    others = []
    for name in files:
        path = os.path.join(source.key, name)
        if os.path.realpath(path) not in known and name not in names:
            others.append(Entry(source.key, name, path, partial(read_file, path)))
    return replace(source, entries=[*source.entries, *others])


def _named_in_utf8(names: list[str]) -> list[str]:
    """Tables hold no other names; where there are any, it is said."""
    good = [name for name in names if name.isascii() or name == name.encode("utf-8", "ignore").decode()]
    if lost := sorted(set(names) - set(good)):
        say(f"left out, since names must be UTF-8: {counted(len(lost), 'image')}, such as {lost[0]!a}")
    return good


def read_file(path: str) -> bytes:
    """The bytes of an image file.

    Raises:
        BadImage: it cannot be read.
        PairJEPAError: the system has no more open files or memory.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise bad_image(error, path) from None
