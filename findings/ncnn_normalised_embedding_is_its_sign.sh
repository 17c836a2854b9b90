#!/usr/bin/env bash
# ncnn and pnnx 20261020: a normalised embedding becomes its signs.
#
# Guessed: a linear tower that ends in `normalize(x, dim=-1)`, converted by pnnx and run by ncnn as in the test that
# pnnx writes beside it, gives torch's numbers, as it does without the last step.
# Seen: each number is divided by its own size, so that all are 1 or -1, in a batch of one or four. ncnn's layer has no
# axis, only "over channels", and rows without a known batch axis have one channel or are channels themselves. Token
# embeddings of a caption become signs as well. Behind a convolution, where the batch axis is known, a map is right.
# `softmax` over the last axis, `norm` and `x / x.norm()` are right. Nothing is said.
# Where it matters: towers for phones and small boards: signs still rank, so a search looks half right.
# Way round: `x / x.norm(dim=-1, keepdim=True)`, or normalise behind the model.
. "$(dirname "$0")/_setup.sh"
install ncnn==1.0.20261020 pnnx==20261020 torch==2.13.0 numpy==2.4.6
cat >"$folder/towers.py" <<'PY'
import torch
from torch.nn.functional import normalize


class Tower(torch.nn.Module):
    def __init__(self, last):
        super().__init__()
        torch.manual_seed(1)
        self.projection, self.last = torch.nn.Linear(8, 4), last

    def forward(self, features):
        return self.last(self.projection(features))


LAST = {
    "plain": lambda x: x,
    "normalised": lambda x: normalize(x, dim=-1),
    "divided": lambda x: x / x.norm(dim=-1, keepdim=True),
    "softmax": lambda x: torch.softmax(x, dim=-1),
}


def features(batch):
    torch.manual_seed(0)  # as in the test files of pnnx
    return torch.rand(batch, 8, dtype=torch.float)
PY
run >"$folder/log" 2>&1 <<'PY'
import pnnx
from towers import LAST, Tower, features

for name, last in LAST.items():
    for batch in (1, 4):
        pnnx.export(Tower(last).eval(), f"{name}_{batch}.pt", (features(batch),), fp16=False)
PY
run <<'PY'
import importlib
import sys
import torch
from towers import LAST, Tower, features

error, signs = {}, {}
for name, last in LAST.items():
    for batch in (1, 4):
        seen = importlib.import_module(f"{name}_{batch}_ncnn").test_inference()
        expected = Tower(last)(features(batch)).detach()
        error[name, batch] = float((seen - expected).abs().max())
        print(f"{name}, batch of {batch}: the largest error is {error[name, batch]:.4f}")
        if name == "normalised":
            print("  the first row of ncnn", [round(x, 3) for x in seen[0].tolist()], end=", ")
            print("of torch", [round(x, 3) for x in expected[0].tolist()])
            signs[batch] = bool(torch.allclose(seen, expected.sign(), atol=1e-3))
as_described = signs == {1: True, 4: True} and min(error["normalised", batch] for batch in (1, 4)) > 0.3
as_described &= all(error[name, batch] < 0.02 for name in LAST if name != "normalised" for batch in (1, 4))
sys.exit(0 if as_described else "changed: this is no longer what ncnn and pnnx do")
PY
