"""Pictures that a client sends: looked at before they are decoded, and small enough to wait in a queue."""

import io
import math

from PIL import Image, UnidentifiedImageError

from pairjepa.pairs.images import BadImage, decode

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What browsers and cameras write. Pillow reads more, some of it with programs beside it (EPS)."""

MAX_PIXELS = 50_000_000
"""A larger upload is refused from its header alone, before any of it is decoded."""

ENOUGH_PIXELS = 4_000_000
"""What is kept of a larger picture while it waits: many times what any encoder takes in."""


def read_picture(data: bytes) -> Image.Image:
    """An uploaded picture as upright RGB, reduced by a whole factor to about `ENOUGH_PIXELS`.

    Raises:
        BadImage: empty, damaged, of more than `MAX_PIXELS`, or no picture at all.
    """
    if not data:
        raise BadImage("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as header:
            pixels = header.width * header.height
    except UnidentifiedImageError:
        raise BadImage(f"it must be a picture ({', '.join(FORMATS)}), got something else") from None
    except Image.DecompressionBombError:
        pixels = MAX_PIXELS + 1  # far beyond it
    except Exception as error:  # Pillow's parsers fail in every way there is on damaged headers
        raise BadImage(f"damaged: {type(error).__name__}") from None
    if pixels > MAX_PIXELS:
        raise BadImage(f"it must have at most {MAX_PIXELS / 1e6:.0f} megapixels. Send a smaller copy")
    picture = decode(data)
    factor = math.ceil(math.sqrt(pixels / ENOUGH_PIXELS))
    return picture.reduce(factor) if factor > 1 else picture
