#!/usr/bin/env bash
# webdataset 1.0.2 with torch 2.13.0: 40 samples, batches of 16, four workers, no incomplete batch: no batch at all.
#
# Guessed: `batched(16, partial=False)` drops the last 8 of 40 samples, however many workers read.
# Seen: each worker batches its own shards and drops its own rest. Two workers give 2 batches, three give 1, four give
# none: the epoch is empty, without an error or a warning. (More workers than shards is an error; this is not.)
# Where it matters: the usual "no odd last batch" of contrastive training, on small or filtered sets of shards. Each
# epoch may lose almost a batch for every worker.
# Way round: batch after the loader: `WebLoader(dataset, batch_size=None, num_workers=4).batched(16, partial=False)`.
. "$(dirname "$0")/_setup.sh"
install webdataset==1.0.2 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import webdataset

if __name__ == "__main__":
    with webdataset.ShardWriter("pairs-%02d.tar", maxcount=10, verbose=0) as shards:
        for i in range(40):
            shards.write({"__key__": f"{i:03d}", "txt": f"caption {i}"})
    sizes = {}
    for workers in (0, 1, 2, 3, 4):
        dataset = webdataset.WebDataset("pairs-{00..03}.tar", shardshuffle=False).to_tuple("__key__")
        loader = webdataset.WebLoader(dataset.batched(16, partial=False), batch_size=None, num_workers=workers)
        sizes[workers] = [len(keys) for (keys,) in loader]
        print(f"{workers} workers: batches {sizes[workers]}")
    as_described = sizes[0] == sizes[1] == sizes[2] == [16, 16] and sizes[3] == [16] and sizes[4] == []
    sys.exit(0 if as_described else "changed: this is no longer what webdataset does")
PY
