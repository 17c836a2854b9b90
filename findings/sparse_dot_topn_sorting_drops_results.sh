#!/usr/bin/env bash
# sparse-dot-topn 1.2.0: all 20 results of a query unsorted, as few as 5 of them sorted: no threshold is 0, mostly.
#
# Guessed: `threshold=None` is no threshold, so `sp_matmul_topn` gives `top_n` results for each row, sorted or not.
# Seen: with `top_n` as large as the number of columns and unsorted, a shortcut multiplies all: 400 of 400 products.
# With `sort=True`, or for 19 or 21 results, only products above 0 are there, 214. A query with five positive products
# has five results, one without has none, and nothing is said. With `threshold=-1e9` all are there.
# Where it matters: it was written for TF-IDF, which has no negative numbers; cosines of embeddings have: hard queries
# have fewer hits than asked for, and a mean over the hits that came is too good.
# Way round: a threshold below every product.
. "$(dirname "$0")/_setup.sh"
install sparse-dot-topn==1.2.0 scipy==1.17.1 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from scipy.sparse import csr_matrix
from sparse_dot_topn import sp_matmul_topn

rng = np.random.default_rng(0)
queries, rows = rng.standard_normal((20, 6)), rng.standard_normal((20, 6))
a, b = csr_matrix(queries), csr_matrix(rows.T.copy())
products = queries @ rows.T
positive = int((products > 0).sum())
print(f"20 queries, 20 rows: {products.size} products, {positive} above 0")
found = {}
for top_n in (19, 20, 21):
    for sort in (False, True):
        for threshold in (None, -1e9):
            result = sp_matmul_topn(a, b, top_n=top_n, sort=sort, threshold=threshold)
            found[top_n, sort, threshold] = result.nnz
            fewest = int(np.diff(result.indptr).min())
            print(f"top_n={top_n}, sort={sort}, threshold={threshold}: {result.nnz} results, {fewest} or more a query")
expected = {
    (top_n, sort, threshold): positive
    if threshold is None and (top_n, sort) != (20, False)
    else min(top_n, 20) * 20
    for top_n, sort, threshold in found
}
lost = sp_matmul_topn(csr_matrix(np.abs(queries)), csr_matrix(-np.abs(rows.T)), top_n=3)
print("hits among rows with negative products only:", lost.nnz)
as_described = found == expected and positive == 214 and lost.nnz == 0
sys.exit(0 if as_described else "changed: this is no longer what sparse-dot-topn does")
PY
