"""The readable pairs of the splits that a run uses."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pairjepa.pairs.leaks import leaks
from pairjepa.pairs.scan import ImageFacts, pairs_digest, pairs_parts, readable, scan
from pairjepa.pairs.table import Pairs
from pairjepa.pairs.twins import arranged
from pairjepa.util.files import cache_folder, digest

USED = ("train", "dev", "test")


@dataclass(frozen=True)
class Data:
    """Readable pairs of the used splits."""

    pairs: Pairs
    facts: ImageFacts
    record: dict[str, Any]
    """What the run folder keeps of them, JSON-ready."""


def read_data(pairs: Pairs, max_bad: float) -> Data:
    """Look at every image once, leave the unreadable ones out and find images that stand in two splits.

    Raises:
        PairJEPAError: more than the share `max_bad` of the images cannot be read.
    """
    used = pairs.take(np.flatnonzero(np.isin(pairs.table["split"].to_numpy(zero_copy_only=False), USED)))
    facts = scan(used, cache_folder())
    kept, facts = readable(used, facts, max_bad)
    unreadable = used.n_images - kept.n_images
    kept, facts = arranged(kept, facts, cache_folder())
    return Data(
        kept.scanned(facts.digest),
        facts,
        {
            "digest": pairs_digest(kept, facts),
            "parts": {name: digest(*part) for name, part in pairs_parts(kept, facts).items()},
            "description": kept.description,
            "generated": kept.generated,
            "images": kept.n_images,
            "captions": len(kept),
            "splits": {name: {"images": i, "captions": c} for name, (i, c) in kept.splits.items()},
            "unreadable": unreadable,
            "leaks": leaks(kept, facts, cache_folder()),
        },
    )
