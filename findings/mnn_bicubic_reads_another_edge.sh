#!/usr/bin/env bash
# MNN 3.6.1: a map that is enlarged bicubically has other numbers in its first row and column.
#
# Guessed: ONNX's `Resize` with "cubic" and "half_pixel", which torch exports for `interpolate(mode="bicubic")`, gives
# what torch and ONNX Runtime give, as it does with "linear".
# Seen: the first output lies left of the first input, at -0.25 for a doubled map, and is given the value of the third
# one: of a ramp 0, 1, 2, 3 the first of eight is 0.668 where -0.105 is right; rows likewise. Position embeddings of 14 x
# 14, enlarged to 16 x 16, differ in 31 of 256 places and have the cosine 0.86 to the right ones. Shrunk maps,
# "align_corners" and linear ones are right. The conversion ends with success.
# Where it matters: vision transformers at a larger resolution than they were trained for, and enlarged feature maps.
# Way round: the positions enlarged before the export, so that they are constants.
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
from torch.nn.functional import interpolate


class Enlarge(torch.nn.Module):
    def __init__(self, size, mode, align):
        super().__init__()
        self.size, self.settings = (size, size), {"mode": mode, "align_corners": align}

    def forward(self, maps):
        return interpolate(maps, self.size, **self.settings)


def outputs(maps, size, mode="bicubic", align=False):
    module = Enlarge(size, mode, align)
    names = {"input_names": ["maps"], "output_names": ["y"]}
    torch.onnx.export(module, (maps,), "m.onnx", dynamo=True, verbose=False, **names)
    _tools.mnnconvert(["", "-f", "ONNX", "--modelFile", "m.onnx", "--MNNModel", "m.mnn", "--bizCode", "finding"])
    x = MNN.expr.const(maps.numpy(), list(maps.shape), MNN.expr.NCHW, MNN.expr.float)
    seen = MNN.nn.load_module_from_file("m.mnn", ["maps"], ["y"]).forward([x])[0]
    seen = np.array(MNN.expr.convert(seen, MNN.expr.NCHW).read())
    reference = onnxruntime.InferenceSession("m.onnx").run(None, {"maps": maps.numpy()})[0]
    assert np.allclose(reference, module(maps), atol=1e-4)
    return seen, reference


ramp = torch.arange(4.0).expand(1, 1, 4, 4).contiguous()
seen, right = outputs(ramp, 8)
lines = [f"a ramp: {seen[0, 0, 4].round(3).tolist()}", f"right: {right[0, 0, 4].round(3).tolist()}"]
as_described = np.allclose(seen[0, 0, 4, 0], right[0, 0, 4, 2], atol=1e-4)
torch.manual_seed(0)
for before, after, mode, align, expected in (
    (14, 16, "bicubic", False, 31),
    (14, 24, "bicubic", False, 47),
    (16, 14, "bicubic", False, 0),
    (14, 16, "bicubic", True, 0),
    (14, 16, "bilinear", False, 0),
):
    seen, right = outputs(torch.randn(1, 64, before, before), after, mode, align)
    wrong = (np.abs(seen - right) > 1e-3).any(axis=(0, 1))
    cosine = float((seen * right).sum() / np.linalg.norm(seen) / np.linalg.norm(right))
    case = f"{before} to {after}, {mode}, align_corners={align}"
    lines.append(f"{case}: {wrong.sum()} places differ, cosine {cosine:.2f}")
    as_described &= wrong.sum() == expected and not wrong[1:, 1:].any() and (cosine < 0.95) == (expected > 0)
print(*lines, sep="\n")
sys.exit(0 if as_described else "changed: this is no longer what MNN does")
PY
