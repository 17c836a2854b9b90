#!/usr/bin/env bash
# litdata 0.2.76: a later sample's numbers of another type are read as other numbers; a sixth caption moves every field.
#
# Guessed: a sample comes back as it was given, or `optimize` raises, as it does for a plain 0.5 after a plain 1.
# Seen: the first sample fixes how each field is read. An array or tensor with one dimension is written with its own
# bytes and read with the first one's type: 0.5 after whole numbers is 4602678819172646912, two float32 numbers after
# float16 are four others, a 2 x 2 array after a flat one is flat. With two dimensions in the first sample all is right.
# A tuple of six captions after one of five comes back with five; the sixth is the next field's value, and the
# last field is lost. A list of them in a dict is right. Nothing is said, neither in writing nor in reading.
# Where it matters: scores that are whole by chance in the first sample; features of which some files hold float16;
# pictures with different numbers of captions.
# Way round: `astype` on every array, lists in place of tuples.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6 boto3==1.44.8 requests==2.34.2 filelock==4.3.1 obstore==0.12.1 \
    tifffile==2026.3.3 packaging==26.4
install --no-deps litdata==0.2.76 lightning-utilities==0.15.3 # its torchvision is not needed here
export DATA_OPTIMIZER_CACHE_FOLDER="$folder/chunks" DATA_OPTIMIZER_DATA_CACHE_FOLDER="$folder/data"
run <<'PY'
import sys
import litdata
import numpy as np
import torch

PAIRS = [
    (np.array([1, 2]), np.array([0.5, 0.75])),
    (torch.tensor([1.0, 2.0]).half(), torch.tensor([1.0, 2.0])),
    (np.zeros(4), np.ones((2, 2))),
    (np.array([[1, 2]]), np.array([[0.5, 0.75]])),
]


def numbers(row):
    return {f"{place}": pair[row] for place, pair in enumerate(PAIRS)}


def captions(row, kind=tuple):
    return {"captions": kind("abcdef"[: 5 + row]), "photographer": f"person {row}", "source": f"site {row}"}


def captions_in_a_list(row):
    return captions(row, list)


def read(make):
    litdata.optimize(make, [0, 1], make.__name__, chunk_bytes="1MB", num_workers=1, verbose=False)
    return list(litdata.StreamingDataset(make.__name__))


if __name__ == "__main__":
    rows, right = read(numbers), []
    for (_, given), value in zip(PAIRS, rows[1].values()):
        right.append(given.shape == value.shape and bool((given == value).all()))
        print(f"given {given}, read {value}".replace("\n", ""))
    as_described = right == [False, False, False, True]
    as_described &= all(bool((pair[0] == value).all()) for pair, value in zip(PAIRS, rows[0].values()))
    (_, six), (_, six_in_a_list) = read(captions), read(captions_in_a_list)
    print(f"six captions in a tuple: {six}\nin a list: {six_in_a_list}")
    as_described &= six == {"captions": tuple("abcde"), "photographer": "f", "source": "person 1"}
    as_described &= six_in_a_list == captions_in_a_list(1)
    sys.exit(0 if as_described else "changed: this is no longer what litdata does")
PY
