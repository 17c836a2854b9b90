#!/usr/bin/env bash
# torchmetrics 1.9.0: mean average precision at K is 1.0 when one of five captions is found, and falls as K grows.
#
# Guessed: AP@K divides by the number of relevant documents, or by K if that is less (as trec_eval's map_cut and others
# do): what is not found counts 0, and a larger K can only find more.
# Seen: it divides by the number of relevant documents within the first K: those that are missing are not counted.
# One of five captions, at rank 1: MAP@5 is 1.0, where it is 0.2 otherwise. A model that finds a second one at rank
# 5 has 0.7, less than the model that does not find it. The documentation says "consider only the top k elements".
# Where it matters: image-to-text retrieval with several captions for each image (COCO, Flickr30k), product search.
# Way round: no `top_k` for MAP, or ranx or pytrec_eval for MAP@K.
. "$(dirname "$0")/_setup.sh"
install torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6 pytrec_eval-terrier==0.5.11
run <<'PY'
import sys
import pytrec_eval
import torch
from torchmetrics.retrieval import RetrievalMAP

seen = {}
for name, ranks in (("one found", [1]), ("two found", [1, 5])):
    relevant = torch.zeros(100, dtype=torch.bool)
    relevant[[rank - 1 for rank in ranks] + list(range(90, 95 - len(ranks)))] = True
    scores = torch.linspace(1, 0.01, 100)
    documents = [f"{place:03}" for place in range(100)]
    judged = {"q": {document: int(r) for document, r in zip(documents, relevant.tolist())}}
    run = {"q": dict(zip(documents, scores.tolist()))}
    trec = pytrec_eval.RelevanceEvaluator(judged, {"map_cut_1,5,10,100"}).evaluate(run)["q"]
    for k in (1, 5, 10, 100):
        metric = RetrievalMAP(top_k=k)
        metric.update(scores, relevant, torch.zeros(100, dtype=torch.long))
        seen[name, k] = round(metric.compute().item(), 2), round(trec[f"map_cut_{k}"], 2)
        print(f"{name} of five in the first ten: MAP@{k} {seen[name, k][0]}, trec_eval {seen[name, k][1]}")
as_described = (
    [seen["one found", k][0] for k in (1, 5, 10)] == [1, 1, 1]
    and [seen["two found", k][0] for k in (1, 5, 10)] == [1, 0.7, 0.7]
    and [seen["one found", k][1] for k in (1, 5, 10)] == [0.2, 0.2, 0.2]
    and seen["one found", 100][0] == seen["one found", 100][1] < 0.3
)
sys.exit(0 if as_described else "changed: this is no longer what torchmetrics does")
PY
