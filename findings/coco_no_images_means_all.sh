#!/usr/bin/env bash
# pycocotools 2.0.11: asked for the captions of no image, it gives the captions of all.
#
# Guessed: `getAnnIds(imgIds=[])` is empty, as it is for an image that is not in the file.
# Seen: an empty list counts as "not asked": all annotations come back, and `getImgIds(catIds=[])` gives all pictures. An
# empty set or NumPy array does the same. And `loadImgs(numpy.int64(1))` gives None, where `getAnnIds` takes that
# number: only Python's int and lists are known there. Nothing is said.
# Where it matters: captions of a filtered split (`[i for i in ids if ...]`) that turned out empty: it is trained or scored
# on the whole file, the test split with it.
. "$(dirname "$0")/_setup.sh"
install pycocotools==2.0.11 numpy==2.4.6
run <<'PY'
import contextlib, io, sys
import numpy as np
from pycocotools.coco import COCO

coco = COCO()
coco.dataset = {
    "images": [{"id": 1}, {"id": 2}],
    "annotations": [{"id": 10 + i, "image_id": 1 + i // 2, "caption": f"caption {i}"} for i in range(4)],
}
with contextlib.redirect_stdout(io.StringIO()):
    coco.createIndex()
seen = {
    "one image": coco.getAnnIds(imgIds=[1]),
    "an image that is not there": coco.getAnnIds(imgIds=[99]),
    "no image": coco.getAnnIds(imgIds=[]),
    "no image, an array": coco.getAnnIds(imgIds=np.array([], int)),
    "images of no category": coco.getImgIds(catIds=[]),
}
for name, ids in seen.items():
    print(f"{name}: {ids}")
numbers = coco.loadImgs(1), coco.loadImgs(np.int64(1)), coco.getAnnIds(imgIds=np.int64(1))
print("loadImgs(1), loadImgs(np.int64(1)), getAnnIds(imgIds=np.int64(1)):", *numbers)
every = [10, 11, 12, 13]
as_described = list(seen.values()) == [[10, 11], [], every, every, [1, 2]] and numbers == ([{"id": 1}], None, [10, 11])
sys.exit(0 if as_described else "changed: this is no longer what pycocotools does")
PY
