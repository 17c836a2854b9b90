#!/usr/bin/env bash
# faiss-cpu 1.15.1: "PCA32,Flat" of 32-dimensional unit vectors, nothing dropped, finds another first row for most queries.
#
# Guessed: a PCA that keeps every dimension is a rotation; inner products, and so the ranking, stay as they were.
# Seen: the mean m of the training rows is taken off rows and queries: (q - m)(x - m) = qx - mx + a number of the query.
# Every row loses its product with the mean, so rows far from the mean gain. With L2 the ranking is exact; with
# METRIC_INNER_PRODUCT the first row is the right one for less than half of the queries. "OPQ", "RR" (random rotation)
# and "L2norm" are exact. Nothing is said.
# Where it matters: CLIP-like rows of length 1, whose mean is far from 0, and captions on another side of it than pictures.
# Way round: METRIC_L2, which ranks unit rows by cosine; or set the matrix's `b` to zeros after training.
. "$(dirname "$0")/_setup.sh"
install faiss-cpu==1.15.1 numpy==2.4.6
run <<'PY'
import sys
import faiss
import numpy as np

numbers = np.random.default_rng(0)
offset = numbers.standard_normal(32)
rows = (numbers.standard_normal((2000, 32)) + offset).astype(np.float32)
queries = (numbers.standard_normal((200, 32)) - 0.3).astype(np.float32)
rows, queries = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, queries))
best = (queries @ rows.T).argmax(axis=1)


def right(index, prepare=lambda index: None):
    index.train(rows)
    prepare(index)
    index.add(rows)
    return (index.search(queries, 1)[1][:, 0] == best).mean()


def no_mean(index):
    matrix = faiss.downcast_VectorTransform(index.chain.at(0))
    faiss.copy_array_to_vector(np.zeros(32, np.float32), matrix.b)


product, squared = faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2
found = {
    "PCA32,Flat by L2": right(faiss.index_factory(32, "PCA32,Flat", squared)),
    "RR32,Flat by product": right(faiss.index_factory(32, "RR32,Flat", product)),
    "PCA32,Flat by product": right(faiss.index_factory(32, "PCA32,Flat", product)),
    "the same with b = 0": right(faiss.index_factory(32, "PCA32,Flat", product), no_mean),
}
for name, share in found.items():
    print(f"{name:22} the best row comes first for {share:.1%} of the queries")
by_l2, rotated, by_product, without = found.values()
as_described = min(by_l2, rotated, without) > 0.98 and by_product < 0.6
sys.exit(0 if as_described else "changed: this is no longer what faiss does")
PY
