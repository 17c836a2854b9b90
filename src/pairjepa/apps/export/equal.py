"""Whether an exported model computes what the run does."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from pairjepa.embedder.embedder import Embedder
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.progress import say

TOLERANCE = 1e-5  # on unit vectors; measured differences are below 1e-6


def check_equal(
    embedder: Embedder,
    encode_image: Callable[[list[Any]], np.ndarray],
    encode_text: Callable[[list[str]], np.ndarray],
    predict: Callable[[list[Any], list[str]], np.ndarray] | None = None,
) -> None:
    """Raise `PairJEPAError` if an export gives other vectors than the run for a few pictures of noise and captions."""
    say("comparing what is exported with the run")
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    pictures, captions = [Image.fromarray(pixels) for pixels in noise], ["a", "a dog in the snow", "two"]
    differences = [
        embedder.encode_text(captions) - encode_text(captions),
        embedder.encode_image(pictures) - encode_image(pictures),
    ]
    if predict is not None:
        differences.append(embedder.predict(pictures, captions) - predict(pictures, captions))
    worst = np.max([np.abs(difference).max() for difference in differences])
    if not worst <= TOLERANCE:  # also where it is no number
        raise PairJEPAError(
            f"The exported model must give the run's vectors to {TOLERANCE:g}, got a difference of {worst:.1e}. "
            "A backbone does something that this export cannot follow: share the run with --to hub."
        )
