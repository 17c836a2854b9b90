#!/usr/bin/env bash
# torch 2.13.0: `clip_grad_norm_` of a list that names a shared weight twice divides its gradient twice.
#
# Guessed: a gradient that is named twice counts twice in the norm, so all are scaled a little too far; or it is
# counted once, as in `Module.parameters()`.
# Seen: it is counted and scaled twice: with a norm of 1,000 it becomes 1,000 times smaller than the others'. After
# clipping to 1 the norm is 0.6 in place of 1, and nearly nothing of the shared gradient is left: with SGD the
# weight stands still while both towers train. An optimizer refuses or warns of the same list; clipping says nothing.
# Where it matters: two towers with one token table or one projection, `[*image.parameters(), *text.parameters()]`.
# Way round: the parameters of one module that holds both, or `list(dict.fromkeys(parameters))`.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torch.nn.utils import clip_grad_norm_


def train(once, foreach):
    torch.manual_seed(0)
    image, text = (torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4, bias=False)) for _ in range(2))
    text[1].weight = image[1].weight
    both = torch.nn.ModuleList([image, text])
    start = [parameter.detach().clone() for parameter in both.parameters()]
    optimizer = torch.optim.SGD(both.parameters(), lr=0.1)
    x, y = torch.randn(64, 8), torch.randn(64, 8)
    for _ in range(20):
        optimizer.zero_grad()
        (1000 * (image(x) - text(y)).square().mean()).backward()
        clipped = list(both.parameters()) if once else [*image.parameters(), *text.parameters()]
        clip_grad_norm_(clipped, 1.0, foreach=foreach)
        optimizer.step()
    moved = {name: (new - old).norm().item() for (name, new), old in zip(both.named_parameters(), start)}
    norm = torch.stack([parameter.grad.norm() for parameter in both.parameters()]).norm().item()
    return moved["0.1.weight"], moved["0.0.weight"], norm


as_described = True
for foreach in (True, False):
    shared, own, norm = train(True, foreach)
    shared_twice, own_twice, norm_twice = train(False, foreach)
    print(f"named once: the shared weight moves by {shared:.3f}, the image's own by {own:.3f}, clipped norm {norm:.2f}")
    print(f"named twice: {shared_twice:.5f}, {own_twice:.3f}, {norm_twice:.2f}")
    as_described &= shared > 0.1 and shared_twice < shared / 50 and own_twice > own / 3 and norm > 0.99 > norm_twice
sys.exit(0 if as_described else "changed: this is no longer what torch does")
PY
