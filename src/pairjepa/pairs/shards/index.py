"""The rows of shards: each tar is gone through once, header by header; what was found is kept in the cache."""

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import splits as splitting
from pairjepa.pairs.captions import UNDECODABLE
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RESERVED, RawPairs
from pairjepa.pairs.shards.places import THREADS, Shard, connect, find, is_url, tried
from pairjepa.pairs.shards.tars import Sample, samples, unescaped
from pairjepa.pairs.sources.columns import strings_of, together, usual_captions
from pairjepa.pairs.sources.reading import json_object, one_type
from pairjepa.util.errors import PairJEPAError, UsageError, first_line
from pairjepa.util.files import cache_folder, digest, remove_leftovers, writing
from pairjepa.util.progress import progress
from pairjepa.util.tables import cached_table, write_table

TEXTS = ("txt", "text", "caption", "captions")
"""Suffixes of a sample's captions, one a line, in the order in which they are asked for."""

_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character of JSON, a byte of a name in another encoding
_VERSION = "v3"  # a part of the kept files' names: another way to read needs another version
_REMOTE_BLOCK = 1 << 20  # smaller images are read through: a request takes as long as a megabyte
_KINDS = (pa.string(), pa.int64(), pa.int64(), pa.list_(pa.string()), pa.string())
_SCHEMA = pa.schema(zip(("image", "offset", "length", "caption", "split"), _KINDS, strict=True))
_FOUND = b"pairjepa"

_TWICE = "samples whose key stands twice in its shard (the first counts; files apart? sort the tar by name)"
_DOTTED = "samples of several images and texts (the first counts; a name ends at its first dot)"
_NO_IMAGE = "samples without an image (skipped)"
_BAD_JSON = "samples whose .json is no JSON object (it is not used)"
_BAD_TEXT = "samples whose text is not UTF-8 (those captions are dropped)"


def read(source: str, config: DataConfig, problems: Problems) -> RawPairs:
    """Go through the shards, or take what was found the last time.

    A split in a sample's `.json` counts, else that in the name of its shard (`train-000.tar`, `val/000.tar`), where
    all names have one.

    Raises:
        PairJEPAError: there are none, or one cannot be reached or read.
        UsageError: a named column is in no sample.
    """
    shards = find(source)
    rows = _index(shards, config, problems)
    said = splitting.from_words([shard.name for shard in shards])
    given = rows["split"].null_count < len(rows)
    if said is not None:
        numbers = pc.struct_field(rows["member"], "shard").combine_chunks().indices
        split = pc.coalesce(rows["split"], pa.array(said, pa.string()).take(numbers))
        rows = rows.set_column(rows.column_names.index("split"), "split", split)
    name = source if is_url(source) else Path(source).name
    title = f"{len(shards):,} shard{'s' if len(shards) > 1 else ''} of {name}"
    return RawPairs(rows, title, "split as given" if given else "split as the shards are named")


def _index(shards: Sequence[Shard], config: DataConfig, problems: Problems) -> pa.Table:
    """One row a sample with an image, shard after shard, with the columns that `RawPairs.rows` documents."""
    remove_leftovers(cache_folder(), deep=True)
    kept = cache_folder() / "shards"
    asked = config.image_column, config.caption_column, config.split_column
    keys = [digest(shard.url, shard.size, shard.stamp, *asked) for shard in shards]
    files = [kept / f"{_VERSION}-{key}.parquet" for key in keys]
    tables = [cached_table(file) for file in files]
    missing = [number for number, table in enumerate(tables) if table is None]

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
    _report(tables, config, problems)
    return _joined(shards, tables)


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
        raise PairJEPAError(f"The shard {shard.url} must be readable, got: {first_line(error)}.") from None


def _rows(file: Any, shard: Shard, config: DataConfig) -> pa.Table:
    problems = Problems()
    texts = (*(config.caption_column or ()), *TEXTS)
    rows: list[dict[str, Any]] = []
    metadata: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    seen: set[str] = set()
    suffix = (config.image_column or "").removeprefix(".")
    for sample in samples(file, shard, {*texts, "json"}, suffix, problems):
        where = [f"{shard.name}: {sample.key}"]
        if sample.key in seen:
            problems.add(_TWICE, where)
            continue
        seen.add(sample.key)
        problems.add(_DOTTED, where if sample.dotted else [])
        image = sample.files.get(suffix) if suffix else next(map(sample.files.get, sample.images), None)
        if (record := json_object(sample.texts.get("json", b"{}"))) is None:
            problems.add(_BAD_JSON, where)
            record = {}
        names |= dict.fromkeys((*sample.files, *record))
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
        )
        metadata.append(
            {
                _utf8(f"{name}_" if name in (*RESERVED, "offset", "length") else name): (
                    _utf8(value) if isinstance(value, str) else value
                )
                for name, value in record.items()
                if name not in used and isinstance(value, str | int | float | bool)
            }
        )
    table = pa.Table.from_pylist(rows, _SCHEMA)
    for name in dict.fromkeys(name for one in metadata for name in one):
        table = table.append_column(name, one_type([one.get(name) for one in metadata]))
    found = {"problems": problems.to_dict(), "names": list(names)}
    return table.replace_schema_metadata({_FOUND: json.dumps(found)})


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
    counts = [part.num_rows for part in parts]
    rows = together(parts).combine_chunks()
    number = pa.array(np.repeat(np.arange(len(shards), dtype=np.int32), counts))
    member = pa.StructArray.from_arrays(
        [
            pa.DictionaryArray.from_arrays(number, pa.array([shard.url for shard in shards], pa.string())),
            pa.DictionaryArray.from_arrays(number, pa.array([shard.stamp for shard in shards], pa.string())),
            *(rows[name].combine_chunks() for name in ("offset", "length")),
        ],
        ["shard", "stamp", "offset", "length"],
    )
    shard_names = pa.array([shard.name.removesuffix(".tar") for shard in shards], pa.string())
    image = _unique(rows["image"].combine_chunks(), shard_names.take(number))
    rows = rows.drop_columns(["offset", "length"]).set_column(0, "image", image)
    return rows.append_column("member", member)


def _unique(names: pa.Array, shards: pa.Array) -> pa.Array:
    """Names that stand in several shards (`000000.jpg` in each) with that of their shard before them."""
    counted = pc.value_counts(names)
    twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    if not len(twice):
        return names
    return pc.if_else(pc.is_in(names, twice), pc.binary_join_element_wise(shards, names, "/"), names)
