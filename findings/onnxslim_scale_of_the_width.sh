#!/usr/bin/env bash
# onnxslim 0.1.98: a scale for each column becomes a scale for each channel if there are as many columns as channels.
#
# Guessed: the slimmed model computes what the model computes, whatever its sizes.
# Seen: a convolution is followed by `Mul` with a vector of 16, which ONNX lays along the last axis, the width. With 16
# channels at a width of 16 it is folded into the convolution's weights as 16 factors for the channels: every output is
# another one. As (1, 1, 1, 16) too. With 8 or 32 channels it is right, and so is adding such a vector. Nothing is said.
# Where it matters: a window or weights along the width (a panorama, a spectrogram, a column of patches) behind a
# convolution; a check on one size says nothing about the next.
# Way round: compare outputs before and after, at the sizes that are used; keep such a model as it is.
. "$(dirname "$0")/_setup.sh"
install onnxslim==0.1.98 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
import onnx
import onnxruntime
import onnxslim
from onnx import helper, numpy_helper

random = np.random.default_rng(0)
width = 16
picture = random.normal(size=(1, 3, width, width)).astype("f4")
scale = np.hanning(width + 2)[1:-1].astype("f4")


def outputs(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": picture})[0]


def change(channels, shape, kind="Mul"):
    weights = random.normal(size=(channels, 3, 3, 3)).astype("f4")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4), helper.make_node(kind, ["c", "s"], ["y"])]
    given = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(scale.reshape(shape), "s")]
    value = helper.make_tensor_value_info
    ends = [value("x", 1, picture.shape)], [value("y", 1, [1, channels, width, width])]
    graph = helper.make_graph(nodes, "g", *ends, given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    before = outputs(model)
    expected = before.std()
    after = outputs(onnxslim.slim(model))
    return float(np.abs(after - before).max() / expected)


seen = {}
for channels, shape, kind in ((8, (16,), "Mul"), (16, (16,), "Mul"), (32, (16,), "Mul"), (16, (1, 1, 1, 16), "Mul")):
    seen[channels, shape] = change(channels, shape, kind)
    print(f"{channels} channels, scale of shape {shape}: off by {seen[channels, shape]:.2f} standard deviations")
added = change(16, (16,), "Add")
print(f"16 channels, added: off by {added:.2f}")
as_described = all((off > 0.5) == (channels == width) for (channels, _), off in seen.items())
as_described &= all(off < 1e-3 for (channels, _), off in seen.items() if channels != width) and added < 1e-3
sys.exit(0 if as_described else "changed: this is no longer what onnxslim does")
PY
