#!/usr/bin/env bash
# wids 0.1.11: of 1,000 samples on 64 ranks the last rank gets none, while its sampler says that it has 16.
#
# Guessed: all ranks get the same number of samples, some of them twice, as with torch's DistributedSampler; what
# `len(sampler)` says is what comes out of it.
# Seen: `DistributedChunkedSampler` gives each rank the rounded-up share from the front, while there is something: 62
# ranks have 16 samples, one has 8, one none. `len` is 16 for all of them. Large sets on few ranks leave the last one a
# few samples short: 29,783 on 8 give it 3,722 where the others have 3,723. Nothing is said.
# Where it matters: training on several GPUs waits for each of them at each step: a rank that has a batch less, or none,
# leaves the others waiting; schedules and progress that count on `len`.
# Way round: a `num_samples` that the ranks divide, or torch's DistributedSampler.
. "$(dirname "$0")/_setup.sh"
install wids==0.1.11 torch==2.13.0 numpy==2.4.6
run <<'PY'
import collections, sys
import torch
import wids
from torch.utils.data import DistributedSampler

# one process stands for all: the samplers are asked for each rank in turn
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)


def samplers(name, count, ranks):
    if name == "torch":
        return [DistributedSampler(range(count), ranks, rank) for rank in range(ranks)]
    return [wids.DistributedChunkedSampler(range(count), num_replicas=ranks, rank=rank) for rank in range(ranks)]


seen = {}
for name in ("wids", "torch"):
    for count, ranks in ((1000, 64), (29_783, 8)):
        drawn = samplers(name, count, ranks)
        said = {len(sampler) for sampler in drawn}
        numbers = collections.Counter(len(list(sampler)) for sampler in drawn)
        seen[name, count] = dict(numbers), said
        print(f"{name}, {count} samples on {ranks} ranks: len says {said}; samples: ranks {dict(numbers)}")
as_described = seen == {
    ("wids", 1000): ({16: 62, 8: 1, 0: 1}, {16}),
    ("wids", 29_783): ({3723: 7, 3722: 1}, {3723}),
    ("torch", 1000): ({16: 64}, {16}),
    ("torch", 29_783): ({3723: 8}, {3723}),
}
sys.exit(0 if as_described else "changed: this is no longer what wids does")
PY
