#!/usr/bin/env bash
# llama-index-core 0.14.25: maximal marginal relevance compares with the last row chosen only, so copies come back.
#
# Guessed: in MMR mode each next row is discounted by its similarity to the nearest of the rows that were chosen before,
# as in Carbonell and Goldstein 1998; scores fall from row to row, and copies of a dog come after what is unlike it.
# Seen: the discount is for the last row alone. After a dog comes a cat, and then the dog's copy, which is far from the
# cat: dog, cat, dog, cat, dog, and the car, which is like neither, is last. Scores go up and down. The docstring
# speaks of "previous results". Nothing is said.
# Where it matters: varied results of a `SimpleVectorStore`, the default, in a gallery with bursts and near-copies.
# Way round: ask for more rows by cosine and choose among them by your own MMR.
. "$(dirname "$0")/_setup.sh"
install llama-index-core==0.14.25 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode

rows = {
    "dog 1": [1, 0.5, 0],
    "dog 2": [1, 0.51, 0],
    "dog 3": [1, 0.49, 0.01],
    "cat 1": [1, -0.5, 0],
    "cat 2": [1, -0.51, 0],
    "car": [0.9, 0, 0.8],
}
rows = {name: np.array(row) / np.linalg.norm(row) for name, row in rows.items()}
query = np.array([1, 0.05, 0.02])
query /= np.linalg.norm(query)
store = SimpleVectorStore()
store.add([TextNode(id_=name, text=name, embedding=row.tolist()) for name, row in rows.items()])


def own(weight):
    left, chosen = dict(rows), []
    while left:
        def value(name):
            return weight * left[name] @ query - (1 - weight) * max((left[name] @ rows[c] for c in chosen), default=0)
        chosen.append(max(left, key=value))
        del left[chosen[-1]]
    return chosen


as_described = True
for weight in (0.4, 0.5):
    asked = VectorStoreQuery(query_embedding=query.tolist(), similarity_top_k=6, mode=VectorStoreQueryMode.MMR)
    found = store.query(asked, mmr_threshold=weight)
    print(f"weight {weight}: {found.ids}, scores {np.round(found.similarities, 3)}; by the formula {own(weight)}")
    rises = bool((np.diff(found.similarities) > 0).any())
    as_described &= found.ids[-1] == "car" and "car" in own(weight)[:3] and rises
sys.exit(0 if as_described else "changed: this is no longer what LlamaIndex does")
PY
