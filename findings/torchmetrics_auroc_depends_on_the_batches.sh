#!/usr/bin/env bash
# torchmetrics 1.9.0: the AUROC of one set of cosines is 0.93 in one batch and 0.71 in batches of 64.
#
# Guessed: AUROC knows the order of the scores only: neither the batches nor a positive factor change it.
# Seen: a batch that has a score outside [0, 1] is taken for logits and goes through a sigmoid (that much is in the
# documentation), a batch without one stays as it is, and both are kept in one list. Of 4,000 cosines 1 % are below 0:
# their batches lie at about 0.5, above the right pairs of the others. And CLIP's logits, 100 times the cosine, are 1.0
# after a sigmoid in float32 from 17 on: all ties. `RetrievalAUROC`, whose page names no sigmoid, gives 0.5 to a perfect
# ranking.
# Where it matters: matched against mismatched pairs, filters of image-text pairs, near duplicates, by cosine or logit.
# Way round: one `update` with (cosine + 1) / 2, never logits; or scikit-learn.
. "$(dirname "$0")/_setup.sh"
install torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision
from torchmetrics.retrieval import RetrievalAUROC

generator = torch.Generator().manual_seed(0)
pairs = 4000
matched = (torch.rand(pairs, generator=generator) < 0.5).int()
cosines = torch.where(matched == 1, 0.25, 0.12) + 0.06 * torch.randn(pairs, generator=generator)


def measured(kind, scores, size):
    metric = kind()
    for start in range(0, pairs, size):
        metric.update(scores[start : start + size], matched[start : start + size])
    return round(float(metric.compute()), 3)


print(f"{float((cosines < 0).float().mean()):.1%} of the cosines are below 0")
as_described = True
for kind in (BinaryAUROC, BinaryAveragePrecision):
    sizes = {size: measured(kind, cosines, size) for size in (1, 16, 64, 256, pairs)}
    moved, logits = measured(kind, (cosines + 1) / 2, 64), measured(kind, cosines * 100, pairs)
    print(f"{kind.__name__} by batch size: {sizes}; (cosine + 1) / 2 in batches of 64: {moved}; 100 x cosine: {logits}")
    as_described &= moved == sizes[pairs] > 0.92 and sizes[64] < 0.78 and sizes[16] < 0.85 and logits < moved - 0.05
ranking, right = torch.tensor([0.33, 0.31, 0.29, 0.28]), torch.tensor([1, 1, 0, 0])
perfect = {}
for scale in (1, 100):
    metric = RetrievalAUROC()
    metric.update(ranking * scale, right, torch.zeros(4, dtype=torch.long))
    perfect[scale] = round(float(metric.compute()), 3)
print(f"RetrievalAUROC of a perfect ranking, cosines: {perfect[1]}, 100 x cosine: {perfect[100]}")
as_described &= perfect == {1: 1.0, 100: 0.5}
sys.exit(0 if as_described else "changed: this is no longer what torchmetrics does")
PY
