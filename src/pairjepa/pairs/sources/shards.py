"""WebDataset shards: tar files of images with a `.txt` or `.json` of the same key, read by place, never unpacked."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import splits as splitting
from pairjepa.pairs.folders import folders_below, is_image, matching, walk
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs
from pairjepa.pairs.shards import places
from pairjepa.pairs.shards.index import index


def named(source: str) -> str:
    """A URL, or the name or a pattern of `.tar` files."""
    return source if places.is_pattern(source) else ""


def folder(source: str) -> str:
    """A folder with `.tar` files in it or one below, and no image: beside images, a tar is somebody's copy of them."""
    root = Path(source).expanduser()
    there = any(matching(folder, "*.tar") for folder in folders_below(root, 1))
    return source if there and not any(is_image(name) for name in walk(root)) else ""


def read(source: str, config: DataConfig, problems: Problems) -> RawPairs:
    """Go through the shards, or take what was found the last time.

    A split in a sample's `.json` counts, else that in the name of its shard (`train-000.tar`, `val/000.tar`), where
    all names have one.

    Raises:
        PairJEPAError: there are none, or one cannot be reached.
        UsageError: a named column is in no sample.
    """
    shards = places.find(source)
    rows = index(shards, config, problems)
    named = splitting.from_words([shard.name for shard in shards])
    given = rows["split"].null_count < len(rows)
    if named is not None:
        numbers = pc.struct_field(rows["member"], "shard").combine_chunks().indices
        split = pc.coalesce(rows["split"], pa.array(named, pa.string()).take(numbers))
        rows = rows.set_column(rows.column_names.index("split"), "split", split)
    name = source if places.is_url(source) else Path(source).name
    title = f"{len(shards):,} shard{'s' if len(shards) > 1 else ''} of {name}"
    return RawPairs(rows, title, "split as given" if given else "split as the shards are named")
