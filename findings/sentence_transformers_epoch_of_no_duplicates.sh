#!/usr/bin/env bash
# sentence-transformers 6.2.0: an epoch without duplicates has more batches than it says, and some of one or two rows.
#
# Guessed: `len(sampler)` is the number of its batches, and only the last one is smaller.
# Seen: with five captions a picture the rows that are left at the end of an epoch are of few pictures. With `drop_last`
# off (as it is in a trainer), 300 pictures in batches of 256 end in batches of 167, 50, 2 and 1: nine where `len` is
# six. 100 pictures in batches of 64 have ten where it is eight. The trainer stops at `len`: what stands behind it, 53
# of 1,500 rows here, does not come in that epoch. A loop of one's own over it meets the small batches, each a full
# step: the contrastive loss of one row is 0, and of two rows easy. Nothing is said. (No batch at all, with `drop_last`,
# is warned of.)
# Where it matters: `BatchSamplers.NO_DUPLICATES` with several captions an image and large batches.
# Way round: batches of less than about half of the pictures, and `drop_last=True` in a loop of one's own.
. "$(dirname "$0")/_setup.sh"
install sentence-transformers==6.2.0 datasets==5.2.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from datasets import Dataset
from sentence_transformers.sampler import NoDuplicatesBatchSampler

seen = {}
for pictures, batch_size, drop_last in ((1000, 64, True), (300, 256, False), (100, 64, False)):
    rows = [(f"picture {i // 5}", f"caption {i}") for i in range(5 * pictures)]
    data = Dataset.from_dict({"picture": [row[0] for row in rows], "caption": [row[1] for row in rows]})
    sampler = NoDuplicatesBatchSampler(data, batch_size, drop_last=drop_last, generator=torch.Generator(), seed=0)
    sizes = [len(batch) for batch in sampler]
    seen[pictures, batch_size] = len(sampler), sizes
    print(f"{pictures} pictures, batches of {batch_size}, drop_last={drop_last}:")
    print(f"    len {len(sampler)}, batches {len(sizes)}, the last ones {sizes[-4:]}")
    print(f"    rows behind len: {sum(sizes[len(sampler) :])}")
good, many, some = seen.values()
as_described = good[0] == len(good[1]) and len(many[1]) == many[0] + 3 and sum(many[1][many[0] :]) == 53
as_described &= len(some[1]) > some[0] and min(some[1]) <= 4
sys.exit(0 if as_described else "changed: this is no longer what sentence-transformers does")
PY
