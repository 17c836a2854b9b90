"""Where pairs come from. A new form is a `Source` in a file here and one line in `SOURCES`."""

import os
from dataclasses import replace
from pathlib import Path

from pairjepa.config.settings import DataConfig
from pairjepa.pairs.folders import count_unread, forget, looked_once, walk
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Source, listing
from pairjepa.pairs.shards.places import is_url
from pairjepa.pairs.sources import beside, hub, published, shapes, shards, tables, vectors
from pairjepa.util.errors import PairJEPAError, UsageError, near_path

SOURCES: dict[str, Source] = {
    "shapes": shapes.SHAPES_SOURCE,
    "shards": shards.SHARDS,
    "hub": hub.HUB,
    "vectors": vectors.VECTORS,
    "flickr8k": published.FLICKR8K,
    "karpathy": published.KARPATHY,
    "coco": published.COCO,
    "chinese-clip": published.CHINESE_CLIP,
    "imagefolder": tables.IMAGEFOLDER,
    "shard folder": shards.SHARD_FOLDER,
    "tables": tables.TABLES,
    "sidecar": beside.SIDECAR,
    "class folders": beside.CLASS_FOLDERS,
    "split folders": tables.SPLIT_FOLDERS,
}
"""The sources in the order in which they are asked; the first that finds something reads."""


def read(config: DataConfig, place: str, problems: Problems) -> RawPairs:
    """Read the pairs at `place` from the first source that finds something there.

    Raises:
        PairJEPAError: no source does, or the one that does cannot read it.
        UsageError: a column is named for a source that has none.
    """
    with looked_once():
        raw = _read(config, place, problems)
        forget()
    return raw


def _read(config: DataConfig, place: str, problems: Problems) -> RawPairs:
    both = ((source, source.find(place)) for source in SOURCES.values())
    source, found = next((one for one in both if one[1]), (None, None))
    if source is None:
        raise PairJEPAError(_nothing_matches(place))
    for setting in ("image_column", "caption_column", "split_column", "no_header"):
        if not source.columns and (value := getattr(config, setting)):
            raise UsageError(
                f"data.{setting} must be left out for {source.what}, got {value!r}. Only tables have columns."
            )
    folder = None if config.images is None else Path(config.images).expanduser()
    if folder is not None and not folder.is_dir():
        raise UsageError(f"data.images must be a folder that is there, got {config.images!r}.")
    raw = source.read(found, config, problems)
    if folder is None:
        return raw
    if not raw.folders:
        raise UsageError(
            f"data.images must be left out for {source.what}, got {config.images!r}. They hold their images."
        )
    return replace(raw, images=folder)


def located(source: str) -> str:
    """The same source from any working directory: paths and patterns are made absolute."""
    if shapes.named(source) or is_url(source) or hub.is_id(source):
        return source
    return os.path.abspath(Path(source.removeprefix("file://")).expanduser())


def _nothing_matches(place: str) -> str:
    path = Path(place).expanduser().absolute()
    looked = "Looked for:" + "".join(f"\n  {source.what}" for source in SOURCES.values())
    if path.is_dir():
        count_unread(walk(path), problems := Problems())
        found = f"{listing(path)}{problems.summary()}"
        return f"The folder {path} must hold pairs, but nothing in it is known. {found} {looked}"
    if path.exists():
        return f"The file {path} must be pairs of a known kind, but is not. {looked}"
    parent = next(folder for folder in path.parents if folder.is_dir())
    return (
        f"{place!r} must be pairs that are there, but {path} is not. {near_path(path)}{listing(parent)} "
        "Name a folder, a file, shards, a data set of the hub (user/name), or shapes."
    )
