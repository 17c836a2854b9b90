#!/usr/bin/env bash
# h5py 3.16.0: rows that are asked for by unsigned numbers come in the order of the file, and are written in it.
#
# Guessed: as with int64, a list of row numbers that does not rise raises "Indexing elements must be in increasing
# order".
# Seen: with uint64 (the keys that usearch gives), uint32, uint16 or uint8 the check does not see that the numbers fall.
# `file[keys]` has the right rows, sorted: the embeddings of the hits do not belong to the hits beside them, and scored
# again the first hit, the query itself, is some other row. `file[keys] = rows` writes rows to each other's places.
# Equal or too large numbers raise, as with int64. Nothing is said.
# Where it matters: hits re-scored in full precision or shown with their captions from an HDF5 file; embeddings updated.
# Way round: `file[np.sort(keys)][np.argsort(np.argsort(keys))]`, or read the array whole.
. "$(dirname "$0")/_setup.sh"
install h5py==3.16.0 usearch==2.26.6 numpy==2.4.6
run <<'PY'
import sys
import h5py
import numpy as np
from usearch.index import Index

random = np.random.default_rng(0)
rows = random.normal(size=(200, 16)).astype("f4")
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
index = Index(ndim=16, metric="cos")
index.add(np.arange(200), rows)
with h5py.File("embeddings.h5", "w") as file:
    data = file.create_dataset("embeddings", data=rows)
    query = 150
    keys = index.search(rows[query], 5).keys
    scores = {"NumPy": rows[keys] @ rows[query], "h5py": data[keys] @ rows[query]}
    print(f"hits of row {query}: {keys} ({keys.dtype})")
    for name, values in scores.items():
        print(f"  scored again with {name}'s rows: {np.round(values, 2)}")
    try:
        data[keys.astype("int64")]
        raised = False
    except TypeError as error:
        raised = True
        print(f"  the same numbers as int64: {error}")
    in_order = rows[np.sort(keys)]
    sorted_rows = {kind: bool((data[keys.astype(kind)] == in_order).all()) for kind in ("u1", "u2", "u4", "u8")}
    print(f"  sorted rows come back for {sorted_rows}")
    data[keys] = rows[keys]  # each row to its own place: nothing should change
    moved = int((data[...] != rows).any(axis=1).sum())
    print(f"  written to their own places, {moved} of 5 rows have changed")
as_described = keys[0] == query and scores["NumPy"][0] > 0.99 and scores["h5py"][0] < 0.9
as_described &= raised and all(sorted_rows.values()) and moved >= 2
sys.exit(0 if as_described else "changed: this is no longer what h5py does")
PY
