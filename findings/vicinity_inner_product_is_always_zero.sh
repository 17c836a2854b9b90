#!/usr/bin/env bash
# vicinity 0.4.6: with the metric "inner_product" every good hit has the distance 0.
#
# Guessed: the distance is 1 - product, so that hits can be told apart and a threshold can be set, as with "cosine".
# Seen: the index gives 1 - product, and `query` and `query_threshold` then raise whatever is below 0 to 0. A product above 1
# is usual for rows that are not of length 1 (for others the metric is cosine): here all ten hits, with products of 39
# to 65, have the distance 0.0. The order is kept; the scores are lost, and no threshold tells the best from the
# tenth. `vicinity.backend.query` has them. Nothing is said.
# Where it matters: raw embeddings, scores that are compared over queries or mixed with another search's.
# Way round: 1 - the `backend`'s distance, or the products computed anew.
. "$(dirname "$0")/_setup.sh"
install vicinity==0.4.6 usearch==2.26.6 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from vicinity import Vicinity

rng = np.random.default_rng(0)
rows = (rng.standard_normal((500, 8)) * 3).astype(np.float32)
seen = {}
for metric in ("cosine", "inner_product"):
    index = Vicinity.from_vectors_and_items(rows, list(range(500)), backend_type="usearch", metric=metric)
    hits = index.query(rows[3:4], k=10)[0]
    raw = np.asarray(index.backend.query(rows[3:4], 10)[0][1], dtype=np.float32)
    seen[metric] = [float(distance) for _, distance in hits], raw
    print(f"{metric}: {[(item, round(float(distance), 2)) for item, distance in hits]}")
    print(f"  backend: {raw.round(2).tolist()}")
products = np.sort(rows @ rows[3])[::-1][:10]
print("products:", products.round(1).tolist())
distances, raw = seen["inner_product"]
as_described = set(distances) == {0.0} and np.allclose(1 - raw, products, rtol=0.05) and raw.max() < 0
as_described = as_described and len(set(seen["cosine"][0])) == 10
sys.exit(0 if as_described else "changed: this is no longer what vicinity does")
PY
