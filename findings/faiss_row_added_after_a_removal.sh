#!/usr/bin/env bash
# faiss-cpu 1.15.1: a row that is added to a fast-scan index after another one was removed becomes a mixture of the two.
#
# Guessed: remove 100 of 1,000 rows and add them again under their old IDs, and each finds itself as before; so it is
# with "PQ16x4" and "IVF8,PQ16x4", the same codes searched in another way.
# Seen: with "PQ16x4fs" one in four of the 100 rows no longer finds itself, with "IVF8,PQ16x4fs" four in five. A place
# freed at the end keeps its bits, and a new code is or-ed into them: of the last row removed and another one added, the
# index holds the old code | the new one. The count is right, and nothing is said. The 900 kept rows are right.
# Where it matters: an index that is kept up to date: photos deleted and uploaded, embeddings removed and added again.
# Way round: an index that is never removed from (a selector at search), or built anew; plain "PQ16x4".
. "$(dirname "$0")/_setup.sh"
install faiss-cpu==1.15.1 numpy==2.4.6
run <<'PY'
import sys
import faiss
import numpy as np

rows = np.random.default_rng(0).standard_normal((1000, 32)).astype(np.float32)
ids = np.arange(1000)
share = {}
for key in ("IDMap2,PQ16x4", "IDMap2,PQ16x4fs", "IVF8,PQ16x4", "IVF8,PQ16x4fs"):
    index = faiss.index_factory(32, key)
    index.train(rows)
    index.add_with_ids(rows, ids)
    if "IVF" in key:
        index.nprobe = 8
    before = (index.search(rows, 1)[1][:, 0] == ids).mean()
    index.remove_ids(ids[:100])
    index.add_with_ids(rows[:100], ids[:100])
    after = index.search(rows, 1)[1][:, 0] == ids
    share[key] = before, after[:100].mean(), after[100:].mean()
    _, again, kept = share[key]
    print(f"{key}: finds itself before {before:.3f}, the 100 rows after {again:.2f}, the 900 {kept:.3f}")
    assert index.ntotal == 1000

index = faiss.index_factory(32, "PQ16x4fs")
index.train(rows)
codes = faiss.IndexPQ(32, 16, 4)
codes.pq, codes.is_trained = index.pq, True
old, new = (codes.sa_encode(rows[i : i + 1]) for i in (10, 11))
index.add(rows[:11])
index.remove_ids(np.array([10]))
index.add(rows[11:12])
held = codes.sa_encode(index.reconstruct(10)[None])
for name, code in (("removed", old), ("added", new), ("held", held)):
    print(f"{name:8}", code[0].tolist())
as_described = (held == old | new).all() and (held != new).any()
for key in ("IDMap2,PQ16x4", "IVF8,PQ16x4"):
    plain, fast = share[key], share[key + "fs"]
    as_described &= min(plain) > 0.97 and fast[0] > 0.97 and fast[2] > 0.97 and fast[1] < 0.9
sys.exit(0 if as_described else "changed: this is no longer what faiss does")
PY
