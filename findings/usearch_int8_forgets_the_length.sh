#!/usr/bin/env bash
# usearch 2.26.6: an inner-product index of dtype "i8" ranks by cosine, and its empty places name key 0.
#
# Guessed: "i8" rounds the vectors; distances are coarser, about 1 - <query, row> as with "f32".
# Seen: (1) every vector is scaled by its own length before it is rounded, for metric "ip" and "l2sq" as well. Rows of
# different length become equal: the row with the largest inner product comes third, and the distances stand in
# units of 127 * 127. (2) A batch search for more rows than there are fills up with key 0, distance NaN; key 0 is a
# valid key, and only `counts` tells. (A single search is just shorter; faiss says -1.)
# Where it matters: maximum inner product over embeddings that are not unit vectors (raw pooler outputs).
. "$(dirname "$0")/_setup.sh"
install usearch==2.26.6 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from usearch.index import Index

rows = np.array([[1, 0], [10, 1], [0.1, 0], [3, 3]], np.float32)
query = np.array([1, 0], np.float32)
keys = {}
for dtype in ("f32", "i8"):
    index = Index(ndim=2, metric="ip", dtype=dtype)
    index.add(np.arange(4), rows)
    found = index.search(query, 4, exact=True)
    keys[dtype] = found.keys.tolist(), found.distances.tolist()
    print(f"{dtype}: keys {keys[dtype][0]}, distances {[round(x, 2) for x in keys[dtype][1]]}")
print("inner products of rows 0 to 3:", (rows @ query).tolist())
short = Index(ndim=4, metric="cos", dtype="f32")
short.add(np.array([10, 11, 12]), np.eye(4, dtype=np.float32)[:3])
batch = short.search(np.eye(4, dtype=np.float32)[:2], 5)
print("batch search for 5 of 3 rows: keys", batch.keys.tolist(), "distances", batch.distances.tolist())
as_described = (
    keys["f32"][0][0] == 1
    and keys["i8"][0].index(1) == 2
    and len(set(keys["i8"][1][:2])) == 1
    and keys["i8"][1][0] < -16000
    and batch.keys[:, 3:].tolist() == [[0, 0], [0, 0]]
    and np.isnan(batch.distances[:, 3:]).all()
)
sys.exit(0 if as_described else "changed: this is no longer what usearch does")
PY
