#!/usr/bin/env bash
# datasets 5.2.0, "webdataset" loader: 6.75 in the sixth sample's JSON is read as 6.
#
# Guessed: the numbers of a shard's .json members arrive as they were written; a type that does not fit is an error.
# Seen: the column's type comes from the first five samples. If a score happens to be whole there, the column is
# int64 and every later fraction is cut off in silence: 6.75 becomes 6, 0.31 becomes 0. A key that begins after the
# fifth sample is dropped in silence, too. (Where the first five are null, a later string is an error.)
# Where it matters: similarity and aesthetic scores beside a picture, on which people filter pairs.
# Way round: pass `features=`, or read the tar with webdataset, which hands over the JSON itself.
. "$(dirname "$0")/_setup.sh"
install datasets==5.2.0 webdataset==1.0.2 numpy==2.4.6
run <<'PY'
import json, sys
import datasets
import webdataset

datasets.disable_progress_bars()
scores = [5, 6, 5, 4, 6, 6.75, 0.31, 7.5]
with webdataset.TarWriter("pairs.tar") as tar:
    for i, score in enumerate(scores):
        extra = {"license": "CC0"} if i >= 5 else {}
        tar.write({"__key__": f"{i:03d}", "txt": f"caption {i}", "json": {"score": score, **extra}})

peer = [json.loads(s["json"])["score"] for s in webdataset.WebDataset("pairs.tar", shardshuffle=False)]
read = datasets.load_dataset("webdataset", data_files="pairs.tar", split="train")
streamed = datasets.load_dataset("webdataset", data_files="pairs.tar", split="train", streaming=True)
seen = [row["json"]["score"] for row in read]
print("written:       ", scores)
print("webdataset:    ", peer)
print("datasets:      ", seen, read.features["json"])
print("datasets, stream:", [row["json"]["score"] for row in streamed])
as_described = peer == scores and seen == [5, 6, 5, 4, 6, 6, 0, 7] and "license" not in read.features["json"]
sys.exit(0 if as_described else "changed: this is no longer what datasets does")
PY
