#!/usr/bin/env bash
# torchdata 0.11.0: `StatefulDataLoader` resumes a shuffled epoch exactly, and one of a WeightedRandomSampler with another draw.
#
# Guessed: after `load_state_dict` in the middle of an epoch the samples that are left come, with each sampler of torch; what
# cannot be resumed raises.
# Seen: with `shuffle=True` the state holds the generator. For WeightedRandomSampler, SubsetRandomSampler and a sampler of
# one's own it holds how many batches to skip: a new epoch is drawn and its beginning is left out. Of an epoch without
# replacement some samples come twice and as many never, also if the new process sets the same seed, unless the
# stop was in the first epoch. Batch counts agree. Nothing is said.
# Where it matters: class-balanced sampling, a training subset, on machines that are taken away.
# Way round: a sampler with `state_dict` and `load_state_dict`; or one that draws from a seed and the epoch's number.
. "$(dirname "$0")/_setup.sh"
install torchdata==0.11.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torch.utils.data import SubsetRandomSampler, WeightedRandomSampler
from torchdata.stateful_dataloader import StatefulDataLoader

rows = list(range(40))
kinds = {
    "shuffle=True": lambda: dict(shuffle=True),
    "WeightedRandomSampler": lambda: dict(sampler=WeightedRandomSampler(torch.ones(40), 40, replacement=False)),
    "SubsetRandomSampler": lambda: dict(sampler=SubsetRandomSampler(rows)),
}


def flat(batches):
    return [int(row) for batch in batches for row in batch]


def resumed(kind, epochs, seed):
    torch.manual_seed(0)
    loader = StatefulDataLoader(rows, batch_size=4, **kinds[kind]())
    for _ in range(epochs):
        flat(loader)
    batches = iter(loader)
    seen = flat(next(batches) for _ in range(5))
    state, rest = loader.state_dict(), flat(batches)
    torch.manual_seed(seed)
    loader = StatefulDataLoader(rows, batch_size=4, **kinds[kind]())
    loader.load_state_dict(state)
    after = flat(loader)
    return rest == after, len(after), len(set(rows) - set(seen) - set(after))


right, lost = {}, {}
for kind in kinds:
    for epochs, seed in ((0, 0), (0, 1), (1, 0)):
        same, count, missing = resumed(kind, epochs, seed)
        right[kind, epochs, seed], lost[kind, epochs, seed] = same, missing
        where = f"stop in epoch {epochs + 1}, {'same' if seed == 0 else 'another'} seed"
        print(f"{kind}, {where}: {count} samples follow, as without the stop: {same}, never seen in this epoch: {missing}")
random = [kind for kind in kinds if kind != "shuffle=True"]
as_described = all(right["shuffle=True", epochs, seed] for epochs, seed in ((0, 0), (0, 1), (1, 0)))
as_described = as_described and all(right[kind, 0, 0] for kind in random)
as_described = as_described and all(lost[kind, *stop] > 3 for kind in random for stop in ((0, 1), (1, 0)))
sys.exit(0 if as_described else "changed: this is no longer what torchdata does")
PY
