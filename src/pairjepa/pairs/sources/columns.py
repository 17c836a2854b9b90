"""Which column of a table is the image, which the caption, which the split; and the rows out of it."""

import ast
import base64
import difflib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pairjepa.config.settings import DataConfig
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import RESERVED
from pairjepa.pairs.splits import known
from pairjepa.util.errors import PairJEPAError, UsageError

_USUAL = {
    "image": (
        "image",
        "images",
        "image_path",
        "file_name",
        "filepath",
        "file_path",
        "filename",
        "path",
        "img",
        "image_name",
        "image_file_name",
        "image_id",
        "jpg",
        "jpeg",
        "png",
        "webp",
    ),
    "caption": (
        "caption",
        "captions",
        "text",
        "texts",
        "sentence",
        "sentences",
        "description",
        "title",
        "comment",
        "raw",
    ),
    "split": ("split",),
}
_NUMBERED = re.compile(r"(caption|text|sentence)[_ ]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Names of the columns that matter; several caption columns are one caption each."""

    image: str
    captions: tuple[str, ...]
    split: str | None
    weights: tuple[float, ...] = ()
    """Of the captions, where the user gave them."""


def find(names: list[str], config: DataConfig, where: str) -> Columns:
    """The columns that the user named, else those of a usual name (`caption_0`, `caption_1`, … are captions too).

    Raises:
        UsageError: a named column is not there.
        PairJEPAError: there is no image or caption column of a usual name.
    """
    image = image_column(names, config, where)
    asked = config.caption_column or (("2",) if config.no_header else ())
    weighted = [_weighted(name, names) for name in asked]
    captions = tuple(name for name, _ in weighted if _named(names, name, "caption", where))
    captions = captions or usual_captions(names)
    split = _named(names, config.split_column, "split", where) or _usual(names, "split")
    if lacking := [kind for kind, found in (("image", image), ("caption", captions)) if not found]:
        kind, flags = lacking[0], " and ".join(f"--data.{one}-column" for one in lacking)
        header = (
            " If its first line is a pair, add --data.no-header."
            if len(lacking) > 1 and not config.no_header
            else ""
        )
        cells = " Cells stand apart by commas, semicolons, tabs or |." if len(names) == 1 else ""
        urls = " Download images behind addresses first: img2dataset does, and all that it writes is read."
        raise PairJEPAError(
            f"{where} must have a column for the {kind}, got the columns {_some(names)}. "
            f"Looked for {', '.join(_USUAL[kind])}; name yours with {flags}.{cells}{header}"
            f"{urls if kind == 'image' and any('url' in name.lower() for name in names) else ''}"
        )
    assert image is not None
    weights = tuple(weight for _, weight in weighted)
    return Columns(image, captions, split, weights if len(set(weights)) > 1 else ())


def image_column(names: list[str], config: DataConfig, where: str) -> str | None:
    """The column of the image, if there is one; `UsageError` if the one that is named is not there."""
    named = config.image_column or ("1" if config.no_header else None)
    return _named(names, named, "image", where) or _usual(names, "image")


def rows_of(table: pa.Table, config: DataConfig, where: str, problems: Problems) -> pa.Table:
    """The rows of a table, as `RawPairs.rows` documents them.

    Raises:
        UsageError, PairJEPAError: as `find` and `long_form`.
    """
    found = find(table.column_names, config, where)
    _note(found, table.column_names, config, problems)
    _note_splits(found, table, problems)
    return long_form(table, found, where)


def _note(columns: Columns, names: list[str], config: DataConfig, problems: Problems) -> None:
    """Say which columns the captions are of where others could be meant."""
    usual = {*_USUAL["caption"]}
    others = [
        name
        for name in names
        if (name.strip().lower() in usual or _NUMBERED.fullmatch(name)) and name not in columns.captions
    ]
    if others and not config.caption_column:
        taken = ", ".join(columns.captions)
        problems.note(
            f"The captions are those of the column {taken}. To take {', '.join(others)} too: --data.caption-column "
            f"{' '.join([*columns.captions, *others])}."
        )


def _note_splits(columns: Columns, table: pa.Table, problems: Problems) -> None:
    """Say which column holds words of splits where none is taken for them."""
    others = [name for name in table.column_names if name not in (columns.image, *columns.captions)]
    for name in others if columns.split is None else []:
        if _is_text(table[name].type):
            words = pc.unique(table[name].slice(0, 1000).cast(pa.string()).drop_null()).to_pylist()
            if len(words) > 1 and all(map(known, words)):
                problems.note(
                    f"The column {name} holds splits that are not used. To use them: --data.split-column {name}."
                )


def _weighted(name: str, names: list[str]) -> tuple[str, float]:
    """A column and its weight, which `name=0.7` gives."""
    column, mark, weight = name.rpartition("=")
    if not mark or name in names:
        return name, 1.0
    try:
        found = float(weight)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise UsageError(
            f"data.caption_column must give a positive weight, got {name!r}. Write {column}=0.5."
        )
    return column, found


def long_form(table: pa.Table, columns: Columns, where: str) -> pa.Table:
    """The table with the columns that `RawPairs.rows` documents; the others are metadata.

    Raises:
        PairJEPAError: a column holds something else than what it stands for.
    """
    image, data = _image_cells(table[columns.image], columns.image, where)
    rows = {"image": image, "caption": _caption_cells(table[columns.captions[0]], columns.captions[0], where)}
    if len(columns.captions) > 1:
        rows["caption"], weights = _joined(table, columns, where)
        if columns.weights:
            rows["weights"] = weights
    if data is not None:
        rows["bytes"] = data
    if columns.split is not None:
        rows["split"] = _strings(table[columns.split], columns.split, where)
    for name in table.column_names:
        if name not in (columns.image, *columns.captions, columns.split):
            rows[f"{name}_" if name in RESERVED else name] = table[name]
    return pa.table(rows)


def together(parts: list[pa.Table], splits: Sequence[str | None] | None = None) -> pa.Table:
    """The rows of several tables; metadata of several types is text.

    Args:
        parts: the tables.
        splits: that of each part which has no column of splits.
    """
    if splits is not None:
        parts = [
            part
            if split is None or "split" in part.column_names
            else part.append_column("split", pa.repeat(split, len(part)))
            for part, split in zip(parts, splits, strict=True)
        ]
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException:
        kinds: dict[str, set[pa.DataType]] = {}
        for field in (field for part in parts for field in part.schema if field.name not in RESERVED):
            kinds.setdefault(field.name, set()).add(field.type)
        mixed = [name for name, found in kinds.items() if len(found) > 1]
        return pa.concat_tables([_as_text(part, mixed) for part in parts], promote_options="permissive")


def _as_text(part: pa.Table, names: Sequence[str]) -> pa.Table:
    for name in part.schema.names:
        if name in names:
            cells = [None if cell is None else str(cell) for cell in part[name].to_pylist()]
            part = part.set_column(part.column_names.index(name), name, pa.array(cells, pa.string()))
    return part


def usual_captions(names: list[str]) -> tuple[str, ...]:
    """The columns that hold captions by their names: one of a usual name, else all numbered ones."""
    if usual := _usual(names, "caption"):
        return (usual,)
    return tuple(name for name in names if _NUMBERED.fullmatch(name))


def strings_of(record: dict[str, Any], keys: Iterable[str]) -> list[str]:
    """The strings, alone or in lists, under these keys of a record; what is not there has none."""
    cells = [record.get(key) for key in keys]
    found = [one for cell in cells for one in (cell if isinstance(cell, list) else [cell])]
    return [one for one in found if isinstance(one, str)]


def _named(names: list[str], name: str | None, kind: str, where: str) -> str | None:
    if name is None or name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UsageError(
        f"data.{kind}_column must be a column of {where}, got {name!r}.{hint} There are: {_some(names)}."
    )


def _some(names: list[str]) -> str:
    more = f", … ({len(names):,} in all)" if len(names) > 30 else ""
    return ", ".join(name[:60] for name in names[:30]) + more


def _usual(names: list[str], kind: str) -> str | None:
    lower = {name.strip().lower().replace(" ", "_"): name for name in reversed(names)}
    return next((lower[usual] for usual in _USUAL[kind] if usual in lower), None)


def _image_cells(
    cells: pa.ChunkedArray, name: str, where: str
) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """Paths, and bytes if there are any (Hugging Face's image cell is a struct of both)."""
    kind = cells.type
    if pa.types.is_dictionary(kind):
        return _image_cells(cells.cast(kind.value_type), name, where)
    if pa.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}:
        paths, data = (pc.struct_field(cells, part) for part in ("path", "bytes"))
        return paths.cast(pa.string()), data.cast(pa.large_binary())
    if pa.types.is_list(kind) and pa.types.is_integer(kind.value_type):  # NumPy's way
        cells = _pictures(cells, bytes, b"no bytes")
    elif not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        cells = _strings(cells, name, where)
        if not pc.any(pc.match_substring_regex(cells.slice(0, 100), _BASE64)).as_py():
            if not pc.any(pc.match_substring_regex(cells.slice(0, 100), "^https?://")).as_py():
                return cells, None
            raise PairJEPAError(
                f"Column {name!r} of {where} must hold paths of image files, got addresses. Download the images first "
                "(img2dataset does, and all that it writes is read), or name a column of paths with "
                "--data.image-column."
            )
        cells = _pictures(cells, lambda cell: base64.b64decode(cell.rpartition(",")[2]), b"damaged base64")
    return pa.chunked_array([pa.nulls(len(cells), pa.string())]), cells.cast(pa.large_binary())


_BASE64 = r"^\s*(?:data:image/\w+;base64,)?(?:/9j/|iVBORw0KGgo|UklGR|R0lGOD|Qk[0-9])[A-Za-z0-9+/_=\s-]{20}"
"""A picture as text: how JPEG, PNG, WebP, GIF and BMP begin in base64."""


def _pictures(cells: pa.ChunkedArray, make: Callable[[Any], bytes], damaged: bytes) -> pa.ChunkedArray:
    """The bytes that `make` makes of each cell; of one that is no picture it is `damaged`, which is counted."""

    def picture(cell: Any) -> bytes | None:
        try:
            return None if cell is None else make(cell)
        except (TypeError, ValueError):
            return damaged

    return pa.chunked_array([[picture(cell.as_py()) for cell in cells]], pa.large_binary())


def one_each(cells: pa.Array | pa.ChunkedArray) -> pa.ListArray:
    """Each cell as a list of one."""
    cells = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    return pa.ListArray.from_arrays(pa.array(np.arange(len(cells) + 1, dtype=np.int32)), cells)


def _caption_cells(cells: pa.ChunkedArray, name: str, where: str) -> pa.ChunkedArray | pa.ListArray:
    """Lists of captions, also where they are written as text, in JSON or as Python or NumPy print them."""
    if isinstance(cells.type, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        if not _is_text(cells.type.value_type):
            raise _wrong(name, where, "captions", cells.type)
        return cells.cast(pa.list_(pa.string()))
    cells = _strings(cells, name, where)
    written = pc.match_substring_regex(cells, _LIST).fill_null(False)
    if not pc.any(written).as_py():
        return one_each(cells)
    rows = zip(cells.to_pylist(), written.to_pylist(), strict=True)
    return pa.array([_list(cell) if is_list else [cell] for cell, is_list in rows], pa.list_(pa.string()))


def _joined(table: pa.Table, columns: Columns, where: str) -> tuple[pa.Array, pa.Array]:
    """The captions of all columns row by row, and their weights: those of a list share that of its column."""
    captions, weights = [], []
    for name, weight in zip(columns.captions, columns.weights or (1.0,) * len(columns.captions), strict=True):
        lists = _caption_cells(table[name], name, where).to_pylist()
        cells = [[None] if cell is None else cell for cell in lists]
        captions.append(cells)
        weights.append([[weight / max(len(cell), 1)] * len(cell) for cell in cells])
    texts, shares = ([list(chain(*row)) for row in zip(*parts, strict=True)] for parts in (captions, weights))
    return pa.array(texts, pa.list_(pa.string())), pa.array(shares, pa.list_(pa.float32()))


_LIST = r"(?s)^\s*(?:[\[(]\s*(?:None\s*,\s*|null\s*,\s*)*['\"].*(?:['\"]|None|null)\s*,?\s*[\])]|\[\s*\])\s*$"


def _list(cell: str) -> list[str]:
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(re.sub(r"(?<=['\"])\s+(?=['\"])", ", ", cell))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list | tuple) and all(item is None or isinstance(item, str) for item in found):
            return [item for item in found if item is not None]
    return [cell]


def _is_text(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    )


def _strings(cells: pa.ChunkedArray, name: str, where: str) -> pa.ChunkedArray:
    kind = cells.type
    if pa.types.is_dictionary(kind):
        return _strings(cells.cast(kind.value_type), name, where)
    if _is_text(kind) or pa.types.is_integer(kind):
        return cells.cast(pa.string())
    raise _wrong(name, where, "text", kind)


def _wrong(name: str, where: str, wanted: str, kind: pa.DataType) -> PairJEPAError:
    return PairJEPAError(
        f"Column {name!r} of {where} must hold {wanted}, got {kind}. Name another with --data.image-column, "
        "--data.caption-column or --data.split-column."
    )
