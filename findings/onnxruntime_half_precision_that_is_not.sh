#!/usr/bin/env bash
# onnxruntime 1.32.0 on x86 CPUs: a float16 file is computed in float32, so what overflows elsewhere is right here.
#
# Guessed: on a CPU a float16 node is computed in float32 and its result rounded to float16: a sum of squares beyond
# 65,504 is infinite, and the vector divided by its root is 0, as in torch, in numpy and in ONNX's own reference.
# Seen: between two nodes nothing is rounded, as the casts to float16 and back are taken out, with all optimisation
# switched off, too. The squares come out infinite when they are asked for, and in the same call the root of
# their sum is 300. So embeddings have length 1 here and 0 where half precision is one. Nothing is said.
# Where it matters: an encoder that was converted to float16 and checked on a CPU before it goes to another device or
# runtime: LayerNorm, RMSNorm and the last normalisation square what can be beyond 255.
# Way round: check with `onnx.reference`, or with the nodes in question among the outputs.
. "$(dirname "$0")/_setup.sh"
install onnx==1.23.2 onnxruntime==1.32.0 onnxconverter-common==1.16.0 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
import onnxruntime
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator
from onnxconverter_common import float16

# x / sqrt(sum(x * x)), in float32, then as a float16 file.
nodes = [
    helper.make_node("Mul", ["x", "x"], ["squares"]),
    helper.make_node("ReduceSum", ["squares", "last"], ["sum"]),
    helper.make_node("Sqrt", ["sum"], ["length"]),
    helper.make_node("Div", ["x", "length"], ["embedding"]),
]
last = numpy_helper.from_array(np.array([-1]), "last")


def file(outputs):
    value = helper.make_tensor_value_info
    results = [value(name, 1, [2, 1] if name == "length" else [2, 4]) for name in outputs]
    graph = helper.make_graph(nodes, "g", [value("x", 1, [2, 4])], results, [last])
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return float16.convert_float_to_float16(shape_inference.infer_shapes(plain))


def on_the_cpu(half, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(half.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


x = np.array([[280, 100, 30, 30], [2.8, 1, 0.3, 0.3]], np.float16)
half = file(["embedding"])
with np.errstate(over="ignore"):
    lengths = {
        "numpy": x / np.sqrt((x * x).sum(1, keepdims=True)),
        "onnx.reference": ReferenceEvaluator(half).run(None, {"x": x})[0],
    }
levels = onnxruntime.GraphOptimizationLevel
for level in (levels.ORT_ENABLE_ALL, levels.ORT_DISABLE_ALL):
    lengths[f"onnxruntime, {level.name}"] = on_the_cpu(half, level)[0]
for name, rows in lengths.items():
    lengths[name] = np.linalg.norm(rows.astype(np.float32), axis=1).round(2).tolist()
    print(f"{name}: the embeddings' lengths are {lengths[name]}")
squares, length, _ = on_the_cpu(file(["squares", "length", "embedding"]), levels.ORT_ENABLE_ALL)
print(f"in one call: squares {squares[0]}, the root of their sum {length[0]}")
as_described = lengths["numpy"] == lengths["onnx.reference"] == [0, 1]
as_described &= all(rows == [1, 1] for name, rows in lengths.items() if name.startswith("onnxruntime"))
as_described &= bool(np.isinf(squares[0, 0])) and 299 < length[0, 0] < 301
sys.exit(0 if as_described else "changed: this is no longer what ONNX Runtime does")
PY
