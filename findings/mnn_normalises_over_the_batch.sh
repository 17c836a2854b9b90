#!/usr/bin/env bash
# MNN 3.6.1: embeddings that a torch model normalises have length 1 together, not each, in a batch.
#
# Guessed: a tower that ends in `normalize(x, dim=-1)`, exported to ONNX by torch and converted, gives rows of length 1.
# Seen: since opset 18 the axes of a reduction are an input, not an attribute; the converter reads them for sums, means
# and maxima; for ReduceL2, ReduceL1, ReduceLogSumExp, ReduceLogSum and ReduceSumSquare it takes all axes. So a batch is
# divided by the length of all its numbers: 32 rows have lengths of 0.08 to 0.33, one row alone has 1.0. `logsumexp`
# over the classes gives one number for the batch. In opset 17 all are right. The conversion ends with success.
# Where it matters: every text or image tower with a normalised output; a test with one picture at a time passes, ranks
# within one batch are wrong, and a threshold means another thing with each batch size.
# Way round: opset 17 with the older exporter, or normalise behind the model.
# The converter is called as a function, as the command `mnnconvert` installs another package and reports its use.
. "$(dirname "$0")/_setup.sh"
install MNN==3.6.1 torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
run <<'PY'
import sys
import _tools
import MNN.expr
import MNN.nn
import numpy as np
import onnxruntime
import torch
from torch.nn.functional import normalize


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.projection = torch.nn.Linear(8, 4)

    def forward(self, features):
        logits = self.projection(features)
        return normalize(logits, dim=-1), torch.logsumexp(logits, dim=-1)


def mnn(features, file):
    _tools.mnnconvert(["", "-f", "ONNX", "--modelFile", file, "--MNNModel", "tower.mnn", "--bizCode", "finding"])
    module = MNN.nn.load_module_from_file("tower.mnn", ["features"], ["embeddings", "sums"])
    x = MNN.expr.const(features, list(features.shape), MNN.expr.NCHW, MNN.expr.float)
    return [np.array(MNN.expr.convert(y, MNN.expr.NCHW).read()) for y in module.forward([x])]


torch.manual_seed(0)
tower, features = Tower().eval(), torch.randn(32, 8)
names = {"input_names": ["features"], "output_names": ["embeddings", "sums"]}
lengths, sums, right = {}, {}, {}
for batch in (32, 1):
    for opset, dynamo in ((17, False), (18, True)):
        file = f"tower-{batch}-{opset}.onnx"
        torch.onnx.export(tower, (features[:batch],), file, opset_version=opset, dynamo=dynamo, verbose=False, **names)
        x = features[:batch].numpy()
        reference = onnxruntime.InferenceSession(file).run(None, {"features": x})
        seen = mnn(x, file)
        lengths[batch, opset] = np.linalg.norm(seen[0], axis=-1)
        sums[batch, opset] = seen[1].shape
        right[batch, opset] = np.allclose(reference[0], tower(features[:batch])[0].detach(), atol=1e-5)
for key, length in lengths.items():
    print(f"batch and opset {key}: lengths from {length.min():.2f} to {length.max():.2f},", end=" ")
    print(f"logsumexp has the shape {sums[key]}; ONNX Runtime is right: {right[key]}")
as_described = all(right.values()) and sums[32, 17] == (32,) and sums[32, 18] == ()
as_described &= all(np.allclose(lengths[key], 1, atol=1e-3) for key in ((32, 17), (1, 17), (1, 18)))
as_described &= bool(lengths[32, 18].max() < 0.5) and abs((lengths[32, 18] ** 2).sum() - 1) < 1e-3
sys.exit(0 if as_described else "changed: this is no longer what MNN does")
PY
