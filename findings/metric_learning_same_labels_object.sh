#!/usr/bin/env bash
# pytorch-metric-learning 2.9.0: the loss of a perfect or a hopeless model is 0 if both sides share one labels tensor.
#
# Guessed: for image embeddings, text embeddings and labels 0..n-1 of both, NTXentLoss is CLIP's cross-entropy of the
# rows, and only the values of the labels matter.
# Seen: whether `labels is ref_labels`, the same Python object, decides. If so, the pairs (i, i) are taken for
# "an item with itself" and dropped, although the two sides hold different embeddings: no positive is left, the loss
# is 0 with a gradient of 0. With `labels.clone()` it is the cross-entropy. The other losses change as well.
# Where it matters: the obvious two-tower call, `loss(images, ids, ref_emb=texts, ref_labels=ids)`, trains nothing.
. "$(dirname "$0")/_setup.sh"
install pytorch-metric-learning==2.9.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torch.nn.functional import cross_entropy, normalize
from pytorch_metric_learning import losses

torch.manual_seed(0)
images, texts = (normalize(torch.randn(4, 8), dim=1).requires_grad_() for _ in range(2))
ids = torch.arange(4)
expected = cross_entropy(images @ texts.T / 0.1, ids).item()
as_described = True
for name, loss in (
    ("NTXentLoss", losses.NTXentLoss(temperature=0.1)),
    ("SupConLoss", losses.SupConLoss(temperature=0.1)),
    ("MultiSimilarityLoss", losses.MultiSimilarityLoss()),
    ("TripletMarginLoss", losses.TripletMarginLoss()),
):
    shared = loss(images, ids, ref_emb=texts, ref_labels=ids).item()
    copied = loss(images, ids, ref_emb=texts, ref_labels=ids.clone()).item()
    print(f"{name:20} same labels object {shared:.4f}   equal copy {copied:.4f}")
    as_described &= abs(shared - copied) > 0.1
    if name in ("NTXentLoss", "SupConLoss"):
        as_described &= shared == 0 and abs(copied - expected) < 1e-4
print(f"cross-entropy of the rows: {expected:.4f}")
losses.NTXentLoss(temperature=0.1)(images, ids, ref_emb=texts, ref_labels=ids).backward()
print("gradient with the same object:", images.grad.abs().max().item())
as_described &= images.grad.abs().max().item() == 0
sys.exit(0 if as_described else "changed: this is no longer what pytorch-metric-learning does")
PY
