#!/usr/bin/env bash
# nanopq 0.2.2: `OPQ(metric="dot")` gives squared distances after `fit`: the largest "product" is the farthest row.
#
# Guessed: `OPQ(M, Ks, metric="dot")` is `PQ(M, Ks, metric="dot")` with a rotation: `dtable(q).adist(codes)` is about
# q @ row.
# Seen: `fit` puts a new PQ in place of the one that was told the metric, and that has the default, "l2". Taken as
# scores the numbers have the correlation -0.97 with the inner products, a row that is searched for with itself comes
# last, not first. PQ does as told, and the documentation lists "dot" for both.
# Where it matters: maximum inner product or cosine over compressed embeddings.
# Way round: `opq.pq.metric = "dot"` after `fit`.
. "$(dirname "$0")/_setup.sh"
install nanopq==0.2.2 scipy==1.17.1 numpy==2.4.6
run <<'PY'
import sys
import nanopq
import numpy as np

rows = np.random.default_rng(0).standard_normal((1000, 16)).astype(np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
queries = rows[:50]
seen = {}
for name in ("PQ", "OPQ", "OPQ told again"):
    coder = getattr(nanopq, name[:3].strip())(M=8, Ks=64, metric="dot", verbose=False)
    coder.fit(rows, **({"rotation_iter": 3} if name[0] == "O" else {}))
    if name == "OPQ told again":
        coder.pq.metric = "dot"
    codes = coder.encode(rows)
    scores = np.stack([coder.dtable(query).adist(codes) for query in queries])
    correlation = np.corrcoef(scores.ravel(), (queries @ rows.T).ravel())[0, 1]
    first = (scores.argmax(1) == np.arange(50)).mean()
    seen[name] = correlation, first
    print(f"{name}: correlation with the inner products {correlation:.2f}, own row is first for {first:.0%}")
as_described = (
    seen["PQ"][0] > 0.9
    and seen["PQ"][1] > 0.9
    and seen["OPQ"][0] < -0.9
    and seen["OPQ"][1] == 0
    and seen["OPQ told again"][0] > 0.9
    and seen["OPQ told again"][1] > 0.9
)
sys.exit(0 if as_described else "changed: this is no longer what nanopq does")
PY
