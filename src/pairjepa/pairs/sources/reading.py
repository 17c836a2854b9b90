"""Text files as people write them, and tables out of them: CSV, TSV, JSONL, Parquet."""

import codecs
import gzip
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from pairjepa.pairs.captions import UNDECODABLE
from pairjepa.pairs.folders import kind_of
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.sources.columns import usual_captions
from pairjepa.pairs.sources.quotes import mend
from pairjepa.pairs.splits import known
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.words import counted

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "|"}
_SAMPLE = 100
_TOKEN = re.compile(rb"\S[^\t]*#\d+\t[^\t]*$")
_FLICKR30K_ROW = re.compile(rb"^([^|\n]+\|\s*\d+)\s{2,}(?=[^|\n]*$)", re.MULTILINE)
"""The row of Flickr30k's table that lacks its second mark."""

_BACKSLASHED = re.compile(rb'(?<=[,;\n])"(?:[^"\\\n]|\\.)*\\"(?:[^"\\\n]|\\.)*"(?=[,;\n]|$)')
"""A cell whose quotes stand behind a backslash, as MySQL and Spark write them, and not twice."""

_MOST_COLUMNS = 10_000
_BLOCK = 1 << 24
"""Bytes that Arrow parses at once, and so the longest line."""

codecs.register_error("pairjepa-mark", lambda error: (UNDECODABLE, getattr(error, "end")))  # noqa: B009


def read_text(path: Path, problems: Problems) -> bytes:
    """The UTF-8 text of a file without byte order mark, its lines ended by LF.

    Bytes that are not UTF-8 are replaced by `captions.UNDECODABLE` (which drops the caption that holds them), and
    their lines are counted and named; a file that is not UTF-8 as a whole is refused.

    Raises:
        PairJEPAError: the file cannot be read or is not UTF-8.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise PairJEPAError(f"{path} must be readable, got: {reason}.") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise PairJEPAError(f"{path} must be UTF-8, got UTF-16. Save it as UTF-8.")
    data = data.removeprefix(codecs.BOM_UTF8)
    text = data.decode("utf-8", errors="pairjepa-mark")
    if (marked := text.encode()) != data:
        lines = text.split("\n")
        bad = [number for number, line in enumerate(lines, 1) if UNDECODABLE in line]
        if len(bad) > max(10, len(lines) // 20):
            raise PairJEPAError(
                f"{path} must be UTF-8, but {len(bad):,} of its {len(lines):,} lines are not, the first in line "
                f"{bad[0]}. Save it as UTF-8."
            )
        problems.add("lines that are not UTF-8 (dropped)", [f"{path.name} line {number}" for number in bad])
        data = marked
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def read_table(path: Path, problems: Problems, header: bool = True) -> pa.Table:
    """Read a table by its suffix. Cells of text tables are all strings; JSONL and Parquet keep their types.

    Args:
        path: the file.
        problems: where the skipped rows go, and a note of the separator.
        header: whether the first line of a text table names its columns; else they are `1`, `2`, …

    Raises:
        PairJEPAError: the file cannot be read, or is empty.
    """
    suffix = kind_of(path)
    try:
        if suffix == ".parquet":
            table = pq.read_table(path)
        elif suffix in (".jsonl", ".ndjson"):
            table = _read_jsonl(path, problems)
        elif suffix == ".json":
            table = _read_json(path, problems)
        else:
            table = _read_separated(path, problems, header)
    except (pa.ArrowException, OSError) as error:
        raise PairJEPAError(
            f"{path} must be a {suffix[1:].upper()} table, but cannot be read: {error}."
        ) from None
    if "" in table.column_names:  # what a spreadsheet writes behind the last column
        table = table.select(
            [n for n, name in enumerate(table.column_names) if name or _filled(table.column(n))]
        )
    if len(set(table.column_names)) < table.num_columns:
        twice = next(name for name in table.column_names if table.column_names.count(name) > 1)
        raise PairJEPAError(
            f"The columns of {path} must have different names, got {twice!r} twice. Rename one."
        )
    if not table.num_rows:
        raise PairJEPAError(f"{path} must hold at least one row, got none.{problems.summary()}")
    return table


def _filled(cells: pa.ChunkedArray) -> bool:
    return any(value not in (None, "") for value in cells.unique().to_pylist())


def _read_separated(path: Path, problems: Problems, header: bool) -> pa.Table:
    data = read_text(path, problems)
    if data[:4].lower() == b"sep=":  # Excel's line for itself
        data = data.partition(b"\n")[2]
    lines = data.split(b"\n", _SAMPLE)[:_SAMPLE]
    if _TOKEN.match(lines[0]):  # as Flickr8k and Flickr30k are published: name#number, tab, caption
        problems.note(f"The cells of {path.name} are separated by tabs.")
        table = _parse(data, path.name, problems, "\t", header=False, quoted=False)
        table = table.rename_columns(["image", "caption"])
        return table.set_column(0, "image", pc.replace_substring_regex(table["image"], r"#\d+$", ""))
    usual = "\t" if kind_of(path) == ".tsv" else ","
    separator = _separator([line.decode() for line in lines if line.strip()], usual)
    problems.note(f"The cells of {path.name} are separated by {_SEPARATORS[separator]}.")
    if separator in ",;":
        data = _as_csv(data, lines, separator.encode(), path.name, problems)
        return _parse(data, path.name, problems, separator, header, quoted=True)
    data = _FLICKR30K_ROW.sub(rb"\1|", data) if b"| comment_number" in lines[0] else data
    table = _parse(data, path.name, problems, separator, header, quoted=False)
    return pa.Table.from_arrays([_unquoted(cells) for cells in table.columns], names=table.column_names)


def _as_csv(data: bytes, lines: list[bytes], mark: bytes, name: str, problems: Problems) -> bytes:
    """The table without what others write: separators at the ends of rows, blanks or backslashes before quotes."""
    head, *rows = [line for line in lines if line.strip()] or [b""]
    cells = head.count(mark)
    if rows and not head.endswith(mark) and all(r.endswith(mark) and r.count(mark) > cells for r in rows):
        data = data.replace(head, head + mark, 1)
    if mark + b" " in head and mark + b' "' in data:
        data = re.sub(mark + rb' +(?="[^"])', mark, data)
    if b'\\"' in data:
        data, count = _BACKSLASHED.subn(lambda cell: cell[0].replace(b'\\"', b'""'), data)
        if count:
            problems.note(f'In {counted(count, "cell")} of {name}, \\" is read as a quote.')
    return data


def _separator(lines: list[str], usual: str) -> str:
    """What stands between cells: it is in the first line, and most lines have as many of it as that."""
    counts = {
        mark: sum(line.count(mark) == lines[0].count(mark) for line in lines)
        for mark in (usual, *_SEPARATORS)
        if lines and mark in lines[0]
    }
    return max(counts, key=counts.__getitem__, default=usual)


def _parse(
    data: bytes, name: str, problems: Problems, delimiter: str, header: bool, *, quoted: bool
) -> pa.Table:
    """Every cell as a string; rows with another number of cells are counted and skipped.

    Args:
        data: the text of the table.
        name: the file's, for people.
        problems: where the skipped rows go.
        delimiter: what stands between cells.
        header: whether the first row names the columns; else they are `1`, `2`, …
        quoted: whether `"` may stand around cells.
    """
    if not data.strip():
        raise PairJEPAError(f"{name} must hold at least one row, got none.")
    lost: list[str] = []

    def skip(row: Any) -> str:
        lost.append(row.text)
        return "skip"

    layout = pa_csv.ParseOptions(
        delimiter=delimiter,
        quote_char='"' if quoted else False,
        newlines_in_values=quoted,
        invalid_row_handler=skip,
    )
    blocks = pa_csv.ReadOptions(block_size=_BLOCK, autogenerate_column_names=True)
    kinds = {f"f{number}": pa.string() for number in range(_MOST_COLUMNS)}
    strings = pa_csv.ConvertOptions(column_types=kinds, check_utf8=False)

    def parse(data: bytes) -> pa.Table:
        lost.clear()
        # or Arrow does not count the cells of a single row
        data = data if data.endswith(b"\n") else data + b"\n"
        return pa_csv.read_csv(pa.BufferReader(data), blocks, layout, strings)

    try:
        table = parse(data)
        rows = table.num_rows + len(lost)
        swallows = quoted and b'"' in data and rows < data.rstrip().count(b"\n") + 1
    except pa.ArrowInvalid:  # a cell that is longer than a block
        if not quoted or b'"' not in data:
            raise
        swallows = True
    if swallows:
        table = parse(mend(data.decode(), delimiter, name, problems).encode())
    kind = "rows with another number of cells than the header (skipped)"
    problems.add(kind, (f"{name}: {row[:60]}" for row in lost), len(lost))
    if header:
        return table.slice(1).rename_columns([cells[0].as_py() for cells in table.columns])
    return table.rename_columns([str(number + 1) for number in range(table.num_columns)])


def _unquoted(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells between tabs: quotes are text there, but around a whole cell they are a spreadsheet's."""
    around = pc.match_substring_regex(cells, '^"(?:[^"]|"")*"$')
    if not pc.any(around).as_py():
        return cells
    inner = pc.replace_substring(pc.utf8_slice_codeunits(cells, 1, -1), '""', '"')
    return pc.if_else(around, inner, cells)


def _read_json(path: Path, problems: Problems) -> pa.Table:
    """A list of objects, alone, under a key or one for each split; or captions by image."""
    try:
        data = read_text(path, problems)
        content = json.loads(data)
    except (ValueError, RecursionError):
        if json_object(data.strip().partition(b"\n")[0]) is not None:  # an object a line
            return _read_jsonl(path, problems)
        raise PairJEPAError(f"{path} is not valid JSON. Restore or rebuild it.") from None
    rows = _rows(content) if isinstance(content, dict) else content
    if not isinstance(rows, list) or not _objects(rows):
        raise PairJEPAError(
            f'{path} must hold a list of pairs ([{{"image": …, "caption": …}}, …]), captions by image '
            "({\"a.jpg\": …}), COCO's captions or Karpathy's form, but holds something else."
        )
    return _table(rows)


def _rows(content: dict[str, Any]) -> Any:
    """The rows that an object stands for: a list in it, one of each split, columns, or what there is of each image."""
    lists = {key: rows for key, rows in content.items() if isinstance(rows, list) and _objects(rows)}
    values = list(content.values())
    if len(lists) == 1:
        (rows,) = lists.values()
        return rows
    if lists and all(map(known, lists)):
        return [{"split": split, **row} for split, some in lists.items() for row in some]
    if usual_captions(list(content)):  # as pandas writes a table
        columns = [list(value.values()) if isinstance(value, dict) else value for value in values]
        if all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
            return [dict(zip(content, row, strict=True)) for row in zip(*columns, strict=True)]
    if values and all(map(_is_caption, values)):
        return [{"image": image, "caption": captions} for image, captions in content.items()]
    if values and all(isinstance(value, dict) for value in values):
        return [{"image_id": image, **value} for image, value in content.items()]
    return content


def _objects(rows: list[Any]) -> bool:
    return bool(rows) and all(isinstance(row, dict) for row in rows)


def _is_caption(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(item, str) for item in value)
    )


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    columns = {
        key: [row.get(key) for row in rows] for key in dict.fromkeys(key for row in rows for key in row)
    }
    return pa.table({key: one_type(cells) for key, cells in columns.items()})


def _read_jsonl(path: Path, problems: Problems) -> pa.Table:
    data = read_text(path, problems)
    # Strings stay strings: left to itself, Arrow reads "2011-01-02" as a date.
    schema: dict[str, pa.DataType] = {}
    for line in data.split(b"\n", 100)[:100]:
        for key, value in (json_object(line) or {}).items():
            if isinstance(value, str):
                schema.setdefault(key, pa.string())
            elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
                schema.setdefault(key, pa.list_(pa.string()))
    layout = pa_json.ParseOptions(explicit_schema=pa.schema(schema))
    try:
        blocks = pa_json.ReadOptions(block_size=_BLOCK)
        return pa_json.read_json(pa.BufferReader(data), read_options=blocks, parse_options=layout)
    except pa.ArrowException:
        return _read_jsonl_by_line(path, data, problems)


def _read_jsonl_by_line(path: Path, data: bytes, problems: Problems) -> pa.Table:
    """The slow way, for files with broken lines or cells of several types."""
    rows, broken = [], []
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            row = json_object(line)
            rows.append(row) if row is not None else broken.append(f"{path.name} line {number}")
    if len(broken) > len(rows):
        raise PairJEPAError(
            f"{path} must hold one JSON object a line, got {counted(len(broken), 'line')} of another kind, "
            f"such as {broken[0]}. One value over many lines is a .json file."
        )
    problems.add("lines that are not a JSON object (skipped)", broken)
    return _table(rows)


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """The object that a JSON text is; None if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def one_type(cells: list[Any]) -> pa.Array:
    """Cells of one column as one type: a string beside lists is a list of one, a number beside strings its digits."""
    if any(isinstance(cell, list) for cell in cells):
        lists = [cell if isinstance(cell, list) or cell is None else [cell] for cell in cells]
        return pa.array(
            [None if cell is None else [str(item) for item in cell if item is not None] for cell in lists],
            pa.list_(pa.string()),
        )
    try:
        return pa.array(cells)
    except (pa.ArrowException, TypeError, OverflowError):
        return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
