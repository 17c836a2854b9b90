"""Text files as people write them, and tables out of them: CSV, TSV, JSONL, Parquet."""

import codecs
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from pairjepa.pairs.captions import UNDECODABLE
from pairjepa.pairs.problems import Problems
from pairjepa.util.errors import PairJEPAError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

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
        data = path.read_bytes()
    except OSError as error:
        raise PairJEPAError(f"{path} must be readable, got: {error.strerror or error}.") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise PairJEPAError(f"{path} must be UTF-8, got UTF-16. Save it as UTF-8.")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        data = _marked(path, data, problems)
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _marked(path: Path, data: bytes, problems: Problems) -> bytes:
    lines = data.split(b"\n")
    bad = [number for number, line in enumerate(lines, 1) if not _decodes(line)]
    if len(bad) > max(10, len(lines) // 20):
        raise PairJEPAError(
            f"{path} must be UTF-8, but {len(bad):,} of its {len(lines):,} lines are not, the first in line {bad[0]}. "
            "Save it as UTF-8."
        )
    problems.add("lines that are not UTF-8 (dropped)", [f"{path.name} line {number}" for number in bad])
    return data.decode("utf-8", errors="pairjepa-mark").encode()


def _decodes(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def read_table(path: Path, problems: Problems) -> pa.Table:
    """Read a table by its suffix. Cells of CSV and TSV are all strings; JSONL and Parquet keep their types.

    Raises:
        PairJEPAError: the file cannot be read, or is empty.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            table = pq.read_table(path)
        elif suffix in (".jsonl", ".ndjson"):
            table = _read_jsonl(path, problems)
        else:
            table = read_csv(path, problems, delimiter="\t" if suffix == ".tsv" else ",")
    except (pa.ArrowException, OSError) as error:
        raise PairJEPAError(
            f"{path} must be a {suffix[1:].upper()} table, but cannot be read: {error}."
        ) from None
    if len(set(table.column_names)) < table.num_columns:
        twice = next(name for name in table.column_names if table.column_names.count(name) > 1)
        raise PairJEPAError(
            f"The columns of {path} must have different names, got {twice!r} twice. Rename one."
        )
    if not table.num_rows:
        raise PairJEPAError(f"{path} must hold at least one row, got none.")
    return table


def read_csv(
    path: Path, problems: Problems, *, delimiter: str, names: list[str] | None = None, quoted: bool = True
) -> pa.Table:
    """Read a CSV-like file, every cell as a string; rows with another number of cells are counted and skipped.

    Args:
        path: the file.
        problems: where the skipped rows go.
        delimiter: what stands between cells.
        names: names of the columns, where the file has no header.
        quoted: whether `"` may stand around cells.
    """
    data = read_text(path, problems)
    if not data.strip():
        raise PairJEPAError(f"{path} must hold at least one row, got none.")
    lost: list[str] = []

    def skip(row: Any) -> str:
        lost.append(f"{path.name}: {row.text[:60]}")
        return "skip"

    layout = pa_csv.ParseOptions(
        delimiter=delimiter,
        quote_char='"' if quoted else False,
        newlines_in_values=quoted,
        invalid_row_handler=skip,
    )
    blocks = pa_csv.ReadOptions(block_size=_BLOCK, column_names=names)
    header = pa_csv.open_csv(pa.BufferReader(data), read_options=blocks, parse_options=layout).schema.names
    lost.clear()
    table = pa_csv.read_csv(
        pa.BufferReader(data),
        read_options=blocks,
        parse_options=layout,
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), check_utf8=False
        ),
    )
    problems.add("rows with another number of cells than the header (skipped)", lost)
    return table


def _read_jsonl(path: Path, problems: Problems) -> pa.Table:
    data = read_text(path, problems)
    # Strings stay strings: left to itself, Arrow reads "2011-01-02" as a date.
    schema: dict[str, pa.DataType] = {}
    for line in data.split(b"\n", 100)[:100]:
        for key, value in (_object(line) or {}).items():
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
            row = _object(line)
            rows.append(row) if row is not None else broken.append(f"{path.name} line {number}")
    if len(broken) > len(rows):
        raise PairJEPAError(
            f"{path} must hold one JSON object a line, but {len(broken):,} lines are not, such as {broken[0]}."
        )
    problems.add("lines that are not a JSON object (skipped)", broken)
    columns = {
        key: [row.get(key) for row in rows] for key in dict.fromkeys(key for row in rows for key in row)
    }
    return pa.table({key: _one_type(cells) for key, cells in columns.items()})


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _one_type(cells: list[Any]) -> pa.Array:
    """Cells of one column as one type: a string beside lists is a list of one, a number beside strings its digits."""
    if any(isinstance(cell, list) for cell in cells):
        lists = [cell if isinstance(cell, list) or cell is None else [cell] for cell in cells]
        return pa.array(
            [None if cell is None else [str(item) for item in cell if item is not None] for cell in lists],
            pa.list_(pa.string()),
        )
    try:
        return pa.array(cells)
    except (pa.ArrowException, TypeError):
        return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
