#!/usr/bin/env bash
# @huggingface/transformers 4.3.2 (JavaScript, Node.js 20): "bicubic" and "bilinear" do not filter when they shrink.
#
# Guessed: `resample: 3` is what Pillow's bicubic filter is, with a kernel as wide as the scale: fine stripes become
# grey. The image processors of CLIP (3), SigLIP (3) and ViT (2) pass the number of their Python configuration on.
# Seen: 2 and 3 become an affine transformation that looks at the 2 x 2 or 4 x 4 nearest pixels, whatever the scale. A
# picture that is made smaller is sampled, not averaged: stripes of one pixel at a third of the size keep a contrast of
# 89 (Pillow: 2) as broad false ones. `resample: 1` (Lanczos) does filter and agrees with Pillow.
# Where it matters: photographs are always shrunk for CLIP; queries by image from Node.js are another picture than the
# gallery that was embedded in Python.
# Way round: shrink with `image.resize(width, height, { resample: 1 })` or with sharp's `resize` before the processor.
. "$(dirname "$0")/_setup.sh"
install pillow==13.0.0 numpy==2.4.6
install_js @huggingface/transformers@4.3.2
run_js <<'JS'
import { RawImage } from '@huggingface/transformers';
import { writeFileSync } from 'node:fs';

const contrast = (row) => {
    const mean = row.reduce((a, b) => a + b) / row.length;
    return Math.sqrt(row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length);
};
const seen = {};
for (const [stripe, width] of [[2, 299], [1, 213]]) {
    const pixels = new Uint8ClampedArray(640 * 480 * 3);
    for (let i = 0; i < pixels.length; ++i) pixels[i] = Math.floor((Math.floor(i / 3) % 640) / stripe) % 2 ? 255 : 0;
    for (const resample of [1, 2, 3]) {
        const image = await new RawImage(pixels, 640, 480, 3).resize(width, 224, { resample });
        const row = Array.from(image.data.slice(100 * 3 * width, 101 * 3 * width)).filter((_, i) => i % 3 === 0);
        seen[`${stripe},${width},${resample}`] = contrast(row);
    }
}
writeFileSync('seen.json', JSON.stringify(seen));
JS
run <<'PY'
import json, sys
import numpy as np
from PIL import Image

seen, as_described = json.load(open("seen.json")), True
for key, contrast in seen.items():
    stripe, width, resample = map(int, key.split(","))
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[:, np.arange(640) // stripe % 2 == 1] = 255
    pillow = np.asarray(Image.fromarray(picture).resize((width, 224), resample))[100, :, 0].std()
    name = {1: "Lanczos", 2: "bilinear", 3: "bicubic"}[resample]
    print(f"stripes of {stripe} pixels, 640 wide to {width}, {name}: contrast {contrast:.0f}, Pillow {pillow:.0f}")
    as_described &= abs(contrast - pillow) < 5 if resample == 1 else contrast > 1.8 * pillow + 5
sys.exit(0 if as_described else "changed: this is no longer what transformers.js does")
PY
