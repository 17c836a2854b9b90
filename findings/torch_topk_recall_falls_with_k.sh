#!/usr/bin/env bash
# torch 2.13.0: with tied scores, the top 2 of `torch.topk` need not hold the top 1, so Recall@K can fall as K grows.
#
# Guessed: equal scores keep their order (the lower index first, as a stable sort would), or at least topk(k) is the
# beginning of topk(k + 1).
# Seen (CPU, 100 equal scores): topk(1) is [0], topk(2) is [67, 66], topk(5) starts at 65. An item is found in the top 1
# and not in the top 2. So the result of a collapsed or coarsely rounded model depends on the K that was asked for,
# and R@5 from topk(5) is not R@5 from the first five of topk(10).
# Where it matters: retrieval metrics by topk; galleries with repeated captions; float16 or int8 scores.
# Way round: count the gallery items that score at least as high as the relevant one.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch

scores = torch.zeros(100)
top = {k: torch.topk(scores, k).indices.tolist() for k in (1, 2, 5, 10, 20, 50)}
for k, rows in top.items():
    print(f"topk({k}):", rows[:10])
print("stable sort:", scores.argsort(descending=True, stable=True)[:5].tolist(), "argmax:", scores.argmax().item())
ks = list(top)
lost = [(a, b) for a, b in zip(ks, ks[1:]) if not set(top[a]) <= set(top[b])]
print("found in the top K and not in the next larger one, K =", lost)
as_described = 0 in top[1] and 0 not in top[2] and top[10][:5] != top[5]
sys.exit(0 if as_described else "changed: this is no longer what torch does")
PY
