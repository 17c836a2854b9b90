#!/usr/bin/env bash
# torchmetrics 1.9.0: metrics with other settings become one metric in a `MetricCollection` if their first batch agrees.
#
# Guessed: each metric of a collection has the value that it has alone, and the order of the batches does not matter.
# Seen: after the first `update` metrics whose states are equal share one state for good, whatever their settings are.
# Accuracy at the thresholds 0.5 and 0.7 counts alike in a first batch without a score between; from then on both count
# at 0.5. Accuracy with and without one class (`ignore_index`) is one if the first batch does not hold this class. With
# the same batches in the other order each value is right. Nothing is said.
# Where it matters: a sweep of thresholds, zero-shot labels with and without "other"; a first batch that is easy or
# sorted.
# Way round: `MetricCollection(..., compute_groups=False)`.
. "$(dirname "$0")/_setup.sh"
install torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy

other = 2
labels = {
    "all labels": lambda: MulticlassAccuracy(3, average="micro"),
    "without other": lambda: MulticlassAccuracy(3, average="micro", ignore_index=other),
}
cats = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 0, 0])
others = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 2, 2])
cuts = {f"at {t} %": lambda t=t: BinaryAccuracy(threshold=t / 100) for t in (50, 70)}
clear = torch.tensor([0.9, 0.1, 0.8, 0.2]), torch.tensor([1, 0, 1, 0])
between = torch.tensor([0.6, 0.6, 0.65, 0.55]), torch.tensor([1, 1, 0, 1])


def value(metric, batches):
    for batch in batches:
        metric.update(*batch)
    return metric.compute()


as_described = True
for metrics, batches in ((cuts, [clear, between]), (labels, [cats, others])):
    alone = {name: round(float(value(make(), batches)), 3) for name, make in metrics.items()}
    seen = []
    for order in (batches, batches[::-1]):
        collection = MetricCollection({name: make() for name, make in metrics.items()})
        seen.append({name: round(float(v), 3) for name, v in value(collection, order).items()})
    print(f"each alone: {alone}\n  in a collection: {seen[0]}\n  the batches in the other order: {seen[1]}")
    as_described &= seen[1] == alone and seen[0] != alone and len(set(seen[0].values())) == 1
sys.exit(0 if as_described else "changed: this is no longer what torchmetrics does")
PY
