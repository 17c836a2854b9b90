#!/usr/bin/env bash
# datasets 5.2.0: a `map` that only reads a picture writes it again as a worse JPEG.
#
# Guessed: a function that looks at `row["image"]` and returns another column leaves the picture's bytes alone.
# Seen: once the row's picture was decoded, `map` stores `image.save(format="JPEG")` of it, so Pillow's quality 75
# instead of the file's 95: a smaller file, other pixels, and more loss with every further `map`. `filter` keeps the
# bytes, and so does a `map` that never touches the picture. `from_list` over rows of the same dataset recompresses,
# too. Nothing is said.
# Where it matters: features cached before and after a "harmless" map of captions belong to different pictures, and
# near-duplicate or digest checks no longer match.
# Way round: `ds.cast_column("image", Image(decode=False))` around the map, or `map(..., input_columns=[...])`.
. "$(dirname "$0")/_setup.sh"
install datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
run <<'PY'
import io, sys
import numpy as np
import datasets
from PIL import Image

datasets.disable_progress_bars()
noise = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
buffer = io.BytesIO()
Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
rows = {"image": [{"bytes": buffer.getvalue(), "path": None}], "caption": ["a dog"]}
original = datasets.Dataset.from_dict(rows, features=features)


def stored(dataset):
    return dataset.with_format("arrow")[0]["image"][0].as_py()["bytes"]


def pixels(dataset):
    return np.asarray(dataset[0]["image"]).astype(int)


def look(row):
    width, height = row["image"].size
    return {"caption": f"{row['caption']}, {width} x {height}"}


def caption_only(row):
    return {"caption": row["caption"].upper()}


once = original.map(look)
five = once
for _ in range(4):
    five = five.map(look)
untouched = original.map(caption_only)
filtered = original.filter(lambda row: row["image"].size[0] > 1)
again = datasets.Dataset.from_list(list(original), features=features)

loss = [float(abs(pixels(d) - pixels(original)).mean()) for d in (once, five)]
print("bytes of the file, after one map, after five:", *(len(stored(d)) for d in (original, once, five)))
print("mean difference of a pixel (0-255) after one map, after five:", *(round(x, 2) for x in loss))
print("same bytes where the picture was not touched:", stored(untouched) == stored(original))
print("same bytes after filter looked at it:", stored(filtered) == stored(original))
print("same bytes after from_list:", stored(again) == stored(original))
as_described = (
    len(stored(once)) < 0.8 * len(stored(original))
    and loss[0] > 1
    and loss[1] > loss[0]
    and stored(untouched) == stored(filtered) == stored(original)
    and stored(again) != stored(original)
)
sys.exit(0 if as_described else "changed: this is no longer what datasets does")
PY
