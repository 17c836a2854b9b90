#!/usr/bin/env bash
# pylance 14.0.2 (DataFusion inside): x NOT IN (0) OR x NOT IN (1) finds the rows where x is NULL.
#
# Guessed: a row without x is found by neither part, and so not by both: SQL's NULL NOT IN (0) is unknown.
# Seen: the two lists are joined into one, nothing is left in it, and "not in nothing" is true of NULL, too. The same of
# NOT (x IN (0) AND x IN (1)), and of NOT (x = 0 OR x = 2) OR NOT (x = 1 OR x = 3), which becomes lists first. Written
# with != it is right, and so are two lists that share a value. The datafusion package alone does the same.
# Where it matters: rows with a missing split or label pass a filter that names values to leave out.
# Way round: x != 0 instead of NOT IN (0), or x IS NOT NULL beside it.
. "$(dirname "$0")/_setup.sh"
install pylance==14.0.2 pyarrow==26.0.1 numpy==2.4.6 datafusion==55.0.0
run <<'PY'
import sys
import datafusion
import lance
import pyarrow as pa

table = pa.table({"x": pa.array([0, 1, 2, None], pa.int64()), "name": ["0", "1", "2", "null"]})
dataset = lance.write_dataset(table, "rows.lance")
context = datafusion.SessionContext()
context.from_arrow(table, "rows")
found = {}
for condition in (
    "x NOT IN (0) OR x NOT IN (1)",
    "NOT (x IN (0) AND x IN (1))",
    "x != 0 OR x != 1",
    "x NOT IN (0, 2) OR x NOT IN (1, 2)",
):
    by_lance = dataset.to_table(filter=condition)["name"].to_pylist()
    by_datafusion = context.sql(f"SELECT name FROM rows WHERE {condition}").to_pydict()["name"]
    found[condition] = "null" in by_lance, "null" in by_datafusion
    print(f"{condition}: lance {by_lance}, datafusion {by_datafusion}")
as_described = list(found.values()) == [(True, True), (True, True), (False, False), (False, False)]
sys.exit(0 if as_described else "changed: this is no longer what Lance does")
PY
