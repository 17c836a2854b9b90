"""Which gallery rows are right answers to which query.

Axes: queries, gallery, images, captions (rows); pairs (relevant query-gallery pairs).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64
from scipy.sparse import csr_array

from pairjepa.util.errors import UsageError


@dataclass(frozen=True, eq=False)
class Relevance:
    """Right answers to each query, many-to-many and ragged, as a sparse matrix (CSR).

    The rows of query `q` are `indices[indptr[q] : indptr[q + 1]]`, ascending and without repeats.
    """

    indptr: Int64[np.ndarray, " bounds"]
    indices: Int64[np.ndarray, " pairs"]
    gallery: int
    """Rows of the gallery."""

    @classmethod
    def from_pairs(
        cls, query: Int[np.ndarray, " pairs"], item: Int[np.ndarray, " pairs"], queries: int, gallery: int
    ) -> "Relevance":
        """From (query, gallery row) pairs in any order; repeats count once."""
        key = np.unique(query.astype(np.int64) * gallery + item)
        row, indices = np.divmod(key, max(gallery, 1))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=queries))])
        return cls(indptr.astype(np.int64), indices, gallery)

    @classmethod
    def by_owner(cls, owner: Int[np.ndarray, " captions"], images: int) -> "Relevance":
        """Image → text, the published protocol: the image's own captions, nothing else.

        Args:
            owner: For each caption, the row of its image.
            images: Number of images.

        Raises:
            UsageError: `owner` names a row that is not there.
        """
        owner = checked_owner(owner, images)
        return cls.from_pairs(owner, np.arange(len(owner)), images, len(owner))

    @classmethod
    def by_text(
        cls, owner: Int[np.ndarray, " captions"], captions: Sequence[str], images: int
    ) -> "Relevance":
        """Image → text: every caption that reads the same as one of the image's own.

        Space around a caption does not count, as in `pairs`.

        Raises:
            UsageError: `owner` names a row that is not there, or there is not one caption for each owner.
        """
        owner = checked_owner(owner, images)
        if len(captions) != len(owner):
            raise UsageError(
                f"captions must match owner, got {len(captions)} captions and {len(owner)} owners."
            )
        seen: dict[str, int] = {}
        text = np.array([seen.setdefault(caption.strip(), len(seen)) for caption in captions], np.int64)
        captions_of = csr_array((np.ones(len(text)), (text, np.arange(len(text)))), (len(seen), len(text)))
        texts_of = csr_array((np.ones(len(text)), (owner, text)), (images, len(seen)))
        image, caption = (texts_of @ captions_of).nonzero()
        return cls.from_pairs(image, caption, images, len(owner))

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.indptr) - 1

    @property
    def sizes(self) -> Int64[np.ndarray, " queries"]:
        """Number of relevant gallery rows of each query."""
        return np.diff(self.indptr)

    @property
    def query(self) -> Int64[np.ndarray, " pairs"]:
        """The query of each entry of `indices`."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def transposed(self) -> "Relevance":
        """The other direction: queries and gallery change places."""
        return self.from_pairs(self.indices, self.query, self.gallery, len(self))


def checked_owner(owner: Int[np.ndarray, " captions"], images: int) -> Int64[np.ndarray, " captions"]:
    """`owner` as int64.

    Raises:
        UsageError: it names a row that is not one of the images.
    """
    owner = np.asarray(owner, np.int64)
    bad = owner[(owner < 0) | (owner >= images)]
    if bad.size:
        raise UsageError(f"owner must name rows of the {images} images (from 0), got {bad[0]}.")
    return owner
