#!/usr/bin/env bash
# datasets 5.2.0: a picture that was opened from a file and changed in place is stored as the unchanged file.
#
# Guessed: what is put in a data set is the picture as it is at that moment: `thumbnail`, a rectangle drawn over a face,
# or `exif_transpose(in_place=True)` is seen when the row is read.
# Seen: a picture that still has the name of its file is stored as that name, and read from the disk again; what was
# done to it in memory is gone. So it is for `from_dict`, `from_list`, `from_generator` and for `map` over a column of
# paths, and for JPEG as for PNG. With `resize` or `copy`, which give a new picture without a name, the change is kept,
# and so it is when the column holds bytes in place of paths. Nothing is said.
# Where it matters: faces or plates that are painted over before a data set is passed on; captions made from the edited
# picture, features from the whole one; pictures shrunk with `thumbnail` that take up their full size.
# Way round: `picture.copy()` before it is handed over.
. "$(dirname "$0")/_setup.sh"
install datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
run <<'PY'
import io, sys
import datasets
import numpy as np
from PIL import Image, ImageDraw

datasets.disable_progress_bars()
kind = datasets.Features({"picture": datasets.Image()})
Image.new("RGB", (64, 48), (200, 200, 200)).save("face.jpg")
Image.new("RGB", (64, 48), (200, 200, 200)).save("face.png")


def painted(picture):
    ImageDraw.Draw(picture).rectangle((0, 0, 64, 48), fill=(0, 0, 0))
    return picture


def shrunk(picture):
    picture.thumbnail((16, 16))
    return picture


def seen(rows):
    return [(row["picture"].size, round(float(np.asarray(row["picture"]).mean()))) for row in rows]


as_described = True
for file in ("face.jpg", "face.png"):
    edited = [painted(Image.open(file)), shrunk(Image.open(file))]
    rows = {
        "in memory": [{"picture": picture} for picture in edited],
        "from_dict": datasets.Dataset.from_dict({"picture": edited}, features=kind),
        "from_list": datasets.Dataset.from_list([{"picture": picture} for picture in edited]),
        "from_dict of copies": datasets.Dataset.from_dict({"picture": [picture.copy() for picture in edited]}),
    }
    paths = datasets.Dataset.from_dict({"picture": [file]}, features=kind)
    content = datasets.Dataset.from_dict({"picture": [{"bytes": open(file, "rb").read(), "path": None}]}, features=kind)
    for name, source in (("map over paths", paths), ("map over bytes", content)):
        rows[name] = source.map(lambda row: {"picture": painted(row["picture"])})
    result = {name: seen(value) for name, value in rows.items()}
    for name, value in result.items():
        print(f"{file}, {name}: (size, brightness) {value}")
    whole = ((64, 48), 200)
    as_described &= result["in memory"] == result["from_dict of copies"] == [((64, 48), 0), ((16, 12), 200)]
    as_described &= result["from_dict"] == result["from_list"] == [whole, whole]
    as_described &= result["map over paths"] == [whole] and result["map over bytes"] == [((64, 48), 0)]
sys.exit(0 if as_described else "changed: this is no longer what datasets does")
PY
