#!/usr/bin/env bash
# sentence-transformers 6.2.0: exact search in uint8 embeddings finds 7 % of the ten nearest rows, in int8 93 %.
#
# Guessed: `quantize_embeddings(precision="uint8")` and `semantic_search_faiss(corpus_precision="uint8")` are made for
# each other and lose a percent or two, as int8 with usearch does; with `rescore=True` and `exact=True` a query that is
# a row with a little noise finds that row.
# Seen: uint8 shifts each number from around 0 to around 128 and then takes inner products of the shifted numbers: rows
# with a large sum win whatever the query is. Two thirds of the queries do not find their own row; the candidates for
# rescoring are already the wrong ones. The same corpus in int8 is searched as it should be. Nothing is said.
# Where it matters: FAISS is the one way offered for uint8; memory figures are quoted for it and recall is not looked
# at.
# Way round: int8 with `semantic_search_usearch`.
. "$(dirname "$0")/_setup.sh"
install sentence-transformers==6.2.0 transformers==5.24.0 torch==2.13.0 faiss-cpu==1.15.1 usearch==2.26.6 numpy==2.4.6
run <<'PY'
import logging, sys
import numpy as np
from sentence_transformers.util.quantization import quantize_embeddings, semantic_search_faiss, semantic_search_usearch

logging.disable(logging.WARNING)
generator = np.random.default_rng(0)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


corpus = unit(generator.standard_normal((2000, 64)))
queries = unit(corpus[:100] + generator.standard_normal((100, 64)) * 0.5 / 8)
nearest = np.argsort(-(queries @ corpus.T), axis=1)[:, :10]
result = {}
for precision, search in (
    ("float32", semantic_search_faiss),
    ("uint8", semantic_search_faiss),
    ("int8", semantic_search_usearch),
):
    rows = corpus if precision == "float32" else quantize_embeddings(corpus, precision=precision)
    found, _ = search(
        queries, corpus_embeddings=rows, corpus_precision=precision, top_k=10, calibration_embeddings=corpus,
        rescore=precision != "float32", exact=True,
    )
    ids = [[hit["corpus_id"] for hit in hits] for hits in found]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, nearest)])
    own = np.mean([hits[0] == query for query, hits in enumerate(ids)])
    result[precision] = recall, own
    print(f"{precision}: {recall:.0%} of the ten nearest found, own row first for {own:.0%} of the queries")
as_described = (
    result["float32"] == (1, 1)
    and result["int8"][0] > 0.85 and result["int8"][1] == 1
    and result["uint8"][0] < 0.15 and result["uint8"][1] < 0.5
)
sys.exit(0 if as_described else "changed: this is no longer what sentence-transformers does")
PY
