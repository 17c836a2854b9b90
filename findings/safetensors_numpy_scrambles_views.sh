#!/usr/bin/env bash
# safetensors 0.8.0, safetensors.numpy: a transposed array comes back with its numbers in other places.
#
# Guessed: `save_file` writes the values of any array, as `np.save` does, or refuses, as `safetensors.torch` does.
# Seen: it writes the memory behind the array and the shape in front of it. For a transpose, an array in Fortran order
# or every second column these do not belong together: the file loads, with the right shape and wrong values. Nothing
# is said. `safetensors.torch.save_file` raises a ValueError for the same array.
# Where it matters: weights out of linear algebra are often such views: the right singular vectors `vt.T`, the
# coefficients of a ridge regression `solve(...).T`, a truncated embedding `vectors[:, ::2]`.
# Way round: `np.asarray(array, order="C")` before saving.
. "$(dirname "$0")/_setup.sh"
install safetensors==0.8.0 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from safetensors.numpy import load_file, save_file

base = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
directions = np.linalg.svd(base, full_matrices=False)[2].T
small = np.arange(6, dtype=np.float32).reshape(2, 3)
arrays = {
    "plain": small,
    "transpose": small.T,
    "Fortran order": np.asfortranarray(small),
    "every second column": small[:, ::2],
    "directions of an SVD": directions,
}
save_file(arrays, "arrays.safetensors")
loaded = load_file("arrays.safetensors")
same = {}
for name, array in arrays.items():
    same[name] = np.array_equal(loaded[name], array)
    print(f"{name}: same shape {loaded[name].shape == array.shape}, same values {same[name]}")
print("Fortran order, written:", small.tolist(), "read:", loaded["Fortran order"].tolist())
off = np.abs(base @ loaded["directions of an SVD"] - base @ directions).mean() / np.abs(base @ directions).mean()
print(f"projection with the loaded directions: off by {off:.0%}")
save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, "copies.safetensors")
mended = all(np.array_equal(value, arrays[name]) for name, value in load_file("copies.safetensors").items())
as_described = list(same.values()) == [True, False, False, False, False] and off > 0.5 and mended
sys.exit(0 if as_described else "changed: this is no longer what safetensors does")
PY
