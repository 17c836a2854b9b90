#!/usr/bin/env bash
# torch 2.13.0: a warm-up schedule that is built after the optimizer was loaded gives a ninth of its rate to the end.
#
# Guessed: `load_state_dict` of optimizer and scheduler restores the rate, in whatever order the four lines stand.
# Seen (5 steps of LinearLR from 0.1, then CosineAnnealingLR, resumed after 8 of 20): if both are built and then both
# loaded, the rates are those of an unbroken run. If the optimizer is loaded before the scheduler is built, each rate
# that follows is 0.11 of the right one: building sets the rate to that of step 0, loading the scheduler does not set it
# back, and the cosine multiplies what it finds. ChainedScheduler (0.1) and ConstantLR (its factor) do the same;
# OneCycleLR and CosineAnnealingWarmRestarts take one step with a wrong rate. CosineAnnealingLR alone is right in both
# orders, and so adding a warm-up breaks a script that resumed well. Right after loading, `get_last_lr()` gives the
# right rate where the optimizer has the wrong one.
# Way round: build everything, then load everything; check `group["lr"]`, not `get_last_lr()`.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LinearLR,
    OneCycleLR,
    SequentialLR,
)

schedules = {
    "cosine": lambda o: CosineAnnealingLR(o, 20),
    "warm-up, then cosine": lambda o: SequentialLR(o, [LinearLR(o, 0.1, 1, 5), CosineAnnealingLR(o, 15)], [5]),
    "warm-up chained with cosine": lambda o: ChainedScheduler([LinearLR(o, 0.1, 1, 5), CosineAnnealingLR(o, 20)]),
    "constant": lambda o: ConstantLR(o, 0.5, 5),
    "one cycle": lambda o: OneCycleLR(o, 1.0, total_steps=21),
    "warm restarts": lambda o: CosineAnnealingWarmRestarts(o, 15),
}


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=1.0)


def rates(optimizer, scheduler, steps):
    result = []
    for _ in range(steps):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return result


def resumed(build, late):
    first = optimizer()
    scheduler = build(first)
    rates(first, scheduler, 8)
    saved, schedule = first.state_dict(), scheduler.state_dict()
    second = optimizer()
    if late:
        second.load_state_dict(saved)
        scheduler = build(second)
    else:
        scheduler = build(second)
        second.load_state_dict(saved)
    scheduler.load_state_dict(schedule)
    said = scheduler.get_last_lr()[0]
    return said, rates(second, scheduler, 11)


as_described = True
wrong = {"cosine": 1, "warm-up, then cosine": 0.1 / 0.9045085, "warm-up chained with cosine": 0.1, "constant": 0.5}
for name, build in schedules.items():
    one = optimizer()
    right = rates(one, build(one), 19)[8:]
    _, early = resumed(build, late=False)
    said, late = resumed(build, late=True)
    ratio = [a / b for a, b in zip(late, right)]
    print(f"{name}: built first {early[0]:.3f}; loaded first {late[0]:.3f}, get_last_lr {said:.3f}")
    print("  loaded first, against the right rates:", [round(r, 2) for r in ratio])
    expected = [wrong[name]] * 11 if name in wrong else [ratio[0]] + [1] * 10
    as_described &= (
        all(abs(a - b) < 1e-6 for a, b in zip(early, right))
        and all(abs(a - b) < 1e-6 for a, b in zip(ratio, expected))
        and abs(said - right[0]) < 1e-6
        and (name == "cosine") == (abs(ratio[0] - 1) < 1e-6)
    )
sys.exit(0 if as_described else "changed: this is no longer what torch does")
PY
