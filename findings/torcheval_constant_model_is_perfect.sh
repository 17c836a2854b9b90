#!/usr/bin/env bash
# torcheval 0.0.7: a model that scores everything alike, or NaN, has hit rate 1 and reciprocal rank 1.
#
# Guessed: ties are broken somehow, so that a constant model is about as good as chance (hit rate at 1 of 0.01 among 100),
# and NaN is an error, NaN or a miss.
# Seen: the rank is the number of scores above the right one's. Of equal scores none is above another, and nothing is above
# NaN: the rank is 0, the best there is. A model that has collapsed or diverged is better than any real one; a
# `max` over checkpoints picks it. Scores rounded to float16 or int8 gain in the same way. `RetrievalPrecision` of the
# same package takes the first by `topk` instead, and so does not agree. Nothing is said.
# Where it matters: contrastive training, where collapse is the usual failure; galleries with repeated captions.
# Way round: count the scores that are at least as high as the right one's, and test for NaN.
. "$(dirname "$0")/_setup.sh"
install torcheval==0.0.7 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torcheval.metrics import HitRate, ReciprocalRank
from torcheval.metrics.functional import retrieval_precision

torch.manual_seed(0)
right = torch.arange(100)
good = torch.eye(100) + 0.3 * torch.randn(100, 100)
values = {}
for name, scores in (
    ("a good model", good),
    ("a good model, rounded to halves", (good * 2).round()),
    ("a constant model", torch.zeros(100, 100)),
    ("a model of NaN", torch.full((100, 100), torch.nan)),
):
    hit, rank = HitRate(k=1), ReciprocalRank()
    hit.update(scores, right)
    rank.update(scores, right)
    relevant = torch.eye(100)
    precision = sum(retrieval_precision(row, hits, k=1) for row, hits in zip(scores, relevant)) / 100
    values[name] = hit.compute().mean().item(), rank.compute().mean().item(), float(precision)
    print(f"{name}: hit rate@1 {values[name][0]:.2f}, reciprocal rank {values[name][1]:.2f}, precision@1 {precision:.2f}")
good, rounded, constant, nan = values.values()
as_described = constant[:2] == nan[:2] == (1, 1) and good[0] < 0.95 and rounded[0] > good[0] and constant[2] < 0.1
sys.exit(0 if as_described else "changed: this is no longer what torcheval does")
PY
