"""Pairs as WebDataset shards: images as they are, captions as `.txt` and, with all else, as `.json`.

Every shard is whole or not there, and the same pairs make the same bytes: a conversion that was stopped goes on, and
one that is done again writes those shards whose images, captions or columns have changed.
"""

import io
import json
import math
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from pairjepa.pairs.folders import is_image
from pairjepa.pairs.images import BadImage
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RESERVED
from pairjepa.pairs.scan import image_keys
from pairjepa.pairs.shards.targets import Target
from pairjepa.pairs.shards.tars import escaped
from pairjepa.pairs.table import Pairs
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest
from pairjepa.util.progress import progress

FORMAT = 2

_BAD = "images that cannot be read (left out)"
_KINDS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"}
"""First bytes of image files → suffix."""


@dataclass(frozen=True)
class Row:
    """One image that is to be written."""

    name: str
    read: Callable[[], bytes]
    """The image file's bytes, or a `BadImage`."""
    captions: list[str]
    split: str | None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """What goes into the shards of one name, `NAME-00000.tar` and on."""

    name: str
    rows: int | None
    """How many there are; None where that is not known before."""
    start: Callable[[int], Iterable[Row]]
    """The rows from a number on."""
    stamp: Callable[[slice], str] | None = None
    """Of some rows: another if one of them is; None where that cannot be told without reading them."""


@dataclass
class Written:
    """What a conversion did."""

    shards: list[str] = field(default_factory=list)
    """Paths or URLs of those that were written now."""
    kept: int = 0
    """Shards that were there already."""
    images: int = 0
    """Written now, as `captions` and `bytes`."""
    captions: int = 0
    bytes: int = 0
    problems: Problems = field(default_factory=Problems)


def identity_of(pairs: Pairs) -> str:
    """32 hex digits of names, splits and their order: what tells two conversions apart."""
    return digest(pairs.names, pairs.table["split"].to_pylist())


def write(parts: Iterable[Part], out: str, per_shard: int, identity: Any) -> Written:
    """Write what is not there yet.

    Args:
        parts: the pairs.
        out: a folder or a URL of one; made where it is not there.
        per_shard: images in a shard; the last of a part has fewer.
        identity: what the pairs are, JSON-ready; kept beside the shards, so that others are not mixed with them.

    Raises:
        PairJEPAError: other shards are in `out`, the disk is full, or the target cannot be reached.
    """
    target = Target(out)
    manifest = _claimed(target, out, {"format": FORMAT, "images_per_shard": per_shard, "pairs": identity})
    done = Written()
    for part in parts:
        there, missing = _missing(part, target, per_shard, manifest["shards"])
        done.kept += there
        rows: Iterator[Row] = iter(())
        last = None
        total = per_shard * len(missing) if isinstance(missing, list) else 0
        with progress(f"shards of {part.name}", total, "images") as bar:
            for number in missing:
                if last is None or number != last + 1:
                    rows = iter(part.start(number * per_shard))
                # one row is taken before a shard is begun, so that none is empty at the end
                if (first := next(rows, None)) is None:
                    break
                name, last = _name(part, number), number
                some = chain([first], islice(rows, per_shard - 1))
                with target.written(name) as path:
                    is_whole = _write_shard(path, some, done, bar.advance)
                done.shards.append(target.url(name))
                if part.stamp is not None and is_whole:
                    manifest["shards"][name] = part.stamp(_rows_of(number, per_shard))
                    target.claim(manifest)
    return done


def _missing(
    part: Part, target: Target, per_shard: int, stamps: dict[str, str]
) -> tuple[int, list[int] | Iterable[int]]:
    """How many shards are there as they are to be, and the numbers of the others."""
    if part.stamp is None:  # a stream, which goes on where it was
        first = next(number for number in count() if not target.whole(_name(part, number)))
        return first, count(first) if part.rows is None else range(first, math.ceil(part.rows / per_shard))
    numbers = range(math.ceil((part.rows or 0) / per_shard))
    missing = []
    for number in numbers:
        name = _name(part, number)
        if stamps.get(name) != part.stamp(_rows_of(number, per_shard)) or not target.whole(name):
            missing.append(number)
    return len(numbers) - len(missing), missing


def _rows_of(number: int, per_shard: int) -> slice:
    return slice(number * per_shard, (number + 1) * per_shard)


def _name(part: Part, number: int) -> str:
    return f"{part.name}-{number:05d}.tar"


def part_of(pairs: Pairs, split: str) -> Part:
    """The pairs of a split, in the order of their rows."""
    pairs = pairs.split(split)
    table = pairs.table.drop_columns([name for name in RESERVED if name in pairs.table.column_names])
    kept = [field.name for field in table.schema if not _unfit(field.type)]
    metadata = table.select(kept)

    def start(first: int) -> Iterator[Row]:
        for row in range(first, pairs.n_images):
            others = {name: metadata[name][row].as_py() for name in kept}
            yield Row(
                pairs.names[row],
                lambda row=row: pairs.read_bytes(row),  # type: ignore[misc]
                pairs.table["captions"][row].as_py(),
                split,
                others,
            )

    keys = image_keys(pairs)

    def stamp(rows: slice) -> str:
        some = table.slice(rows.start, rows.stop - rows.start)
        cells = some.select(kept).to_pylist(), pairs.table["captions"][rows].to_pylist()
        return digest(pairs.names[rows], keys[rows], json.dumps(cells, default=str))

    return Part(split, pairs.n_images, start, stamp)


def _unfit(kind: pa.DataType) -> bool:
    """Whether JSON has no word for it."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind))


def _write_shard(path: Path, rows: Iterable[Row], done: Written, advance: Callable[[], None]) -> bool:
    """The samples of one tar, counted in `done`; whether no image was left out."""
    keys: set[str] = set()
    is_whole = True
    with tarfile.open(path, "w") as tar:
        for row in rows:
            advance()
            try:
                data = row.read()
            except BadImage as error:
                done.problems.add(_BAD, [f"{row.name}: {error.reason}"])
                is_whole = False
                continue
            record = {"captions": row.captions, **({"split": row.split} if row.split else {}), **row.metadata}
            text = json.dumps(_finite(record), ensure_ascii=False, default=str)
            lines = "".join(f"{' '.join(caption.splitlines())}\n" for caption in row.captions)
            key, suffix = _key(row.name, data, keys)
            for ending, content in (
                (suffix, data),
                (".txt", lines.encode("utf-8", errors="replace")),
                (".json", text.encode("utf-8", errors="replace")),
            ):
                # its time and owner are nobody's: same pairs, same bytes
                member = tarfile.TarInfo(key + ending)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            done.images, done.captions = done.images + 1, done.captions + len(row.captions)
    done.bytes += path.stat().st_size
    return is_whole


def _key(name: str, data: bytes, keys: set[str]) -> tuple[str, str]:
    """The key of a sample, from the image's name, and the suffix of its image."""
    steps = [step for step in name.split("/") if step not in ("", ".", "..")]
    name = "/".join(steps) or digest(data)
    if not is_image(name):
        # by its first bytes; `.img`, which no program knows, where they say nothing
        name += next((suffix for first, suffix in _KINDS.items() if data.startswith(first)), ".img")
    key, suffix = os.path.splitext(escaped(name))
    while key in keys:  # a.jpg and a.png
        key += "_"
    keys.add(key)
    return key, suffix


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """NaN is no JSON."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }


def _claimed(target: Target, out: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of these shards, beside them; the one that is there knows what they hold.

    Raises:
        PairJEPAError: other shards are there.
    """
    found = target.manifest()
    if isinstance(found, dict) and isinstance(found.get("shards"), dict):
        if found | manifest == found:
            return found
    elif found is None and not target.holds_shards():
        target.claim(manifest := manifest | {"shards": {}})
        return manifest
    raise PairJEPAError(
        f"--out must be a new folder, or one with shards of the same images and settings, got {out}, which holds "
        "others. Name another folder."
    )
