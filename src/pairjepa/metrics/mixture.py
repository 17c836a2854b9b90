"""Search of images by words where images came with captions: both compared at once, as one vector an image.

Axes: images, captions, dim.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int

from pairjepa.util.unit import unit

CAPTION_WEIGHT = 0.5
"""Share of the captions where dev, with one caption an image, cannot say."""
WEIGHTS = (0.25, 0.4, 0.5, 0.6, 0.75)
Round = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Queries, the row of each one's image, and the mean directions of the captions that are known of all images."""
ROUNDS = 5
"""Captions of an image that are held out, one after the other."""


def mean_directions(captions: Sequence[np.ndarray]) -> Float32[np.ndarray, "images dim"]:
    """The unit mean of each image's captions, an array (captions, dim) an image; zeros where there are none."""
    return unit(np.stack([rows.sum(axis=0, dtype=np.float32) for rows in captions]))


def mixed(
    image: Float32[np.ndarray, "images dim"], words: Float32[np.ndarray, "images dim"], weight: float
) -> Float32[np.ndarray, "images dim"]:
    """Unit vectors between images and their captions' mean directions; of images without captions their own."""
    return unit((1 - weight) * image + weight * words)


def held_out(
    image: Float32[np.ndarray, "images dim"],
    text: Float32[np.ndarray, "captions dim"],
    owner: Int[np.ndarray, " captions"],
) -> list[Round]:
    """Searches for images by a caption that is held out, while the images' other captions are known."""
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=len(image))
    turn = np.empty(len(owner), np.int64)
    turn[order] = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    total = np.zeros_like(image)
    np.add.at(total, owner, text)
    rounds = []
    for number in range(min(ROUNDS, int(counts.max(initial=0)))):
        rows = np.flatnonzero((turn == number) & (counts[owner] > 1))
        left = total.copy()
        left[owner[rows]] -= text[rows]
        if len(rows):
            rounds.append((text[rows], owner[rows], unit(left)))
    return rounds


def choose_weight(image: Float32[np.ndarray, "images dim"], rounds: Sequence[Round]) -> float:
    """The share of the captions by which held out ones find their image best (sum of R@1, R@5 and R@10)."""
    found = {
        weight: sum(_hits(queries @ mixed(image, words, weight).T, own) for queries, own, words in rounds)
        for weight in (CAPTION_WEIGHT, *WEIGHTS)
    }
    return max(found, key=lambda weight: found[weight])


def _hits(scores: Float32[np.ndarray, "queries images"], own: Int[np.ndarray, " queries"]) -> int:
    ranks = (scores >= scores[np.arange(len(own)), own][:, None] - 1e-6).sum(axis=1)
    return int(sum((ranks <= k).sum() for k in (1, 5, 10)))
