#!/usr/bin/env bash
# hnswlib 0.8.0: the exact index (`BFIndex`) of space "cosine" gives negative distances, the HNSW index does not.
#
# Guessed: `BFIndex(space="cosine")` is the reference for `Index(space="cosine")`: 1 - cosine, a row to itself 0.
# Seen: the rows are normalised when they are added, the query is not: the distance is 1 - |query| * cosine. The order
# is right, so recall figures look fine; the distances are off by the query's length: a row of length 5 has the
# distance -4 to itself.
# Where it matters: thresholds for duplicates or "no match" that were chosen on the exact index, and scores that are
# compared over queries (pooled embeddings of a transformer are not unit vectors).
# Way round: normalise the queries.
. "$(dirname "$0")/_setup.sh"
install hnswlib==0.8.0 numpy==2.4.6
run <<'PY'
import sys
import hnswlib
import numpy as np

rows = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
rows *= np.linspace(0.5, 5, 20, dtype=np.float32)[:, None] / np.linalg.norm(rows, axis=1, keepdims=True)
found = {}
for name, index in (("HNSW", hnswlib.Index("cosine", 4)), ("exact", hnswlib.BFIndex("cosine", 4))):
    index.init_index(max_elements=20)
    index.add_items(rows, np.arange(20))
    labels, distances = index.knn_query(rows, k=1)
    found[name] = labels[:, 0].tolist(), distances[:, 0]
    print(f"{name}: each row finds itself: {found[name][0] == list(range(20))}, distances", distances[::6, 0].round(3))
expected = 1 - np.linalg.norm(rows, axis=1)
as_described = (
    found["HNSW"][0] == found["exact"][0] == list(range(20))
    and np.allclose(found["HNSW"][1], 0, atol=1e-5)
    and np.allclose(found["exact"][1], expected, atol=1e-4)
)
sys.exit(0 if as_described else "changed: this is no longer what hnswlib does")
PY
