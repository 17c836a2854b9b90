"""Images that stand in two splits: a number measured across such a leak is a lie."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8, UInt64

from pairjepa.pairs.scan import NO_HASH, ImageFacts
from pairjepa.pairs.splits import USED
from pairjepa.pairs.table import Pairs
from pairjepa.util.progress import say

MAX_DISTANCE = 8
"""Bits of 64 in which the perceptual hashes of near duplicates differ at most."""

MIN_SIMILARITY = 0.95
"""Least cosine of the thumbnails of near duplicates, around their mean.

Measured on photographs: half or twice the size, JPEG quality 40, 20 % brighter, or 4 of 224 pixels cut off all
around keep 98-100 % within both limits. Of 33 million pairs of different photographs, 3 are within the distance
alone and none within both, and shapes alike but of other colours are told apart.
"""

EXAMPLES = 20
"""Pairs of images that are named."""

_BLOCK = 1 << 16


def leaks(pairs: Pairs, facts: ImageFacts) -> dict[str, Any]:
    """Images of one split that stand in another one too, as the same bytes or nearly the same picture.

    For each two splits, the images of the second are counted: 3 of (train, test) means that three images of test
    have a twin in train. An image with the same bytes is not counted again as a near duplicate. Unreadable and
    flat images are near to none, nor are generated ones: scenes drawn independently may look alike. A mirrored
    or strongly cropped copy is not found.

    Args:
        pairs: the pairs.
        facts: their scan.

    Returns:
        `{"counts": [{"splits": ["train", "test"], "same_bytes": n, "near": n, "images": n of the second split},
        …], "examples": [{"kind", "splits": [a, b], "names": [in a, in b]}, …]}`; `counts` has every two splits
        that are there, `examples` up to 20, shared among them.
    """
    splits = pairs.table["split"].to_numpy()
    groups = [np.flatnonzero(splits == split) for split in USED]
    same, near = _twins(facts, groups, seek_near=not pairs.generated)
    couples = [(a, b) for a, b in combinations(range(len(USED)), 2) if len(groups[a]) and len(groups[b])]

    counts, examples = [], []
    for first, second in couples:
        images = groups[second]
        words = [USED[first], USED[second]]
        count: dict[str, Any] = {"splits": words}
        named: list[dict[str, Any]] = []
        for kind, twins in (("same_bytes", same), ("near", near)):
            twin = twins[images, first]
            hit = np.flatnonzero(twin >= 0)
            count[kind] = len(hit)
            named += [
                {"kind": kind, "splits": words, "names": [pairs.names[twin[at]], pairs.names[images[at]]]}
                for at in hit[:EXAMPLES]
            ]
        counts.append(count | {"images": len(images)})
        examples += named[: EXAMPLES // len(couples)]
    return {"counts": counts, "examples": examples}


def near_pairs(
    hashes: UInt64[np.ndarray, " hashes"], distance: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of hashes at a Hamming distance of at most `distance`, each once, in portions.

    Split into `distance + 1` bands of bits, two such hashes agree in one band at least (Manku et al., Detecting
    Near-Duplicates for Web Crawling, WWW 2007). Sorted by a band, those that agree in it are neighbours: the
    k-th portion compares each with the one k places on. Memory is proportional to the number of hashes.

    Args:
        hashes: 64 bits each; equal ones make pairs too.
        distance: largest distance.

    Yields:
        Two arrays of indices into `hashes`.
    """
    # Every n-th bit, since neighbours (frequencies of one direction) go together and would make uneven bands.
    masks = [
        np.uint64(sum(1 << bit for bit in range(band, 64, distance + 1))) for band in range(distance + 1)
    ]
    for index, mask in enumerate(masks):
        order = np.argsort(hashes & mask, kind="stable")
        bands, values = (hashes & mask)[order], hashes[order]
        start, step = np.arange(len(order) - 1), 1
        while len(start := start[start + step < len(order)]):
            start = start[bands[start] == bands[start + step]]
            differ = values[start] ^ values[start + step]
            fits = np.bitwise_count(differ) <= distance
            for earlier in masks[:index]:  # a pair that agrees in an earlier band was found there
                fits &= (differ & earlier) != 0
            if fits.any():
                yield order[start[fits]], order[start[fits] + step]
            step += 1


def _twins(
    facts: ImageFacts, groups: list[Int64[np.ndarray, " _"]], seek_near: bool
) -> tuple[Int64[np.ndarray, "images splits"], Int64[np.ndarray, "images splits"]]:
    """For each image and split, a row of that split with the same bytes, and one that is near; -1 if none.

    An image's own split is left at -1, and so is a near twin of an image that has one with the same bytes.
    """
    digests = np.array([content or "" for content in facts.digest])
    _, row_of, content = np.unique(digests, return_index=True, return_inverse=True)
    inside = np.full((len(row_of), len(groups)), -1)
    for split, rows in enumerate(groups):
        inside[content[rows][::-1], split] = rows[::-1]  # the last assignment stays: the first row

    near = np.full_like(inside, -1)
    usable = np.flatnonzero((inside >= 0).any(axis=1) & (facts.phash[row_of] != NO_HASH))
    for left, right in near_pairs(facts.phash[row_of[usable]], MAX_DISTANCE) if seek_near else ():
        left, right = usable[left], usable[right]
        wanted = _gains(near, inside, left, right).any(1) | _gains(near, inside, right, left).any(1)
        left, right = left[wanted], right[wanted]
        alike = similarity(facts.thumbnail, row_of[left], row_of[right]) >= MIN_SIMILARITY
        for one, other in ((left[alike], right[alike]), (right[alike], left[alike])):
            which, where = np.nonzero(_gains(near, inside, one, other))
            near[one[which], where] = inside[other[which], where]

    readable = digests != ""
    same, near = inside[content], near[content]
    for split, rows in enumerate(groups):
        same[rows, split] = near[rows, split] = -1
    same[~readable] = -1
    return same, near


def _gains(
    near: np.ndarray, inside: np.ndarray, one: np.ndarray, other: np.ndarray
) -> Bool[np.ndarray, "pairs splits"]:
    """In which splits `other` would be the first near twin of `one`; a split that `one` stands in too is none."""
    return (near[one] < 0) & (inside[other] >= 0) & (inside[one] < 0)


def similarity(
    thumbnails: UInt8[np.ndarray, "images 8 8 3"],
    left: Int64[np.ndarray, " pairs"],
    right: Int64[np.ndarray, " pairs"],
) -> Float32[np.ndarray, " pairs"]:
    """Cosine between thumbnails around their mean over pixels and channels, so that light does not count."""
    found = np.empty(len(left), dtype=np.float32)
    for start in range(0, len(left), _BLOCK):
        block = slice(start, start + _BLOCK)
        a, b = (
            (flat := thumbnails[rows[block]].reshape(-1, 192).astype(np.float32))
            - flat.mean(1, keepdims=True)
            for rows in (left, right)
        )
        found[block] = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1)).clip(1e-6)
    return found


def warn_of_leaks(record: dict[str, Any]) -> None:
    """Say how many images stand in two splits, from what the run folder keeps of its data."""
    for count in record["leaks"]["counts"]:
        for kind, words in (("same_bytes", "the same bytes"), ("near", "nearly the same picture")):
            if count[kind]:
                first, second = count["splits"]
                say(
                    f"warning: {count[kind]:,} of {count['images']:,} {second} images stand in {first} too ({words}): "
                    f"numbers on {second} are too good. Which ones: pairjepa inspect."
                )
