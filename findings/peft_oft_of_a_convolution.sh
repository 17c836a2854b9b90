#!/usr/bin/env bash
# peft 0.21.2: an untrained OFT adapter on a convolution changes the network, and merging it takes the change away.
#
# Guessed: OFT begins with the identity rotation, so a new adapter changes nothing, and merging changes nothing later.
# Seen: on `Conv2d` with a kernel larger than 1 the input is taken apart into patches and put together again; the
# patches overlap, and a pixel is added up once for every patch that it is in: inner pixels of a 3 x 3 kernel are nine
# times as large, those at the border less. The trained network works on that picture. `merge_and_unload()` rotates the
# weight instead, which gives the untouched base for a new adapter, and another network than the trained one later.
# Linear layers and 1 x 1 kernels are exact. Nothing is said.
# Where it matters: ResNet, ConvNeXt or the patch embedding of a ViT under OFT; adapters that are merged for export.
. "$(dirname "$0")/_setup.sh"
install peft==0.21.2 transformers==5.24.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import copy, sys
import torch
from peft import OFTConfig, get_peft_model

torch.manual_seed(0)
pictures = torch.randn(2, 4, 8, 8)
changed, merged = {}, {}
for kernel in (1, 2, 3):
    base = torch.nn.Sequential(torch.nn.Conv2d(4, 8, kernel)).eval()
    config = OFTConfig(target_modules=["0"], oft_block_size=4 if kernel < 3 else 6, r=0)
    model = get_peft_model(copy.deepcopy(base), config).eval()
    with torch.no_grad():
        plain, adapted = base(pictures), model(pictures)
        unloaded = model.merge_and_unload()(pictures)
    changed[kernel] = ((adapted - plain).norm() / plain.norm()).item()
    merged[kernel] = torch.allclose(unloaded, plain, atol=1e-5)
    print(f"kernel {kernel}: a new adapter changes the output by {changed[kernel]:.0%}; merged, it is the base: {merged[kernel]}")
as_described = changed[1] < 1e-5 and changed[2] > 0.5 and changed[3] > 0.5 and all(merged.values())
sys.exit(0 if as_described else "changed: this is no longer what peft does")
PY
