#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93: `INTER_AREA` averages nothing in the width once the height grows by a single row.
#
# Guessed: where an axis shrinks, INTER_AREA takes the mean of the pixels that fall together, on each axis by itself; a
# row more or less does not change the columns.
# Seen: vertical stripes of one pixel (0 and 255), 640 wide, shrunk to 160. With 199 or 200 rows the picture is the grey
# of 128 that it should be. With 201 rows it is 64 everywhere: each result reads 2 of the 4 columns, with other weights.
# At 224 x 224 the stripes come back as a pattern from 13 to 229. If one axis grows, both are interpolated. In two
# calls, one for each axis, the stripes are averaged. Nothing is said.
# Where it matters: wide or tall pictures that are squashed to a square (640 x 200 at 224 x 224), text and textures.
# Way round: resize the axis that shrinks first, in a call of its own, or with Pillow.
. "$(dirname "$0")/_setup.sh"
install opencv-python-headless==5.0.0.93 pillow==13.0.0 numpy==2.4.6
run <<'PY'
import sys
import cv2
import numpy as np
from PIL import Image

stripes = np.zeros((200, 640), np.uint8)
stripes[:, ::2] = 255


def area(picture, height, width):
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


spread = {}
for height, width in ((199, 160), (200, 160), (201, 160), (224, 224)):
    once, twice = area(stripes, height, width), area(area(stripes, 200, width), height, width)
    pillow = np.asarray(Image.fromarray(stripes).resize((width, height), Image.BILINEAR))
    spread[height] = [(int(p.min()), int(p.max())) for p in (once, twice, pillow)]
    area_once, width_first, bilinear = spread[height]
    print(f"{height} x {width}: INTER_AREA from {area_once}, width first {width_first}, Pillow {bilinear}")
as_described = spread[199][0] in ((127, 128), (128, 128)) and spread[200][0] == (128, 128)
as_described &= spread[201][0] == (64, 64) and spread[224][0][1] - spread[224][0][0] > 150
as_described &= all(high - low < 90 for height in spread for low, high in spread[height][1:])
sys.exit(0 if as_described else "changed: this is no longer what OpenCV does")
PY
