"""Image files read, decoded and made small, in threads, while the ones before are embedded."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float32
from PIL import Image

from pairjepa.apps.search.sources import Entry
from pairjepa.pairs import BadImage
from pairjepa.pairs.images import decode, thumbnail
from pairjepa.util.files import digest_bytes
from pairjepa.util.threads import ahead

BATCH = 16
"""Images that are decoded while as many are embedded; more would fill the memory with large photographs."""
THUMBNAIL, QUALITY = 256, 85
"""Pixels of the longer side; JPEG's quality."""


@dataclass(frozen=True)
class Loaded:
    """An image file that was read."""

    entry: Entry
    digest: str = ""
    image: Image.Image | None = None
    size: tuple[int, int] = (0, 0)
    """(width, height) of the whole picture; `image` may be smaller."""
    thumbnail: bytes = b""
    reason: str = ""
    """Why it cannot be used; empty if it can."""
    vector: Float32[np.ndarray, " dim"] | None = None
    """What it was embedded to, as soon as it is."""

    @property
    def held(self) -> bool:
        """Whether it was not decoded, since an image of the same bytes is in the index."""
        return self.image is None and self.vector is None and not self.reason


def loaded(
    entries: list[Entry], holds: Callable[[str], bool], draft: tuple[int, int] | None = None
) -> Generator[list[Loaded]]:
    """Images, a batch decoded in threads while the one before is used; arguments as of `load`."""
    with closing(ahead(lambda entry: load(entry, holds, draft), entries, BATCH)) as images:
        while batch := list(islice(images, BATCH)):
            yield batch


def load(entry: Entry, holds: Callable[[str], bool], draft: tuple[int, int] | None = None) -> Loaded:
    """Read one image, and decode it unless one of the same bytes is in the index.

    Args:
        entry: which.
        holds: whether an image of this digest is in the index.
        draft: (width, height) that the encoder needs at least; see `pairjepa.pairs.images.decode`.
    """
    try:
        data = entry.read()
        digest = digest_bytes(data)
        if holds(digest):
            return Loaded(entry, digest)
        image = decode(data, draft=draft)
    except BadImage as error:
        return Loaded(entry, reason=error.reason)
    return Loaded(entry, digest, image, image.info["whole"], thumbnail(image, THUMBNAIL, QUALITY))


def never(digest: str) -> bool:
    """No image of these bytes is in the index."""
    return False
