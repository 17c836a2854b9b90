#!/usr/bin/env bash
# torch 2.13.0: the first update of an `AveragedModel` with decay 0.99 replaces the average by the model, whole.
#
# Guessed: every update moves the average by 0.01 of the way; so a target encoder that was averaged before, and is put
# into a new AveragedModel, goes on from there.
# Seen: the first update copies the model, whatever decay is asked for; only from the second on it is an average. The
# count of updates is in the state dict of AveragedModel, not in the one of its `module`. So a run that keeps and
# loads the module (the weights that people ship), and a target that begins apart from the online encoder, lose
# all that was averaged at the first step. Nothing is said.
# Where it matters: target encoders of JEPA, BYOL and DINO, momentum teachers; a second stage that begins from EMA weights.
# Way round: set `average.n_averaged.fill_(1)` before the first update, or load the state of the whole AveragedModel.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6
run <<'PY'
import copy, sys
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def filled(value):
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, value)
    return layer


online = filled(1.0)
seen = {}
for name in ("new", "told that it is one", "state of the whole"):
    target = AveragedModel(filled(0.0), multi_avg_fn=get_ema_multi_avg_fn(0.99))
    if name == "told that it is one":
        target.n_averaged.fill_(1)
    if name == "state of the whole":
        earlier = copy.deepcopy(target)
        earlier.update_parameters(filled(0.0))
        target.load_state_dict(earlier.state_dict())
    values = []
    for _ in range(2):
        target.update_parameters(online)
        values.append(round(target.module.weight.item(), 4))
    seen[name] = values
    print(f"average 0, model 1, decay 0.99, {name}: after one update {values[0]}, after two {values[1]}")
as_described = list(seen.values()) == [[1.0, 1.0], [0.01, 0.0199], [0.01, 0.0199]]
sys.exit(0 if as_described else "changed: this is no longer what torch does")
PY
