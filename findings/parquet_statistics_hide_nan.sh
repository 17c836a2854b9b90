#!/usr/bin/env bash
# pyarrow 26.0.1, DuckDB 2.0.1: whether `is_nan` finds the NaN of a Parquet file depends on the row groups.
#
# Guessed: a filter gives the same rows whether it is applied while the file is read or to the table in memory.
# Seen: the smallest and the largest value of a row group leave NaN out. If they are equal, pyarrow takes all rows of the
# group for that value: `is_nan(s)` finds the NaN with one row group and not with two, and so do `s != 0.5` and
# `~(s <= 0.5)`. DuckDB finds NaN by `isnan(s)` in neither file, and by `s > 0.5` only with one row group. Polars finds
# it. In memory pyarrow and DuckDB find it too.
# Where it matters: looking for broken scores or weights in a table of pairs before training: the check says there are
# none. A group with one constant beside its NaN is usual for quality scores, flags and clipped similarities.
# Way round: read the column and look; or write without statistics (`write_statistics=False`).
. "$(dirname "$0")/_setup.sh"
install pyarrow==26.0.1 duckdb==2.0.1 polars==2.1.0 numpy==2.4.6
run <<'PY'
import sys
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

scores = pa.table({"row": list(range(8)), "s": [0.5, 0.5, 0.5, float("nan"), 0.1, 0.9, 0.2, 0.3]})
s = pc.field("s")
in_memory = {
    "pyarrow": scores.filter(pc.is_nan(s))["row"].to_pylist(),
    "DuckDB": [row for (row,) in duckdb.sql("SELECT row FROM scores WHERE isnan(s)").fetchall()],
}
print("in memory:", in_memory)
seen = {}
for size in (8, 4):
    pq.write_table(scores, "scores.parquet", row_group_size=size)
    seen[size] = {
        "pyarrow is_nan(s)": pq.read_table("scores.parquet", filters=pc.is_nan(s))["row"].to_pylist(),
        "pyarrow s != 0.5": pq.read_table("scores.parquet", filters=[("s", "!=", 0.5)])["row"].to_pylist(),
        "DuckDB isnan(s)": [r for (r,) in duckdb.sql("SELECT row FROM 'scores.parquet' WHERE isnan(s)").fetchall()],
        "DuckDB s > 0.5": [r for (r,) in duckdb.sql("SELECT row FROM 'scores.parquet' WHERE s > 0.5").fetchall()],
        "Polars is_nan": pl.scan_parquet("scores.parquet").filter(pl.col("s").is_nan()).collect()["row"].to_list(),
    }
    print(f"row groups of {size}:", seen[size])
holds = {size: [3 in rows for rows in found.values()] for size, found in seen.items()}
as_described = (
    list(in_memory.values()) == [[3], [3]]
    and holds == {8: [True, True, False, True, True], 4: [False, False, False, False, True]}
)
sys.exit(0 if as_described else "changed: this is no longer what pyarrow and DuckDB do")
PY
