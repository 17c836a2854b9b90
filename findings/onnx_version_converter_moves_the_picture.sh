#!/usr/bin/env bash
# onnx 1.23.2: raising the opset of a file moves what `Resize` and `Upsample` sample by up to half a pixel of the input.
#
# Guessed: `version_converter.convert_version` keeps the results, or refuses; for Softmax, whose default axis moved with
# opset 13, it adds nodes to keep them.
# Seen: up to opset 10 linear resizing begins at the corner pixel (asymmetric), from 11 on at half pixels, and the mode
# is an attribute. The converter copies the node without it: a ramp of 0 to 7 doubled in size is off by 0.25, halved by
# 0.5, tripled by 0.33. Hardmax without an axis, beside Softmax and LogSoftmax, is left alone, too: one 1 a row in place
# of one a sample. All of the files pass the checker and run, and nothing is said.
# Where it matters: an older encoder with a feature pyramid, or position tables that are enlarged in the graph, raised
# for a newer quantiser or runtime: maps and saliency are shifted, embeddings are others.
# Way round: compare both files on one picture; set `coordinate_transformation_mode` to "asymmetric" by hand.
. "$(dirname "$0")/_setup.sh"
install onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper, version_converter


def model(opset, nodes, constants, shape):
    value = helper.make_tensor_value_info
    stored = [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", [value("x", 1, shape)], [value("y", 1, None)], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def before_and_after(file, opset, x):
    raised = version_converter.convert_version(file, opset)
    onnx.checker.check_model(raised, full_check=True)
    return [onnxruntime.InferenceSession(m.SerializeToString()).run(None, {"x": x})[0] for m in (file, raised)]


ramp = np.arange(8, dtype=np.float32).reshape(1, 1, 1, 8)
shifts = {}
for scale in (2, 3, 0.5):
    for kind, opset in (("Upsample", 9), ("Resize", 10)):
        if kind == "Resize" or scale > 1:
            node = helper.make_node(kind, ["x", "scales"], ["y"], mode="linear")
            file = model(opset, [node], {"scales": [1, 1, 1, scale]}, ramp.shape)
            old, new = before_and_after(file, 18, ramp)
            shifts[kind, scale] = float((old - new)[0, 0, 0, old.shape[-1] // 2 - 1])
            print(f"{kind} of opset {opset}, x {scale}: {old.ravel()[:6].round(2)}, of 18: {new.ravel()[:6].round(2)}")
scores = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
same = {}
for kind in ("Softmax", "LogSoftmax", "Hardmax"):
    old, new = before_and_after(model(12, [helper.make_node(kind, ["x"], ["y"])], {}, scores.shape), 13, scores)
    same[kind] = bool(np.allclose(old, new, atol=1e-6))
    print(f"{kind} of opset 12 raised to 13: the same results {same[kind]}")
as_described = all(abs(abs(shift) - abs(0.5 - 0.5 / scale)) < 0.01 for (_, scale), shift in shifts.items())
as_described &= same == {"Softmax": True, "LogSoftmax": True, "Hardmax": False}
sys.exit(0 if as_described else "changed: this is no longer what the converter does")
PY
