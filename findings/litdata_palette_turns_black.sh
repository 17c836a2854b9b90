#!/usr/bin/env bash
# litdata 0.2.76: a picture with a palette comes back with other colours, or black.
#
# Guessed: a PIL picture comes back pixel by pixel, as it does for RGB, grey, RGBA, CMYK and 16 bits.
# Seen: size, mode and pixels are stored, and the pixels of mode "P" are places in a palette, which is not stored. The
# picture that is read has the mode "P" and an empty palette: converted to RGB it is black. Nothing is said.
# Where it matters: GIF and many PNG files (drawings, charts, screenshots) have a palette; a JPEG among them is right,
# so a look at a few photographs finds nothing.
# Way round: `convert("RGB")` before the picture is written.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6 pillow==13.0.0 boto3==1.44.8 requests==2.34.2 filelock==4.3.1 obstore==0.12.1 \
    tifffile==2026.3.3 packaging==26.4
install --no-deps litdata==0.2.76 lightning-utilities==0.15.3 # its torchvision is not needed here
export DATA_OPTIMIZER_CACHE_FOLDER="$folder/chunks" DATA_OPTIMIZER_DATA_CACHE_FOLDER="$folder/data"
run <<'PY'
import io, sys
import litdata
import numpy as np
from PIL import Image

y, x = np.mgrid[:32, :32]
COLOURS = Image.fromarray(np.stack([x * 8, y * 8, 255 - x * 4], axis=-1).astype(np.uint8))


def encoded(mode, kind):
    file = io.BytesIO()
    COLOURS.convert(mode).save(file, kind)
    return Image.open(io.BytesIO(file.getvalue()))


KINDS = {"PNG, RGB": ("RGB", "PNG"), "PNG, grey": ("L", "PNG"), "PNG, palette": ("P", "PNG"), "GIF": ("P", "GIF")}


def sample(place):
    return {"picture": encoded(*KINDS[place])}


def rgb(picture):
    return np.asarray(picture.convert("RGB")).astype(int)


if __name__ == "__main__":
    same, brightness = {}, {}
    for number, place in enumerate(KINDS):
        litdata.optimize(sample, [place], f"{number}", chunk_bytes="1MB", num_workers=1, verbose=False)
        given, (row,) = rgb(encoded(*KINDS[place])), list(litdata.StreamingDataset(f"{number}"))
        read = rgb(row["picture"])
        same[place], brightness[place] = bool((given == read).all()), read.mean()
        print(f"{place}: brightness {given.mean():.0f} given, {read.mean():.0f} read, the same picture: {same[place]}")
    as_described = list(same.values()) == [True, True, False, False]
    as_described &= brightness["PNG, palette"] == brightness["GIF"] == 0
    sys.exit(0 if as_described else "changed: this is no longer what litdata does")
PY
