"""Pairs whose images and captions are vectors that their user brings, from an API or another library.

An image is then the bytes of a `.npy` file of one vector, and a picture (`drawn`) that carries it: whatever looks at
images can look at it, and what wants the numbers takes them out of the picture's `info`.
"""

import io
import math

import numpy as np
from jaxtyping import Float32
from PIL import Image

MAGIC = b"\x93NUMPY"
INFO = "vector"
"""Where a drawn picture carries its vector."""
_SIDE = 128  # pixels of the picture, at least


def drawn(data: bytes) -> Image.Image:
    """The picture of a vector: its numbers as squares of grey, row by row; the vector itself in `info`.

    Args:
        data: of a `.npy` file.

    Raises:
        ValueError: it holds something else.
    """
    vector = np.load(io.BytesIO(data), allow_pickle=False)
    if vector.ndim != 1 or vector.dtype.kind != "f" or not np.isfinite(vector).all() or not vector.any():
        raise ValueError(f"a vector must hold finite numbers, not all 0, got {vector.dtype} {vector.shape}")
    side = math.ceil(math.sqrt(len(vector)))
    squares = np.zeros(side**2)
    squares[: len(vector)] = (vector - vector.mean()) / max(float(vector.std()), 1e-12)
    grey = Image.fromarray((squares * 50 + 128).clip(0, 255).astype(np.uint8).reshape(side, side))
    pixels = side * math.ceil(_SIDE / side)
    picture = grey.convert("RGB").resize((pixels, pixels), Image.Resampling.NEAREST)
    picture.info[INFO] = vector.astype(np.float32)
    return picture


def as_bytes(vectors: Float32[np.ndarray, "row width"]) -> list[bytes]:
    """A `.npy` file of each row."""
    file = io.BytesIO()
    np.save(file, vectors[0])
    header = file.getvalue()[: -vectors[0].nbytes]
    return [header + row.tobytes() for row in vectors]
