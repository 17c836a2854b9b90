#!/usr/bin/env bash
# keras 3.15.1 on torch and JAX: `ops.image.gaussian_blur` blurs over colours in place of rows.
#
# Guessed: without `data_format` the configured one, "channels_last", is taken, as the documentation says and as for the
# other image operations; all backends blur alike.
# Seen: on torch and JAX the argument stays None, which counts as "channels_first": rows are taken for channels, and the
# blur goes along the width and the colours. A red point gives 27 % to green, its row's neighbours get nothing; a grey
# picture of 100 becomes 73, 100, 73, which is green. Shapes are right. On numpy it is right, as it is with
# `data_format="channels_last"`, and in the layer `RandomGaussianBlur`, which names it.
# Where it matters: augmentation written with `keras.ops`, blurred copies for a robustness test: the colours carry over.
# Way round: name `data_format`.
. "$(dirname "$0")/_setup.sh"
install keras==3.15.1 torch==2.13.0 jax==0.10.2 numpy==2.4.6
cat >"$folder/blur.py" <<'PY'
import json
import keras
import numpy as np

point = np.zeros((1, 7, 9, 3), np.float32)
point[0, 3, 4, 0] = 1
grey = np.full((1, 32, 32, 3), 100, np.float32)
seen = {}
for data_format in (None, "channels_last"):
    blurred = [keras.ops.image.gaussian_blur(x, (3, 3), (1.0, 1.0), data_format=data_format) for x in (point, grey)]
    spread, green = (np.asarray(keras.ops.convert_to_numpy(x))[0] for x in blurred)
    totals = {"colours": spread.sum((0, 1)), "rows": spread.sum((1, 2))[2:5], "grey": green[16, 16]}
    seen[str(data_format)] = {name: [round(float(x), 2) for x in total] for name, total in totals.items()}
assert keras.config.image_data_format() == "channels_last"
print(json.dumps(seen))
PY
run <<'PY'
import json
import os
import subprocess
import sys

wrong = {"colours": [0.45, 0.27, 0.0], "rows": [0.0, 0.73, 0.0], "grey": [72.59, 100.0, 72.59]}
right = {"colours": [1.0, 0.0, 0.0], "rows": [0.27, 0.45, 0.27], "grey": [100.0, 100.0, 100.0]}


def alike(seen, expected):
    return all(abs(a - b) < 0.02 for name in expected for a, b in zip(seen[name], expected[name], strict=True))


as_described = True
for backend in ("numpy", "torch", "jax"):
    command = [sys.executable, "blur.py"]
    output = subprocess.check_output(command, env={**os.environ, "KERAS_BACKEND": backend}, text=True)
    seen = json.loads(output.splitlines()[-1])
    for data_format, values in seen.items():
        print(f"{backend}, data_format {data_format}: {values}")
    as_described &= alike(seen["None"], right if backend == "numpy" else wrong)
    as_described &= alike(seen["channels_last"], right)
sys.exit(0 if as_described else "changed: this is no longer what Keras does")
PY
