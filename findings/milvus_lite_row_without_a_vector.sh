#!/usr/bin/env bash
# milvus-lite 3.2.2: a row whose nullable vector is NULL is stored as zeros and found, here as the best match.
#
# Guessed: a photo that is entered before its embedding is there (`nullable=True`, the vector None or left out) is found
# by no vector search, and comes back as None.
# Seen: it comes back as [0.0, 0.0]. By Euclidean distance it is nearer than any real row to a query near the origin, by
# cosine it has the score 0 and stands before all rows with a negative one, by inner product too. A condition on it
# ("row is null") is refused, so such rows can be told neither before nor after. A nullable number beside it is stored
# as NULL as it should be. Nothing is said.
# Where it matters: a collection that is filled in two steps, and rows whose picture could not be read.
# Way round: a second nullable field, or a flag, that says whether there is a vector, and a filter on it.
. "$(dirname "$0")/_setup.sh"
install milvus-lite==3.2.2 pymilvus==3.0.2
run <<'PY'
import logging, sys
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

logging.disable(logging.CRITICAL)
client = MilvusClient("rows.db")
schema = client.create_schema(auto_id=False)
schema.add_field("id", DataType.INT64, is_primary=True)
schema.add_field("row", DataType.FLOAT_VECTOR, dim=2, nullable=True)
schema.add_field("year", DataType.INT64, nullable=True)
rows = [
    {"id": 1, "row": [-1.0, 0.2], "year": 2024},
    {"id": 2, "row": None, "year": None},
    {"id": 3, "row": [0.3, -1.0], "year": 2025},
    {"id": 4, "year": 2026},
]
first, stored = {}, {}
for metric in ("L2", "COSINE", "IP"):
    index = client.prepare_index_params()
    index.add_index("row", index_type="FLAT", metric_type=metric)
    client.create_collection(metric, schema=schema, index_params=index)
    client.insert(metric, rows)
    client.flush(metric)
    found = client.search(metric, [[0.5, 0.5]], limit=4)[0]
    first[metric] = [hit["id"] for hit in found]
    back = client.query(metric, filter="id > 0", output_fields=["*"])
    stored = {one["id"]: (one["row"], one["year"]) for one in back}
    print(f"{metric}: {[(hit['id'], round(hit['distance'], 2)) for hit in found]}")
print(f"stored: {stored}")
try:
    client.query("L2", filter="row is null")
    refused = False
except MilvusException:
    refused = True
print(f"a condition on the vector is refused: {refused}")
as_described = (
    all(set(order[:2]) == {2, 4} for order in first.values())
    and stored[2] == ([0.0, 0.0], None)
    and stored[4] == ([0.0, 0.0], 2026)
    and refused
)
sys.exit(0 if as_described else "changed: this is no longer what milvus-lite does")
PY
