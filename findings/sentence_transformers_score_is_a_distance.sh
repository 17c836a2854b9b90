#!/usr/bin/env bash
# sentence-transformers 6.2.0: "score" of `semantic_search_usearch` is a distance or a similarity, after the precision.
#
# Guessed: "score" is what it is in `semantic_search` and `semantic_search_faiss`: the similarity, larger is better.
# Seen: with float32 embeddings the row itself has the score 0.0 and rows in the opposite direction have the largest
# ones (1 - similarity). With int8 embeddings, which are rescored by default, the row itself has 1.0; without rescoring
# -39,747 (the smaller the better). The hits are in the right order each time; the number means something else.
# Where it matters: a threshold ("score > 0.5"), a merge of hits of several searches, and comparing float32 with int8.
# With that threshold float32 keeps the unlike rows and drops the query's own.
. "$(dirname "$0")/_setup.sh"
install sentence-transformers==6.2.0 transformers==5.24.0 torch==2.13.0 faiss-cpu==1.15.1 usearch==2.26.6 numpy==2.4.6
run <<'PY'
import logging, sys
import numpy as np
from sentence_transformers.util import semantic_search
from sentence_transformers.util.quantization import quantize_embeddings, semantic_search_faiss, semantic_search_usearch

logging.disable(logging.WARNING)
generator = np.random.default_rng(0)
corpus = generator.standard_normal((200, 16)).astype(np.float32)
corpus /= np.linalg.norm(corpus, axis=1, keepdims=True)
query = corpus[:1]
int8 = quantize_embeddings(corpus, precision="int8")
options = {"top_k": 200, "exact": True}
scaled = options | {"corpus_precision": "int8", "calibration_embeddings": corpus}
found = {
    "semantic_search": semantic_search(query, corpus, top_k=200),
    "faiss, float32": semantic_search_faiss(query, corpus, rescore=False, **options)[0],
    "usearch, float32": semantic_search_usearch(query, corpus, rescore=False, **options)[0],
    "usearch, int8": semantic_search_usearch(query, int8, **scaled)[0],
    "usearch, int8, not rescored": semantic_search_usearch(query, int8, rescore=False, **scaled)[0],
}
first, last, kept = {}, {}, {}
for name, (hits,) in found.items():
    assert hits[0]["corpus_id"] == 0
    first[name], last[name] = float(hits[0]["score"]), float(hits[-1]["score"])
    kept[name] = sum(float(hit["score"]) > 0.5 for hit in hits)
    own = first[name] > 0.5
    print(f"{name}: scores {first[name]:.2f} to {last[name]:.2f}; above 0.5: {kept[name]}, with the row itself: {own}")
as_described = (
    all(abs(first[x] - 1) < 0.05 and last[x] < 0 for x in ("semantic_search", "faiss, float32", "usearch, int8"))
    and abs(first["usearch, float32"]) < 1e-5 and last["usearch, float32"] > 1.5
    and kept["usearch, float32"] > 150
    and first["usearch, int8, not rescored"] < -10_000
)
sys.exit(0 if as_described else "changed: this is no longer what sentence-transformers does")
PY
