#!/usr/bin/env bash
# torchmetrics 1.9.0: `RetrievalAUROC(top_k=3)` of the best ranking is 0, of a poorer one it is 1.
#
# Guessed: a better ranking has no smaller value; where an AUROC is not defined, as with hits only, the query is left
# out or the value is 1.
# Seen: the first k documents are cut off, and if they are all right, or all wrong, the value is 0. With three right
# documents of six, "right right right" has 0, "right right wrong" 1.0 and "right wrong wrong" 1.0. The mean over
# queries falls as a model improves. The documentation has 0 only for a query with no right document at all. Nothing is
# said.
# Where it matters: AUROC at k with several right documents a query, as with five captions for an image; small k.
# Way round: AUROC of the whole ranking (`top_k=None`), or NDCG at k.
. "$(dirname "$0")/_setup.sh"
install torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torchmetrics.retrieval import RetrievalAUROC, RetrievalNormalizedDCG

scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
rankings = {
    "111000": [1, 1, 1, 0, 0, 0],
    "110100": [1, 1, 0, 1, 0, 0],
    "100110": [1, 0, 0, 1, 1, 0],
    "010011": [0, 1, 0, 0, 1, 1],
}


def value(metric, right):
    metric.update(scores, torch.tensor(right), torch.zeros(6, dtype=torch.long))
    return round(float(metric.compute()), 3)


at_three = {name: value(RetrievalAUROC(top_k=3), right) for name, right in rankings.items()}
whole = {name: value(RetrievalAUROC(), right) for name, right in rankings.items()}
ndcg = {name: value(RetrievalNormalizedDCG(top_k=3), right) for name, right in rankings.items()}
for name in rankings:
    print(f"{name} (1 is right): AUROC@3 {at_three[name]}, AUROC {whole[name]}, NDCG@3 {ndcg[name]}")
as_described = list(at_three.values()) == [0.0, 1.0, 1.0, 0.5] and whole["111000"] == 1.0
as_described &= list(ndcg.values()) == sorted(ndcg.values(), reverse=True)
sys.exit(0 if as_described else "changed: this is no longer what torchmetrics does")
PY
