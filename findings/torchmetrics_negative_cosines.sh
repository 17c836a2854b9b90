#!/usr/bin/env bash
# torchmetrics 1.9.0: on one ranking with negative cosines, HitRate@1 is 1 and Recall@1 is 0.
#
# Guessed: a retrieval metric sees the order only; adding a constant to all scores changes nothing. With one relevant
# item, HitRate@1, Recall@1 and Precision@1 are the same number.
# Seen: RetrievalRecall, RetrievalPrecision, RetrievalMAP and RetrievalMRR throw away what scores 0 or less, although
# it is ranked first. RetrievalHitRate, RetrievalRPrecision, RetrievalNormalizedDCG and RetrievalAUROC do not.
# Where it matters: cosines of a joint space are often below 0 for whole queries (SigLIP's matched pairs, centred
# embeddings, scores with hubness correction), and negated distances always are.
. "$(dirname "$0")/_setup.sh"
install torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torchmetrics import retrieval

cosines = torch.tensor([-0.1, -0.2, -0.3])
relevant = torch.tensor([True, False, False])
query = torch.zeros(3, dtype=torch.long)
seen = {}
for name, arguments in {
    "HitRate": {"top_k": 1}, "RPrecision": {}, "NormalizedDCG": {}, "AUROC": {},
    "Recall": {"top_k": 1}, "Precision": {"top_k": 1}, "MRR": {}, "MAP": {},
}.items():
    metric = getattr(retrieval, f"Retrieval{name}")(**arguments)
    seen[name] = metric(cosines, relevant, indexes=query).item(), metric(cosines + 1, relevant, indexes=query).item()
    print(f"{name:14} cosines as they are {seen[name][0]:.0f}   all raised by 1: {seen[name][1]:.0f}")
as_described = all(seen[n] == (1, 1) for n in list(seen)[:4]) and all(seen[n] == (0, 1) for n in list(seen)[4:])
sys.exit(0 if as_described else "changed: this is no longer what torchmetrics does")
PY
