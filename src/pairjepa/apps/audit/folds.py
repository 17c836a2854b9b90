"""Which images are scored together: folds by image, twins never apart.

Axes: `images`, `captions`.
"""

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Int64

from pairjepa.pairs.captions import group_ids
from pairjepa.pairs.splits import unit_hash
from pairjepa.pairs.table import Pairs
from pairjepa.util.errors import UsageError

LEAST = 4
"""Images a fold that are needed: of the others some are trained on and some choose the epoch."""


def folds_of(
    names: list[str], groups: Int64[np.ndarray, " images"], folds: int
) -> Int64[np.ndarray, " images"]:
    """The fold of each image: equal in size, chosen by a hash of the names, twins in the same one.

    Raises:
        UsageError: `folds` is less than 2, or there are too few images.
    """
    if folds < 2:
        raise UsageError(f"folds must be at least 2, got {folds}.")
    if len(names) < LEAST * folds:
        raise UsageError(
            f"The data must hold at least {LEAST * folds} readable images for {folds} folds, got {len(names)}. "
            "Give more pairs" + (", or fewer --folds." if len(names) >= 2 * LEAST else ".")
        )
    place = unit_hash(names, salt="audit")
    sizes = np.bincount(groups)
    first = np.full(len(sizes), 2.0)
    np.minimum.at(first, groups, place)
    filled = np.zeros(folds, np.int64)
    fold_of_group = np.empty(len(sizes), np.int64)
    for group in np.lexsort([first, -sizes]):  # the largest first, so that the folds come out equal
        fold_of_group[group] = filled.argmin()
        filled[fold_of_group[group]] += sizes[group]
    return fold_of_group[groups]


def same_words(pairs: Pairs) -> Int64[np.ndarray, " captions"]:
    """A number for each caption that is the same where the words are, whatever their case and the marks between."""
    words = pc.utf8_lower(pairs.captions)
    words = pc.replace_substring_regex(words, r"[^\p{L}\p{M}\p{N}]+", " ")
    return group_ids(pc.utf8_trim_whitespace(words))
