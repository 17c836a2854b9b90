#!/usr/bin/env bash
# faiss-cpu 1.15.1: ask an HNSW index for the 10 nearest of the 50 rows that a filter allows, and get 6.
#
# Guessed: with an IDSelector the search returns 10 rows, perhaps not the best ones, as long as 10 are allowed.
# Seen: the walk ends after efSearch candidates (16 by default), allowed or not, and only the allowed ones on its way
# are kept. The rest of the answer is -1. With 1 of 500 rows allowed it finds 1 or 2 of 10, with 1 of 2 all. No error.
# Where it matters: search within one album, label or split; -1 as a NumPy index is the last row.
# Way round: a larger efSearch for such a query, or an exact search over the allowed rows.
. "$(dirname "$0")/_setup.sh"
install faiss-cpu==1.15.1 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
import faiss

faiss.omp_set_num_threads(1)
rows = np.random.default_rng(0).standard_normal((5000, 32)).astype(np.float32)
faiss.normalize_L2(rows)
index = faiss.IndexHNSWFlat(32, 32, faiss.METRIC_INNER_PRODUCT)
index.add(rows)
found = {}
for one_in, effort in ((2, 16), (100, 16), (500, 16), (500, 5000)):
    allowed = np.arange(0, len(rows), one_in)
    selector = faiss.IDSelectorBatch(allowed)
    parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=effort)
    ids = index.search(rows[1:51], 10, params=parameters)[1]
    found[one_in, effort] = float((ids >= 0).sum(axis=1).mean())
    print(f"{len(allowed)} rows allowed, efSearch {effort}: {found[one_in, effort]:.1f} of 10 found")
as_described = found[2, 16] == 10 and found[100, 16] < 9 and found[500, 16] < 5 and found[500, 5000] > 9
sys.exit(0 if as_described else "changed: this is no longer what faiss does")
PY
