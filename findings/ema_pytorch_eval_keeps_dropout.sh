#!/usr/bin/env bash
# ema-pytorch 0.8.3: `EMA.forward_eval` runs the average with dropout on, and its BatchNorm moves with each call.
#
# Guessed: `forward_eval` is a forward pass of the averaged model in evaluation mode, without gradient; that is what the
# comment beside it says.
# Seen: it remembers whether the model is in training mode and puts that back at the end, but never leaves the mode in
# between. The average is a copy of a model in training mode and stays in it. So one input has another embedding each
# time (the cosine of two of them is 0.51 here), a row depends on its batch, and the running statistics of the average are
# those of what was evaluated last: evaluating changes the model that is saved. Nothing is said.
# Where it matters: the target of a JEPA or DINO, and the weights that are measured and shipped.
# Way round: `ema.eval()` once, which stays; after it `forward_eval` is right.
. "$(dirname "$0")/_setup.sh"
install ema-pytorch==0.8.3 torch==2.13.0 numpy==2.4.6
run <<'PY'
import copy
import sys
import torch
from ema_pytorch import EMA

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.BatchNorm1d(256), torch.nn.ReLU(), torch.nn.Dropout(0.5))
model.append(torch.nn.Linear(256, 64))
ema = EMA(model, beta=0.99, update_after_step=0, update_every=1)
ema.update()
inputs = torch.randn(32, 64) + 3


def distance():
    a, b = ema.forward_eval(inputs), ema.forward_eval(inputs)
    alone = ema.ema_model(inputs[:1]) if not ema.ema_model.training else None
    print(f"  cosine of two calls: {torch.cosine_similarity(a, b).mean():.3f}, gradient: {a.requires_grad}")
    return torch.equal(a, b), None if alone is None else torch.allclose(alone, b[:1], atol=1e-5)


before = copy.deepcopy(ema.ema_model[1].running_mean)
print("as it is made:")
first = distance()
moved = (ema.ema_model[1].running_mean - before).abs().max().item()
print(f"  the average's running mean has moved by {moved:.3f}")
ema.eval()
before = copy.deepcopy(ema.ema_model[1].running_mean)
print("after ema.eval():")
second = distance()
still = torch.equal(ema.ema_model[1].running_mean, before)
as_described = first == (False, None) and moved > 0.1 and second == (True, True) and still
sys.exit(0 if as_described else "changed: this is no longer what ema-pytorch does")
PY
