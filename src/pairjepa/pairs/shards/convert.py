"""From any pairs to shards; data sets of the hub are streamed, so that they need not fit anywhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import splits as splitting
from pairjepa.pairs.images import BadImage
from pairjepa.pairs.raw import RESERVED
from pairjepa.pairs.shards.writing import Part, Row, Written, identity_of, part_of, write
from pairjepa.pairs.sources import columns, hub
from pairjepa.pairs.table import open_pairs
from pairjepa.util.errors import PairJEPAError, UsageError, first_line, needs


def convert(config: DataConfig, out: str, per_shard: int = 1000) -> Written:
    """Write the pairs that `config` names as shards into `out`, a folder or a URL of one.

    A data set id of the hub is streamed, row by row, unless `config.pairs` asks for a choice, which needs all of it.
    What an earlier call wrote is kept.

    Raises:
        UsageError: `per_shard` is not positive, or no source is named.
        PairJEPAError: the pairs cannot be had, `out` holds other shards, is full or out of reach.
    """
    if per_shard < 1:
        raise UsageError(f"--images-per-shard must be at least 1, got {per_shard}.")
    if config.source is not None and config.pairs is None and hub.is_id(config.source):
        captions = list(config.caption_column or ()) or None
        identity: Any = [config.source, config.image_column, captions, config.split_column]
        return write(streamed(config, config.source), out, per_shard, identity)
    pairs = open_pairs(config)
    parts = [part_of(pairs, split) for split in pairs.splits]
    found = write(parts, out, per_shard, identity_of(pairs))
    for kind, count in pairs.problems.counts.items():
        found.problems.add(kind, pairs.problems.examples[kind], count)
    return found


def streamed(config: DataConfig, source: str) -> list[Part]:
    """A data set of the hub, split by split, of which no more than a few rows are here at any time.

    Raises:
        PairJEPAError: `datasets` is not installed, the hub cannot be reached, or there is no such data set.
    """
    with needs("datasets", "hub"):
        import datasets
    return [
        _part(
            hub.undecoded(datasets, stream if stream.features else stream._resolve_features()), word, config
        )
        for word, stream in hub.download(datasets, source, streaming=True).items()
    ]


def _part(stream: Any, word: str, config: DataConfig) -> Part:
    source = str(config.source)
    found = columns.find(list(stream.features), config, source)
    split = splitting.normalise(word, source)
    known = {found.image, found.split, *found.captions}

    def start(first: int) -> Iterator[Row]:
        for number, cells in enumerate(_read(stream.skip(first), source), first):
            own = cells.get(found.split) if found.split else None
            yield Row(
                _name(cells[found.image]) or f"{split}-{number:08d}",
                lambda cell=cells[found.image]: _bytes(cell),  # type: ignore[misc]
                columns.strings_of(cells, found.captions),
                splitting.normalise(own, source) if own else split,
                {
                    f"{name}_" if name in RESERVED else name: value
                    for name, value in cells.items()
                    if name not in known and isinstance(value, str | int | float | bool)
                },
            )

    info = (getattr(stream.info, "splits", None) or {}).get(word)
    return Part(split, getattr(info, "num_examples", None) or None, start)


def _read(stream: Any, source: str) -> Iterator[dict[str, Any]]:
    try:
        yield from stream
    except PairJEPAError:
        raise
    except Exception as error:  # a lost connection, a damaged file: the library has many words for it
        raise PairJEPAError(
            f"{source} must be read to its end, got: {first_line(error)}. Run the same command again to go on after "
            "the last whole shard."
        ) from None


def _name(cell: Any) -> str | None:
    """The name of an image, from the last part of its path."""
    path = cell.get("path") if isinstance(cell, dict) else cell if isinstance(cell, str) else None
    return Path(path.partition("::")[0]).name if path else None


def _bytes(cell: Any) -> bytes:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(data, bytes):
        return data
    path = cell.get("path") if isinstance(cell, dict) else cell
    if not isinstance(path, str):
        raise BadImage("the row holds none")
    try:
        import fsspec

        with fsspec.open(path, "rb") as file:
            return bytes(file.read())
    except Exception as error:  # each file system has its own words
        raise BadImage(f"cannot be read: {first_line(error)}") from None
