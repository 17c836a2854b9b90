"""What a source hands over, and its way to the table: merge, clean, find the files, give splits."""

import os
import posixpath
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import captions as text
from pairjepa.pairs import splits as splitting
from pairjepa.pairs.folders import Files, is_image, walk
from pairjepa.pairs.problems import EXAMPLES, Problems
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import digest

RESERVED = (
    "name",
    "path",
    "bytes",
    "member",
    "digest",
    "split",
    "captions",
    "weights",
    "vectors",
    "image",
    "caption",
)
"""Columns with a meaning; metadata of such a name gets a `_` behind it."""


@dataclass
class RawPairs:
    """What a source read: rows as they stand there, not yet merged, cleaned or checked."""

    rows: pa.Table
    """One row for one or more captions. Columns: `image` (string, path or name of the image; null where
    there are only bytes), `caption` (list<string>); if there are any, `bytes` (large_binary), `member`
    (place in a shard, as in `Pairs.table`; then names are unique), `weights` (list<float32>, of each caption),
    `vectors` (list<fixed_size_list<float32>>, of each caption) and `split` (string); all others are metadata of the
    image."""
    title: str
    """What it is, for people."""
    split_words: str = "split as given"
    """Where given splits come from, for people."""
    folders: tuple[Path, ...] = ()
    """Where the files that `image` names are looked for, in this order."""
    files: Sequence[str] = ()
    """Image files that are there, so that those without a caption can be counted."""
    root: Path | None = None
    generated: bool = False
    images: Path | None = None
    """Where the user says that they are: looked at first, also for the ends of paths of another machine."""


@dataclass(frozen=True)
class Source:
    """A form of pairs that can be read."""

    what: str
    """What it reads, for people."""
    find: Callable[[str], Any]
    """What of this form there is where the user says: files, say; empty if there is none. Quick, raises nothing."""
    read: Callable[[Any, DataConfig, Problems], RawPairs]
    """The rows of what was found; what can be skipped goes into the problems."""
    columns: bool = False
    """Whether the user may name columns."""


def place_of(config: DataConfig) -> Path:
    """The folder or file of the pairs."""
    return Path(config.source or "").expanduser()


def assemble(
    raw: RawPairs, problems: Problems, group_column: str | None = None
) -> tuple[pa.Table, str, tuple[str, ...]]:
    """One row an image, in the order of first appearance; where the splits come from; those that a hash chose.

    Raises:
        PairJEPAError: nothing usable is left, or a split has an unknown name.
        UsageError: there is no such column, or no split is left to a hash.
    """
    rows = _identified(raw.rows, problems)
    names = rows["name"].combine_chunks().dictionary_encode()
    image = names.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    first = np.unique(image, return_index=True)[1]
    count = len(first)

    owner, strings, taken = _captions(rows["caption"].combine_chunks(), image, names.dictionary, problems)
    per_image = np.bincount(owner, minlength=count)
    data = rows["bytes"].take(first) if "bytes" in rows.column_names else pa.nulls(count, pa.large_binary())
    members = {"member": rows["member"].take(first)} if "member" in rows.column_names else {}
    inside = pc.is_valid(data).to_numpy(zero_copy_only=False) | bool(members)
    paths = _paths(names.dictionary, inside, raw)
    found = inside | pc.is_valid(paths).to_numpy(zero_copy_only=False)
    if not found.all():
        _count_missing(found, per_image, names.dictionary, raw, problems)
    bare = found & (per_image == 0)
    usable = found & (per_image > 0)
    problems.add("images with no caption (left out)", names.dictionary.filter(pa.array(bare)).to_pylist())
    if raw.files:
        extra = pc.filter(files := pa.array(raw.files), pc.invert(pc.is_in(files, names.dictionary)))
        problems.add("images with no caption (left out)", extra[:EXAMPLES].to_pylist(), len(extra))
    if not usable.any():
        raise PairJEPAError(
            f"{raw.title} must hold at least one image with a caption, got none.{problems.summary()}"
        )

    offsets = pa.array(np.concatenate([[0], np.cumsum(per_image)]), pa.int32())
    beside = {
        name: pa.ListArray.from_arrays(offsets, pc.list_flatten(rows[name]).combine_chunks().take(taken))
        for name in ("weights", "vectors")
        if name in rows.column_names
    }
    table = pa.table(
        {
            "name": names.dictionary,
            "path": paths,
            "bytes": data,
            **members,
            "split": _first_splits(rows, image, first, names.dictionary, raw.title, problems),
            "captions": pa.ListArray.from_arrays(offsets, strings),
            **beside,
        }
        | {column: rows[column].take(first) for column in rows.column_names if column not in RESERVED}
    ).filter(pa.array(usable))
    given = table["split"]
    known = None if given.null_count == len(given) else given.fill_null(splitting.REST).to_numpy()
    if known is not None and given.null_count:
        unsplit = table["name"].filter(pc.is_null(given))
        problems.add("images without a split (not used)", unsplit[:EXAMPLES].to_pylist(), len(unsplit))
    names_or_groups = table["name"].to_pylist() if group_column is None else group_keys(table, group_column)
    splits, drawn = splitting.complete(names_or_groups, known)
    if group_column is not None and not drawn:
        raise UsageError(
            f"data.group_column must be left out where all splits are given, got {group_column!r}."
        )
    at = table.column_names.index("split")
    words = raw.split_words
    if drawn:
        by = "the image's name" if group_column is None else f"the column {group_column}"
        taken = "split" if known is None else f"{' and '.join(drawn[1:])} taken out of train"
        words = f"{taken} by a hash of {by}"
    return table.set_column(at, "split", pa.array(splits, pa.string())), words, drawn


def group_keys(table: pa.Table, column: str) -> list[str]:
    """The group of each image; one without a value is alone.

    Raises:
        UsageError: there is no such column.
    """
    if column not in table.column_names:
        there = [name for name in table.column_names if name not in RESERVED]
        raise UsageError(
            f"data.group_column must be a column of the pairs, got {column!r}. There are: {', '.join(there) or 'none'}."
        )
    groups = zip(table[column].to_pylist(), table["name"].to_pylist(), strict=True)
    return [f"name {name}" if group is None else f"group {group}" for group, name in groups]


def listing(folder: Path) -> str:
    """What a folder holds, for the end of an error; hidden entries are left out."""
    try:
        entries = sorted(
            entry.name + ("/" if entry.is_dir() else "")
            for entry in os.scandir(folder)
            if not entry.name.startswith(".")
        )
    except OSError as error:
        return f"{folder} cannot be listed ({error.strerror})."
    if not entries:
        return f"{folder} is empty."
    more = f", … ({len(entries):,} entries)" if len(entries) > 8 else ""
    return f"{folder} holds {', '.join(entries[:8])}{more}."


def _identified(rows: pa.Table, problems: Problems) -> pa.Table:
    """Add `name`, which is the same for all rows of one image; rows that name no image are counted and left out."""
    images = _normal_paths(rows["image"].cast(pa.string()).combine_chunks())
    if "bytes" in rows.column_names:
        images = _names_of_bytes(images, rows["bytes"])
    nameless = pc.is_null(images)
    if (skipped := pc.sum(nameless).as_py() or 0) > 0:
        where = pc.indices_nonzero(nameless)[:EXAMPLES].to_pylist()
        problems.add("rows that name no image (skipped)", [f"row {row + 1}" for row in where], skipped)
    named = rows.append_column("name", images).filter(pc.invert(nameless))
    if not named.num_rows:
        raise PairJEPAError(f"The pairs must name at least one image, got none.{problems.summary()}")
    return named


def _normal_paths(images: pa.Array) -> pa.Array:
    """`./a.jpg` and `a.jpg` are one image; an empty cell is none."""
    encoded = images.dictionary_encode()
    normal = [
        posixpath.normpath(path) if (path := cell.strip()) else None
        for cell in encoded.dictionary.to_pylist()
    ]
    return pa.array(normal, pa.string()).take(encoded.indices)


def _names_of_bytes(images: pa.Array, data: pa.ChunkedArray) -> pa.Array:
    """Names of images inside the rows: their path where it is given and unique, else (also) a digest of the bytes."""
    known = images.drop_null()
    if data.null_count == 0 and len(known) == len(images) and pc.count_distinct(known).as_py() == len(images):
        return images
    names = images.to_pylist()
    digests = [digest(cell.as_py()) if cell.is_valid else "" for cell in data]
    contents: dict[str | None, set[str]] = {}
    for name, content in zip(names, digests, strict=True):
        contents.setdefault(name, set()).add(content)
    unique = []
    for name, content in zip(names, digests, strict=True):
        if content and name is None:
            name = content[:16]
        elif content and len(contents[name]) > 1:
            name = f"{name}#{content[:16]}"
        unique.append(name)
    return pa.array(unique, pa.string())


def _captions(
    cells: pa.Array, image: np.ndarray, names: pa.Array, problems: Problems
) -> tuple[np.ndarray, pa.Array, pa.Array]:
    """The owners of clean captions, those captions, and where each stood; sorted by owner, else in their order."""
    owner = image[pc.list_parent_indices(cells).to_numpy()]
    cells = pc.list_flatten(cells)
    strings = text.clean(cells)
    empty = pc.and_(
        pc.is_null(strings), pc.invert(pc.match_substring(cells, text.UNDECODABLE).fill_null(False))
    )
    if (count := pc.sum(empty).as_py() or 0) > 0:
        owners = owner[pc.indices_nonzero(empty)[:EXAMPLES].to_numpy()]
        problems.add("captions without words (dropped)", names.take(pa.array(owners)).to_pylist(), count)
    kept = pc.is_valid(strings)
    owner, strings = owner[kept.to_numpy(zero_copy_only=False)], strings.filter(kept)
    order = np.argsort(owner, kind="stable")
    return owner[order], strings.take(pa.array(order)), pc.indices_nonzero(kept).take(pa.array(order))


def _paths(names: pa.Array, inside: np.ndarray, raw: RawPairs) -> pa.Array:
    """Where the file of each image is, absolute; null if it is nowhere, or inside the row."""
    if inside.all():
        return pa.nulls(len(names), pa.string())
    files = Files(raw.folders, raw.images)
    found = [None if here else files.find(name) for name, here in zip(names.to_pylist(), inside, strict=True)]
    return pa.array(found, pa.string())


def _count_missing(
    found: np.ndarray, per_image: np.ndarray, names: pa.Array, raw: RawPairs, problems: Problems
) -> None:
    missing = names.filter(pa.array(~found))
    if not found.any():
        places = ", ".join(str(folder.absolute()) for folder in raw.folders)
        name, last = missing[0].as_py(), raw.folders[-1].absolute()
        inside = _place_of([name, missing[-1].as_py()], raw.root or last)
        raise PairJEPAError(
            f"{raw.title} must name images that are there, but none of its {len(found):,} is. "
            f"Looked for '{name[:200]}' in {places}. {listing(last)} "
            f"Name their folder: {shlex.join(['--data.images', str(inside)])}."
        )
    lost = int(per_image[~found].sum())
    problems.add("captions that name no image file (dropped)", missing[:EXAMPLES].to_pylist(), lost)


def _place_of(names: Sequence[str], root: Path) -> Path | str:
    """The folder in which images of these names are, or, if they are in several, the one around these."""
    ends = {name.replace("\\", "/").rpartition("/")[2] for name in names}
    files = (posixpath.split(path) for path in islice(walk(root), _MOST_LOOKED_AT) if is_image(path))
    inside = {folder for folder, base in files if ends & {base, posixpath.splitext(base)[0]}}
    return (root.absolute() / (inside.pop() if len(inside) == 1 else "")) if inside else "FOLDER"


_MOST_LOOKED_AT = 100_000
"""Files that are looked at for the folder of the images."""


def _first_splits(
    rows: pa.Table, image: np.ndarray, first: np.ndarray, names: pa.Array, title: str, problems: Problems
) -> pa.Array:
    """The split of each image's first row, so that no image stands in two; null where no split is given."""
    if "split" not in rows.column_names:
        return pa.nulls(len(first), pa.string())
    encoded = rows["split"].cast(pa.string()).combine_chunks().dictionary_encode()
    words = [
        splitting.normalise(word, title) if word.strip() else None for word in encoded.dictionary.to_pylist()
    ]
    splits = pa.array(words, pa.string()).take(encoded.indices)
    chosen = splits.take(pa.array(first))
    differs = pc.not_equal(splits, chosen.take(pa.array(image))).fill_null(False)
    torn = np.unique(image[differs.to_numpy(zero_copy_only=False)])
    problems.add(
        "images whose rows stand in several splits (kept in the first)",
        names.take(pa.array(torn[:EXAMPLES])).to_pylist(),
        len(torn),
    )
    return chosen
