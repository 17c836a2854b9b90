#!/usr/bin/env bash
# scipy 1.17.1: `distance.cosine` of int8 embeddings is 0, 2 or an error, of float16 1 or NaN; `cdist` is right.
#
# Guessed: `cosine(a, b)` is `cdist([a], [b], "cosine")`: small integers and halves are widened first.
# Seen: the products are added up in the type of the rows. int8 wraps around: of 20 unrelated pairs some are 0 (equal),
# some 2 (opposite), some raise "math domain error"; uint8 likewise. float16 overflows beyond a squared length of
# 65,504: 1 for all pairs, NaN for a row and itself. `euclidean` and `cityblock` are off for int8, too; `sqeuclidean`,
# `correlation` and all of `cdist` are right. Nothing is said of int8; numpy warns of the overflow of float16.
# Where it matters: spot checks of quantized embeddings against the originals, one pair at a time.
# Way round: `cdist`, or `.astype(float)`.
. "$(dirname "$0")/_setup.sh"
install scipy==1.17.1 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from scipy.spatial import distance

rng = np.random.default_rng(0)
floats = rng.standard_normal((40, 64))
int8 = np.round(floats / np.abs(floats).max(1, keepdims=True) * 127).astype(np.int8)
uint8 = (int8.astype(int) + 128).astype(np.uint8)
float16 = (40 * floats).astype(np.float16)


def value(metric, a, b):
    try:
        return round(float(metric(a, b)), 2)
    except ValueError as error:
        return str(error)


def right(name, a, b):
    return round(float(distance.cdist(a[None], b[None], name)[0, 0]), 2)


seen = {}
for name, rows in (("int8", int8), ("uint8", uint8), ("float16", float16)):
    seen[name] = [value(distance.cosine, a, b) for a, b in zip(rows[::2], rows[1::2])]
    true = [right("cosine", a, b) for a, b in zip(rows[::2], rows[1::2])]
    print(f"cosine of {name}: {seen[name][:8]}\n  cdist: {true[:8]}")
    seen[name, "right"] = sum(x == y for x, y in zip(seen[name], true))
other = {}
for name in ("euclidean", "cityblock", "sqeuclidean", "correlation"):
    other[name] = value(getattr(distance, name), int8[0], int8[1]), right(name, int8[0], int8[1])
    print(f"{name} of int8: {other[name][0]}, cdist {other[name][1]}")
equal = value(distance.cosine, float16[0], float16[0])
print("cosine of a float16 row and itself:", equal)
as_described = (
    {0.0, 2.0, "math domain error"} <= set(seen["int8"])
    and seen["int8", "right"] + seen["uint8", "right"] < 5
    and set(seen["float16"]) == {1.0}
    and np.isnan(equal)
    and [name for name, (x, y) in other.items() if abs(x - y) > 0.05] == ["euclidean", "cityblock"]
)
sys.exit(0 if as_described else "changed: this is no longer what scipy does")
PY
