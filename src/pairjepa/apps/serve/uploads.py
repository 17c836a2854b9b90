"""Pictures that a client sends: decoded in bounded memory, and small enough to wait in a queue."""

from typing import BinaryIO

from PIL import Image

from pairjepa.pairs.images import BadImage, decode

MEMORY = 256_000_000
"""Bytes that decoding may take: 64 megapixels of PNG or BMP, 40 to 80 of JPEG, 12 of WebP or AVIF."""

ENOUGH_PIXELS = 4_000_000
"""What is kept of a larger picture while it waits: many times what any encoder takes in."""


def read_picture(file: BinaryIO, draft: tuple[int, int]) -> Image.Image:
    """An uploaded picture as upright RGB, reduced by a whole factor to about `ENOUGH_PIXELS`.

    Args:
        file: what was sent.
        draft: the encoder's `min_decode_size`: a JPEG is decoded as the library decodes it.

    Raises:
        BadImage: empty, damaged, no picture at all, or too large.
    """
    try:
        return decode(file.read(), draft=draft, pixels=ENOUGH_PIXELS, memory=MEMORY)
    except BadImage as error:
        raise BadImage(
            f"{error.reason}. Send a smaller copy" if "too large" in error.reason else error.reason
        ) from None
