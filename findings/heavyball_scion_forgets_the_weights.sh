#!/usr/bin/env bash
# heavyball 3.2.1: the first step of `Scion` replaces the weights by random ones, and LayerNorm and temperature by 0.
#
# Guessed: an optimizer moves the weights by no more than its learning rate allows: one of 1e-8 changes nothing visible.
# Seen: at a parameter's first gradient `Scion` sets it anew: matrices and convolutions to random orthogonal ones,
# everything with fewer dimensions to 0, the scales of LayerNorm and `logit_scale` too. What was pretrained is gone; a
# tower that is unfrozen later is emptied then. The other optimizers of the package keep the weights. A loaded
# optimizer state saves them; without one a resumed run starts from nothing. Neither the class nor the readme says so.
# Where it matters: tuning a pretrained encoder with it, where the loss of the first steps looks like a rate too high.
# Way round: train from random weights with it, or write the weights back after the first step.
. "$(dirname "$0")/_setup.sh"
install heavyball==3.2.1 torch==2.13.0 numpy==2.4.6
export TORCHDYNAMO_DISABLE=1 # no compiler is needed then
run <<'PY'
import copy, sys
import heavyball
import torch

torch.manual_seed(0)


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.LayerNorm(32), torch.nn.Linear(32, 8))
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.66))

    def forward(self, x):
        return self.layers(x) * self.logit_scale.exp()


x, y = torch.randn(200, 16), torch.randn(200, 8)


def loss_of(model):
    return (model(x) - y).square().mean()


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


pretrained = Tower()
train(pretrained, torch.optim.AdamW(pretrained.parameters(), lr=0.01), 300)
print(f"pretrained: loss {loss_of(pretrained).item():.3f}")


def one_step(name, state=None):
    model = copy.deepcopy(pretrained)
    optimizer = getattr(heavyball, name)(model.parameters(), lr=1e-8)
    if state is not None:
        optimizer.load_state_dict(state)
    train(model, optimizer, 1)
    old, new = pretrained.layers[0].weight.flatten(), model.layers[0].weight.flatten()
    seen = {
        "cosine of the first weights": round(torch.cosine_similarity(old, new, dim=0).item(), 2),
        "LayerNorm": round(model.layers[1].weight.abs().max().item(), 2),
        "logit_scale": round(model.logit_scale.item(), 2),
        "loss": round(loss_of(model).item(), 3),
    }
    print(f"{name} with lr 1e-8, one step: {seen}")
    return seen, optimizer.state_dict()


kept = {name: one_step(name)[0]["cosine of the first weights"] for name in ("AdamW", "NAdam", "LaProp", "Muon")}
seen, state = one_step("Scion")
with_state, _ = one_step("Scion", state)
as_described = min(kept.values()) == 1 and abs(seen["cosine of the first weights"]) < 0.2
as_described &= seen["LayerNorm"] == seen["logit_scale"] == 0 and with_state["cosine of the first weights"] == 1
sys.exit(0 if as_described else "changed: this is no longer what heavyball does")
PY
