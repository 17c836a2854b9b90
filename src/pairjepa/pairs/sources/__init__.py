"""Where pairs come from. A new source is one module here and one line in `SOURCES`.

A source is a module with `WHAT` (a line for people), `COLUMNS` (whether the user may name columns),
`matches(source)` (quick, raises nothing) and `read(request, problems)`.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pairjepa.pairs.folders import count_unread, forget, looked_once, walk
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RawPairs, Request, listing
from pairjepa.pairs.shards.places import is_url
from pairjepa.pairs.sources import (
    chinese_clip,
    class_folders,
    coco,
    flickr8k,
    hub,
    imagefolder,
    karpathy,
    shapes,
    shard_folder,
    shards,
    sidecar,
    split_folders,
    tables,
    vectors,
)
from pairjepa.util.errors import PairJEPAError, UsageError, near_path


class Source(Protocol):
    """What a module of this package offers."""

    @property
    def WHAT(self) -> str:
        """What it reads, for people."""

    @property
    def COLUMNS(self) -> bool:
        """Whether the user may name columns."""

    def matches(self, source: str) -> bool:
        """Whether `source` looks like something that this source reads."""

    def read(self, request: Request, problems: Problems) -> RawPairs:
        """Read the rows; what can be skipped goes into `problems`."""


SOURCES: dict[str, Source] = {
    "shapes": shapes,
    "shards": shards,
    "hub": hub,
    "vectors": vectors,
    "flickr8k": flickr8k,
    "karpathy": karpathy,
    "coco": coco,
    "chinese-clip": chinese_clip,
    "imagefolder": imagefolder,
    "shard folder": shard_folder,
    "tables": tables,
    "sidecar": sidecar,
    "class folders": class_folders,
    "split folders": split_folders,
}
"""The sources in the order in which they are asked; the first that matches reads."""


def read(request: Request, problems: Problems) -> RawPairs:
    """Read the pairs from the first source that matches.

    Raises:
        PairJEPAError: no source matches, or the one that does cannot read it.
        UsageError: a column is named for a source that has none.
    """
    with looked_once():
        raw = _read(request, problems)
        forget()
    return raw


def _read(request: Request, problems: Problems) -> RawPairs:
    name = next((name for name, source in SOURCES.items() if source.matches(request.source)), None)
    if name is None:
        raise PairJEPAError(_nothing_matches(request.source))
    for setting in ("image_column", "caption_column", "split_column", "no_header"):
        if not SOURCES[name].COLUMNS and (value := getattr(request, setting)):
            raise UsageError(
                f"data.{setting} must be left out for {SOURCES[name].WHAT}, got {value!r}. Only tables have columns."
            )
    folder = None if request.images is None else Path(request.images).expanduser()
    if folder is not None and not folder.is_dir():
        raise UsageError(f"data.images must be a folder that is there, got {request.images!r}.")
    raw = SOURCES[name].read(request, problems)
    if folder is None:
        return raw
    if not raw.folders:
        raise UsageError(
            f"data.images must be left out for {SOURCES[name].WHAT}, got {request.images!r}. They hold their images."
        )
    return replace(raw, images=folder)


def located(source: str) -> str:
    """The same source from any working directory: paths and patterns are made absolute."""
    if shapes.matches(source) or is_url(source) or hub.is_id(source):
        return source
    return os.path.abspath(Path(source.removeprefix("file://")).expanduser())


def _nothing_matches(source: str) -> str:
    path = Path(source).expanduser().absolute()
    looked = "Looked for:" + "".join(f"\n  {module.WHAT}" for module in SOURCES.values())
    if path.is_dir():
        count_unread(walk(path), problems := Problems())
        found = f"{listing(path)}{problems.summary()}"
        return f"The folder {path} must hold pairs, but nothing in it is known. {found} {looked}"
    if path.exists():
        return f"The file {path} must be pairs of a known kind, but is not. {looked}"
    parent = next(folder for folder in path.parents if folder.is_dir())
    return (
        f"{source!r} must be pairs that are there, but {path} is not. {near_path(path)}{listing(parent)} "
        "Name a folder, a file, shards, a data set of the hub (user/name), or shapes."
    )
