#!/usr/bin/env bash
# gensim 4.4.0: after the first search a replaced vector is divided by its old length, and an added one is in the way.
#
# Guessed: `add_vectors(..., replace=True)` and `vectors[key] = row` are the way to change embeddings, so later searches
# use the new ones; an added one can be found.
# Seen: lengths are kept from the first search on, and these calls leave them as they were. A row that is replaced by
# ten times the query has the "cosine" 6.95 to it and comes before the query's own row, with 1.0; one that is replaced by
# a tenth of it has 0.06 and is no hit. `most_similar_cosmul` and `unit_normalize_all` take the same lengths;
# `similarity` is right. After an added key `most_similar` raises on shapes. All is right if no search came before.
# Where it matters: class or caption embeddings that are updated while they are searched; a changed length is enough.
# Way round: `fill_norms(force=True)` after each change, or rows of length 1.
. "$(dirname "$0")/_setup.sh"
install gensim==4.4.0 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from gensim.models import KeyedVectors

rows = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
query = rows[3]
seen = {}
for searched in (False, True):
    vectors = KeyedVectors(8)
    vectors.add_vectors([f"class {i}" for i in range(50)], rows)
    if searched:
        vectors.most_similar(positive=[query])
    vectors.add_vectors(["class 7"], [10 * query], replace=True)
    vectors["class 8"] = query / 10
    hits = dict(vectors.most_similar(positive=[query], topn=50))
    pair = float(vectors.similarity("class 3", "class 7"))
    seen[searched] = {name: round(hits[name], 2) for name in ("class 3", "class 7", "class 8")}, list(hits)[0]
    print(f"searched before: {searched}: {seen[searched][0]}, first: {seen[searched][1]}, similarity {pair:.2f}")
    assert round(pair, 4) == 1
vectors.add_vector("new class", query)
try:
    vectors.most_similar(positive=[query])
    raised = False
except ValueError as error:
    raised = True
    print("after an added key:", error)
vectors.fill_norms(force=True)
repaired = {name: round(score, 2) for name, score in vectors.most_similar(positive=[query], topn=4)}
print("lengths taken anew:", repaired)
as_described = seen[False][0] == {"class 3": 1.0, "class 7": 1.0, "class 8": 1.0} and raised
as_described &= seen[True] == ({"class 3": 1.0, "class 7": 6.95, "class 8": 0.06}, "class 7")
as_described &= repaired == {"class 3": 1.0, "class 7": 1.0, "class 8": 1.0, "new class": 1.0}
sys.exit(0 if as_described else "changed: this is no longer what gensim does")
PY
