#!/usr/bin/env bash
# onnxruntime 1.32.0: the maximum of a row with NaN is NaN only if the NaN stands first.
#
# Guessed: as in torch, NumPy and ONNX's own reference, a maximum over values with NaN is NaN, so that a broken token or
# patch shows in what is pooled from it.
# Seen (x86-64): `ReduceMax`, which torch's `amax` and `max` are exported to, gives NaN if the first value is NaN, and
# else one of the numbers. So does `ReduceMin`, and not always the smallest: 0.2 for 0.9, NaN, 0.2, 0.1. `ArgMax` names
# the first place or a number. Means, Softmax, `Max` of two tensors and ReLU keep NaN: mean pooling shows what max
# pooling hides. Nothing is said.
# Where it matters: max pooling over tokens or patches, late interaction (the best token for each word), labels by
# `argmax`, a check for NaN that is exported with the model.
# Way round: `torch.where(x.isnan().any(-1), nan, x.amax(-1))`, or look for NaN before the maximum.
. "$(dirname "$0")/_setup.sh"
install onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

nan = np.nan
rows = np.array([[nan, 0.9, 0.2, 0.1], [0.9, nan, 0.2, 0.1], [0.9, 0.2, nan, 0.1], [0.9, 0.2, 0.1, nan]], "f4")


def results(kind, **attributes):
    axes = [] if kind in ("ArgMax", "Softmax") else [numpy_helper.from_array(np.array([1]), "axes")]
    if not axes:
        attributes["axis"] = 1
    node = helper.make_node(kind, ["x", *(a.name for a in axes)], ["y"], **attributes)
    tensor = helper.make_tensor_value_info
    output = TensorProto.INT64 if kind == "ArgMax" else TensorProto.FLOAT
    graph = helper.make_graph([node], "g", [tensor("x", 1, [4, 4])], [tensor("y", output, None)], axes)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": rows})[0].squeeze(), ReferenceEvaluator(model).run(None, {"x": rows})[0].squeeze()


print("NaN stands first, second, third, last in 0.9, 0.2, 0.1")
found = {}
for kind in ("ReduceMax", "ReduceMin", "ReduceMean"):
    found[kind], reference = results(kind)
    print(f"{kind:10} onnxruntime {found[kind]}, reference {reference}")
    assert np.isnan(reference).all()
place, reference = results("ArgMax")
print(f"{'ArgMax':10} onnxruntime {place}, reference {reference}")
as_described = all(0 < np.isnan(found[kind]).sum() < 4 for kind in ("ReduceMax", "ReduceMin"))
as_described &= bool(np.isnan(found["ReduceMean"]).all()) and place.tolist() != reference.tolist()
sys.exit(0 if as_described else "changed: this is no longer what onnxruntime does")
PY
