"""Images that stand in two splits: a number measured across such a leak is a lie."""

import contextlib
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64, UInt8, UInt64

from pairjepa.pairs.scan import NO_HASH, ImageFacts
from pairjepa.pairs.splits import USED
from pairjepa.pairs.table import Pairs
from pairjepa.util.checksums import read_record, write_record
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest
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
_MANY = 50_000
_VERSION = "v1"  # of what is kept: another way to find needs another version


def leaks(pairs: Pairs, facts: ImageFacts, cache: Path) -> dict[str, Any]:
    """Images of one split that stand in another one too, as the same bytes or nearly the same picture.

    For each two splits, the images of the second are counted: 3 of (train, test) means that three images of test
    have a twin in train. An image with the same bytes is not counted again as a near duplicate. Unreadable and
    flat images are near to none, nor are generated ones: scenes drawn independently may look alike. A mirrored
    or strongly cropped copy is not found.

    Args:
        pairs: the pairs.
        facts: their scan.
        cache: root of the cache: the result is kept there, under a digest of the images and their splits.

    Returns:
        `{"counts": [{"splits": ["train", "test"], "same_bytes": n, "near": n, "images": n of the second split},
        …], "examples": [{"kind", "splits": [a, b], "names": [in a, in b]}, …]}`; `counts` has every two splits
        that are there, `examples` up to 20, shared among them.
    """
    splits = pairs.table["split"].to_numpy()
    images = np.flatnonzero(np.isin(splits, USED))
    content = [facts.digest[images].tolist(), splits[images].tolist(), [pairs.names[row] for row in images]]
    path = cache / "leaks" / f"{digest(_VERSION, pairs.generated, *content)}.json"
    groups = [np.flatnonzero(splits == split) for split in USED]
    return kept(path, {"counts": [dict], "examples": [dict]}, lambda: _leaks(pairs, facts, groups))


def kept(path: Path, shape: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file of the cache holds; where it is not there or damaged, what `make` gives, kept there."""
    if path.is_file():
        with contextlib.suppress(PairJEPAError):
            return read_record(path, shape, "It is computed again.")
    result = make()
    with contextlib.suppress(OSError):  # without it, it is computed again
        write_record(path, result)
    return result


def _leaks(pairs: Pairs, facts: ImageFacts, groups: list[Int64[np.ndarray, " _"]]) -> dict[str, Any]:
    couples = [(a, b) for a, b in combinations(range(len(USED)), 2) if len(groups[a]) and len(groups[b])]
    content = content_ids(facts)
    counts, examples = [], []
    for first, second in couples:
        images = groups[second]
        words = [USED[first], USED[second]]
        count: dict[str, Any] = {"splits": words}
        named: list[dict[str, Any]] = []
        same, near = _twins(facts, content, images, groups[first], seek_near=not pairs.generated)
        for kind, twin in (("same_bytes", same), ("near", near)):
            hit = np.flatnonzero(twin >= 0)
            count[kind] = len(hit)
            named += [
                {"kind": kind, "splits": words, "names": [pairs.names[twin[at]], pairs.names[images[at]]]}
                for at in hit[:EXAMPLES]
            ]
        counts.append(count | {"images": len(images)})
        examples += named[: EXAMPLES // len(couples)]
    return {"counts": counts, "examples": examples}


def content_ids(facts: ImageFacts) -> Int64[np.ndarray, " images"]:
    """A number for each image that is the same for the same bytes; -1 for an unreadable one."""
    indices = pa.array(facts.digest, pa.string()).dictionary_encode().indices
    ids: np.ndarray = indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return ids.astype(np.int64)


def _twins(
    facts: ImageFacts,
    content: Int64[np.ndarray, " images"],
    images: Int64[np.ndarray, " queries"],
    others: Int64[np.ndarray, " references"],
    seek_near: bool,
) -> tuple[Int64[np.ndarray, " queries"], Int64[np.ndarray, " queries"]]:
    """For each of `images` the first of `others` with the same bytes, and else one that is near; -1 if none."""
    first = first_rows(content, others)
    same, near = first[content[images]], np.full(len(facts), -1)
    if seek_near:
        for image, other in near_copies(facts, images[same < 0], others[first[content[others]] == others]):
            new = near[image] < 0
            near[image[new][::-1]] = other[new][::-1]
    return same, near[images]


def first_rows(
    content: Int64[np.ndarray, " images"], rows: Int64[np.ndarray, " rows"]
) -> Int64[np.ndarray, " contents"]:
    """For each of `content_ids` the first of `rows` that has it; -1 if none, as for -1, which is the last."""
    first = np.full(content.max(initial=-1) + 2, -1)
    first[content[rows[::-1]]] = rows[::-1]  # the last assignment stays
    first[-1] = -1
    return first


def near_copies(
    facts: ImageFacts, images: Int64[np.ndarray, " queries"], others: Int64[np.ndarray, " references"]
) -> Iterator[tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]]:
    """Rows of an image and another one that are nearly the same picture, in portions."""
    images, others = (rows[facts.phash[rows] != NO_HASH] for rows in (images, others))
    for left, right in near_pairs(facts.phash[images], facts.phash[others], MAX_DISTANCE):
        alike = similarity(facts.thumbnail, images[left], others[right]) >= MIN_SIMILARITY
        yield images[left[alike]], others[right[alike]]


def near_pairs(
    queries: UInt64[np.ndarray, " queries"], references: UInt64[np.ndarray, " references"], distance: int
) -> Iterator[tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]]:
    """All pairs of a query and a reference at a Hamming distance of at most `distance`, each once, in portions.

    Multi-index hashing (Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index Hashing, CVPR 2012):
    of `bands` bands of bits, one differs in at most `distance // bands` bits, so each query is looked up under all
    values of a band that are so near to its own. Fewer bands have more values to look up, but fewer references in
    each: three are quicker for `_MANY`. Memory is proportional to the number of hashes.

    Args:
        queries: 64 bits each.
        references: as `queries`.
        distance: largest distance.

    Yields:
        Indices into `queries` and into `references`.
    """
    bands = 5 if len(references) < _MANY else 3
    radius = distance // bands
    # Every n-th bit, since neighbours (frequencies of one direction) go together and would make uneven bands.
    positions = [range(band, 64, bands) for band in range(bands)]
    masks = [np.uint64(sum(1 << bit for bit in bits)) for bits in positions]
    for band, bits in enumerate(positions):
        values = _gathered(references, bits)
        order = np.argsort(values, kind="stable")
        count = np.bincount(values, minlength=1 << len(bits))
        there, first, sorted_references = count > 0, np.cumsum(count) - count, references[order]
        flips = [
            sum(1 << bit for bit in chosen)
            for count in range(radius + 1)
            for chosen in combinations(range(len(bits)), count)
        ]
        for start in range(0, len(queries), _BLOCK):
            block = queries[start : start + _BLOCK]
            own = _gathered(block, bits)
            for flip in flips:
                rows = np.flatnonzero(there[looked_up := own ^ flip])
                looked_up = looked_up[rows]
                for query, reference in _expanded(rows, first[looked_up], count[looked_up]):
                    differ = block[query] ^ sorted_references[reference]
                    fits = np.bitwise_count(differ) <= distance
                    for earlier in masks[:band]:  # a pair that is near in an earlier band was found there
                        fits &= np.bitwise_count(differ & earlier) > radius
                    if fits.any():
                        yield query[fits] + start, order[reference[fits]]


def _gathered(hashes: UInt64[np.ndarray, " hashes"], bits: range) -> Int64[np.ndarray, " hashes"]:
    """These bits of each hash, side by side."""
    values = np.zeros(len(hashes), np.int64)
    for place, bit in enumerate(bits):
        values |= ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.int64) << place
    return values


def _expanded(
    rows: Int64[np.ndarray, " rows"], begin: Int64[np.ndarray, " rows"], count: Int64[np.ndarray, " rows"]
) -> Iterator[tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]]:
    """Each row with each of the `count` numbers from `begin` on, in portions."""
    ends = np.cumsum(count)
    cuts = np.searchsorted(ends, np.arange(0, count.sum(), 4 * _BLOCK), side="right")
    for start, end in pairwise([*np.unique(cuts).tolist(), len(rows)]):
        some = count[start:end]
        before = np.cumsum(some) - some
        yield (
            np.repeat(rows[start:end], some),
            np.arange(some.sum()) + np.repeat(begin[start:end] - before, some),
        )


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


def leak_warning(record: dict[str, Any]) -> str | None:
    """How many images stand in two splits, from what a run folder or an evaluation keeps of its data; None if none."""
    parts = [
        f"{found:,} of {count['images']:,} in {count['splits'][1]} are in {count['splits'][0]} too"
        for count in record.get("leaks", {"counts": []})["counts"]
        if (found := count["same_bytes"] + count["near"])
    ]
    if not parts:
        return None
    return (
        f"Near copies stand in several splits ({'; '.join(parts)}), which flatters the numbers. "
        "Their names: pairjepa inspect DATA --leaks leaks.csv. Without them: --data.drop-leaks."
    )


def warn_of_leaks(record: dict[str, Any]) -> None:
    """Say it in one line."""
    if warning := leak_warning(record):
        say(f"warning: {warning}")
