"""Parquet files that carry a checksum of all their bytes: those of pages leave out names, types and the footer."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pairjepa.util.checksums import KEY
from pairjepa.util.errors import hindrance, unreadable
from pairjepa.util.files import atomic_path, digest_bytes

_MARK = KEY.encode() + b"\x18\x20"
"""What stands before a checksum in the footer: its key, and that a text of 32 bytes follows (Thrift)."""
_BLANK = b"the checksum is written in here "
"""What stands there while it is computed."""


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table with its checksum, whole or not at all."""
    with atomic_path(path) as temporary:
        with pq.ParquetWriter(temporary, table.schema) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({KEY: _BLANK.decode()})
        before, _, after = _parts(data := temporary.read_bytes())
        temporary.write_bytes(before + digest_bytes(data).encode() + after)


def read_table(path: Path) -> pa.Table:
    """The inverse.

    Raises:
        OSError: it is not there or cannot be read.
        pa.ArrowException: it is damaged, or has no checksum, as those of PairJEPA 0.1.
    """
    before, checksum, after = _parts(data := path.read_bytes())
    if digest_bytes(before + _BLANK + after).encode() != checksum:
        raise pa.ArrowInvalid(f"{path} is not what was written (checksum)")
    table = pq.read_table(pa.BufferReader(data))
    about = {key: value for key, value in (table.schema.metadata or {}).items() if key != KEY.encode()}
    return table.replace_schema_metadata(about or None)


def cached_table(path: Path) -> pa.Table | None:
    """A table of the cache; one that is damaged or not there is None, as it can be made again.

    Raises:
        PairJEPAError: it may be sound, but something else keeps it from being read.
    """
    try:
        return read_table(path)
    except (OSError, pa.ArrowException) as error:
        if hindrance(error):
            raise unreadable(path, error, "") from None
        return None


def _parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """What is before the checksum, it, and what is after it; nothing is parsed, as damage can break a parser."""
    before, mark, rest = data.rpartition(_MARK)
    return before + mark, rest[: len(_BLANK)], rest[len(_BLANK) :]
