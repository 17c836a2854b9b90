#!/usr/bin/env bash
# torch 2.13.0, onnxscript 0.7.2: exported to ONNX, the mean of a mask is 0, a mean by group the last row of the group.
#
# Guessed: an exported graph gives what the module gives, up to rounding, or the export raises.
# Seen (`torch.onnx.export`, ONNX Runtime): `mask.mean(1, dtype=torch.float32)` of whole numbers takes the mean in whole
# numbers and then makes it float32: 0.75 and 0.25 become 0. `scatter_reduce(..., "mean")`, which pools captions by
# their image, is exported as a plain scatter: each group is its last row. "sum" and "amax" are right. `logsigmoid`
# becomes log(sigmoid(x)): -50 becomes -inf. Neither the export nor the session says a word; shapes and types are right.
# Where it matters: masked pooling, the share of a caption that is hidden, images with several captions, sigmoid scores.
# A mask of ones, or one caption an image, does not show it.
# Way round: `mask.float().mean(1)`; the sum over groups divided by the count; `-softplus(-x)`; compare outputs.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
run <<'PY'
import logging
import sys
import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F

logging.disable(logging.WARNING)
mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
captions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [4.0, 4.0], [2.0, 0.0], [0.0, 6.0]])
image = torch.tensor([0, 0, 0, 1, 1])[:, None].expand(-1, 2)


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def pooled(reduce):
    return lambda x: torch.zeros(2, 2).scatter_reduce(0, image, x, reduce, include_self=False)


def counted(x):
    return torch.zeros(2, 2).scatter_reduce(0, image, x, "sum") / torch.tensor([[3.0], [2.0]])


cases = {
    "mean of a mask": (lambda x: x.mean(1, dtype=torch.float32), mask),
    "mean of the mask in float32": (lambda x: x.float().mean(1), mask),
    "scatter_reduce mean": (pooled("mean"), captions),
    "sum by count": (counted, captions),
    "logsigmoid": (F.logsigmoid, torch.tensor([-1.0, -50.0])),
    "-softplus(-x)": (lambda x: -F.softplus(-x), torch.tensor([-1.0, -50.0])),
}
seen = {}
for name, (function, x) in cases.items():
    right = function(x).numpy()
    torch.onnx.export(Module(function).eval(), (x,), dynamo=True, verbose=False).save("graph.onnx")
    session = onnxruntime.InferenceSession("graph.onnx", providers=["CPUExecutionProvider"])
    exported = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    seen[name] = right, exported
    print(f"{name}: torch {right.round(3).tolist()}, exported {exported.round(3).tolist()}, {exported.dtype}")
same = [np.allclose(right, exported) for right, exported in seen.values()]
as_described = (
    same == [False, True] * 3
    and not seen["mean of a mask"][1].any()
    and np.array_equal(seen["scatter_reduce mean"][1], captions[[2, 4]].numpy())
    and np.isneginf(seen["logsigmoid"][1][1])
)
sys.exit(0 if as_described else "changed: this is no longer what the export does")
PY
