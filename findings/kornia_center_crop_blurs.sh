#!/usr/bin/env bash
# kornia 0.9.0: `center_crop` of an odd margin takes the means of neighbouring pixels; `CenterCrop` does not.
#
# Guessed: a center crop takes pixels out; where the margin is odd it is one pixel off the center.
# Seen: `kornia.geometry.transform.center_crop` warps to the exact center. At half a pixel that is the mean of two
# pixels, of four if both margins are odd: of a 224 x 299 picture noise keeps 71 % of its contrast, stripes of one pixel
# none. `kornia.augmentation.CenterCrop` slices. The documentation of both says that it crops at the center; a `mode` of
# interpolation is all that tells.
# Where it matters: preprocessing of CLIP-like models (resize the short side, crop the center): half of all photographs.
# Way round: `kornia.augmentation.CenterCrop`, or slice.
. "$(dirname "$0")/_setup.sh"
install kornia==0.9.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from kornia.augmentation import CenterCrop
from kornia.geometry.transform import center_crop

seen = {}
for width in (298, 299):
    noise = torch.rand(1, 3, 224, width, generator=torch.Generator().manual_seed(0))
    stripes = (torch.arange(width) % 2).float().expand(1, 3, 224, width)
    for name, picture in (("noise", noise), ("stripes", stripes)):
        left = (width - 224) // 2
        cut = picture[..., left : left + 224]
        function, module = center_crop(picture, (224, 224)), CenterCrop((224, 224))(picture)
        contrast = (function.std() / cut.std()).item()
        difference = (function - cut).abs().max().item()
        same = torch.allclose(module, cut, atol=1e-5)
        seen[width, name] = contrast, difference, same
        print(f"224 x {width}, {name}: center_crop has {contrast:.0%} of a slice's contrast and differs by", end=" ")
        print(f"{difference:.2f}; CenterCrop is the slice: {same}")
as_described = (
    all(difference < 1e-3 and same for (width, _), (_, difference, same) in seen.items() if width == 298)
    and seen[299, "noise"][0] < 0.8
    and seen[299, "noise"][1] > 0.4
    and seen[299, "stripes"][0] < 0.1
    and seen[299, "noise"][2]
    and seen[299, "stripes"][2]
)
sys.exit(0 if as_described else "changed: this is no longer what kornia does")
PY
