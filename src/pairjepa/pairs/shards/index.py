"""The rows of shards: each tar is gone through once, header by header; what was found is kept in the cache."""

import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.config.settings import DataConfig
from pairjepa.pairs.captions import UNDECODABLE
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RESERVED
from pairjepa.pairs.shards.places import THREADS, Shard, connect, is_url, reason, tried
from pairjepa.pairs.shards.tars import CutShort, Sample, Seekable, samples, unescaped
from pairjepa.pairs.sources.columns import strings_of, usual_captions
from pairjepa.pairs.sources.reading import json_object
from pairjepa.util.errors import PairJEPAError, UsageError, hindrance, unreadable
from pairjepa.util.files import cache_folder, digest, remove_leftovers, writing
from pairjepa.util.progress import progress
from pairjepa.util.tables import read_table, write_table

TEXTS = ("txt", "text", "caption", "captions")
"""Suffixes of a sample's captions, one a line, in the order in which they are asked for."""

_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character of JSON, a byte of a name in another encoding
_VERSION = "v3"  # a part of the kept files' names: another way to read needs another version
_REMOTE_BLOCK = 1 << 20  # smaller images are read through: a request takes as long as a megabyte
_PLACE = {"image": pa.string(), "offset": pa.int64(), "length": pa.int64()}
_SAMPLE = {"caption": pa.list_(pa.string()), "split": pa.string()}
_FOUND = b"pairjepa"

_TWICE = "samples whose key stands twice in its shard (the first counts; files apart? sort the tar by name)"
_DOTTED = "samples of several images and texts (the first counts; a name ends at its first dot)"
_CUT = "shards that end in the middle or are damaged (what is before that is used)"
_NO_TAR = "shards that are no tar file (skipped)"
_NO_IMAGE = "samples without an image (skipped)"
_BAD_JSON = "samples whose .json is no JSON object (it is not used)"
_BAD_TEXT = "samples whose text is not UTF-8 (those captions are dropped)"


def index(shards: Sequence[Shard], config: DataConfig, problems: Problems) -> pa.Table:
    """One row a sample with an image, shard after shard, with the columns that `RawPairs.rows` documents.

    Raises:
        PairJEPAError: a shard cannot be reached or read.
        UsageError: a named column is in no sample.
    """
    remove_leftovers(cache_folder(), deep=True)
    kept = cache_folder() / "shards"
    files = [kept / f"{_VERSION}-{digest(*_key(shard, config))}.parquet" for shard in shards]
    tables: dict[int, pa.Table] = {}
    for number, file in enumerate(files):
        if (table := _known(file)) is not None:
            tables[number] = table
    missing = [number for number in range(len(shards)) if number not in tables]

    def work(number: int) -> pa.Table:
        table = _read(shards[number], config)
        with writing(kept):
            write_table(table, files[number])
        return table

    if missing:
        with progress("shards", len(missing), "shards") as bar, ThreadPoolExecutor(THREADS) as pool:
            try:
                for number, table in zip(missing, pool.map(work, missing), strict=True):
                    tables[number] = table
                    bar.advance()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # after an error, no further shard
    parts = [tables.pop(number) for number in range(len(shards))]
    _report(parts, config, problems)
    return _joined(shards, parts)


def _key(shard: Shard, config: DataConfig) -> list[Any]:
    return [
        shard.url,
        shard.size,
        shard.stamp,
        config.image_column,
        config.caption_column,
        config.split_column,
    ]


def _known(file: Path) -> pa.Table | None:
    """What was kept of a shard; a damaged file is as good as none."""
    try:
        table = read_table(file)
    except (OSError, pa.ArrowException) as error:
        if hindrance(error):
            raise unreadable(file, error, "") from None
        return None
    return table if _FOUND in (table.schema.metadata or {}) else None


def _read(shard: Shard, config: DataConfig) -> pa.Table:
    """The rows of one shard; its problems and the names of what is in it go into the schema's metadata."""
    if is_url(shard.url):
        fs, path = connect(shard.url)

        def remote() -> pa.Table:
            with fs.open(path, "rb", block_size=_REMOTE_BLOCK, cache_type="readahead") as file:
                return _rows(file, shard, config)

        return tried(shard.url, remote)
    try:
        with open(shard.url, "rb") as file:
            return _rows(file, shard, config)
    except OSError as error:
        raise PairJEPAError(f"The shard {shard.url} must be readable, got: {reason(error)}.") from None


def _rows(file: Seekable, shard: Shard, config: DataConfig) -> pa.Table:
    problems = Problems()
    texts = (*(config.caption_column or ()), *TEXTS)
    rows: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    seen: set[str] = set()
    suffix = (config.image_column or "").removeprefix(".")
    for sample in _whole(samples(file, shard.size, frozenset((*texts, "json")), suffix), shard, problems):
        where = [f"{shard.name}: {sample.key}"]
        if sample.key in seen:
            problems.add(_TWICE, where)
            continue
        seen.add(sample.key)
        problems.add(_DOTTED, where if sample.dotted else [])
        image = sample.images.get(suffix) if suffix else next(iter(sample.images.values()), None)
        record = _json(sample, where, problems)
        names |= dict.fromkeys((*sample.images, *sample.texts, *sample.others, *record))
        if image is None:
            problems.add(_NO_IMAGE, where if sample.images or sample.texts else [])
            continue
        captions, used = _captions(sample, record, config, texts)
        if any(UNDECODABLE in caption for caption in captions or ()):
            problems.add(_BAD_TEXT, where)
        named = config.split_column or "split"
        split = record.pop(named, None)
        rows.append(
            {
                "image": _utf8(unescaped(image[0])),
                "offset": image[1],
                "length": image[2],
                "caption": captions,
                "split": split if isinstance(split, str) else None,
            }
            | {
                _utf8(f"{name}_" if name in (*RESERVED, "offset", "length") else name): (
                    _utf8(value) if isinstance(value, str) else value
                )
                for name, value in record.items()
                if name not in used and isinstance(value, str | int | float | bool)
            }
        )
    known = _PLACE | _SAMPLE
    others = dict.fromkeys(name for row in rows for name in row if name not in known)
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in known.items()}
    columns |= {name: _one_type([row.get(name) for row in rows]) for name in others}
    found = {"problems": problems.to_dict(), "names": list(names)}
    return pa.table(columns).replace_schema_metadata({_FOUND: json.dumps(found)})


def _whole(found: Iterator[Sample], shard: Shard, problems: Problems) -> Iterator[Sample]:
    """The samples, and what ends them too early as a problem."""
    try:
        yield from found
    except CutShort:
        problems.add(_CUT, [shard.name])
    except tarfile.ReadError:
        problems.add(_NO_TAR, [shard.name])


def _json(sample: Sample, where: list[str], problems: Problems) -> dict[str, Any]:
    if "json" not in sample.texts:
        return {}
    if (record := json_object(sample.texts["json"])) is not None:
        return record
    problems.add(_BAD_JSON, where)
    return {}


def _captions(
    sample: Sample, record: dict[str, Any], config: DataConfig, texts: Sequence[str]
) -> tuple[list[str] | None, tuple[str, ...]]:
    """A sample's captions, and the keys of its JSON that hold captions, which are no metadata then."""
    named = config.caption_column
    keys = named or usual_captions(list(record))
    found = [sample.texts[suffix] for suffix in named or texts if suffix in sample.texts]
    lines = []
    for data in found if named else found[:1]:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="pairjepa-mark")
        lines += text.strip().split("\n")
    if lines and not named:
        return lines, keys
    there = [key for key in keys if key in record] or ["txt"]
    strings = [_SURROGATE.sub(UNDECODABLE, one) for one in strings_of(record, there)]
    return [*lines, *strings] or None, (*keys, "txt")


def _utf8(text: str) -> str:
    """Without what is no character, which Arrow cannot hold."""
    return _SURROGATE.sub("\ufffd", text)


def _one_type(cells: list[Any]) -> pa.Array:
    try:
        return pa.array(cells)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())


def _report(parts: Sequence[pa.Table], config: DataConfig, problems: Problems) -> None:
    names: dict[str, None] = {}
    for part in parts:
        found = json.loads(part.schema.metadata[_FOUND])
        names |= dict.fromkeys(found["names"])
        for kind, problem in found["problems"].items():
            problems.add(kind, problem["examples"], problem["count"])
    columns = [("image", config.image_column), ("split", config.split_column)]
    for kind, column in (*columns, *(("caption", name) for name in config.caption_column or ())):
        if column is not None and column.removeprefix(".") not in names:
            raise UsageError(
                f"data.{kind}_column must be a suffix of the shards' files or a key of their .json, got {column!r}. "
                f"There are: {', '.join(sorted(names)[:40]) or 'none'}."
            )
    images, captions = (
        sum(len(part) - part[name].null_count for part in parts) for name in ("image", "caption")
    )
    if names and (not images or not (captions or problems.counts)):
        lacking = "captions" if images else "images and captions"
        raise PairJEPAError(
            f"The shards must hold {lacking}, got files and JSON keys of the names {', '.join(sorted(names)[:40])}. "
            f"Name theirs with --data.image-column and --data.caption-column.{problems.summary()}"
        )


def _joined(shards: Sequence[Shard], parts: list[pa.Table]) -> pa.Table:
    """All rows, with `member` in the place of offset and length, and names that are unique."""
    kinds: dict[str, set[pa.DataType]] = {}
    for part in parts:
        for field in part.schema:
            if not pa.types.is_null(field.type):
                kinds.setdefault(field.name, set()).add(field.type)
    # what is a number in one shard and text in another is text
    mixed = {name: pa.string() for name, found in kinds.items() if len(found) > 1}
    parts = [_cast(part, mixed | _PLACE | _SAMPLE) for part in parts]
    counts = [part.num_rows for part in parts]
    rows = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    number = pa.array(np.repeat(np.arange(len(shards), dtype=np.int32), counts))
    member = pa.StructArray.from_arrays(
        [
            pa.DictionaryArray.from_arrays(number, pa.array([shard.url for shard in shards], pa.string())),
            pa.DictionaryArray.from_arrays(number, pa.array([shard.stamp for shard in shards], pa.string())),
            *(_one_chunk(rows[name]) for name in ("offset", "length")),
        ],
        ["shard", "stamp", "offset", "length"],
    )
    shard_names = pa.array([shard.name.removesuffix(".tar") for shard in shards], pa.string())
    image = _unique(_one_chunk(rows["image"]), shard_names.take(number))
    rows = rows.drop_columns(["offset", "length"]).set_column(0, "image", image)
    return rows.append_column("member", member)


def _cast(part: pa.Table, kinds: dict[str, pa.DataType]) -> pa.Table:
    return part.cast(pa.schema([field.with_type(kinds.get(field.name, field.type)) for field in part.schema]))


def _unique(names: pa.Array, shards: pa.Array) -> pa.Array:
    """Names that stand in several shards (`000000.jpg` in each) with that of their shard before them."""
    counted = pc.value_counts(names)
    twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    if not len(twice):
        return names
    return pc.if_else(pc.is_in(names, twice), pc.binary_join_element_wise(shards, names, "/"), names)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    joined = column.combine_chunks()
    return joined if isinstance(joined, pa.Array) else pa.concat_arrays(joined.chunks)
