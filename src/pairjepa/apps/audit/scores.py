"""How well each caption fits its own image, beside all other images of its fold. Pure functions of arrays.

Axes: `images`, `captions` of one fold, `dim`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float32, Int, Int64
from scipy.sparse import csr_array

from pairjepa.metrics.retrieval import TIE_TOLERANCE, chunks
from pairjepa.util.unit import unit


@dataclass(frozen=True, eq=False)
class Scores:
    """One entry a caption. The others of a caption are the images that are no twin of its own and lack its words."""

    rank: Int64[np.ndarray, " captions"]
    """1 + how many others fit the caption no worse than its own image."""
    cosine: Float32[np.ndarray, " captions"]
    """Of the caption and what is predicted from its own image."""
    best: Int64[np.ndarray, " captions"]
    """The row of the other image that fits best; -1 where there is no other."""
    margin: Float32[np.ndarray, " captions"]
    """`cosine` less that of the best other image; negative where that one fits better."""
    captions_margin: Float32[np.ndarray, " captions"]
    """The same with each image's other captions (the direction of their mean) in the image's place; NaN if there
    are none."""
    mismatched: Float32[np.ndarray, " captions"]
    """The suspicion that the caption would be under with an image drawn from the others: what a wrong pair has."""

    @property
    def suspicion(self) -> Float32[np.ndarray, " captions"]:
        """What speaks for other images and their captions, less what speaks for its own; NaN without others."""
        return -(self.margin + np.nan_to_num(self.captions_margin))


def score(
    image: Float32[np.ndarray, "images dim"],
    text: Float32[np.ndarray, "captions dim"],
    owner: Int[np.ndarray, " captions"],
    twins: Int[np.ndarray, " images"],
    words: Int[np.ndarray, " captions"],
    *,
    seed: int = 0,
) -> Scores:
    """Score the captions of one fold.

    Args:
        image: predictions from the images, of unit norm.
        text: targets of the captions, of unit norm.
        owner: for each caption, the row of its image.
        twins: a number for each image that twins share.
        words: a number for each caption that those of the same words share.
        seed: of the images that are drawn for `mismatched`.
    """
    images, captions = len(image), len(text)
    sums = np.zeros_like(image)
    np.add.at(sums, owner, text)
    siblings = np.bincount(owner, minlength=images)[owner] - 1
    own_captions = np.einsum("cd,cd->c", text, unit(sums[owner] - text))
    centres = unit(sums)
    with_words = _table(words, owner, images)  # the images that own a caption of these words
    with_twins = _table(twins, np.arange(images), images)
    drawn = np.random.default_rng(seed).integers(0, images, captions)
    cosine = np.einsum("cd,cd->c", text, image[owner])
    rank, best = np.ones(captions, np.int64), np.full(captions, -1, np.int64)
    margin, captions_margin, mismatched = (np.full(captions, np.nan, np.float32) for _ in range(3))
    for part in chunks(captions, 8 * max(images, image.shape[1])):
        outside = (with_words[words[part]] + with_twins[twins[owner[part]]]).toarray()
        some = ~outside.all(axis=1)
        row = np.arange(part.stop - part.start)
        by_image, by_captions = text[part] @ image.T, text[part] @ centres.T
        by_image[outside] = by_captions[outside] = -np.inf
        rank[part] += (by_image >= cosine[part, None] - 2 * TIE_TOLERANCE).sum(axis=1)
        best[part] = np.where(some, by_image.argmax(axis=1), -1)
        margin[part] = np.where(some, cosine[part] - by_image.max(axis=1), np.nan)
        told = some & (siblings[part] > 0)
        captions_margin[part] = np.where(told, own_captions[part] - by_captions.max(axis=1), np.nan)
        # Another image in the place of the caption's own, which is not among the others any more.
        other = drawn[part]
        alone = by_image[row, other], by_captions[row, other]
        by_image[row, other] = by_captions[row, other] = -np.inf
        left = np.isfinite(alone[0]) & np.isfinite(by_image.max(axis=1))
        with np.errstate(invalid="ignore"):  # -inf - -inf, where nothing is left
            wrong = by_image.max(axis=1) - alone[0]
            wrong += np.where(told, by_captions.max(axis=1) - alone[1], 0)
        mismatched[part] = np.where(left, wrong, np.nan)
    return Scores(rank, cosine, best, margin, captions_margin, mismatched)


def joined(parts: Sequence[Scores], order: Int[np.ndarray, " captions"]) -> Scores:
    """The scores of several folds one after the other, in this order."""
    columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Scores)}
    return Scores(**{name: np.concatenate(column)[order] for name, column in columns.items()})


def _table(group: Int[np.ndarray, " items"], image: Int[np.ndarray, " items"], images: int) -> csr_array:
    """Which images have an item of each group, `(groups, images)` bool."""
    shape = (int(group.max(initial=-1)) + 1, images)
    table = csr_array((np.ones(len(group), bool), (group, image)), shape)
    table.sum_duplicates()
    return table
