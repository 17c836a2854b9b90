#!/usr/bin/env bash
# onnxruntime 1.32.0: `Sigmoid` of logits below -12 is not monotone, and 0 from -18 on, where torch has 1.5e-8.
#
# Guessed: float32 holds sigmoid(-80) with seven digits; a larger logit never has a smaller probability, so a ranking by
# probability is the ranking by logit.
# Seen: the kernel takes a quotient of polynomials plus 0.5, so it is right to about 1e-7 and not to seven digits. Of
# neighbouring logits between -18 and -12 many stand in the wrong order: sigmoid(-17) is above sigmoid(-16). From -18 on
# all are 0, their log is minus infinity, and all tie. Torch and ONNX's own reference are monotone. Nothing is said.
# Where it matters: SigLIP's probability of a pair is about sigmoid(112 * cosine - 16.5): pairs with a cosine below
# -0.013 tie at 0, and between that and 0.04 the order is partly turned: searches without a good match, hard negatives.
# Way round: rank by the logit or the cosine; -softplus(-x) for the log.
. "$(dirname "$0")/_setup.sh"
install onnx==1.23.2 onnxruntime==1.32.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
import onnxruntime
import torch
from onnx import helper
from onnx.reference import ReferenceEvaluator

value = helper.make_tensor_value_info
node = helper.make_node("Sigmoid", ["x"], ["y"])
graph = helper.make_graph([node], "g", [value("x", 1, [None])], [value("y", 1, [None])])
file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
session = onnxruntime.InferenceSession(file.SerializeToString())
ways = {
    "onnxruntime": lambda x: session.run(None, {"x": x})[0],
    "onnx.reference": lambda x: ReferenceEvaluator(file).run(None, {"x": x})[0],
    "torch": lambda x: torch.sigmoid(torch.from_numpy(x)).numpy(),
}
whole = np.array([-12, -15, -16, -17, -18, -30], np.float32)
cosines = np.linspace(-0.1, 0.04, 2001)  # rising; pairs that do not fit
logits = (112 * cosines - 16.5).astype(np.float32)
turned, zeros = {}, {}
for name, sigmoid in ways.items():
    p = sigmoid(logits)
    turned[name], zeros[name] = float((np.diff(p) < 0).mean()), float((p == 0).mean())
    print(f"{name}: {dict(zip(whole.tolist(), [f'{y:.3g}' for y in sigmoid(whole)]))}")
    print(f"  of 2,001 rising SigLIP scores {turned[name]:.0%} fall against the one before, {zeros[name]:.0%} are 0")
as_described = turned.pop("onnxruntime") > 0.02 and zeros.pop("onnxruntime") > 0.5
as_described &= max(turned.values()) == max(zeros.values()) == 0
sys.exit(0 if as_described else "changed: this is no longer what ONNX Runtime does")
PY
