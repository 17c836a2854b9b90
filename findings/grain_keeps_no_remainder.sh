#!/usr/bin/env bash
# grain 0.2.18: `ShardOptions(drop_remainder=False)` drops as many samples as `True`, and others.
#
# Guessed: with `drop_remainder=False`, the default, the shards of 1,007 samples for 8 processes have 126 or 125
# samples, and every sample is in one of them.
# Seen: an `IndexSampler` cuts the samples into 126 and 125 and `DataLoader` stops each shard after 125: seven samples
# from all over the data are never read, the last ones of the first seven shards, with shuffling as well. Of 1,000
# samples on 64 processes 40 are missing, of 60 on 64 all. `drop_remainder=True` drops as many, but those at the end,
# and says so. Over ten epochs the shorter shards' samples come more often than the longer ones'.
# Where it matters: evaluation on several processes, where the results are put together again by number.
# Way round: `MapDataset.source(...)[process::processes]`, where every sample is in one shard.
. "$(dirname "$0")/_setup.sh"
install grain==0.2.18 numpy==2.4.6
run <<'PY'
import sys
import grain


def missing(samples, processes, shuffle=False, drop=False):
    read = []
    for process in range(processes):
        shard = grain.sharding.ShardOptions(process, processes, drop_remainder=drop)
        seed = 0 if shuffle else None
        sampler = grain.samplers.IndexSampler(samples, shard_options=shard, shuffle=shuffle, num_epochs=1, seed=seed)
        read += [int(sample) for sample in grain.DataLoader(data_source=list(range(samples)), sampler=sampler)]
    assert len(read) == len(set(read))
    return sorted(set(range(samples)) - set(read))


keep, drop, shuffled = missing(1007, 8), missing(1007, 8, drop=True), missing(1007, 8, shuffle=True)
many, few = missing(1000, 64), missing(60, 64)
print("1,007 samples, 8 processes: missing", keep, "; shuffled", shuffled, "; drop_remainder=True", drop)
print("1,000 samples, 64 processes:", len(many), "missing; 60 samples:", len(few), "missing")
data = grain.MapDataset.source(list(range(1007)))
sliced = sorted(sample for process in range(8) for sample in data[process::8])
as_described = (
    keep == [125 + 126 * shard for shard in range(7)]
    and drop == list(range(1000, 1007))
    and len(shuffled) == 7
    and len(many) == 40
    and len(few) == 60
    and sliced == list(range(1007))
)
sys.exit(0 if as_described else "changed: this is no longer what grain does")
PY
