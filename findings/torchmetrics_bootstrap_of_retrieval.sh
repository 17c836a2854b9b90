#!/usr/bin/env bash
# torchmetrics 1.9.0: the bootstrap of a retrieval metric has its 95 % interval nowhere near the metric.
#
# Guessed: `BootStrapper(RetrievalMRR())` draws queries; its mean is about the metric, which lies within the interval.
# Seen: it draws rows, and a row is one document of one query. A third of the relevant documents is not drawn; a query
# whose relevant document is missing counts 0. An MRR of 0.98 gets an interval of 0.53 to 0.75, and Recall@1 of 0.96
# a mean of 0.46. Nothing is said.
# Where it matters: error bars and "is it significant" of image-text retrieval, with one right answer for each query most of
# all.
# Way round: compute the metric of each query, and draw those.
. "$(dirname "$0")/_setup.sh"
install torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torchmetrics.retrieval import RetrievalMRR, RetrievalRecall
from torchmetrics.wrappers import BootStrapper

torch.manual_seed(0)
queries, documents = 50, 20
relevant = torch.zeros(queries, documents, dtype=torch.bool)
relevant[torch.arange(queries), torch.arange(queries) % documents] = True
scores = torch.rand(queries, documents) + 0.8 * relevant
query = torch.arange(queries)[:, None].expand(queries, documents)
as_described = True
for name, metric in {"MRR": RetrievalMRR, "Recall@1": lambda: RetrievalRecall(top_k=1)}.items():
    whole = metric()
    whole.update(scores.flatten(), relevant.flatten(), query.flatten())
    for strategy in ("poisson", "multinomial"):
        drawn = BootStrapper(metric(), 30, sampling_strategy=strategy, quantile=torch.tensor([0.025, 0.975]))
        drawn.update(scores.flatten(), relevant.flatten(), indexes=query.flatten())
        value, seen = whole.compute().item(), drawn.compute()
        low, high = seen["quantile"].tolist()
        print(f"{name:8} {value:.3f}; {strategy:11} mean {seen['mean']:.3f}, 95 % interval {low:.3f} to {high:.3f}")
        as_described &= value > 0.9 and high < 0.85
sys.exit(0 if as_described else "changed: this is no longer what torchmetrics does")
PY
