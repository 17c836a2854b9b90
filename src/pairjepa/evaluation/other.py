"""Pairs that a run was not trained on: which of them are measured, and the name of what was measured."""

from typing import Any

from pairjepa.pairs.data import read_known
from pairjepa.pairs.splits import ORDER, USED
from pairjepa.pairs.table import Pairs
from pairjepa.run.folder import RunFolder
from pairjepa.util.progress import say


def is_other(run: RunFolder, pairs: Pairs) -> bool:
    """Whether these are other pairs than those that the run was trained on, by their digests."""
    if not any(split in pairs.splits for split in USED):
        return True
    return bool(read_known(pairs, 1.0, run).record["digest"] != run.record["data"]["digest"])


def measured(pairs: Pairs, split: str) -> Pairs:
    """Other pairs with the split that is measured: their own of that name, else all of them."""
    if split in pairs.splits or split not in ORDER:
        return pairs
    say(f"{pairs.description} have no split {split!r}: all {pairs.n_images:,} images are measured.")
    return pairs.with_splits([split] * pairs.n_images)


def result_name(split: str, record: dict[str, Any]) -> str:
    """Name of the files of a result on other pairs: the split, and the start of the pairs' digest."""
    return f"{split}-on-{record['digest'][:8]}"
