#!/usr/bin/env bash
# webdataset 1.0.2 with torch 2.13.0: a seed makes every epoch the same, and so do workers with `detshuffle=True`.
#
# Guessed: `shuffle(n, seed=1)` makes a run repeatable, and each epoch of it has another order, as a sampler of torch.
# Seen: the generator is made anew from the seed whenever the dataset is iterated, so all epochs have one order.
# `detshuffle=True` counts the epochs to avoid that; the count lives in the dataset object, though, and DataLoader
# workers get a fresh copy each epoch: with workers every epoch is the first one again, unless they are persistent.
# Where it matters: with contrastive losses the order decides which negatives meet; the same batches come every epoch.
. "$(dirname "$0")/_setup.sh"
install webdataset==1.0.2 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
import webdataset

URLS = "pairs-{00..07}.tar"


def two_epochs(dataset, **workers):
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, **workers)
    return [[sample["__key__"] for sample in loader] for _ in range(2)]


if __name__ == "__main__":
    with webdataset.ShardWriter("pairs-%02d.tar", maxcount=8, verbose=0) as shards:
        for i in range(64):
            shards.write({"__key__": f"{i:03d}", "txt": f"caption {i}"})
    seeded = webdataset.WebDataset(URLS, shardshuffle=8, seed=1).shuffle(100, seed=1)
    counted = webdataset.WebDataset(URLS, shardshuffle=8, seed=1, detshuffle=True)
    same = {}
    for name, dataset, workers in (
        ("seed, no worker", seeded, {}),
        ("seed, one worker", seeded, {"num_workers": 1}),
        ("detshuffle, no worker", counted, {}),
        ("detshuffle, one worker", counted, {"num_workers": 1}),
        ("detshuffle, one worker that persists", counted, {"num_workers": 1, "persistent_workers": True}),
    ):
        first, second = two_epochs(dataset, **workers)
        assert sorted(first) == sorted(second) and len(set(first)) == 64
        same[name] = first == second
        print(f"{name}: both epochs in one order: {same[name]}")
    as_described = list(same.values()) == [True, True, False, True, False]
    sys.exit(0 if as_described else "changed: this is no longer what webdataset does")
PY
