#!/usr/bin/env bash
# DuckDB 2.0.1: a vector of zeros is the best match of every query by cosine similarity, and the last by cosine distance.
#
# Guessed: the cosine with a vector of zeros is 0 or NULL; it passes no threshold, and ORDER BY similarity DESC is ORDER BY
# distance.
# Seen: it is NaN, and NaN is the greatest number: the blank vector comes before an exact match, is arg_max, and passes
# any "similarity > 0.99". By distance it comes last and passes no "distance < 0.01". One such row makes max and avg
# NaN. Lists and arrays do the same; NULLS LAST does not help.
# Where it matters: embeddings of pictures that could not be read, kept as zeros so that rows stay in step; padded tables.
# Way round: ORDER BY array_cosine_distance, or AND NOT isnan(similarity).
. "$(dirname "$0")/_setup.sh"
install duckdb==2.0.1
run <<'PY'
import sys
import duckdb

base = duckdb.connect()
base.execute("CREATE TABLE e (name TEXT, v FLOAT[3])")
base.execute("INSERT INTO e VALUES ('same', [1, 2, 3]), ('near', [1, 2, 4]), ('blank', [0, 0, 0])")
query = "[1, 2, 3]::FLOAT[3]"
similarity, distance = f"array_cosine_similarity(v, {query})", f"array_cosine_distance(v, {query})"
seen = {}
for rest in (
    f"ORDER BY {similarity} DESC",
    f"ORDER BY {similarity} DESC NULLS LAST",
    f"ORDER BY list_cosine_similarity(v::FLOAT[], {query}::FLOAT[]) DESC",
    f"WHERE {similarity} > 0.999 ORDER BY name",
    f"ORDER BY {distance}",
    f"WHERE {distance} < 0.001 ORDER BY name",
):
    seen[rest] = [name for (name,) in base.execute(f"SELECT name FROM e {rest}").fetchall()]
    print(f"{rest.replace(query, 'q')}: {seen[rest]}")
best, mean = base.execute(f"SELECT arg_max(name, {similarity}), avg({similarity}) FROM e").fetchone()
print(f"arg_max: {best}, avg: {mean}")
first = ["blank", "same", "near"]
as_described = (
    list(seen.values()) == [first, first, first, ["blank", "same"], ["same", "near", "blank"], ["same"]]
    and best == "blank" and mean != mean
)
sys.exit(0 if as_described else "changed: this is no longer what DuckDB does")
PY
