#!/usr/bin/env bash
# torchmetrics 1.9.0: `MetricTracker.best_metric` names the epoch that broke down.
#
# Guessed: an epoch whose metric is NaN is never the best one; 0.4 is, the smallest (or largest) number.
# Seen: the best of 0.9, 0.4, NaN and 0.5 is NaN, at the step of the NaN, whether it is to be large or small, for one
# metric and for a collection. Nothing is said, and training that recovered keeps the broken epoch's checkpoint.
# Where it matters: choosing a checkpoint by the tracker; a loss that is NaN once, as in half precision, and a
# correlation of constant outputs, which is NaN by definition (a collapsed epoch is chosen).
# Way round: `tracker.compute_all()` and `nanargmax` of it.
. "$(dirname "$0")/_setup.sh"
install torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import math, sys
import torch
from torchmetrics import MeanSquaredError, MetricCollection, MetricTracker, PearsonCorrCoef

torch.manual_seed(0)
target = torch.randn(50)
noise = torch.randn(50)
as_described = True
for name, metric, largest, epochs in (
    ("squared error", MeanSquaredError(), False, [target + 0.9, target + 0.4, target * float("nan"), target + 0.5]),
    ("correlation", PearsonCorrCoef(), True, [noise, target + noise, torch.zeros(50), target + 2 * noise]),
    ("collection", MetricCollection([PearsonCorrCoef()]), [True], [noise, target + noise, torch.zeros(50), noise]),
):
    tracker = MetricTracker(metric, maximize=largest)
    for predictions in epochs:
        tracker.increment()
        tracker.update(predictions, target)
    values = tracker.compute_all()
    values = values["PearsonCorrCoef"] if isinstance(values, dict) else values
    best, step = tracker.best_metric(return_step=True)
    best, step = (best["PearsonCorrCoef"], step["PearsonCorrCoef"]) if isinstance(best, dict) else (best, step)
    print(f"{name}: {[round(value, 2) for value in values.tolist()]}, best {best} at step {step}")
    as_described &= math.isnan(best) and step == 2
sys.exit(0 if as_described else "changed: this is no longer what torchmetrics does")
PY
