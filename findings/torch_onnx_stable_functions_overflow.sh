#!/usr/bin/env bash
# torch 2.13.0, onnxscript 0.7.2: exported to ONNX, `logsigmoid` and `logaddexp` are infinite where torch has a number.
#
# Guessed: functions that exist because the plain formula overflows are exported as such, as `logsumexp`, `log_softmax`
# and `softplus` are.
# Seen: `logsigmoid` becomes log(sigmoid(x)), minus infinity from -104 on at the latest; from -18 on in ONNX Runtime,
# whose sigmoid is 0 there. `logaddexp` becomes log(exp(a) + exp(b)): infinite from 89 on, minus infinity from -104 on.
# Export, checker and runtime say nothing.
# Where it matters: SigLIP's pair score as a log-probability, where most pairs of an index have logits below -18 and all
# tie; ensembles that add probabilities as logs.
# Way round: `-softplus(-x)`; `logsumexp` of both.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
run <<'PY'
import io, logging, sys
import numpy as np
import onnxruntime
import torch
from torch.nn import functional as F

logging.disable(logging.WARNING)


class Function(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


x = torch.tensor([-200.0, -110.0, -10.0, 0.0, 50.0, 110.0])
functions = {
    "logsigmoid": F.logsigmoid,
    "-softplus(-x)": lambda x: -F.softplus(-x),
    "logaddexp": lambda x: torch.logaddexp(x, x - 1),
    "logsumexp": lambda x: torch.stack([x, x - 1]).logsumexp(0),
    "log_softmax": lambda x: F.log_softmax(torch.stack([x, x * 0]), 0)[0],
}
same = {}
for name, function in functions.items():
    file = io.BytesIO()
    torch.onnx.export(Function(function).eval(), (x,), dynamo=True, verbose=False, opset_version=20).save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    (exported,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    own = function(x).numpy()
    same[name] = bool(np.allclose(own, exported, rtol=1e-3, atol=1e-6))
    print(f"{name} of {x.tolist()}:\n  torch {own.round(2).tolist()}\n  ONNX  {exported.round(2).tolist()}")
    if name in ("logsigmoid", "logaddexp"):
        same[name] = same[name] or not np.isneginf(exported[:2]).all()
as_described = list(same.values()) == [False, True, False, True, True]
sys.exit(0 if as_described else "changed: this is no longer what the exporter does")
PY
