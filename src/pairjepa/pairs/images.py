"""Bytes to an upright RGB picture, whatever kind of image file they are; or the reason why not."""

import errno
import io
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from pairjepa.util.errors import PairJEPAError, unreadable

MAX_PIXELS = 200_000_000
"""Larger images are refused: a few kilobytes can unpack to many gigabytes (a decompression bomb)."""

# Pillow warns above its own limit and refuses above twice that; ours lies between, and is checked before decoding.
Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, MAX_PIXELS)

# What Pillow warns of (damaged EXIF, size) is mended or counted here, and would fill the screen in a large scan.
warnings.filterwarnings("ignore", module=r"PIL\.")

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


def decode(data: bytes, *, draft: tuple[int, int] | None = None) -> Image.Image:
    """Decode an image file to RGB, upright (EXIF), transparency on white, first frame of an animation.

    16-bit and float images are scaled to 8 bits, not clipped. Safe to call from several threads.

    Args:
        data: the file's bytes.
        draft: (width, height) in pixels of the upright picture that is enough; a JPEG is then decoded at 1/2,
            1/4 or 1/8 of its size (`reduction`), never below `draft`. Truncation is still found.

    Raises:
        BadImage: empty, truncated, too large, or no image at all.
    """
    return decode_sized(data, draft=draft)[0]


def decode_sized(data: bytes, *, draft: tuple[int, int] | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """`decode`, and the (width, height) of the whole upright picture, which `draft` makes smaller."""
    if not data:
        raise BadImage("the file is empty")
    try:
        image = Image.open(io.BytesIO(data))
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise BadImage(
                f"too large: {pixels / 1e6:,.0f} megapixels, at most {MAX_PIXELS / 1e6:,.0f} are read"
            )
        orientation = _orientation(image)
        swapped = orientation >= 5
        size = (image.height, image.width) if swapped else (image.width, image.height)
        if draft is not None:
            image.draft(None, draft[::-1] if swapped else draft)
        rgb = _to_rgb(image)
        upright = _UPRIGHT.get(orientation)
        return (rgb if upright is None else rgb.transpose(upright)), size
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("not an image that can be read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage(f"too large: at most {MAX_PIXELS / 1e6:,.0f} megapixels are read") from None
    except MemoryError:
        raise BadImage("too large for the memory") from None
    except Exception as error:  # damaged files make Pillow's decoders fail in every way there is
        raise BadImage(f"damaged: {error or type(error).__name__}") from None


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
        raise BadImage(f"too large: at most {MAX_PIXELS / 1e6:,.0f} megapixels are read")
    try:
        upright = _UPRIGHT.get(_orientation(image))
        rgb = _to_rgb(image)
        return rgb if upright is None else rgb.transpose(upright)
    except OSError as error:
        raise BadImage(f"damaged: {error}") from None


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF is no reason to lose a picture
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        image = _to_8_bit(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """One channel of more than 8 bits, its full range brought to 0-255.

    16-bit files have a known range. 32-bit integers and floats have none: it is the smallest of 255 and 65,535
    (floats: 1 and 255) that holds all values, else their own maximum.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float64)).clip(min=0)
    if image.mode.startswith("I;16"):
        full = 65535.0
    else:
        top = float(values.max(initial=0))
        ranges = [1.0, 255.0] if image.mode == "F" else [255.0, 65535.0]
        full = next((limit for limit in ranges if top <= limit), top)
    return Image.fromarray((values * (255 / full)).round().astype(np.uint8))
