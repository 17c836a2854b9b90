#!/usr/bin/env bash
# torch 2.13.0: a training loop inside one `torch.autocast` computes every step with the weights of the first.
#
# Guessed: whether autocast is entered once around the loop or again in every step is a matter of style.
# Seen: autocast keeps the bfloat16 copy that it made of each weight until its outermost block ends, and looks neither at
# the weight's values nor at its version. `optimizer.step()` in the block changes the weights and no output: the loss is
# the same number at each step, and each gradient is the first one, so the weights run away in a straight line. What is
# seen after the block is the runaway model. Nothing is said.
# Where it matters: one `with torch.autocast(...)` around an epoch; a momentum teacher updated and used in the block.
# Way round: enter autocast around each forward pass alone, or pass `cache_enabled=False`.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6
run <<'PY'
import contextlib, sys
import torch

STEPS = 200


def train(outer, inner):
    torch.manual_seed(0)
    rows = torch.randn(64, 8)
    wanted = rows.sum(1, keepdim=True)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    losses = []
    with outer():
        for _ in range(STEPS):
            with inner():
                loss = (model(rows).float() - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with torch.no_grad():
        return losses[0], losses[-1], (model(rows) - wanted).square().mean().item()


def half(**options):
    return lambda: torch.autocast("cpu", torch.bfloat16, **options)


seen = {
    "autocast in every step": train(contextlib.nullcontext, half()),
    "autocast around the loop": train(half(), contextlib.nullcontext),
    "around the loop, cache_enabled=False": train(half(cache_enabled=False), contextlib.nullcontext),
}
for name, (first, last, after) in seen.items():
    print(f"{name:37} loss at step 1 {first:.4f}, at step {STEPS} {last:.4f}; in float32 afterwards {after:.4f}")
inside, around, uncached = seen.values()
as_described = (
    inside[1] < 0.01 and uncached[1] < 0.01 and around[0] == around[1] > 1 and around[2] > 100 * around[0]
)
sys.exit(0 if as_described else "changed: this is no longer what torch does")
PY
