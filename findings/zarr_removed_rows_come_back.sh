#!/usr/bin/env bash
# zarr 3.1.6: rows that `resize` removed come back when the array grows again, if they share a chunk with a kept row.
#
# Guessed: what a resize cuts off is gone; new rows hold the fill value, as in h5py.
# Seen (1,000 embeddings, chunks of 256): cut to 900 rows and grown to 1,000 again, the old 100 rows are back, bit for
# bit. Cut to 600, rows 600 to 767 are back and 768 to 999 are the fill value: chunks that lie outside are deleted, the
# one at the edge keeps its old part. With one shard of 1,024 rows all of them are back, though its chunks are the same.
# In h5py all are the fill value.
# Where it matters: an array that grows in advance and is filled later, with NaN for "not yet": a removed picture's
# embedding is found under the next picture's row. What was to be deleted is still in the file, too.
# Way round: write the fill value over the rows before the resize.
. "$(dirname "$0")/_setup.sh"
install zarr==3.1.6 h5py==3.16.0 numpy==2.4.6
run <<'PY'
import sys
import h5py
import numpy as np
import zarr

rows = np.random.default_rng(0).standard_normal((1000, 16)).astype(np.float32)


def of_zarr(name, **layout):
    array = zarr.create_array(name, shape=rows.shape, chunks=(256, 16), dtype="f4", fill_value=np.nan, **layout)
    array[:] = rows
    return array, lambda n: array.resize((n, 16))


def of_h5py(name):
    layout = {"chunks": (256, 16), "maxshape": (None, 16), "fillvalue": np.nan}
    array = h5py.File(name, "w").create_dataset("rows", data=rows, **layout)
    return array, lambda n: array.resize(n, 0)


def back(make, name, n):
    array, resize = make(name)
    resize(n)
    resize(1000)
    old = (array[:] == rows).all(1)
    blank = np.isnan(array[:]).all(1)
    assert old[:n].all() and (old | blank).all()
    return np.flatnonzero(old[n:]) + n


seen = {}
kinds = {"chunks": of_zarr, "shards": lambda name: of_zarr(name, shards=(1024, 16)), "h5py": of_h5py}
for kind, make in kinds.items():
    for n in (900, 600, 512):
        found = back(make, f"{kind}{n}", n)
        seen[kind, n] = len(found)
        span = f", {found[0]} to {found[-1]}" if len(found) else ""
        print(f"{kind}, cut to {n} and grown to 1,000: {len(found)} removed rows are back{span}")
as_described = list(seen.values()) == [100, 168, 0, 100, 400, 488, 0, 0, 0]
sys.exit(0 if as_described else "changed: this is no longer what zarr does")
PY
