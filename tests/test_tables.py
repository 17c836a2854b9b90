"""Tables on disk whose every byte counts."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pairjepa.util.tables import read_table, write_table

TABLE = pa.table({"name": ["one", None], "size": pa.array([1, 2], pa.uint64())}).replace_schema_metadata(
    {"made by": "a test"}
)


@pytest.mark.parametrize("table", [TABLE, TABLE.replace_schema_metadata(None)])
def test_a_table_is_read_as_it_was_written(table: pa.Table, tmp_path: Path) -> None:
    write_table(table, tmp_path / "table.parquet")
    assert read_table(tmp_path / "table.parquet").equals(table, check_metadata=True)
    assert pq.read_table(tmp_path / "table.parquet").equals(table)


def test_each_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_table(TABLE, path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with pytest.raises((OSError, pa.ArrowException)):
            read_table(path)


def test_a_table_without_a_checksum_is_refused(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "table.parquet")
    with pytest.raises(pa.ArrowInvalid, match="not what was written"):
        read_table(tmp_path / "table.parquet")
