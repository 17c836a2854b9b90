#!/usr/bin/env bash
# torch 2.13.0: two optimizers that loaded one state dict share their moments and their count of steps.
#
# Guessed: `load_state_dict` of an optimizer copies, as that of a module does: two branches that go on from one state in
# memory (two rates, two seeds, the best epoch that was kept) are each what they would be alone.
# Seen (AdamW and SGD with momentum): the tensors of the state dict become those of the optimizer, with no copy. Ten
# steps of one branch move the moments of the other, and AdamW's count of steps too: both counts rise by 20. The first
# branch is right, the second one's weights differ. Going back to a state that was kept in memory gives the moments of
# the later step with the weights of the earlier one. A state that each branch reads from a file is right.
# Where it matters: a search for the rate that starts each trial from one warmed-up state; rollback after a bad epoch.
# Way round: `load_state_dict(copy.deepcopy(state))`.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6
run <<'PY'
import copy
import sys
import torch

torch.manual_seed(0)
inputs = torch.randn(64, 8)
targets = inputs @ torch.randn(8, 1) + torch.randn(64, 1)
kinds = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.02),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
}


def steps(model, optimizer, count):
    for _ in range(count):
        optimizer.zero_grad()
        (model(inputs) - targets).square().mean().backward()
        optimizer.step()
    return model.weight.detach().clone()


def branch(kind, weights, state):
    model = torch.nn.Linear(8, 1)
    model.load_state_dict(weights)
    optimizer = kinds[kind](model.parameters())
    optimizer.load_state_dict(state)
    return model, optimizer


as_described = True
for kind in kinds:
    torch.manual_seed(1)
    model = torch.nn.Linear(8, 1)
    optimizer = kinds[kind](model.parameters())
    steps(model, optimizer, 5)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    alone = steps(*branch(kind, weights, copy.deepcopy(state)), 10)
    first, second = branch(kind, weights, state), branch(kind, weights, state)
    after = [steps(*first, 10), steps(*second, 10)]
    off = [float((result - alone).abs().max()) for result in after]
    shared = first[1].state_dict()["state"][0], second[1].state_dict()["state"][0]
    name = "exp_avg" if kind == "AdamW" else "momentum_buffer"
    same = shared[0][name].data_ptr() == shared[1][name].data_ptr()
    print(f"{kind}: off by {off[0]:.4f} in the first branch, {off[1]:.4f} in the second; one {name}: {same}")
    if kind == "AdamW":
        count = [int(s["step"]) for s in shared]
        print(f"  steps counted after 5 + 10 in each branch: {count}")
        as_described &= count == [25, 25]
    back = steps(*branch(kind, weights, state), 10)
    print(f"  a third branch from the state that was kept: off by {float((back - alone).abs().max()):.4f}")
    as_described &= same and off[0] < 1e-6 and off[1] > 1e-3 and float((back - alone).abs().max()) > 1e-3
sys.exit(0 if as_described else "changed: this is no longer what torch does")
PY
