"""Near copies: which images are nearly the same picture, and splits that keep them together.

Axes: `images`, `twins` (pairs of images).
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pairjepa.pairs.leaks import content_ids, first_rows, kept, near_copies
from pairjepa.pairs.scan import ImageFacts
from pairjepa.pairs.splits import USED
from pairjepa.pairs.table import Pairs
from pairjepa.util.files import digest
from pairjepa.util.progress import say
from pairjepa.util.words import counted

_VERSION = "v1"  # of what is kept: another way to find needs another version


def twin_images(pairs: Pairs, facts: ImageFacts, cache: Path) -> Int64[np.ndarray, "twins 2"]:
    """Rows of two images that are the same bytes or nearly the same picture; see `leaks`.

    Of images with the same bytes each is named with the first of them, and only the first is compared with others.
    Generated images are near to none: scenes drawn independently may look alike. They are kept below `cache`.
    """
    path = cache / "leaks" / f"twins-{digest(_VERSION, pairs.generated, facts.digest.tolist())}.json"
    record = kept(path, {"twins": [list]}, lambda: {"twins": _twin_images(pairs, facts).tolist()})
    return np.array(record["twins"], np.int64).reshape(-1, 2)


def _twin_images(pairs: Pairs, facts: ImageFacts) -> Int64[np.ndarray, "twins 2"]:
    content, images = content_ids(facts), np.arange(len(facts))
    first = first_rows(content, images)[content]
    copies = np.flatnonzero((first >= 0) & (first != images))
    found = [np.stack([first[copies], copies], axis=1)]
    once = images[first == images]
    for left, right in near_copies(facts, once, once) if not pairs.generated else ():
        found.append(np.stack([left, right], axis=1)[left < right])
    twins = np.concatenate(found).astype(np.int64)
    return twins[np.lexsort(twins.T[::-1])]


def twin_groups(twins: Int64[np.ndarray, "twins 2"], images: int) -> Int64[np.ndarray, " images"]:
    """A number for each image that is the same for twins, and for the twins of twins."""
    graph = coo_array((np.ones(len(twins)), (twins[:, 0], twins[:, 1])), (images, images))
    groups: np.ndarray = connected_components(graph, directed=False)[1]
    return groups.astype(np.int64)


def arranged(pairs: Pairs, facts: ImageFacts, cache: Path) -> tuple[Pairs, ImageFacts]:
    """The pairs without leaks, as far as their rules allow.

    Where a hash drew the splits, near copies and images of one group go into the split of the first of them, unless
    that takes more than half of a split. With `drop_leaks`, of images that stand in several splits only those in the
    last one (test after dev after train) stay.

    Args:
        pairs: the pairs.
        facts: their scan.
        cache: root of the cache, where near copies are kept once they were found.
    """
    if not pairs.drawn and not pairs.drop_leaks:
        return pairs, facts
    groups = twin_groups(np.concatenate([twin_images(pairs, facts, cache), _grouped(pairs)]), pairs.n_images)
    splits = pairs.table["split"].to_numpy(zero_copy_only=False)
    drawn = np.flatnonzero(np.isin(splits, pairs.drawn))
    _, first, inverse = np.unique(groups[drawn], return_index=True, return_inverse=True)
    together = splits.copy()
    together[drawn] = splits[drawn[first]][inverse]
    if all((together == split).sum() >= (splits == split).sum() / 2 for split in pairs.drawn):
        splits = together
        pairs = pairs.with_splits(splits.tolist())
    if not pairs.drop_leaks:
        return pairs, facts
    last = np.array([USED.index(split) if split in USED else -1 for split in splits])
    last_of_group = np.full(groups.max(initial=0) + 1, -1)
    np.maximum.at(last_of_group, groups, last)
    stay = np.flatnonzero((last < 0) | (last == last_of_group[groups]))
    if len(stay) < pairs.n_images:
        left_out = counted(pairs.n_images - len(stay), "image")
        say(f"left out, since dev or test holds near copies: {left_out} (data.drop_leaks).")
    return pairs.take(stay), facts.take(stay)


def leak_rows(pairs: Pairs, facts: ImageFacts, cache: Path) -> list[list[Any]]:
    """`group`, `split` and `image` of all images that stand, as copies or near copies, in several used splits."""
    groups = twin_groups(twin_images(pairs, facts, cache), pairs.n_images)
    splits = pairs.table["split"].to_pylist()
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        if splits[row] in USED:
            members.setdefault(group, []).append(row)
    torn = [rows for rows in members.values() if len({splits[row] for row in rows}) > 1]
    return [[number, splits[row], pairs.names[row]] for number, rows in enumerate(torn, 1) for row in rows]


def _grouped(pairs: Pairs) -> Int64[np.ndarray, "twins 2"]:
    """Rows of two images of one group, each with the first of it."""
    _, first, inverse = np.unique(pairs.group_keys, return_index=True, return_inverse=True)
    return np.stack([first[inverse], np.arange(len(inverse))], axis=1).astype(np.int64)
