#!/usr/bin/env bash
# milvus-lite 3.2.2: a range search looks at the nearest 5 x limit rows only: nothing is found where 742 rows match.
#
# Guessed: `radius=0.0, range_filter=0.5` with `limit=5` gives the five best rows whose cosine is at most 0.5, and
# `group_by_field` with `limit=5` gives the best row of five groups.
# Seen: the search takes the nearest 25 rows (5 x limit), and the range is applied to these: all are above the range, so
# the answer is empty, with the rows in memory as with rows on disk. The limit decides how many are found: 0 for 200,
# 300 for 300, 500 for 500. Grouping looks at the nearest 10 x limit rows: the album at the query has 200, and the
# answer for five of the ten albums holds one. Nothing is said; range search and grouping are listed as supported.
# Where it matters: "similar, but no near-copy", pages of a result by its last score, hard negatives below a bound, and
# one hit for each video or album.
# Way round: raise `limit` to the size of the collection and cut the answer; for pages use `offset`.
. "$(dirname "$0")/_setup.sh"
install milvus-lite==3.2.2 pymilvus==3.0.2 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from pymilvus import DataType, MilvusClient

random = np.random.default_rng(0)
count, width = 2000, 16
query = random.standard_normal(width)
rows = query + random.standard_normal((count, width)) * np.linspace(0.05, 3, count)[:, None]
cosine = rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
client = MilvusClient("rows.db")
schema = client.create_schema(auto_id=False)
schema.add_field("id", DataType.INT64, is_primary=True)
schema.add_field("row", DataType.FLOAT_VECTOR, dim=width)
schema.add_field("album", DataType.INT64)
index = client.prepare_index_params()
index.add_index("row", index_type="FLAT", metric_type="COSINE")
client.create_collection("rows", schema=schema, index_params=index)
client.insert("rows", [{"id": i, "row": rows[i].tolist(), "album": i // 200} for i in range(count)])


def within(limit, **bounds):
    found = client.search("rows", [query.tolist()], limit=limit, search_params={"params": bounds})[0]
    return [(hit["id"], round(hit["distance"], 3)) for hit in found]


right = int(((cosine > 0) & (cosine <= 0.5)).sum())
found = {}
for place in ("in memory", "on disk"):
    if place == "on disk":
        client.flush("rows")
    found[place] = {limit: len(within(limit, radius=0.0, range_filter=0.5)) for limit in (5, 50, 200, 300, 500)}
    albums = client.search("rows", [query.tolist()], limit=5, group_by_field="album", output_fields=["album"])[0]
    found[place]["albums"] = [hit["entity"]["album"] for hit in albums]
    print(f"{place}: no range {within(3)}; in 0 to 0.5, by limit: {found[place]}")
print(f"rows in the range: {right}; albums: {count // 200}")
as_described = right > 500 and all(
    of[5] == of[50] == of[200] == 0 < of[300] and of[500] == 500 and of["albums"] == [0] for of in found.values()
)
sys.exit(0 if as_described else "changed: this is no longer what milvus-lite does")
PY
