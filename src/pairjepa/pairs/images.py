"""Bytes to an upright RGB picture, whatever kind of image file they are; or the reason why not."""

import errno
import io
import math
import warnings
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from pairjepa.pairs.folders import HEIC_EXTRA, HEIF
from pairjepa.pairs.vectors import MAGIC, drawn
from pairjepa.util.errors import PairJEPAError, unreadable

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM"]
"""What browsers and cameras write. Pillow reads more, some of it with programs beside it (EPS)."""
if HEIF:
    from pillow_heif import register_heif_opener

    register_heif_opener()
    FORMATS.append("HEIF")

MAX_PIXELS = 200_000_000
"""Larger images are refused: a few kilobytes can unpack to many gigabytes (a decompression bomb)."""

MAX_MEMORY = 2_000_000_000
"""Bytes that decoding may take, by `memory_of`."""

# Pillow warns above its own limit and refuses above twice that; ours lies between, and is checked before decoding.
Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, MAX_PIXELS)

# What Pillow warns of (damaged EXIF, size) is mended or counted here, and would fill the screen in a large scan.
warnings.filterwarnings("ignore", module=r"PIL\.")

_BAND = 250_000  # pixels that are brought to RGB at once
_RANGES = {"F": (1, 255), "I": (255, 1023, 4095, 16383, 65535)}
"""Greatest values that a float, and an integer of more than 8 bits, is taken to be able to have."""
_COLOURED = ("RGB", "RGBA", "LA")
"""Modes in which Pillow opens images of several channels; of 16 bits it keeps the upper eight."""
_BYTES_A_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2}  # of all other modes 4
# these decode into pictures of their own; measured, the worst kinds
_CODEC_BYTES_A_PIXEL = dict.fromkeys(("WEBP", "AVIF", "HEIF", "JPEG2000"), 20)
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation (CIPA DC-008, tag 0x0112) → what makes the picture upright."""


class BadImage(PairJEPAError):
    """An image that cannot be used; `reason` says why in a few words."""

    def __init__(self, reason: str, name: str = "") -> None:
        self.reason = reason
        super().__init__(f"Image {name}: {reason}." if name else reason)


def bad_image(error: OSError, name: str = "") -> PairJEPAError:
    """Why an image file was not read: a `BadImage`, unless the system has nothing left to read any file with."""
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return unreadable(f"Image {name}".rstrip(), error, "")
    return BadImage(f"cannot be read: {error.strerror or error}", name)


def decode(
    data: bytes,
    *,
    draft: tuple[int, int] | None = None,
    pixels: int | None = None,
    memory: int = MAX_MEMORY,
) -> Image.Image:
    """Decode an image file to RGB, upright (EXIF), transparency on white, first frame of an animation.

    Images of one channel with more than 8 bits are scaled by their own range of values, which stands in the result's
    `info["values"]`: from 0 to the smallest of 255, 1,023, 4,095, 16,383 and 65,535 (floats: 1 and 255) that holds all,
    else to their maximum; where there are negative ones, from their minimum to their maximum; downwards where a TIFF
    says that white is 0. Of several channels of 16 bits it is 0 to 65,535. `info["whole"]` is the (width, height) of
    the whole upright picture, which `draft` and `pixels` make smaller. Safe to call from several threads. The file of a
    vector (`vectors.drawn`) is one, too.

    Args:
        data: the file's bytes.
        draft: (width, height) in pixels of the upright picture that is enough; a JPEG is then decoded at 1/2,
            1/4 or 1/8 of its size (`reduction`), never below `draft`. Truncation is still found.
        pixels: a larger picture is reduced by a whole factor to about as many.
        memory: bytes that decoding may take, beside the file and the result.

    Raises:
        BadImage: empty, truncated, too large, or no image of one of `FORMATS`.
    """
    if not data:
        raise BadImage("the file is empty")
    try:
        if data.startswith(MAGIC):
            picture = drawn(data)
            picture.info["whole"] = picture.size
            return picture
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        deep = image.mode in _COLOURED and any(";16" in str(tile[3]) for tile in image.tile)
        whole = image.width * image.height
        if whole > MAX_PIXELS:
            raise _too_large(f"{whole / 1e6:,.0f} megapixels, at most {MAX_PIXELS / 1e6:,.0f} are read")
        orientation = _orientation(image)
        swapped = orientation >= 5
        size = image.size[::-1] if swapped else image.size
        if draft is not None:
            image.draft(None, draft[::-1] if swapped else draft)
        if (needed := memory_of(image, whole)) > memory:
            raise _too_large(
                f"decoding takes {needed / 1e6:,.0f} MB, at most {memory / 1e6:,.0f} are given to it"
            )
        here = image.width * image.height
        rgb = _upright_rgb(image, orientation, 1 if pixels is None else math.ceil(math.sqrt(here / pixels)))
        rgb.info["whole"] = size
        if deep:
            rgb.info["values"] = 0.0, 65535.0
        return rgb
    except BadImage:
        raise
    except UnidentifiedImageError:
        if data[4:8] == b"ftyp" and not HEIF:
            raise BadImage(f"cannot be read: HEIC needs {HEIC_EXTRA}") from None
        raise BadImage(f"not an image that can be read ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(f"at most {MAX_PIXELS / 1e6:,.0f} megapixels are read") from None
    except MemoryError:
        raise _too_large("the memory is full") from None
    except Exception as error:  # damaged files make Pillow's decoders fail in every way there is
        raise BadImage(f"damaged: {error or type(error).__name__}") from None


def memory_of(image: Image.Image, pixels: int) -> int:
    """Bytes that decoding takes at most, of an image that is open and not decoded.

    Args:
        image: the image, after `draft`.
        pixels: of its file.
    """
    kind = image.format
    if kind in _CODEC_BYTES_A_PIXEL:
        return _CODEC_BYTES_A_PIXEL[kind] * pixels
    decoded = _BYTES_A_PIXEL.get(image.mode, 4) * image.width * image.height
    if kind in ("JPEG", "MPO"):
        # two bytes of each coefficient, which a file of several scans keeps to its end
        samples = [across * down for _, across, down, _ in image.layer]  # type: ignore[attr-defined]
        return decoded + 2 * pixels * sum(samples) // max(samples)
    if kind == "TIFF":  # which is read block by block
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        rows = min(int(tags.get(_ROWS, image.height)), image.height)
        is_tiled = _TILE_WIDTH in tags
        block = int(tags[_TILE_WIDTH]) * int(tags[_TILE_HEIGHT]) if is_tiled else image.width * rows
        # copies of a block: none where nothing is packed; JPEG keeps more
        copies = {1: 0, 7: 3}.get(tags.get(_COMPRESSION), 1)
        return decoded + copies * block * sum(map(int, tags.get(_BITS, (1,)))) // 8
    return decoded


# tags of TIFF 6.0
_BITS, _COMPRESSION, _PHOTOMETRIC, _ROWS, _TILE_WIDTH, _TILE_HEIGHT = 258, 259, 262, 278, 322, 323


def _too_large(why: str) -> BadImage:
    return BadImage(f"too large: {why}")


def reduction(size: tuple[int, int], draft: tuple[int, int]) -> int:
    """By how much a JPEG of this (width, height) is decoded smaller where `draft` is enough: 1, 2, 4 or 8."""
    factor = min(size[0] // draft[0], size[1] // draft[1])
    return next((scale for scale in (8, 4, 2) if factor >= scale), 1)


def upright_rgb(image: Image.Image) -> Image.Image:
    """A PIL image that is open already, as `decode` would give it.

    Raises:
        BadImage: its file is damaged or it is too large.
    """
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(f"at most {MAX_PIXELS / 1e6:,.0f} megapixels are read")
    if 0 in image.size:
        raise BadImage(f"it has no pixels: {image.width} x {image.height}")
    try:
        return _upright_rgb(image, _orientation(image))
    except (OSError, ValueError) as error:  # a picture that is closed
        raise BadImage(f"damaged: {error}") from None


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF is no reason to lose a picture
        return 1


def _upright_rgb(image: Image.Image, orientation: int, factor: int = 1) -> Image.Image:
    """Upright RGB on white, `factor` times smaller each way."""
    upright = _UPRIGHT.get(orientation)
    rgb = _to_rgb(image, factor)
    return rgb if upright is None else rgb.transpose(upright)


def _to_rgb(image: Image.Image, factor: int = 1) -> Image.Image:
    """Band by band, since a copy of all takes as much as the picture."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image.reduce(factor) if factor > 1 else image.convert("RGB")
    width, height = image.size
    step = max(1, _BAND // (width * factor)) * factor
    bands = [(0, top, width, min(top + step, height)) for top in range(0, height, step)]
    values = _range(image, bands)
    rgb = Image.new("RGB", (math.ceil(width / factor), math.ceil(height / factor)))
    for box in bands:
        band = _band_to_rgb(image.crop(box), values)
        rgb.paste(band.reduce(factor), (0, box[1] // factor))
    if values is not None:
        rgb.info["values"] = values
    return rgb


def _band_to_rgb(band: Image.Image, values: tuple[float, float] | None) -> Image.Image:
    if values is not None:
        low, high = values
        share = (_finite(band).clip(min(values), max(values)) - low) / ((high - low) or 1)
        return Image.fromarray((share * 255).round().astype(np.uint8)).convert("RGB")
    if band.has_transparency_data:
        layer = band.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return band.convert("RGB")


def _range(image: Image.Image, bands: list[tuple[int, int, int, int]]) -> tuple[float, float] | None:
    """What becomes 0 and 255 of an image of more than 8 bits (see `decode`); None of others."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return None
    low, high = math.inf, -math.inf
    for box in bands:
        part = _finite(image.crop(box))
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    if low >= 0:
        low, high = 0.0, float(next((top for top in _RANGES[image.mode[0]] if high <= top), high))
    white_is_zero = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]
    return (high, low) if white_is_zero else (low, high)


def _finite(band: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(band, dtype=np.float64), posinf=0, neginf=0)


def thumbnail(image: Image.Image, longest: int, quality: int) -> bytes:
    """A JPEG of a picture, at most so many pixels a side."""
    small, file = image.copy(), io.BytesIO()
    small.thumbnail((longest, longest))
    small.save(file, "JPEG", quality=quality)
    return file.getvalue()


def media_type(data: bytes) -> str:
    """Of a picture's file, such as `image/png`."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return image.get_format_mimetype() or "application/octet-stream"
