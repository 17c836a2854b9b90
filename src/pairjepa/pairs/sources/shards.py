"""WebDataset shards: tar files of images with a `.txt` or `.json` of the same key, read by place, never unpacked."""

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.pairs import splits as splitting
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request
from pairjepa.pairs.shards import places
from pairjepa.pairs.shards.index import index

WHAT = "WebDataset shards: a .tar, a pattern ('shards/{000..127}.tar', 'shards/*.tar'), or a URL of them (s3://, …)"
COLUMNS = True


def matches(source: str) -> bool:
    """A URL, or the name or a pattern of `.tar` files."""
    return places.is_pattern(source)


def read(request: Request, problems: Problems) -> RawPairs:
    """Go through the shards, or take what was found the last time.

    A split in a sample's `.json` counts, else that in the name of its shard (`train-000.tar`, `val/000.tar`), where
    all names have one.

    Raises:
        PairJEPAError: there are none, or one cannot be reached.
        UsageError: a named column is in no sample.
    """
    shards = places.find(request.source)
    rows = index(shards, request, problems)
    named = splits_of([shard.name for shard in shards])
    given = rows["split"].null_count < len(rows)
    if named is not None:
        numbers = pc.struct_field(rows["member"], "shard").combine_chunks().indices
        split = pc.coalesce(rows["split"], pa.array(named, pa.string()).take(numbers))
        rows = rows.set_column(rows.column_names.index("split"), "split", split)
    name = request.source if places.is_url(request.source) else Path(request.source).name
    title = f"{len(shards):,} shard{'s' if len(shards) > 1 else ''} of {name}"
    return RawPairs(rows, title, "split as given" if given else "split as the shards are named")


def splits_of(names: Sequence[str]) -> list[str] | None:
    """The split that each shard's name says in one of its words, if each says exactly one."""
    found = []
    for name in names:
        words = [word for word in re.split(r"[^A-Za-z]+", name.removesuffix(".tar")) if splitting.known(word)]
        if len({splitting.normalise(word, name) for word in words}) != 1:
            return None
        found.append(splitting.normalise(words[0], name))
    return found or None
