#!/usr/bin/env bash
# tinygrad 0.14.0: `lerp` of two uint8 pictures gives values that lie in neither: 0 to 200 by a quarter is 242.
#
# Guessed: the value between, 50, rounded to uint8 or as a float: `lerp` "linearly interpolates between self and end",
# and it has a branch of its own for uint8. Torch refuses to take uint8.
# Seen: with a tensor of weights (one a picture, as for mixup) the difference of two pixels is cut to 8 signed bits: it
# is right up to 127, and beyond it the pixel moves away from the other one. With one number as weight, the result is
# a float, and a brighter pixel is right only if it is in the second picture: 200 to 10 by 0.3 is 219.8, by 1 it is 266.
# Of two random pictures, mixed half and half, one pixel in four is wrong with a tensor, one in two with a number.
# Where it matters: mixup and fading of pictures, kept as uint8 until they are in the model.
# Way round: `.float()` or `.cast("int16")` of both.
# The device is tinygrad's interpreter, as its CPU device needs clang.
. "$(dirname "$0")/_setup.sh"
install tinygrad==0.14.0 numpy==2.4.6
export DEV=PYTHON
run <<'PY'
import sys
import numpy as np
from tinygrad import Tensor

as_described = True
for first, second, weight, of_tensor, of_number in (
    (0, 127, 0.5, 64, 63.5),
    (0, 128, 0.5, 192, 64.0),
    (0, 200, 0.25, 242, 50.0),
    (10, 200, 0.3, 246, 67.0),
    (200, 10, 0.3, 220, 219.8),
    (200, 10, 1.0, 10, 266.0),
):
    a, b = Tensor([first], dtype="uint8"), Tensor([second], dtype="uint8")
    tensor, number = a.lerp(b, Tensor([weight])).item(), a.lerp(b, weight).item()
    right = a.float().lerp(b.float(), weight).item()
    print(f"{first} to {second} by {weight}: right {right:.1f}, seen {tensor} (tensor), {number:.1f} (number)")
    as_described &= tensor == of_tensor and abs(number - of_number) < 0.01

a, b = np.random.default_rng(0).integers(0, 256, (2, 32, 32), dtype=np.uint8)
right = (a.astype(float) + b) / 2
for name, weight, expected in (("tensor", Tensor([0.5]), 0.25), ("number", 0.5, 0.5)):
    wrong = np.abs(Tensor(a).lerp(Tensor(b), weight).numpy() - right) > 1
    print(f"random pictures, {name}: {wrong.mean():.0%} of the pixels are wrong")
    as_described &= abs(wrong.mean() - expected) < 0.05
sys.exit(0 if as_described else "changed: this is no longer what tinygrad does")
PY
