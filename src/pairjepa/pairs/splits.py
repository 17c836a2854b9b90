"""Which image is for training, which for choosing, which for reporting. Always by image, never by caption."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64

from pairjepa.util.errors import PairJEPAError, UsageError

TRAIN, DEV, TEST, REST = "train", "dev", "test", "rest"
USED = (TRAIN, DEV, TEST)
ORDER = (*USED, REST)
LEAST = {TRAIN: 2, DEV: 1}
"""Images that a training needs."""


_WORDS = {
    "train": TRAIN, "training": TRAIN,
    "dev": DEV, "val": DEV, "valid": DEV, "validation": DEV, "validate": DEV, "development": DEV, "eval": DEV,
    "test": TEST, "testing": TEST,
    "restval": TRAIN, "rest": REST,
}  # fmt: skip
_SHARES = {DEV: (0.8, 0.9), TEST: (0.9, 1.0)}


def normalise(value: str, where: str) -> str:
    """The project's word for a split as people name it (`validation` → `dev`).

    Raises:
        PairJEPAError: the value is no split; `where` says which data holds it.
    """
    if word := _WORDS.get(_word(value)):
        return word
    raise PairJEPAError(
        f"A split in {where} must be one of {', '.join(_WORDS)}, got {value!r}. "
        "Rename it, or name another column with --data.split-column."
    )


def word(name: str) -> str:
    """The project's word for a split, and any other as it is."""
    return _WORDS.get(name.strip().lower(), name)


def known(name: str) -> bool:
    """Whether `name` (a folder's, say) is a word for a split."""
    return _word(name) in _WORDS


def from_folders(names: Sequence[str]) -> list[str] | None:
    """Splits from the top folder of each relative name, if every top folder is a word for a split."""
    tops = [name.partition("/")[0] if "/" in name else "" for name in names]
    if not tops or not all(known(top) for top in set(tops)):
        return None
    return [_WORDS[_word(top)] for top in tops]


def from_words(names: Sequence[str]) -> list[str] | None:
    """The split that each file's name says in one of its words, if each says exactly one."""
    said = [{_WORDS[word] for word in re.split("[^a-z]+", name.lower()) if word in _WORDS} for name in names]
    return [split for one in said for split in one] if names and all(len(one) == 1 for one in said) else None


def _word(name: str) -> str:
    """`train` of `Train2017 `."""
    return name.strip().lower().rstrip("0123456789")


def unit_hash(names: Sequence[str], salt: str = "") -> np.ndarray:
    """A number in [0, 1) for each name, the same on every machine and in every version: BLAKE2b of its UTF-8.

    Args:
        names: names of images.
        salt: other salts give other, independent numbers.
    """
    key = salt.encode()[:64]  # the key of BLAKE2b holds at most 64 bytes
    digests = b"".join(hashlib.blake2b(n.encode(), digest_size=8, key=key).digest() for n in names)
    return (np.frombuffer(digests, dtype=">u8") >> 11).astype(np.float64) / 2**53


def complete(names: Sequence[str], given: np.ndarray | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Give every image a split.

    Without given splits, the hash of the name makes 80 % train, 10 % dev, 10 % test. With given ones, a dev or
    test that is missing is taken out of train by the same hash; nothing is ever taken out of another split.

    Args:
        names: names of the images, or of the groups that stay together.
        given: their splits (strings of `ORDER`), or None.

    Returns:
        The splits (an object array), and those between which the hash chose; none if all of them were given.
    """
    splits = np.full(len(names), TRAIN, dtype=object) if given is None else given.astype(object)
    missing = [split for split in _SHARES if not (splits == split).any()]
    if not missing or not (splits == TRAIN).any():
        return splits, ()
    place = unit_hash(names)
    in_train = splits == TRAIN
    for split in missing:
        low, high = _SHARES[split]
        splits[in_train & (low <= place) & (place < high)] = split
    return splits, (TRAIN, *missing)


def subsample(
    names: Sequence[str],
    splits: np.ndarray,
    captions: Int64[np.ndarray, " images"],
    pairs: int,
    seed: int,
) -> Bool[np.ndarray, " images"]:
    """Choose images, with all their captions, so that about `pairs` captions stay and splits keep their shares.

    Images go in the order of a seeded hash of their names, so a smaller choice is a part of a larger one and
    other images in the data change nothing. Images in no used split are left out.

    Args:
        names: names of the images.
        splits: their splits.
        captions: how many captions each owns.
        pairs: how many captions to keep; more than there are keeps every image.
        seed: another seed is another choice.

    Raises:
        UsageError: `pairs` is not positive.
    """
    if pairs < 1:
        raise UsageError(f"data.pairs must be at least 1, got {pairs}.")
    used = np.isin(splits.astype(str), USED)
    total = int(captions[used].sum())
    if pairs >= total:
        return np.ones(len(splits), dtype=bool)
    order = np.argsort(unit_hash(names, salt=f"pairs {seed}"), kind="stable")
    keep = np.zeros(len(splits), dtype=bool)
    for split in USED:
        rows = order[splits[order] == split]
        if len(rows):
            kept = np.cumsum(captions[rows])
            quota = pairs * int(kept[-1]) / total
            # what comes nearest to the quota, and of two that are as near the more
            keep[rows[: len(rows) - int(np.argmin(np.abs(kept[::-1] - quota)))]] = True
    return keep
