"""Whether an exported model computes what the run does."""

import numpy as np
from PIL import Image

from pairjepa.embedder.embedder import Embedder
from pairjepa.embedder.encoder import Encoder
from pairjepa.util.errors import PairJEPAError

TOLERANCE = 1e-5  # on unit vectors; measured differences are below 1e-6


def check_equal(embedder: Embedder, other: Encoder) -> None:
    """Raise `PairJEPAError` if another encoder gives other vectors for a few pictures of noise and captions."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    pictures, captions = [Image.fromarray(pixels) for pixels in noise], ["a", "a dog in the snow", "two"]
    ours = [embedder.encode_text(captions), embedder.encode_image(pictures)]
    theirs = [other.encode_text(captions), other.encode_image(pictures)]
    if other.sees_captions:
        ours.append(embedder.predict(pictures, captions))
        theirs.append(other.predict(pictures, captions))
    worst = np.max([np.abs(one - two).max() for one, two in zip(ours, theirs, strict=True)])
    if not worst <= TOLERANCE:  # also where it is no number
        raise PairJEPAError(
            f"The exported model must give the run's vectors to {TOLERANCE:g}, got a difference of {worst:.1e}. "
            "A backbone does something that this export cannot follow: share the run with --to hub."
        )
