#!/usr/bin/env bash
# tiledb-vector-search 0.16.0: an exact inner-product search puts the rows with a negative product first.
#
# Guessed: a FLAT index with `DistanceMetric.INNER_PRODUCT` gives the largest products, as L2 and cosine do the nearest.
# Seen: negative products come first, then the positive ones, each part from its largest down. Of 500 rows 270 have a
# negative product with the query: the five hits have -0.014 to -0.044, the best row (16.6) is the 271st. If all numbers
# are positive, the answer is right. Nothing is said; L2 and cosine are right, and the other kinds of index refuse this
# metric.
# Where it matters: the exact search that a model or an approximate index is compared with; a test on positive features,
# as those behind a ReLU, sees nothing.
# Way round: rows of length 1 and cosine or L2; or one more column that makes all rows equally long, and L2.
. "$(dirname "$0")/_setup.sh"
install tiledb-vector-search==0.16.0 tiledb==0.36.1 numpy==2.3.5
run <<'PY'
import sys
import numpy as np
from tiledb.vector_search import _tiledbvspy, ingestion


def search(name, metric, rows, query, k):
    distance = getattr(_tiledbvspy.DistanceMetric, metric)
    index = ingestion.ingest(index_type="FLAT", index_uri=name, input_vectors=rows, distance_metric=distance)
    return index.query(query[None], k=k)[1][0].astype(int).tolist()


rng = np.random.default_rng(0)
rows = rng.standard_normal((500, 16)).astype(np.float32)
query = (rows[3] + 0.3 * rng.standard_normal(16)).astype(np.float32)
products = rows @ query
best = np.argsort(-products).tolist()
found = search("product", "INNER_PRODUCT", rows, query, 500)
print("products of the first five:", [round(float(products[i]), 3) for i in found[:5]])
print("the largest five:", [round(float(products[i]), 1) for i in best[:5]])
print(f"row {best[0]}, the best, has the rank {found.index(best[0]) + 1} of 500")
negative_first = [i for i in best if products[i] < 0] + [i for i in best if products[i] > 0]
positive = search("positive", "INNER_PRODUCT", np.abs(rows), np.abs(query), 5)
cosine = search("cosine", "COSINE", rows, query, 5)
right = np.argsort(-(np.abs(rows) @ np.abs(query)))[:5].tolist(), np.argsort(-products / np.linalg.norm(rows, axis=1))
print(f"all positive: {positive}, right: {right[0]}")
print(f"cosine: {cosine}, right: {right[1][:5].tolist()}")
as_described = found == negative_first and positive == right[0] and cosine == right[1][:5].tolist()
sys.exit(0 if as_described else "changed: this is no longer what tiledb-vector-search does")
PY
