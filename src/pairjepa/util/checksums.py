"""Checksums: whether a file is what was written.

A record in JSON carries its own, under `checksum`, each line of `metrics.jsonl` too, and weights in their metadata:
they are replaced one by one, and no two files can be replaced at the same moment. A folder that is made as a whole has
a record of those of all its files, `checksums.json`. What PairJEPA 0.1 wrote has none and is read as it is.
"""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pairjepa.util.errors import PairJEPAError, unreadable
from pairjepa.util.files import digest, digest_file, read_json, stays_inside, write_json
from pairjepa.util.progress import say

KEY = "checksum"
FILE = "checksums.json"
METADATA = "pairjepa"
FORMAT = 1
Shape = Any
"""What a JSON value must be: a type, a tuple of alternatives, a list of the shape of its items, a dict of the keys that
it must have (others may stand beside them), or `{str: shape}` where any key may stand."""


def signed(record: dict[str, Any], before: str = "") -> dict[str, Any]:
    """A record with its checksum; `before` is that of the line before it, so that no line can be taken out."""
    plain = json.loads(json.dumps(record, allow_nan=False))
    return plain | {KEY: digest(before, plain)}


def unsigned(record: dict[str, Any], before: str = "") -> tuple[dict[str, Any], bool]:
    """A record without its checksum, and whether that is right.

    Without one (0.1) it is, unless a value is the checksum of the others: then the key is not what was written.
    """

    def matches(name: str) -> bool:
        return bool(
            record[name] == digest(before, {key: value for key, value in record.items() if key != name})
        )

    if KEY not in record:
        return record, not any(matches(name) for name, value in record.items() if isinstance(value, str))
    return {key: value for key, value in record.items() if key != KEY}, matches(KEY)


def as_metadata(about: dict[str, str]) -> dict[str, str]:
    """Metadata of a safetensors file under one key: safetensors writes several in any order, so that bytes differ."""
    return {METADATA: json.dumps(about, sort_keys=True)}


def from_metadata(metadata: dict[str, str] | None) -> dict[str, str]:
    """The inverse; metadata of 0.1, which has no such key, as it is.

    Raises:
        ValueError: the key is not what was written.
    """
    metadata = metadata or {}
    if (METADATA in metadata) != any(f'"{KEY}"' in value for value in metadata.values()):
        raise ValueError(f"metadata must hold {KEY} under {METADATA}, got {', '.join(metadata)}")
    about: dict[str, str] = json.loads(metadata[METADATA]) if METADATA in metadata else metadata
    return about


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record with its checksum, whole or not at all."""
    write_json(path, signed(record))


def read_record(path: Path, shape: Shape, mend: str, format: int | None = None) -> dict[str, Any]:
    """Read what `write_record` wrote.

    Args:
        path: the file.
        shape: what it must hold, if it has no checksum.
        mend: what to do if it is missing or damaged, a sentence.
        format: its version, where it has one.

    Raises:
        PairJEPAError: it is not there, cannot be read, or is not what was written.
    """
    return checked_record(read_json(path, "The record", mend), path, shape, mend, format)


def checked_record(
    value: Any, path: Path | str, shape: Shape, mend: str, format: int | None = None
) -> dict[str, Any]:
    """A record that was read from `path`, without its checksum; see `read_record`."""
    if format is not None and isinstance(value, dict) and value.get("format") != format:
        raise PairJEPAError(
            f"{path} must have format {format}, got {value.get('format')!r}. "
            f"If another version of PairJEPA made it, use that one. {mend}"
        )
    signed = isinstance(value, dict) and KEY in value
    if not signed and (wrong := misfit(value, shape)) is not None:
        raise PairJEPAError(f"{path} must {wrong}. {mend}")
    plain, right = unsigned(value)
    if not right:
        raise PairJEPAError(f"{path} must be as it was written, got another content (checksum). {mend}")
    return plain


def misfit(value: Any, shape: Shape, name: str = "") -> str | None:
    """How a JSON value does not have a shape, ready to follow "must"; None if it has."""
    if isinstance(shape, tuple):
        tried = [misfit(value, one, name) for one in shape]
        return None if None in tried else tried[0]
    kind = type(shape) if isinstance(shape, dict | list) else shape
    number = kind is float and isinstance(value, int)
    if not (isinstance(value, kind) or number) or (isinstance(value, bool) and kind is not bool):
        return f"hold {_WORDS[kind]}{name and f' in {name}'}, got {_WORDS.get(type(value), 'nothing')}"
    if isinstance(shape, list):
        items: Iterable[tuple[str, Any, Shape]] = (
            (f"{name}[{n}]", item, shape[0]) for n, item in enumerate(value)
        )
    elif isinstance(shape, dict):
        if missing := [key for key in shape if key is not str and key not in value]:
            return f"hold {name and f'{name}.'}{missing[0]}, got none"
        shapes = dict.fromkeys(value, shape[str]) if str in shape else shape
        items = ((f"{name}.{key}" if name else key, value[key], one) for key, one in shapes.items())
    else:
        return None
    return next((wrong for at, item, one in items if (wrong := misfit(item, one, at)) is not None), None)


_WORDS = {
    dict: "a table",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def seal(folder: Path, names: Iterable[str] | None = None) -> None:
    """Write `checksums.json`.

    A file that is listed there already keeps its checksum and is not read: it is one that is never written again.

    Args:
        folder: made as a whole, or added to.
        names: of files in it; all if not given, but those below it that have checksums of their own.
    """
    known = _listed(folder) if (folder / FILE).is_file() else {}
    files = {
        n: known.get(n) or digest_file(folder / n) for n in sorted(_files(folder) if names is None else names)
    }
    write_record(folder / FILE, {"format": FORMAT, "files": files})


def check(folder: Path, mend: str, names: Iterable[str] | None = None) -> bool:
    """Read files of a sealed folder; of one without checksums (0.1) it is only warned.

    Args:
        folder: the folder.
        mend: what to do if a file is missing or damaged, a sentence.
        names: of files, or what they begin with (`image.onnx` and `image.onnx.data`); all if not given.

    Returns:
        Whether it has checksums.

    Raises:
        PairJEPAError: one is not there, cannot be read, or is not what was written.
    """
    if not (folder / FILE).is_file():
        _warn(folder)
        return False
    listed = _listed(folder)
    wanted = tuple(listed if names is None else names)
    if missing := [name for name in wanted if name not in listed]:
        raise PairJEPAError(f"{folder / FILE} must list {missing[0]}, got none. {mend}")
    for name in listed:
        if not name.startswith(wanted):
            continue
        if (wrong := _wrong(folder / name, listed[name], mend)) is not None:
            raise wrong
    return True


def verify(folder: Path) -> tuple[list[str], dict[str, str]]:
    """The files of a sealed folder, and what is wrong with some of them.

    Raises:
        PairJEPAError: `checksums.json` itself is damaged.
    """
    listed = _listed(folder)
    wrong = {name: _wrong(folder / name, checksum, "") for name, checksum in listed.items()}
    return list(listed), {name: str(error).strip() for name, error in wrong.items() if error is not None}


@functools.cache
def _warn(folder: Path) -> None:
    say(f"warning: {folder} has no {FILE}, as of PairJEPA 0.1: what is damaged in it may not be noticed.")


def _wrong(path: Path, checksum: str, mend: str) -> PairJEPAError | None:
    try:
        right = digest_file(path) == checksum
    except (OSError, MemoryError) as error:
        return unreadable(path, error, mend)
    if right:
        return None
    return PairJEPAError(f"{path} must be as it was written, got another content (checksum). {mend}")


def _listed(folder: Path) -> dict[str, str]:
    mend = "Put it back, or remove it: what is damaged in the folder may then not be noticed."
    listed: dict[str, str] = read_record(folder / FILE, {KEY: str, "files": {str: str}}, mend, FORMAT)[
        "files"
    ]
    if outside := [name for name in listed if not stays_inside(name)]:
        raise PairJEPAError(f"{folder / FILE} must list files in its folder, got {outside[0]!r}. {mend}")
    return listed


def _files(folder: Path) -> Iterable[str]:
    for path in folder.iterdir():
        if path.is_file() and path.name != FILE:
            yield path.name
        elif path.is_dir() and not (path / FILE).is_file():
            yield from (f"{path.name}/{name}" for name in _files(path))
