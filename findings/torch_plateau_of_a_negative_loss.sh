#!/usr/bin/env bash
# torch 2.13.0: `ReduceLROnPlateau` of a negative loss takes standing still, and getting worse, for the best epoch yet.
#
# Guessed: with the defaults (`mode="min"`, a relative threshold of 0.0001) an epoch counts if the loss has fallen by
# 0.01 %; after ten epochs without that the learning rate falls, whatever the loss's sign.
# Seen: the bound is best * (1 - threshold), which lies above a negative best: -0.9 after -0.9 is better, again and
# again, and the rate never falls. With `threshold=0.05` a loss that climbs from -0.90 to -0.10 by 4 % an epoch is the
# best each time, and `best` climbs with it. `mode="max"` does so with a negative score. The same losses plus 1 are
# seen as a plateau. Nothing is said.
# Where it matters: minus the mean cosine as the loss (BYOL, SimSiam, prediction of embeddings), log-likelihoods, a
# score below 0 that is to be maximal.
# Way round: `threshold_mode="abs"`, or 1 - cosine as the loss.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch


def cuts(losses, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    for loss in losses:
        scheduler.step(loss)
    found = round(-torch.tensor(optimizer.param_groups[0]["lr"]).log10().item())
    print(f"losses {losses[0]:.2f} ... {losses[-1]:.2f}, {options}: rate cut {found} times, best {scheduler.best:.2f}")
    return found, scheduler.best


still = [-0.9] * 60
rising = [-0.9 * 0.96**epoch for epoch in range(55)]
seen = {
    "still": cuts(still),
    "still + 1": cuts([loss + 1 for loss in still]),
    "still, absolute": cuts(still, threshold_mode="abs"),
    "rising": cuts(rising, threshold=0.05),
    "rising + 1": cuts([loss + 1 for loss in rising], threshold=0.05),
    "rising, absolute": cuts(rising, threshold=0.05, threshold_mode="abs"),
    "falling score, max": cuts([-0.1 * 1.04**epoch for epoch in range(55)], threshold=0.05, mode="max"),
}
number = {name: found for name, (found, _) in seen.items()}
as_described = number["still"] == number["rising"] == number["falling score, max"] == 0
as_described &= all(number[name] >= 4 for name in ("still + 1", "still, absolute", "rising + 1", "rising, absolute"))
as_described &= seen["rising"][1] > -0.2 and seen["rising, absolute"][1] < -0.89
sys.exit(0 if as_described else "changed: this is no longer what torch does")
PY
