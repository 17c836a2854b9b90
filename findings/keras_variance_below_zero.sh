#!/usr/bin/env bash
# keras 3.15.1 on torch 2.13.0: features with a large mean have a negative variance and leave BatchNormalization as NaN.
#
# Guessed: a variance is at least 0, and one Keras layer gives one result on each backend, up to rounding.
# Seen: `ops.moments` is the mean of the squares minus the square of the mean, in float32. Features with the mean 10,000
# and the deviation 1 have variances of 24, 8, 0 or -8 in place of 1; `BatchNormalization` stores them as its moving
# variance and gives NaN for the negative columns, `GroupNormalization` too. At a mean of 1,000 it is off by several
# per cent. `LayerNormalization` and `ops.var` are right, and so is all of it on the JAX backend. Nothing is said.
# Where it matters: BatchNormalization in front of a head on raw features (pixel values, time stamps, bounding boxes in
# pixels, backbones with massive activations) where the columns are not centred.
# Way round: `layers.Normalization` after `adapt`, or centre the columns first.
. "$(dirname "$0")/_setup.sh"
install keras==3.15.1 torch==2.13.0 jax==0.10.2 numpy==2.4.6
cat >"$folder/moments.py" <<'PY'
import json
import keras
import numpy as np

random, seen = np.random.default_rng(0), {}
for mean in (1, 1000, 10_000):
    rows = (random.standard_normal((256, 64)) + mean).astype(np.float32)
    layer = keras.layers.BatchNormalization(momentum=0.0)
    output = keras.ops.convert_to_numpy(layer(rows, training=True))
    moments = keras.ops.convert_to_numpy(keras.ops.moments(rows, 0)[1])
    plain = keras.ops.convert_to_numpy(keras.ops.var(rows, 0))
    seen[mean] = {
        "moments": moments.tolist(), "var": plain.tolist(), "nan": int(np.isnan(output).any(axis=0).sum()),
        "moving": keras.ops.convert_to_numpy(layer.moving_variance).tolist(),
    }
json.dump(seen, open(f"{keras.backend.backend()}.json", "w"))
PY
run <<'PY'
import json, os, subprocess, sys

seen = {}
for backend in ("torch", "jax"):
    subprocess.run([sys.executable, "moments.py"], env={**os.environ, "KERAS_BACKEND": backend}, check=True)
    seen[backend] = json.load(open(f"{backend}.json"))
    for mean, values in seen[backend].items():
        print(f"{backend}, mean {mean}: moments {[round(value, 2) for value in values['moments'][:8]]} ...")
        lowest, highest = min(values["var"]), max(values["var"])
        print(f"    var {lowest:.2f} to {highest:.2f}; columns of NaN after BatchNormalization: {values['nan']} of 64")
last = seen["torch"]["10000"]
as_described = min(last["moments"]) < -1 and min(last["moving"]) < -1 and last["nan"] > 0 and min(last["var"]) > 0.5
as_described &= all(0.5 < value < 1.5 for values in seen["jax"].values() for value in values["moments"])
as_described &= all(0.5 < value < 1.5 for value in seen["torch"]["1"]["moments"])
sys.exit(0 if as_described else "changed: this is no longer what Keras does")
PY
